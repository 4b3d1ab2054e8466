/* See snapshot_record.h. */
#include "store/snapshot_record.h"

#include "base/clock.h"
#include "base/little_endian.h"

#define HEAD_BYTES (3 * 4 + 4 + 3 * 8)
#define MAX_BYTES (UINT32_C(1) << 30) /* of a key or a value; the settings allow less */

bool
snapshot_wants(const struct cache_entry *entry, int64_t mono_ms)
{
	const struct cache_value *value = &entry->value;
	bool is_value =
	    value->kind == CACHE_STRING || value->kind == CACHE_HASH || value->kind == CACHE_REPLY;

	return is_value && value->bytes != NULL && mono_ms < value->stale_until_ms &&
	    mono_ms < value->valid_until_ms;
}

/* ---- times ---- */

static int64_t
to_wall(int64_t mono_ms, const struct snapshot_now *now)
{
	return mono_ms == TIME_NEVER ? TIME_NEVER : mono_ms - now->mono_ms + now->wall_ms;
}

static int64_t
to_mono(int64_t wall_ms, const struct snapshot_now *now)
{
	int64_t mono_ms;

	if (wall_ms == TIME_NEVER ||
	    __builtin_sub_overflow(wall_ms, now->wall_ms - now->mono_ms, &mono_ms))
		return TIME_NEVER;
	return mono_ms;
}

static int64_t
earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- records ---- */

void
snapshot_record_append(struct buf *out, const struct cache_entry *entry,
    const struct snapshot_now *now)
{
	const struct cache_value *value = &entry->value;
	char *at = buf_reserve(out, HEAD_BYTES);

	little_put_32(at, (uint32_t)entry->key.len);
	little_put_32(at + 4, (uint32_t)entry->variant.len);
	little_put_32(at + 8, (uint32_t)value->bytes->len);
	at[12] = (char)value->kind;
	at[13] = (char)value->source;
	at[14] = value->is_validity_exact;
	at[15] = 0;
	little_put_64(at + 16, (uint64_t)to_wall(value->filled_ms, now));
	little_put_64(at + 24, (uint64_t)to_wall(value->stale_until_ms, now));
	little_put_64(at + 32, (uint64_t)to_wall(value->valid_until_ms, now));
	buf_added(out, HEAD_BYTES);
	buf_append_slice(out, entry->key);
	buf_append_slice(out, entry->variant);
	buf_append_slice(out, blob_slice(value->bytes));
}

static bool
is_known(const char marks[4])
{
	enum cache_kind kind = (enum cache_kind)marks[0];

	return (kind == CACHE_STRING || kind == CACHE_HASH || kind == CACHE_REPLY) &&
	    marks[1] >= CACHE_FROM_REDIS && marks[1] <= CACHE_FROM_WRITE &&
	    (marks[2] == 0 || marks[2] == 1) && marks[3] == 0;
}

enum snapshot_read
snapshot_record_read(struct slice *rest, const struct snapshot_now *now, int64_t max_stale_ms,
    struct cache_entry *entry, struct slice *bytes)
{
	const char *at = rest->at;

	if (rest->len < HEAD_BYTES)
		return SNAPSHOT_PARTIAL;
	size_t key_len = little_get_32(at), variant_len = little_get_32(at + 4);
	size_t len = little_get_32(at + 8);
	if (key_len > MAX_BYTES || variant_len > MAX_BYTES || len > MAX_BYTES || !is_known(at + 12))
		return SNAPSHOT_BROKEN;
	size_t size = HEAD_BYTES + key_len + variant_len + len;
	if (rest->len < size)
		return SNAPSHOT_PARTIAL;
	const char *key = at + HEAD_BYTES;
	*entry = (struct cache_entry){
		.key = slice_make(key, key_len),
		.variant = slice_make(key + key_len, variant_len),
		.value = {
			.kind = (enum cache_kind)at[12],
			.source = (enum cache_source)at[13],
			/* A clock that was set back must not make it come from the future. */
			.filled_ms = earliest(to_mono((int64_t)little_get_64(at + 16), now), now->mono_ms),
			.fresh_until_ms = now->mono_ms,
			.stale_until_ms = earliest(to_mono((int64_t)little_get_64(at + 24), now),
			    now->mono_ms + max_stale_ms),
			.valid_until_ms = to_mono((int64_t)little_get_64(at + 32), now),
			.is_validity_exact = at[14],
			.refresh_at_ms = TIME_NEVER,
		},
	};
	*bytes = slice_make(key + key_len + variant_len, len);
	*rest = slice_make(at + size, rest->len - size);
	return SNAPSHOT_READ;
}
