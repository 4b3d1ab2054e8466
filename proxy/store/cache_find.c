/* See cache.h: finding one key, the path of every hit. */
#include "base/clock.h"
#include "base/hash.h"
#include "store/cache_inside.h"

#define COPIED_BYTES 4096  /* larger values are handed over by reference */
#define REFRESH_MIN_HITS 2 /* a key read once need not be kept warm */

static enum cache_find
judge(const struct shard *shard, const struct cache_value *value, int64_t now_ms)
{
	if (now_ms >= value->valid_until_ms || now_ms >= value->stale_until_ms)
		return CACHE_MISS;
	bool is_trusted = value->filled_ms >= shard->trusted_from_ms;
	return is_trusted && now_ms < value->fresh_until_ms ? CACHE_FRESH : CACHE_STALE;
}

#define HITS_MOST ((1u << 28) - 1)

static void
count_use(const struct cache *cache, struct shard *shard, uint32_t place, struct entry *entry)
{
	if (entry->hits < HITS_MOST)
		entry->hits++;
	shard_touch(cache, shard, place, entry);
}

static bool
is_first_to_refresh(struct entry *entry, const struct cache_value *value, int64_t now_ms)
{
	if (now_ms < value->refresh_at_ms || entry->hits < REFRESH_MIN_HITS)
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
	value->bytes = entry_blob(entry);
	if (found == CACHE_FRESH) {
		count_use(cache, shard, place, entry);
		if (should_refresh != NULL)
			*should_refresh = is_first_to_refresh(entry, value, now_ms);
	}
	return found;
}

enum cache_find
cache_find_variant(struct cache *cache, struct slice key, struct slice variant, int64_t now_ms,
    struct cache_value *value, bool *should_refresh)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = shard_lock(cache, hash);
	uint32_t place = shard_find(shard, key, variant, hash);

	if (should_refresh != NULL)
		*should_refresh = false;
	enum cache_find found = place == NOWHERE
	    ? CACHE_MISS
	    : find_at(cache, shard, place, now_ms, value, should_refresh);
	pthread_mutex_unlock(&shard->lock);
	return found;
}

void
cache_value_release(struct cache_value *value)
{
	blob_unref(value->bytes);
	value->bytes = NULL;
}

/* ---- the hit ---- */

uint64_t
cache_hash(struct slice key)
{
	return hash_bytes(key);
}

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
cache_prefetch_entry(const struct cache *cache, uint64_t hash)
{
	struct shard *shard = shard_of(cache, hash);

	if (pthread_mutex_trylock(&shard->lock) != 0)
		return;
	uint32_t place = table_guess(shard, hash);
	const char *at = place != NOWHERE ? (const char *)entry_at(shard, place) : NULL;
	pthread_mutex_unlock(&shard->lock);
	for (int i = 0; at != NULL && i < ENTRY_LINES; i++)
		__builtin_prefetch(at + i * LINE_BYTES);
}

/* "$<len>\r\n<bytes>\r\n", without printf. */
static void
append_bulk(struct buf *out, struct slice bytes)
{
	char *end = buf_reserve(out, bytes.len + 32), *at = end;
	char digits[20];
	size_t count = 0, rest = bytes.len;

	do {
		digits[count++] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	*at++ = '$';
	while (count > 0)
		*at++ = digits[--count];
	*at++ = '\r';
	*at++ = '\n';
	if (bytes.len > 0)
		memcpy(at, bytes.at, bytes.len);
	at += bytes.len;
	*at++ = '\r';
	*at++ = '\n';
	buf_added(out, (size_t)(at - end));
}

/* With the lock held. */
static enum cache_read
read_at(const struct cache *cache, struct shard *shard, uint32_t place, int64_t now_ms,
    struct buf *out, struct cache_reading *reading)
{
	struct entry *entry = entry_at(shard, place);
	struct cache_value value;

	if (entry->kind != CACHE_STRING)
		return CACHE_READ_NONE;
	entry_read(&shard->spans, entry, &value);
	if (judge(shard, &value, now_ms) != CACHE_FRESH)
		return CACHE_READ_NONE;
	count_use(cache, shard, place, entry);
	reading->should_refresh = is_first_to_refresh(entry, &value, now_ms);
	struct slice bytes = entry_bytes_of(entry);
	if (bytes.len > COPIED_BYTES) {
		reading->bytes = entry_blob(entry);
		return CACHE_READ_BLOB;
	}
	append_bulk(out, bytes);
	return CACHE_READ_BULK;
}

enum cache_read
cache_read(struct cache *cache, struct slice key, uint64_t hash, int64_t now_ms, struct buf *out,
    struct cache_reading *reading)
{
	struct shard *shard = shard_lock(cache, hash);
	uint32_t place = shard_find(shard, key, SLICE_NONE, hash);

	*reading = (struct cache_reading){ NULL, false };
	enum cache_read read =
	    place == NOWHERE ? CACHE_READ_NONE : read_at(cache, shard, place, now_ms, out, reading);
	pthread_mutex_unlock(&shard->lock);
	return read;
}
