/*
 * See cache.h. cache_find() is for those who need the value, also a stale one:
 * climbs, EXPLAIN. Hits go past it, below: rows of keys straight into replies.
 */
#include "base/resp.h"
#include "store/cache_table.h"

#define REFRESH_MIN_HITS 2 /* a key read once need not be kept warm */

static enum cache_find
judge(const struct shard *shard, const struct cache_value *value, int64_t now_ms)
{
	if (now_ms >= value->valid_until_ms || now_ms >= value->stale_until_ms)
		return CACHE_MISS;
	bool is_trusted = value->filled_ms >= shard->trusted_from_ms;
	return is_trusted && now_ms < value->fresh_until_ms ? CACHE_FRESH : CACHE_STALE;
}

static inline bool
is_due(const struct entry *entry, int64_t refresh_at_ms, int64_t now_ms)
{
	return now_ms >= refresh_at_ms && entry->hits >= REFRESH_MIN_HITS;
}

static bool
is_first_to_refresh(struct entry *entry, int64_t refresh_at_ms, int64_t now_ms)
{
	if (!is_due(entry, refresh_at_ms, now_ms))
		return false;
	entry_forget_refresh(entry);
	return true;
}

enum cache_find
cache_find(struct cache *cache, struct slice key, int64_t now_ms, struct cache_value *value,
    bool *should_refresh)
{
	return cache_find_variant(cache, key, SLICE_NONE, now_ms, value, should_refresh);
}

/* With the lock held, and an entry. */
static enum cache_find
find_at(struct cache *cache, struct shard *shard, uint32_t place, int64_t now_ms,
    struct cache_value *value, bool *should_refresh)
{
	struct entry *entry = entry_at(shard, place);

	entry_read(&shard->spans, entry, value);
	enum cache_find found = judge(shard, value, now_ms);
	if (found == CACHE_MISS) {
		shard_remove(cache, shard, place);
		return found;
	}
	if (entry->kind == CACHE_NO_STRING)
		return CACHE_MISS; /* as far as others than MGET are concerned */
	value->bytes = entry_blob(entry);
	if (found == CACHE_FRESH) {
		shard_touch(cache, shard, place, entry);
		if (should_refresh != NULL)
			*should_refresh = is_first_to_refresh(entry, value->refresh_at_ms, now_ms);
	}
	return found;
}

enum cache_find
cache_find_variant(struct cache *cache, struct slice key, struct slice variant, int64_t now_ms,
    struct cache_value *value, bool *should_refresh)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);
	uint32_t place = shard_find(shard, key, variant, hash);

	if (should_refresh != NULL)
		*should_refresh = false;
	enum cache_find found = place == NOWHERE
	    ? CACHE_MISS
	    : find_at(cache, shard, place, now_ms, value, should_refresh);
	lock_give(&shard->lock);
	return found;
}

void
cache_value_release(struct cache_value *value)
{
	blob_unref(value->bytes);
	value->bytes = NULL;
}

/* ---- the hit ---- */

void
cache_prefetch(const struct cache *cache, uint64_t hash)
{
	const struct shard *shard = shard_of(cache, hash);

	__builtin_prefetch(shard);
	__builtin_prefetch(table_home(shard, hash));
}

#define LINE_BYTES 64
#define ENTRY_LINES 4 /* head, key and the value's start */

void
cache_prefetch_entry(const struct cache *cache, struct cache_key *key)
{
	struct shard *shard = shard_of(cache, key->hash);

	if (!lock_try(&shard->lock))
		return;
	uint32_t place = table_guess(shard, key->hash);
	const char *at = place != NOWHERE ? (const char *)entry_at(shard, place) : NULL;
	key->place = place;
	key->changes = shard->arena.changes;
	lock_give(&shard->lock);
	for (int i = 0; at != NULL && i < ENTRY_LINES; i++)
		__builtin_prefetch(at + i * LINE_BYTES);
}

