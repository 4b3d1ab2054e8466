/* See cache.h: finding one key, the path of every hit. */
#include "base/clock.h"
#include "base/hash.h"
#include "store/cache_inside.h"

#define COPIED_BYTES 4096  /* larger values are handed over by reference */
#define REFRESH_MIN_HITS 2 /* a key read once need not be kept warm */

static enum cache_find
judge(const struct shard *shard, const struct entry *entry, int64_t now_ms)
{
	const struct cache_value *value = &entry->value;

	if (now_ms >= value->valid_until_ms || now_ms >= value->stale_until_ms)
		return CACHE_MISS;
	bool is_trusted = value->filled_ms >= shard->trusted_from_ms;
	return is_trusted && now_ms < value->fresh_until_ms ? CACHE_FRESH : CACHE_STALE;
}

static void
count_use(const struct cache *cache, struct shard *shard, struct entry *entry)
{
	entry->hits++;
	shard_touch(cache, shard, entry);
}

static bool
is_first_to_refresh(struct entry *entry, int64_t now_ms)
{
	if (now_ms < entry->value.refresh_at_ms || entry->hits < REFRESH_MIN_HITS)
		return false;
	entry->value.refresh_at_ms = TIME_NEVER;
	return true;
}

enum cache_find
cache_find(struct cache *cache, struct slice key, int64_t now_ms, struct cache_value *value,
    bool *should_refresh)
{
	return cache_find_variant(cache, key, SLICE_NONE, now_ms, value, should_refresh);
}

enum cache_find
cache_find_variant(struct cache *cache, struct slice key, struct slice variant, int64_t now_ms,
    struct cache_value *value, bool *should_refresh)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = shard_lock(cache, hash);
	struct entry *entry = shard_find(shard, key, variant, hash);
	enum cache_find found = entry != NULL ? judge(shard, entry, now_ms) : CACHE_MISS;

	if (should_refresh != NULL)
		*should_refresh = false;
	if (entry != NULL && found == CACHE_MISS) {
		shard_remove(cache, shard, entry);
	} else if (entry != NULL) {
		*value = entry->value;
		if (value->bytes != NULL)
			blob_ref(value->bytes);
	}
	if (found == CACHE_FRESH) {
		count_use(cache, shard, entry);
		if (should_refresh != NULL)
			*should_refresh = is_first_to_refresh(entry, now_ms);
	}
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
	(void)cache;
	(void)hash;
}

void
cache_prefetch_entry(const struct cache *cache, uint64_t hash)
{
	(void)cache;
	(void)hash;
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

enum cache_read
cache_read(struct cache *cache, struct slice key, uint64_t hash, int64_t now_ms, struct buf *out,
    struct cache_reading *reading)
{
	struct shard *shard = shard_lock(cache, hash);
	struct entry *entry = shard_find(shard, key, SLICE_NONE, hash);
	enum cache_read read = CACHE_READ_NONE;

	*reading = (struct cache_reading){ NULL, false };
	if (entry != NULL && entry->value.kind == CACHE_STRING &&
	    judge(shard, entry, now_ms) == CACHE_FRESH) {
		struct blob *bytes = entry->value.bytes;
		count_use(cache, shard, entry);
		reading->should_refresh = is_first_to_refresh(entry, now_ms);
		read = bytes->len <= COPIED_BYTES ? CACHE_READ_BULK : CACHE_READ_BLOB;
		if (read == CACHE_READ_BULK)
			append_bulk(out, blob_slice(bytes));
		else
			reading->bytes = blob_ref(bytes);
	}
	pthread_mutex_unlock(&shard->lock);
	return read;
}
