/*
 * Who leaves when the cache is full.
 *
 *                      used: to the front of main
 *             +------------------------------------------+
 *             |                                          v
 *   new --> [ probation ] --> ghosts  <-- unused -- [    main    ] <-+
 *             unused ----------^ |                           |       |
 *                                | asked for again           +-------+
 *                                +-------------> main        used: once more
 *
 * S3-FIFO (Yang et al., "FIFO Queues are All You Need for Cache Eviction",
 * SOSP 2023), of the 2Q family (Johnson and Shasha, VLDB 1994): what is read
 * once passes through a short queue and does no harm, and a use costs the hit
 * path one byte, not a place in a list. Of the keys that have left, a table
 * remembers a few bits: one that is asked for again soon goes straight to main.
 *
 * How long probation should be depends: 1 % is best while the same keys stay
 * in demand, and where others come into demand all at once, only a long one
 * takes them in as fast as plain LRU does. So it learns, as ARC does (Megiddo
 * and Modha, FAST 2003): a key that comes back right after it left probation
 * says that probation is too short, one that comes back right after it left
 * main says that main is. The figures below are the best of some thousands on
 * the traces of tests/unit/store/test_eviction.c, which holds them to it.
 *
 * The bounds are of the whole cache. Who goes over a bound evicts, from its
 * own shard while that has others, then from the next.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/cache_inside.h"

/* Shares of a shard's entries, in 1/SHARE_ONE. */
#define SHARE_ONE (1u << 20)
#define SHARE_LEAST (SHARE_ONE / 100)
#define SHARE_MOST (SHARE_ONE / 2)
#define SHARE_LONG (SHARE_ONE / 20) /* demand is changing */

#define GHOST_WAYS 8
#define USUAL_ENTRY_BYTES 128 /* few are smaller: no more leavers are remembered than fit */

#define STEPS_A_TURN 64 /* in one shard, by new bounds; then its readers may go on */

/*
 * A ghost is one number: 13 bits of the key's hash, why it left, and how many
 * had left that queue before it (17 bits: its age is the distance to now).
 * Two keys that look alike cost a place in main, nothing else.
 */
enum ghost_reason { GHOST_NONE, GHOST_PROBATION, GHOST_MAIN, GHOST_DROPPED };
#define GHOST_AGE_BITS 17
#define GHOST_AGE_MASK ((1u << GHOST_AGE_BITS) - 1)
#define GHOST_KEY_MASK (~0u << (GHOST_AGE_BITS + 2))

/* How long each is remembered: as many leavers as this share of the entries. */
static const uint32_t remembered_for[] = {
	[GHOST_PROBATION] = SHARE_ONE / 2,
	[GHOST_MAIN] = SHARE_ONE / 20,
	[GHOST_DROPPED] = SHARE_ONE / 2,
};
/* "Right after it left probation". */
#define SOON (SHARE_ONE / 20)
/* By how many entries one that comes back moves the border. */
#define LONGER_STEP 64
#define SHORTER_STEP 96
#define BORDER_ENTRIES 6400 /* in a cache of fewer, it moves by no more than 1 % */

static uint32_t
share_of(uint32_t share, size_t count)
{
	return (uint32_t)((uint64_t)share * count / SHARE_ONE);
}

void
cache_init_order(struct cache *cache)
{
	atomic_init(&cache->probation_share, SHARE_LEAST);
}

void
shard_init_order(const struct cache *cache, struct shard *shard, size_t max_entries)
{
	size_t usual = (size_t)cache->max_memory_bytes / USUAL_ENTRY_BYTES / cache->shard_count;

	max_entries = max_entries < usual ? max_entries : usual;
	shard->ghosts.set_count = 1;
	while (shard->ghosts.set_count * GHOST_WAYS < max_entries * 3 / 4)
		shard->ghosts.set_count *= 2;
	shard->ghosts.slots =
	    alloc_zero(shard->ghosts.set_count * GHOST_WAYS * sizeof(*shard->ghosts.slots));
}

void
shard_free_order(struct shard *shard)
{
	free(shard->ghosts.slots);
}

/* ---- queues ---- */

void
shard_dequeue(struct shard *shard, struct entry *entry)
{
	struct queue *queue = &shard->queues[entry->queue];
	uint32_t newer = entry->newer, older = entry->older;

	*(newer != NOWHERE ? &entry_at(shard, newer)->older : &queue->newest) = older;
	*(older != NOWHERE ? &entry_at(shard, older)->newer : &queue->oldest) = newer;
	queue->count--;
}

static void
push(struct shard *shard, uint32_t place, enum queue_name name)
{
	struct queue *queue = &shard->queues[name];
	struct entry *entry = entry_at(shard, place);
	uint32_t second = queue->newest;

	entry->queue = (unsigned)name & 1;
	entry->newer = NOWHERE;
	entry->older = second;
	*(second != NOWHERE ? &entry_at(shard, second)->newer : &queue->oldest) = place;
	queue->newest = place;
	queue->count++;
}

