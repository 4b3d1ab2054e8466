/*
 * What cache.c (filling, dropping one key), cache_find.c (finding one),
 * cache_shard.c (entries and bounds) and cache_walk.c (all keys) share; nobody
 * else.
 */
#ifndef SIDECAR_STORE_CACHE_INSIDE_H
#define SIDECAR_STORE_CACHE_INSIDE_H

#include <pthread.h>

#include "store/cache.h"

#define EXPIRY_SETS 1024 /* a shard */
#define EXPIRY_WAYS 4

struct entry {
	struct entry *chain;         /* next in its bucket */
	struct entry *newer, *older; /* in the order of use */
	uint64_t hash;
	struct cache_value value;
	uint32_t hits;
	uint32_t key_len;
	uint32_t variant_len;
	char key[]; /* and the variant behind it */
};

/* A key that Redis will let expire. */
struct expiry {
	uint64_t hash;
	int64_t at_ms; /* 0: free */
};

struct lease_slot {
	uint32_t version;
	uint32_t writes; /* begun and not ended */
	uint32_t fills;
};

struct shard {
	_Alignas(64) pthread_mutex_t lock; /* on a cache line of its own; guards all below */
	struct entry **buckets;
	size_t bucket_count; /* a power of two */
	size_t entries;
	struct entry *newest, *oldest;
	uint64_t flushes;
	int64_t trusted_from_ms; /* what was filled before is stale at best */
	struct lease_slot *leases;
	struct expiry (*expiries)[EXPIRY_WAYS];
};

struct cache {
	struct cache_limits limits;
	unsigned shard_count; /* a power of two */
	unsigned leases_a_shard;
	_Atomic int64_t entries, bytes, evictions;
	struct shard shards[];
};

/* Below, but for cache_evict_elsewhere(), the shard's lock is held. */

/* Locks the shard of a hash and returns it. */
struct shard *shard_lock(struct cache *cache, uint64_t hash);
struct lease_slot *shard_lease(const struct cache *cache, struct shard *shard, uint64_t hash);
struct entry **shard_bucket(struct shard *shard, uint64_t hash);
bool entry_is_of(const struct entry *entry, struct slice key, uint64_t hash);
struct entry *shard_find(struct shard *shard, struct slice key, struct slice variant,
    uint64_t hash);

int64_t entry_bytes(const struct entry *entry);
struct entry *shard_add(struct cache *cache, struct shard *shard, struct slice key,
    struct slice variant, uint64_t hash, const struct cache_value *value);
void shard_remove(struct cache *cache, struct shard *shard, struct entry *entry);
void shard_touch(struct shard *shard, struct entry *entry); /* it was used last */

bool cache_is_over_bounds(const struct cache *cache);
/* Oldest first, as long as the cache is over its bounds; never `spared`. */
void shard_evict(struct cache *cache, struct shard *shard, const struct entry *spared);
/* The newcomer's own shard had nothing else to give; no lock is held. */
void cache_evict_elsewhere(struct cache *cache, uint64_t hash);

/* Removes what matches, NULL: everything; voids every lease. How many. */
int64_t shard_drop(struct cache *cache, struct shard *shard, const struct slice *pattern);

#endif