/* resp_append_bulk() of bytes that are there, in place: it is most of a hit. */
static inline void
append_bulk(struct buf *out, struct slice bytes)
{
	char *start = buf_reserve(out, bytes.len + RESP_FRAME_BYTES), *at = start;

	*at = '$';
	at = resp_put_number(at + 1, bytes.len);
	memcpy(at, "\r\n", 2);
	memcpy(at + 2, bytes.at, bytes.len);
	at += 2 + bytes.len;
	memcpy(at, "\r\n", 2);
	buf_added(out, (size_t)(at + 2 - start));
}

static inline bool
is_plain(const struct shard *shard, const struct entry *entry, int64_t now_ms)
{
	int64_t fresh_until_ms;

	return entry->form != FORM_LONG && entry->kind == CACHE_STRING &&
	    entry_is_fresh(entry, now_ms, &fresh_until_ms) &&
	    entry_filled_ms(entry) >= shard->trusted_from_ms &&
	    !is_due(entry, entry_refresh_at(entry, fresh_until_ms), now_ms);
}

/* A key's first entry, mostly where it was when it was prefetched. */
static inline uint32_t
find_first(const struct shard *shard, const struct cache_key *key, struct entry **entry)
{
	if (key->place != NOWHERE && key->changes == shard->arena.changes) {
		*entry = entry_at(shard, key->place);
		if (entry_has_key(*entry, key->key))
			return key->place;
	}
	const uint32_t *slot = table_look_up(shard, key->key, key->hash, entry);
	return slot != NULL ? *slot : NOWHERE;
}

/* False: nothing has changed. */
static inline bool
read_plain(const struct cache *cache, const struct cache_key *key, struct cache_reader *reader)
{
	struct shard *shard = shard_lock(cache, key->hash);
	struct entry *entry;
	uint32_t place = find_first(shard, key, &entry);
	bool is_read = place != NOWHERE && is_plain(shard, entry, reader->now_ms);

	reader->is_there = place != NOWHERE;
	if (is_read) {
		shard_touch(cache, shard, place, entry);
		append_bulk(reader->out, entry_short_value(entry, key->key.len));
	}
	lock_give(&shard->lock);
	return is_read;
}

size_t
cache_read_row(struct cache *cache, struct cache_key *keys, size_t count,
    struct cache_reader *reader)
{
	size_t i;

	for (i = 0; i < count && buf_len(reader->out) <= reader->most; i++) {
		if (!read_plain(cache, &keys[i], reader))
			return i;
		keys[i].end = buf_len(reader->out);
	}
	reader->is_there = false;
	return i;
}

/* With the lock held. */
static enum cache_read
read_at(const struct cache *cache, struct shard *shard, uint32_t place, int64_t now_ms,
    struct buf *out, struct cache_reading *reading)
{
	struct entry *entry = entry_at(shard, place);
	struct cache_value value;

	if (entry->kind != CACHE_STRING && entry->kind != CACHE_ABSENT &&
	    entry->kind != CACHE_NO_STRING)
		return CACHE_READ_NONE;
	entry_read(&shard->spans, entry, &value);
	if (judge(shard, &value, now_ms) != CACHE_FRESH)
		return CACHE_READ_NONE;
	shard_touch(cache, shard, place, entry);
	if (entry->kind != CACHE_STRING)
		return entry->kind == CACHE_ABSENT ? CACHE_READ_NIL : CACHE_READ_NO_STRING;
	reading->should_refresh = is_first_to_refresh(entry, value.refresh_at_ms, now_ms);
	struct slice bytes = entry_bytes_of(entry);
	if (bytes.len > INLINE_BYTES) {
		reading->bytes = entry_blob(entry);
		return CACHE_READ_BLOB;
	}
	append_bulk(out, bytes);
	return CACHE_READ_BULK;
}

enum cache_read
cache_read(struct cache *cache, const struct cache_key *key, int64_t now_ms, struct buf *out,
    struct cache_reading *reading)
{
	struct shard *shard = shard_lock(cache, key->hash);
	uint32_t place = shard_find(shard, key->key, SLICE_NONE, key->hash);

	*reading = (struct cache_reading){ NULL, false };
	enum cache_read read =
	    place == NOWHERE ? CACHE_READ_NONE : read_at(cache, shard, place, now_ms, out, reading);
	lock_give(&shard->lock);
	return read;
}