static void
move(struct shard *shard, uint32_t place, enum queue_name name)
{
	shard_dequeue(shard, entry_at(shard, place));
	push(shard, place, name);
}

static unsigned
one_more_use(const struct entry *entry)
{
	return entry->uses < USES_MOST ? entry->uses + 1 : USES_MOST;
}

static bool
is_lru(const struct cache *cache)
{
	return cache->eviction == CACHE_EVICT_LRU;
}

void
shard_move_up(struct shard *shard, uint32_t place)
{
	if (shard->queues[QUEUE_MAIN].newest != place)
		move(shard, place, QUEUE_MAIN);
}

/* ---- ghosts ---- */

static uint32_t *
ghost_set(const struct shard *shard, uint64_t hash)
{
	return &shard->ghosts.slots[(hash & (shard->ghosts.set_count - 1)) * GHOST_WAYS];
}

/* Bits that choose neither the shard nor the set. */
static uint32_t
ghost_key(uint64_t hash)
{
	return (uint32_t)(hash >> 24) & GHOST_KEY_MASK;
}

static enum ghost_reason
reason_of(uint32_t ghost)
{
	return (ghost >> GHOST_AGE_BITS) & 3;
}

static uint32_t *
leavers(struct shard *shard, enum ghost_reason reason)
{
	return &shard->ghosts.left[reason == GHOST_MAIN ? QUEUE_MAIN : QUEUE_PROBATION];
}

static uint32_t
age_of(struct shard *shard, uint32_t ghost)
{
	return (*leavers(shard, reason_of(ghost)) - ghost) & GHOST_AGE_MASK;
}

static bool
is_over(struct shard *shard, uint32_t ghost)
{
	enum ghost_reason reason = reason_of(ghost);

	return reason == GHOST_NONE ||
	    age_of(shard, ghost) > share_of(remembered_for[reason], shard->entries);
}

static void
remember(struct shard *shard, uint64_t hash, enum ghost_reason reason)
{
	uint32_t *set = ghost_set(shard, hash), *place = set;

	for (int i = 0; i < GHOST_WAYS; i++) {
		if (is_over(shard, set[i])) {
			place = &set[i];
			break;
		}
		if (age_of(shard, set[i]) > age_of(shard, *place))
			place = &set[i];
	}
	uint32_t count =
	    reason == GHOST_DROPPED ? *leavers(shard, reason) : (*leavers(shard, reason))++;
	*place = ghost_key(hash) | (uint32_t)reason << GHOST_AGE_BITS | (count & GHOST_AGE_MASK);
}

void
shard_remember(const struct cache *cache, struct shard *shard, const struct entry *entry,
    uint64_t hash)
{
	if (!is_lru(cache) && (entry->queue == QUEUE_MAIN || entry->uses > 0))
		remember(shard, hash, GHOST_DROPPED);
}

/* Takes a key's ghost out; 0: there is none. */
static uint32_t
recall(struct shard *shard, uint64_t hash)
{
	uint32_t *set = ghost_set(shard, hash);

	for (int i = 0; i < GHOST_WAYS; i++) {
		uint32_t ghost = set[i];
		if ((ghost & GHOST_KEY_MASK) == ghost_key(hash) && !is_over(shard, ghost)) {
			set[i] = GHOST_NONE;
			return ghost;
		}
	}
	return GHOST_NONE;
}

/* ---- coming ---- */

/* Threads may overwrite each other's step: it is learnt again. */
static void
move_border(struct cache *cache, int64_t entries)
{
	int64_t all = atomic_load_explicit(&cache->entries, memory_order_relaxed);
	int64_t share = atomic_load_explicit(&cache->probation_share, memory_order_relaxed);

	share += SHARE_ONE * entries / (all > BORDER_ENTRIES ? all : BORDER_ENTRIES);
	share = share < SHARE_LEAST ? SHARE_LEAST : share > SHARE_MOST ? SHARE_MOST : share;
	atomic_store_explicit(&cache->probation_share, (uint32_t)share, memory_order_relaxed);
}

static void
learn_from(struct cache *cache, struct shard *shard, uint32_t ghost)
{
	if (reason_of(ghost) == GHOST_PROBATION &&
	    age_of(shard, ghost) <= share_of(SOON, shard->entries))
		move_border(cache, LONGER_STEP);
	else if (reason_of(ghost) == GHOST_MAIN)
		move_border(cache, -SHORTER_STEP);
}

void
shard_enqueue(struct cache *cache, struct shard *shard, uint32_t place, uint64_t hash)
{
	uint32_t ghost = is_lru(cache) ? GHOST_NONE : recall(shard, hash);

	learn_from(cache, shard, ghost);
	push(shard, place, is_lru(cache) || ghost != GHOST_NONE ? QUEUE_MAIN : QUEUE_PROBATION);
}

