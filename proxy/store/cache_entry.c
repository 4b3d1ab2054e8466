/* See cache_entry.h. Pure, but for references to blobs; the shard's lock is held. */
#include "store/cache_entry.h"

#include "base/clock.h"

#define FILLED_MOST ((INT64_C(1) << 37) - 1)
#define SPAN_UNIT_MS 1000 /* odd distances come from elsewhere than settings */

/* ---- stale spans ---- */

/* The number of a distance; STALE_SPANS: it has none. */
static unsigned
find_span(struct stale_spans *spans, int64_t ms)
{
	unsigned unused = STALE_SPANS;

	if (ms < 0 || ms % SPAN_UNIT_MS != 0)
		return STALE_SPANS;
	for (unsigned i = 0; i < STALE_SPANS; i++) {
		if (spans->users[i] > 0 && spans->ms[i] == ms)
			return i;
		if (spans->users[i] == 0 && unused == STALE_SPANS)
			unused = i;
	}
	if (unused < STALE_SPANS)
		spans->ms[unused] = ms;
	return unused;
}

/* ---- times in few bits ---- */

/* By how much it is to be shifted so that no more than these bits remain. */
static unsigned
shift_to(uint64_t number, unsigned bits)
{
	unsigned len = number > 0 ? 64 - (unsigned)__builtin_clzll(number) : 0;

	return len > bits ? len - bits : 0;
}

static uint16_t
pack_fresh_for(uint32_t ms)
{
	unsigned shift = shift_to(ms, FRESH_BITS);

	return (uint16_t)(shift << FRESH_BITS | ms >> shift);
}

static uint8_t
pack_refresh(const struct cache_value *value)
{
	const uint64_t one = 1 << REFRESH_BITS;

	/* Past fresh_until nobody would be told. */
	if (value->refresh_at_ms == TIME_NEVER || value->refresh_at_ms > value->fresh_until_ms)
		return REFRESH_NEVER;
	uint64_t before = (uint64_t)(value->fresh_until_ms - value->refresh_at_ms);
	before = before > one ? before : one;
	unsigned shift = shift_to(before, REFRESH_BITS + 1);
	if (shift > REFRESH_SHIFT_MOST)
		return REFRESH_SHIFT_MOST << REFRESH_BITS | (one - 1);
	return (uint8_t)(shift << REFRESH_BITS | ((before >> shift) - one));
}

void
entry_forget_refresh(struct entry *entry)
{
	if (entry->form == FORM_LONG)
		entry_extra(entry)->refresh_at_ms = TIME_NEVER;
	else
		entry->refresh_before = REFRESH_NEVER;
}

/* ---- writing ---- */

static bool
fits_32_bits(int64_t from_ms, int64_t to_ms)
{
	return to_ms >= from_ms && to_ms - from_ms <= UINT32_MAX;
}

static size_t
value_len(const struct cache_value *value)
{
	return value->bytes != NULL ? value->bytes->len : 0;
}

static enum entry_form
form_of(struct stale_spans *spans, struct entry_plan *plan)
{
	const struct cache_value *value = plan->value;
	bool has_end = value->valid_until_ms != TIME_NEVER;

	if (plan->key.len > UINT8_MAX || plan->variant.len > 0 || value_len(value) > INLINE_BYTES)
		return FORM_LONG;
	if (value->filled_ms < 0 || value->filled_ms > FILLED_MOST ||
	    !fits_32_bits(value->filled_ms, value->fresh_until_ms) ||
	    (has_end && !fits_32_bits(value->filled_ms, value->valid_until_ms)))
		return FORM_LONG;
	plan->stale_span = has_end && value->stale_until_ms >= value->valid_until_ms
	    ? SPAN_TO_VALID
	    : find_span(spans, value->stale_until_ms - value->fresh_until_ms);
	if (plan->stale_span == STALE_SPANS)
		return FORM_LONG;
	return has_end ? FORM_ENDING : FORM_SHORT;
}

void
entry_plan(struct stale_spans *spans, struct entry_plan *plan)
{
	size_t len = value_len(plan->value);

	plan->form = form_of(spans, plan);
	size_t size = sizeof(struct entry) + entry_extra_size(plan->form) + plan->key.len +
	    plan->variant.len + (len <= INLINE_BYTES ? len : 0);
	plan->size = (uint32_t)(size + 3) / 4 * 4;
}

static char *
append(char *at, struct slice bytes)
{
	if (bytes.len > 0)
		memcpy(at, bytes.at, bytes.len);
	return at + bytes.len;
}

static void
write_extra(const struct entry_plan *plan, struct entry_extra *extra)
{
	const struct cache_value *value = plan->value;
	bool is_blob = value_len(value) > INLINE_BYTES;

	*extra = (struct entry_extra){
		.filled_ms = value->filled_ms,
		.fresh_until_ms = value->fresh_until_ms,
		.stale_until_ms = value->stale_until_ms,
		.valid_until_ms = value->valid_until_ms,
		.refresh_at_ms = value->refresh_at_ms,
		.blob = is_blob ? blob_ref(value->bytes) : NULL,
		.key_len = (uint32_t)plan->key.len,
		.variant_len = (uint32_t)plan->variant.len,
		.next = NOWHERE,
	};
}

