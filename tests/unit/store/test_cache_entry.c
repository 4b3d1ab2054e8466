/* What an entry keeps of a value's times, in few bits; and comparing keys: in
 * the cache's tables a key is hardly ever compared with another than itself,
 * so that a mistake would not show there. */
#include "store/cache_entry.h"

#include "../dice.h"
#include "../test.h"

#define YEAR_MS (INT64_C(365) * 24 * 3600 * 1000)

/* What is read of an entry of these times. */
static struct cache_value
kept_in(struct stale_spans *spans, const struct cache_value *value, enum entry_form *form)
{
	static _Alignas(8) char room[256];
	struct entry *entry = (struct entry *)(void *)room;
	struct entry_plan plan = { .key = SLICE("key"), .value = value };
	struct cache_value kept = { .bytes = NULL };

	entry_plan(spans, &plan);
	CHECK(plan.size <= sizeof(room));
	entry_write(spans, &plan, entry);
	CHECK_INT(entry_size(entry), plan.size);
	entry_read(spans, entry, &kept);
	*form = plan.form;
	return kept;
}

static struct cache_value
kept(const struct cache_value *value, enum entry_form *form)
{
	struct stale_spans spans = { .users = { 0 } };

	return kept_in(&spans, value, form);
}

/* Stale for a minute. */
static struct cache_value
fresh_for(int64_t filled_ms, int64_t ms)
{
	return (struct cache_value){
		.kind = CACHE_ABSENT,
		.filled_ms = filled_ms,
		.fresh_until_ms = filled_ms + ms,
		.stale_until_ms = filled_ms + ms + 60000,
		.valid_until_ms = TIME_NEVER,
		.refresh_at_ms = TIME_NEVER,
	};
}

/* Of any size up to `bits` bits, small ones as often as large ones. */
static int64_t
draw_span(int bits)
{
	return (int64_t)(draw() >> (64 - bits) >> draw() % (unsigned)bits);
}

TEST(what_is_fresh_is_so_to_a_thousandth_and_never_longer)
{
	enum entry_form form;

	seed = 11;
	for (int i = 0; i < 100000; i++) {
		int64_t filled_ms = draw_span(37), ms = draw_span(32);
		struct cache_value value = fresh_for(filled_ms, ms), read = kept(&value, &form);
		int64_t shorter_by = value.fresh_until_ms - read.fresh_until_ms;
		CHECK_INT(form, FORM_SHORT);
		CHECK_INT(read.filled_ms, filled_ms);
		CHECK(shorter_by >= 0 && shorter_by <= ms / 1000);
		CHECK_INT(read.stale_until_ms, read.fresh_until_ms + 60000);
		CHECK_INT(read.valid_until_ms, TIME_NEVER);
		CHECK_INT(read.refresh_at_ms, TIME_NEVER);
	}
}

TEST(the_early_refresh_comes_at_an_eighth_of_its_distance_or_8_ms)
{
	enum entry_form form;

	seed = 12;
	for (int i = 0; i < 100000; i++) {
		int64_t ms = draw_span(32), before = draw_span(33);
		struct cache_value value = fresh_for(0, ms);
		value.refresh_at_ms = value.fresh_until_ms - before;
		struct cache_value read = kept(&value, &form);
		int64_t kept_before = read.fresh_until_ms - read.refresh_at_ms;
		CHECK_INT(form, FORM_SHORT);
		CHECK(before <= 8 ? kept_before == 8 : kept_before <= before);
		CHECK(kept_before >= before - before / 8);
	}
}

TEST(a_refresh_behind_its_freshness_is_none)
{
	enum entry_form form;
	struct cache_value value = fresh_for(0, 1000);

	value.refresh_at_ms = 1001;
	CHECK_INT(kept(&value, &form).refresh_at_ms, TIME_NEVER);
}

TEST(valid_until_is_exact)
{
	enum entry_form form;

	seed = 13;
	for (int i = 0; i < 100000; i++) {
		int64_t filled_ms = draw_span(37), ms = draw_span(32);
		struct cache_value value = fresh_for(filled_ms, draw_span(32) % (ms + 1));
		value.valid_until_ms = filled_ms + ms;
		if (value.stale_until_ms > value.valid_until_ms)
			value.stale_until_ms = value.valid_until_ms;
		struct cache_value read = kept(&value, &form);
		CHECK_INT(form, FORM_ENDING);
		CHECK_INT(read.valid_until_ms, value.valid_until_ms);
		CHECK(read.fresh_until_ms <= read.valid_until_ms);
		CHECK(read.stale_until_ms <= value.stale_until_ms);
	}
}

TEST(times_that_do_not_fit_are_kept_in_full)
{
	struct cache_value odd[] = { fresh_for(5 * YEAR_MS, 1000), fresh_for(-1, 1000),
		fresh_for(0, INT64_C(1) << 32), fresh_for(0, -1), fresh_for(0, 1000) };
	enum entry_form form;

	odd[4].stale_until_ms = 1001; /* no whole second */
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		struct cache_value read = kept(&odd[i], &form);
		CHECK_INT(form, FORM_LONG);
		CHECK_INT(read.filled_ms, odd[i].filled_ms);
		CHECK_INT(read.fresh_until_ms, odd[i].fresh_until_ms);
		CHECK_INT(read.stale_until_ms, odd[i].stale_until_ms);
	}
}

TEST(a_distance_too_many_to_be_numbered_is_kept_in_full)
{
	struct stale_spans spans = { .users = { 0 } };
	enum entry_form form;

	for (int i = 0; i <= STALE_SPANS; i++) {
		struct cache_value value = fresh_for(0, 1000);
		value.stale_until_ms = 1000 + i * 1000;
		struct cache_value read = kept_in(&spans, &value, &form);
		CHECK_INT(form, i < STALE_SPANS ? FORM_SHORT : FORM_LONG);
		CHECK_INT(read.stale_until_ms, value.stale_until_ms);
	}
}

TEST(keys_that_differ_in_any_byte_are_told_apart)
{
	char a[80], b[80];

	for (size_t len = 0; len <= 40; len++) {
		for (size_t i = 0; i < sizeof(a); i++)
			a[i] = b[i] = (char)(i * 37);
		b[len + 1] = '!'; /* behind both */
		CHECK(entry_same_bytes(a + 1, b + 1, len));
		for (size_t at = 1; at <= len; at++) {
			b[at] ^= 0x10;
			CHECK(!entry_same_bytes(a + 1, b + 1, len));
			b[at] ^= 0x10;
		}
		b[0] ^= 1; /* before both */
		CHECK(entry_same_bytes(a + 1, b + 1, len));
	}
}

TEST_MAIN
