/*
 * What the files of the cache share; nobody else includes it.
 *
 *   cache.c        leases, filling and dropping one key
 *   cache_find.c   finding one: the path of every hit
 *   cache_walk.c   all keys
 *   cache_evict.c  who leaves
 *   cache_shard.c  an entry's coming and going
 *   cache_table.h, .c  where a key's entries are
 *   cache_arena.c  the room they take
 *   cache_entry.c  how one lies in memory
 */
#ifndef SIDECAR_STORE_CACHE_INSIDE_H
#define SIDECAR_STORE_CACHE_INSIDE_H

#include "base/lock.h"
#include "store/cache_entry.h"

#define EXPIRY_WAYS 4

/* See cache_evict.c. With plain lru all entries are in the main queue. */
enum queue_name { QUEUE_PROBATION, QUEUE_MAIN, QUEUE_COUNT };

struct queue {
	uint32_t newest, oldest; /* places */
	size_t count;
};

/* What is remembered of keys that have left: see cache_evict.c. */
struct ghosts {
	uint32_t *slots;
	size_t set_count;           /* a power of two */
	uint32_t left[QUEUE_COUNT]; /* how many, ever, by the queue that they left */
};

/* See cache_table.c. */
#define BUCKET_SLOTS 12
struct bucket {
	_Alignas(64) uint8_t tags[BUCKET_SLOTS]; /* 0: free */
	uint32_t passed; /* keys that belong here or before and are further on */
	uint32_t places[BUCKET_SLOTS];
};

/* See cache_arena.c. */
struct segment {
	char *at;      /* NULL: it has no pages */
	uint32_t size; /* 0: not in use, and its pages are empty */
	uint32_t used, live;
};
/* Of all shards: segments that are empty and still resident, to be filled next. */
#define SPARE_SEGMENTS 2
struct spares {
	_Atomic(char *) at[SPARE_SEGMENTS];
};
struct arena {
	struct spares *spares;
	struct segment *segments;
	uint32_t segment_count;
	uint32_t open;    /* where the next entry goes; segment_count: nowhere yet */
	uint32_t changes; /* entries that have come or gone: until then a place is good */
	int64_t used, dead;
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
	/* The line of every hit. */
	_Alignas(64) struct lock lock;    /* guards all below */
	_Atomic uint32_t bucket_count;    /* this and the next are read without */
	_Atomic(struct bucket *) buckets; /* the lock by who prefetches */
	int64_t trusted_from_ms;          /* what was filled before is stale at best */
	struct arena arena;

	size_t entries;
	size_t keys; /* in the table */
	size_t keys_expected;
	struct queue queues[QUEUE_COUNT];
	uint64_t flushes;
	struct lease_slot *leases;
	struct expiry (*expiries)[EXPIRY_WAYS];
	struct ghosts ghosts;
	struct stale_spans spans;
};

struct cache {
	_Atomic int64_t max_entries, max_memory_bytes, max_value_bytes; /* see cache_limits */
	enum cache_eviction eviction;
	unsigned shard_count; /* a power of two */
	unsigned leases_a_shard;
	unsigned expiry_sets_a_shard;
	_Atomic int64_t entries, bytes, evictions;
	_Atomic uint32_t probation_share; /* see cache_evict.c */
	struct spares spares;
	struct shard shards[];
};

/* Below, but for cache_evict_elsewhere(), the shard's lock is held. A place
 * is good until shard_tidy(), an address of an entry until then as well. */

/* ---- cache_shard.c ---- */

/* The shard from the hash's top, the bucket from its bottom, the lease from
 * its middle: none says anything about the others. */
static inline struct shard *
shard_of(const struct cache *cache, uint64_t hash)
{
	return (struct shard *)(uintptr_t)&cache->shards[(hash >> 56) & (cache->shard_count - 1)];
}

/* Locks the shard of a hash and returns it. */
static inline struct shard *
shard_lock(const struct cache *cache, uint64_t hash)
{
	struct shard *shard = shard_of(cache, hash);

	lock_take(&shard->lock);
	return shard;
}

struct lease_slot *shard_lease(const struct cache *cache, struct shard *shard, uint64_t hash);
/* The entry of a key and variant, and a key's first; NOWHERE: none. */
uint32_t shard_find(const struct shard *shard, struct slice key, struct slice variant,
    uint64_t hash);
uint32_t shard_first(const struct shard *shard, struct slice key, uint64_t hash);

int64_t entry_bytes(const struct entry *entry);
/* In no queue yet. */
uint32_t shard_add(struct cache *cache, struct shard *shard, struct slice key, struct slice variant,
    uint64_t hash, const struct cache_value *value);
void shard_remove(struct cache *cache, struct shard *shard, uint32_t place);
/* Moves entries together where many have left. */
void shard_tidy(struct shard *shard);

/* ---- cache_arena.c ---- */

#define PLACE_BITS 15 /* of a place, for where in its segment it is, in units of 4 bytes */

uint32_t arena_take(struct arena *arena, uint32_t size);
void arena_give(struct arena *arena, uint32_t place, uint32_t size);
/* The segment to be emptied; segment_count: none is worth it. */
uint32_t arena_worst(const struct arena *arena);
void arena_free(struct arena *arena);
void spares_free(struct spares *spares);

static inline struct entry *
entry_at(const struct shard *shard, uint32_t place)
{
	char *at = shard->arena.segments[place >> PLACE_BITS].at;

	return (struct entry *)(void *)(at + (place & ((1u << PLACE_BITS) - 1)) * 4);
}

/* ---- cache_evict.c ---- */

void cache_init_order(struct cache *cache);
void shard_init_order(const struct cache *cache, struct shard *shard, size_t max_entries);
void shard_free_order(struct shard *shard);
/* Puts a newcomer into its queue. */
void shard_enqueue(struct cache *cache, struct shard *shard, uint32_t place, uint64_t hash);
/* Puts what replaces an entry into that one's queue; it counts as use. */
void shard_succeed(struct shard *shard, const struct entry *old, uint32_t place);
void shard_dequeue(struct shard *shard, struct entry *entry);
/* Plain lru: it was used. */
void shard_move_up(struct shard *shard, uint32_t place);

#define USES_MOST 3 /* what an entry's counter of uses goes up to */
#define HITS_MOST ((1u << 27) - 1)

/* It was used. Uses are written only where they change. */
static inline void
shard_touch(const struct cache *cache, struct shard *shard, uint32_t place, struct entry *entry)
{
	if (entry->hits < HITS_MOST)
		entry->hits++;
	if (entry->uses < USES_MOST)
		entry->uses++;
	if (cache->eviction == CACHE_EVICT_LRU)
		shard_move_up(shard, place);
}
/* It leaves because its value is no longer true: the key may be as much in
 * demand as before. */
void shard_remember(const struct cache *cache, struct shard *shard, const struct entry *entry,
    uint64_t hash);

bool cache_is_over_bounds(const struct cache *cache);
/* Has entries leave as long as the cache is over its bounds; never `spared`. */
void shard_evict(struct cache *cache, struct shard *shard, uint32_t spared);
/* The newcomer's own shard had nothing else to give; no lock is held. */
void cache_evict_elsewhere(struct cache *cache, uint64_t hash);

/* ---- cache_walk.c ---- */

/* Removes what matches, NULL: everything; voids every lease. How many. */
int64_t shard_drop(struct cache *cache, struct shard *shard, const struct slice *pattern);

#endif