static void
write_short(struct stale_spans *spans, const struct entry_plan *plan, struct entry *entry)
{
	const struct cache_value *value = plan->value;
	uint32_t valid_for = (uint32_t)(value->valid_until_ms - value->filled_ms);

	entry->filled_low = (uint32_t)value->filled_ms;
	entry->filled_high = (unsigned)(value->filled_ms >> 32) & 31;
	entry->fresh_for = pack_fresh_for((uint32_t)(value->fresh_until_ms - value->filled_ms));
	entry->stale_span = plan->stale_span & 31;
	entry->short_key_len = (uint8_t)plan->key.len;
	entry->refresh_before = pack_refresh(value);
	if (plan->stale_span != SPAN_TO_VALID)
		spans->users[plan->stale_span]++;
	if (plan->form == FORM_ENDING)
		memcpy(entry->bytes, &valid_for, sizeof(valid_for));
}

void
entry_write(struct stale_spans *spans, const struct entry_plan *plan, struct entry *entry)
{
	const struct cache_value *value = plan->value;
	size_t len = value_len(value);
	bool is_inline = len > 0 && len <= INLINE_BYTES;

	*entry = (struct entry){
		.kind = (unsigned)value->kind & 7,
		.source = (unsigned)value->source & 3,
		.is_validity_exact = value->is_validity_exact,
		.form = (unsigned)plan->form & 3,
		.inline_len = (is_inline ? (unsigned)len : 0) & 0x7fff,
	};
	if (plan->form == FORM_LONG)
		write_extra(plan, entry_extra(entry));
	else
		write_short(spans, plan, entry);
	char *at = append(entry->bytes + entry_extra_size(plan->form), plan->key);
	at = append(at, plan->variant);
	if (is_inline)
		append(at, blob_slice(value->bytes));
}

void
entry_clear(struct stale_spans *spans, struct entry *entry)
{
	if (entry->form == FORM_LONG)
		blob_unref(entry_extra(entry)->blob);
	else if (entry->stale_span != SPAN_TO_VALID)
		spans->users[entry->stale_span]--;
}

/* ---- reading ---- */

uint32_t
entry_size(const struct entry *entry)
{
	size_t size = sizeof(*entry) + entry_extra_size(entry->form) + entry_key(entry).len +
	    entry_variant(entry).len + entry->inline_len;

	return (uint32_t)(size + 3) / 4 * 4;
}

static void
read_extra(const struct entry_extra *extra, struct cache_value *value)
{
	value->filled_ms = extra->filled_ms;
	value->fresh_until_ms = extra->fresh_until_ms;
	value->stale_until_ms = extra->stale_until_ms;
	value->valid_until_ms = extra->valid_until_ms;
	value->refresh_at_ms = extra->refresh_at_ms;
}

static void
read_short(const struct stale_spans *spans, const struct entry *entry, struct cache_value *value)
{
	value->filled_ms = entry_filled_ms(entry);
	value->fresh_until_ms = value->filled_ms + entry_fresh_for_ms(entry);
	value->valid_until_ms = TIME_NEVER;
	if (entry->form == FORM_ENDING)
		value->valid_until_ms = value->filled_ms + entry_valid_for_ms(entry);
	value->stale_until_ms = entry->stale_span == SPAN_TO_VALID
	    ? value->valid_until_ms
	    : value->fresh_until_ms + spans->ms[entry->stale_span];
	value->refresh_at_ms = entry_refresh_at(entry, value->fresh_until_ms);
}

void
entry_read(const struct stale_spans *spans, const struct entry *entry, struct cache_value *value)
{
	value->kind = (enum cache_kind)entry->kind;
	value->source = (enum cache_source)entry->source;
	value->is_validity_exact = entry->is_validity_exact;
	if (entry->form == FORM_LONG)
		read_extra(entry_extra(entry), value);
	else
		read_short(spans, entry, value);
	if (entry->is_expired)
		value->fresh_until_ms = 0;
}

bool
entry_has_bytes(const struct entry *entry)
{
	return entry->kind != CACHE_ABSENT && entry->kind != CACHE_OVER &&
	    entry->kind != CACHE_NO_STRING;
}

struct blob *
entry_blob(const struct entry *entry)
{
	if (entry->form == FORM_LONG && entry_extra(entry)->blob != NULL)
		return blob_ref(entry_extra(entry)->blob);
	return entry_has_bytes(entry) ? blob_new(entry_bytes_of(entry)) : NULL;
}

void
entry_expire(struct entry *entry)
{
	entry->is_expired = true;
}
