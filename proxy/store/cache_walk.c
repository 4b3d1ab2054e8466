/* What concerns all keys of the cache: a shard at a time. */
#include <stdlib.h>

#include "base/glob.h"
#include "store/cache_table.h"

int64_t
shard_drop(struct cache *cache, struct shard *shard, const struct slice *pattern)
{
	int64_t dropped = 0;

	shard->flushes++;
	for (int i = 0; i < QUEUE_COUNT; i++) {
		for (uint32_t place = shard->queues[i].newest, older; place != NOWHERE;
		     place = older) {
			const struct entry *entry = entry_at(shard, place);
			older = entry->older;
			if (pattern == NULL || glob_matches(*pattern, entry_key(entry))) {
				shard_remove(cache, shard, place);
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
		lock_take(&shard->lock);
		dropped += shard_drop(cache, shard, pattern);
		lock_give(&shard->lock);
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
		lock_take(&shard->lock);
		shard->flushes++;
		shard->trusted_from_ms = now_ms + 1;
		lock_give(&shard->lock);
	}
}

void
cache_stats(const struct cache *cache, struct cache_stats *stats)
{
	stats->entries = atomic_load_explicit(&cache->entries, memory_order_relaxed);
	stats->bytes = atomic_load_explicit(&cache->bytes, memory_order_relaxed);
	stats->evictions = atomic_load_explicit(&cache->evictions, memory_order_relaxed);
}

struct walk {
	void (*each)(const struct cache_entry *entry, void *arg);
	void *arg;
};

/* All that is known of a key. */
static void
hand_over(const struct shard *shard, uint32_t place, void *arg)
{
	const struct walk *walk = arg;

	for (; place != NOWHERE; place = entry_next(entry_at(shard, place))) {
		const struct entry *kept = entry_at(shard, place);
		struct cache_entry entry = {
			.key = entry_key(kept),
			.variant = entry_variant(kept),
			.value.bytes = entry_blob(kept),
		};
		entry_read(&shard->spans, kept, &entry.value);
		walk->each(&entry, walk->arg);
		blob_unref(entry.value.bytes);
	}
}

bool
cache_each_some(struct cache *cache, size_t *place,
    void (*each)(const struct cache_entry *entry, void *arg), void *arg)
{
	struct shard *shard = &cache->shards[*place / TABLE_PORTIONS];
	struct walk walk = { each, arg };

	lock_take(&shard->lock);
	table_each(shard, *place % TABLE_PORTIONS, hand_over, &walk);
	lock_give(&shard->lock);
	return ++*place < (size_t)cache->shard_count * TABLE_PORTIONS;
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
		.key = slice_dup(entry_key(entry)),
		.key_len = entry_key(entry).len,
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
		lock_take(&shard->lock);
		for (int j = 0; j < QUEUE_COUNT; j++) {
			for (uint32_t at = shard->queues[j].newest; at != NOWHERE;
			     at = entry_at(shard, at)->older)
				held = insert_hot(keys, held, count, entry_at(shard, at));
		}
		lock_give(&shard->lock);
	}
	return held;
}
