/*
 * A shard's entries: a chained hash table. Two counters of the whole cache are
 * touched when an entry comes or goes, and never by a hit.
 */
#include <malloc.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "store/cache_inside.h"

/* The shard from the hash's top, the bucket from its bottom, the lease from
 * its middle: none says anything about the others. */
struct shard *
shard_lock(struct cache *cache, uint64_t hash)
{
	struct shard *shard = &cache->shards[(hash >> 56) & (cache->shard_count - 1)];

	pthread_mutex_lock(&shard->lock);
	return shard;
}

struct lease_slot *
shard_lease(const struct cache *cache, struct shard *shard, uint64_t hash)
{
	return &shard->leases[(hash >> 32) & (cache->leases_a_shard - 1)];
}

struct entry **
shard_bucket(struct shard *shard, uint64_t hash)
{
	return &shard->buckets[hash & (shard->bucket_count - 1)];
}

bool
entry_is_of(const struct entry *entry, struct slice key, uint64_t hash)
{
	return entry->hash == hash && slice_equal(slice_make(entry->key, entry->key_len), key);
}

struct entry *
shard_find(struct shard *shard, struct slice key, struct slice variant, uint64_t hash)
{
	struct entry *entry = *shard_bucket(shard, hash);

	while (entry != NULL &&
	    (!entry_is_of(entry, key, hash) ||
		!slice_equal(slice_make(entry->key + entry->key_len, entry->variant_len), variant)))
		entry = entry->chain;
	return entry;
}

/* ---- one entry's comings and goings; the shard's lock is held ---- */

int64_t
entry_bytes(const struct entry *entry)
{
	size_t blob = entry->value.bytes != NULL ? malloc_usable_size(entry->value.bytes) + 8 : 0;

	return (int64_t)(malloc_usable_size((void *)entry) + 8 + sizeof(struct entry *) + blob);
}

void
shard_remove(struct cache *cache, struct shard *shard, struct entry *entry)
{
	struct entry **at = shard_bucket(shard, entry->hash);

	while (*at != entry)
		at = &(*at)->chain;
	*at = entry->chain;
	shard_dequeue(shard, entry);
	shard->entries--;
	atomic_fetch_sub_explicit(&cache->entries, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&cache->bytes, entry_bytes(entry), memory_order_relaxed);
	blob_unref(entry->value.bytes);
	free(entry);
}

static void
grow_buckets(struct shard *shard)
{
	size_t count = shard->bucket_count * 2;
	struct entry **buckets = alloc_zero(count * sizeof(*buckets));

	for (int i = 0; i < QUEUE_COUNT; i++) {
		for (struct entry *e = shard->queues[i].newest; e != NULL; e = e->older) {
			struct entry **at = &buckets[e->hash & (count - 1)];
			e->chain = *at;
			*at = e;
		}
	}
	free(shard->buckets);
	shard->buckets = buckets;
	shard->bucket_count = count;
}

struct entry *
shard_add(struct cache *cache, struct shard *shard, struct slice key, struct slice variant,
    uint64_t hash, const struct cache_value *value)
{
	struct entry *entry = alloc(sizeof(*entry) + key.len + variant.len);

	*entry = (struct entry){
		.hash = hash,
		.value = *value,
		.key_len = (uint32_t)key.len,
		.variant_len = (uint32_t)variant.len,
	};
	memcpy(entry->key, key.at, key.len);
	if (variant.len > 0)
		memcpy(entry->key + key.len, variant.at, variant.len);
	if (value->bytes != NULL)
		blob_ref(value->bytes);
	if (shard->entries >= shard->bucket_count)
		grow_buckets(shard);
	struct entry **at = shard_bucket(shard, hash);
	entry->chain = *at;
	*at = entry;
	shard->entries++;
	atomic_fetch_add_explicit(&cache->entries, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&cache->bytes, entry_bytes(entry), memory_order_relaxed);
	return entry;
}
