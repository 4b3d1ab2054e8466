/*
 * What cache.c (filling, dropping one key), cache_find.c (finding one),
 * cache_shard.c (entries), cache_evict.c (who leaves) and cache_walk.c (all
 * keys) share; nobody else.
 */
#ifndef SIDECAR_STORE_CACHE_INSIDE_H
#define SIDECAR_STORE_CACHE_INSIDE_H

#include <pthread.h>

#include "store/cache.h"

#define EXPIRY_SETS 1024 /* a shard */
#define EXPIRY_WAYS 4

/* See cache_evict.c. With plain lru all entries are in the main queue. */
enum queue_name { QUEUE_PROBATION, QUEUE_MAIN, QUEUE_COUNT };

struct entry {
	struct entry *chain;         /* next in its bucket */
	struct entry *newer, *older; /* in its queue */
	uint64_t hash;
	struct cache_value value;
	uint32_t hits;
	uint32_t key_len;
	uint32_t variant_len;
	uint8_t queue; /* enum queue_name */
	uint8_t uses;  /* a few are counted; who evicts takes them off again */
	char key[];    /* and the variant behind it */
};

struct queue {
	struct entry *newest, *oldest;
	size_t count;
};

/* What is remembered of keys that have left: see cache_evict.c. */
struct ghosts {
	uint32_t *slots;
	size_t set_count;           /* a power of two */
	uint32_t left[QUEUE_COUNT]; /* how many, ever, by the queue that they left */
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
	struct queue queues[QUEUE_COUNT];
	struct ghosts ghosts;
	uint64_t flushes;
	int64_t trusted_from_ms; /* what was filled before is stale at best */
	struct lease_slot *leases;
	struct expiry (*expiries)[EXPIRY_WAYS];
};

struct cache {
	_Atomic int64_t max_entries, max_memory_bytes, max_value_bytes; /* see cache_limits */
	enum cache_eviction eviction;
	unsigned shard_count; /* a power of two */
	unsigned leases_a_shard;
	_Atomic int64_t entries, bytes, evictions;
	_Atomic uint32_t probation_share; /* see cache_evict.c */
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
/* In no queue yet. */
struct entry *shard_add(struct cache *cache, struct shard *shard, struct slice key,
    struct slice variant, uint64_t hash, const struct cache_value *value);
void shard_remove(struct cache *cache, struct shard *shard, struct entry *entry);

void cache_init_order(struct cache *cache);
void shard_init_order(struct shard *shard, size_t max_entries);
void shard_free_order(struct shard *shard);
/* Puts a newcomer into its queue. */
void shard_enqueue(struct cache *cache, struct shard *shard, struct entry *entry);
/* Puts what replaces an entry into that one's queue; it counts as use. */
void shard_take_place(struct shard *shard, const struct entry *old, struct entry *entry);
void shard_dequeue(struct shard *shard, struct entry *entry);
/* It was used. */
void shard_touch(const struct cache *cache, struct shard *shard, struct entry *entry);
/* It leaves because its value is no longer true: the key may be as much in
 * demand as before. */
void shard_remember(const struct cache *cache, struct shard *shard, const struct entry *entry);

bool cache_is_over_bounds(const struct cache *cache);
/* Has entries leave as long as the cache is over its bounds; never `spared`. */
void shard_evict(struct cache *cache, struct shard *shard, const struct entry *spared);
/* The newcomer's own shard had nothing else to give; no lock is held. */
void cache_evict_elsewhere(struct cache *cache, uint64_t hash);

/* Removes what matches, NULL: everything; voids every lease. How many. */
int64_t shard_drop(struct cache *cache, struct shard *shard, const struct slice *pattern);

#endif