void
shard_succeed(struct shard *shard, const struct entry *old, uint32_t place)
{
	struct entry *entry = entry_at(shard, place);

	entry->hits = old->hits;
	entry->uses = one_more_use(old) & 3;
	push(shard, place, old->queue);
}

/* ---- leaving ---- */

bool
cache_is_over_bounds(const struct cache *cache)
{
	return atomic_load_explicit(&cache->entries, memory_order_relaxed) >
	    atomic_load_explicit(&cache->max_entries, memory_order_relaxed) ||
	    atomic_load_explicit(&cache->bytes, memory_order_relaxed) >
	    atomic_load_explicit(&cache->max_memory_bytes, memory_order_relaxed);
}

static uint32_t
share_of_probation(const struct cache *cache)
{
	return atomic_load_explicit(&cache->probation_share, memory_order_relaxed);
}

/* The next to leave, or to be looked at; NOWHERE: there is only who is spared. */
static uint32_t
oldest_but(const struct cache *cache, const struct shard *shard, uint32_t spared)
{
	const struct queue *probation = &shard->queues[QUEUE_PROBATION];
	uint32_t of_probation = probation->oldest, of_main = shard->queues[QUEUE_MAIN].oldest;
	bool is_long = probation->count > share_of(share_of_probation(cache), shard->entries);

	if (of_probation == spared)
		of_probation = NOWHERE;
	if (of_main == spared)
		of_main = NOWHERE;
	if (of_probation == NOWHERE || of_main == NOWHERE)
		return of_probation != NOWHERE ? of_probation : of_main;
	return is_long ? of_probation : of_main;
}

/*
 * An entry that was used goes on in main: with as many more rounds as it had
 * uses while demand is steady, with one where it is changing.
 */
static bool
is_given_a_chance(const struct cache *cache, struct shard *shard, uint32_t place)
{
	struct entry *entry = entry_at(shard, place);

	if (is_lru(cache) || entry->uses == 0)
		return false;
	bool is_steady = share_of_probation(cache) <= SHARE_LONG;
	entry->uses = entry->queue == QUEUE_MAIN && is_steady ? (entry->uses - 1) & 3 : 0;
	move(shard, place, QUEUE_MAIN);
	return true;
}

/* One leaves, or is given a chance. False: there is none. */
static bool
evict_step(struct cache *cache, struct shard *shard, uint32_t spared)
{
	uint32_t place = oldest_but(cache, shard, spared);

	if (place == NOWHERE)
		return false;
	if (is_given_a_chance(cache, shard, place))
		return true;
	const struct entry *entry = entry_at(shard, place);
	if (!is_lru(cache))
		remember(shard, cache_hash(entry_key(entry)),
		    entry->queue == QUEUE_MAIN ? GHOST_MAIN : GHOST_PROBATION);
	shard_remove(cache, shard, place);
	atomic_fetch_add_explicit(&cache->evictions, 1, memory_order_relaxed);
	return true;
}

void
shard_evict(struct cache *cache, struct shard *shard, uint32_t spared)
{
	while (cache_is_over_bounds(cache) && evict_step(cache, shard, spared))
		;
}

void
cache_evict_elsewhere(struct cache *cache, uint64_t hash)
{
	unsigned home = (unsigned)(hash >> 56) & (cache->shard_count - 1);

	/* The home shard comes last: a newcomer larger than all bounds leaves, too. */
	for (unsigned i = 1; i <= cache->shard_count && cache_is_over_bounds(cache); i++) {
		struct shard *shard = &cache->shards[(home + i) & (cache->shard_count - 1)];
		lock_take(&shard->lock);
		shard_evict(cache, shard, NOWHERE);
		lock_give(&shard->lock);
	}
}

/* A few steps in each shard at a time, so that all give their share. */
static void
evict_evenly(struct cache *cache)
{
	while (cache_is_over_bounds(cache) && atomic_load(&cache->entries) > 0) {
		for (unsigned i = 0; i < cache->shard_count; i++) {
			struct shard *shard = &cache->shards[i];
			lock_take(&shard->lock);
			shard_tidy(shard);
			for (int n = 0; n < STEPS_A_TURN && cache_is_over_bounds(cache); n++) {
				if (!evict_step(cache, shard, NOWHERE))
					break;
			}
			lock_give(&shard->lock);
		}
	}
}

void
cache_set_limits(struct cache *cache, const struct cache_limits *limits)
{
	atomic_store(&cache->max_entries, limits->max_entries);
	atomic_store(&cache->max_memory_bytes, limits->max_memory_bytes);
	atomic_store(&cache->max_value_bytes, limits->max_value_bytes);
	evict_evenly(cache);
}
