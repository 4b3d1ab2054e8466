/* What concerns all keys of the cache: a shard at a time. */
#include <stdlib.h>

#include "base/glob.h"
#include "store/cache_inside.h"

int64_t
shard_drop(struct cache *cache, struct shard *shard, const struct slice *pattern)
{
	int64_t dropped = 0;

	shard->flushes++;
	for (int i = 0; i < QUEUE_COUNT; i++) {
		for (struct entry *e = shard->queues[i].newest, *older; e != NULL; e = older) {
			older = e->older;
			if (pattern == NULL ||
			    glob_matches(*pattern, slice_make(e->key, e->key_len))) {
				shard_remove(cache, shard, e);
				dropped++;
			}
		}
	}
	return dropped;
}

static int64_t
drop_everywhere(struct cache *cache, const struct slice *pattern)
{
	int64_t dropped = 0;

	for (unsigned i = 0; i < cache->shard_count; i++) {
		struct shard *shard = &cache->shards[i];
		pthread_mutex_lock(&shard->lock);
		dropped += shard_drop(cache, shard, pattern);
		pthread_mutex_unlock(&shard->lock);
	}
	return dropped;
}

int64_t
cache_drop_all(struct cache *cache)
{
	return drop_everywhere(cache, NULL);
}

int64_t
cache_drop_matching(struct cache *cache, struct slice pattern)
{
	return drop_everywhere(cache, &pattern);
}

void
cache_distrust(struct cache *cache, int64_t now_ms)
{
	for (unsigned i = 0; i < cache->shard_count; i++) {
		struct shard *shard = &cache->shards[i];
		pthread_mutex_lock(&shard->lock);
		shard->flushes++;
		shard->trusted_from_ms = now_ms + 1;
		pthread_mutex_unlock(&shard->lock);
	}
}

void
cache_stats(const struct cache *cache, struct cache_stats *stats)
{
	stats->entries = atomic_load_explicit(&cache->entries, memory_order_relaxed);
	stats->bytes = atomic_load_explicit(&cache->bytes, memory_order_relaxed);
	stats->evictions = atomic_load_explicit(&cache->evictions, memory_order_relaxed);
}

/* A portion is a part of a shard by the bottom of the hash: the same keys
 * however far the table has grown meanwhile. */
#define PORTIONS 64 /* at most as many as a table has buckets */

bool
cache_each_some(struct cache *cache, size_t *place,
    void (*each)(const struct cache_entry *entry, void *arg), void *arg)
{
	struct shard *shard = &cache->shards[*place / PORTIONS];

	pthread_mutex_lock(&shard->lock);
	for (size_t i = *place % PORTIONS; i < shard->bucket_count; i += PORTIONS) {
		for (const struct entry *e = shard->buckets[i]; e != NULL; e = e->chain) {
			struct cache_entry entry = {
				.key = slice_make(e->key, e->key_len),
				.variant = slice_make(e->key + e->key_len, e->variant_len),
				.value = e->value,
			};
			each(&entry, arg);
		}
	}
	pthread_mutex_unlock(&shard->lock);
	return ++*place < (size_t)cache->shard_count * PORTIONS;
}

/* Puts an entry among the hottest so far, least hot last. */
static size_t
insert_hot(struct cache_hot_key *keys, size_t held, size_t count, const struct entry *entry)
{
	size_t at = held;

	if (held == count && keys[held - 1].hits >= entry->hits)
		return held;
	if (held == count)
		free(keys[--at].key);
	else
		held++;
	for (; at > 0 && keys[at - 1].hits < entry->hits; at--)
		keys[at] = keys[at - 1];
	keys[at] = (struct cache_hot_key){
		.key = slice_dup(slice_make(entry->key, entry->key_len)),
		.key_len = entry->key_len,
		.hits = entry->hits,
		.bytes = entry_bytes(entry),
	};
	return held;
}

size_t
cache_hottest(struct cache *cache, struct cache_hot_key *keys, size_t count)
{
	size_t held = 0;

	for (unsigned i = 0; i < cache->shard_count && count > 0; i++) {
		struct shard *shard = &cache->shards[i];
		pthread_mutex_lock(&shard->lock);
		for (int j = 0; j < QUEUE_COUNT; j++) {
			for (const struct entry *e = shard->queues[j].newest; e != NULL;
			     e = e->older)
				held = insert_hot(keys, held, count, e);
		}
		pthread_mutex_unlock(&shard->lock);
	}
	return held;
}
