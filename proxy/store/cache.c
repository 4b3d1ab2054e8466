/*
 * See cache.h: leases, filling and dropping one key. Finding is cache_find.c's,
 * entries and bounds are cache_shard.c's.
 */
#include "store/cache.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "store/cache_table.h"

/* Shards, a power of two: 16, so that threads seldom meet in one; more where a
 * table would be so large that its growth is felt. */
#define MAX_SHARDS 256
#define FEW_SHARDS 16
#define ENTRIES_A_SHARD 512 /* fewer are not worth a lock of their own */
#define ENTRIES_A_LARGE_SHARD 16384
#define BYTES_A_SHARD (INT64_C(1) << 20)
#define LEASE_SLOTS 16384 /* in all shards together */
#define EXPIRY_SETS 16384
#define MOST_EXPIRY_SETS 1024 /* a shard */
#define LEAST_ENTRY_BYTES 48  /* what no entry is smaller than */

static int64_t
entries_at_most(const struct cache_limits *limits)
{
	int64_t by_memory = limits->max_memory_bytes / LEAST_ENTRY_BYTES;

	return limits->max_entries < by_memory ? limits->max_entries : by_memory;
}

static unsigned
shards_for(const struct cache_limits *limits)
{
	int64_t entries = entries_at_most(limits);
	unsigned shards = 1;

	while (shards < MAX_SHARDS && limits->max_memory_bytes / (shards * 2) >= BYTES_A_SHARD &&
	    entries / (shards * 2) >=
		(shards < FEW_SHARDS ? ENTRIES_A_SHARD : ENTRIES_A_LARGE_SHARD))
		shards *= 2;
	return shards;
}

static void
init_shard(struct cache *cache, struct shard *shard, size_t entries)
{
	shard->keys_expected = entries;
	shard->arena.spares = &cache->spares;
	shard->leases = alloc_zero(cache->leases_a_shard * sizeof(struct lease_slot));
	shard->expiries = alloc_zero(cache->expiry_sets_a_shard * sizeof(*shard->expiries));
	shard_init_order(cache, shard, entries);
}

struct cache *
cache_new(const struct cache_limits *limits)
{
	unsigned shards = shards_for(limits), sets = EXPIRY_SETS / shards;
	size_t size = sizeof(struct cache) + shards * sizeof(struct shard);
	struct cache *cache = aligned_alloc(64, (size + 63) / 64 * 64);

	if (cache == NULL)
		abort();
	memset(cache, 0, size);
	cache_set_limits(cache, limits);
	cache->eviction = limits->eviction;
	cache->shard_count = shards;
	cache_init_order(cache);
	cache->leases_a_shard = LEASE_SLOTS / shards;
	cache->expiry_sets_a_shard = sets < MOST_EXPIRY_SETS ? sets : MOST_EXPIRY_SETS;
	for (unsigned i = 0; i < shards; i++)
		init_shard(cache, &cache->shards[i], (size_t)entries_at_most(limits) / shards);
	return cache;
}

void
cache_free(struct cache *cache)
{
	if (cache == NULL)
		return;
	for (unsigned i = 0; i < cache->shard_count; i++) {
		struct shard *shard = &cache->shards[i];
		shard_drop(cache, shard, NULL);
		table_free(shard);
		arena_free(&shard->arena);
		free(shard->leases);
		free(shard->expiries);
		shard_free_order(shard);
	}
	spares_free(&cache->spares);
	free(cache);
}

/* ---- leases and fills ---- */

struct cache_lease
cache_lease(struct cache *cache, struct slice key)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);
	const struct lease_slot *slot = shard_lease(cache, shard, hash);
	struct cache_lease lease = { shard->flushes, slot->version, slot->fills, slot->writes > 0 };

	lock_give(&shard->lock);
	return lease;
}

static bool
holds(const struct cache *cache, struct shard *shard, uint64_t hash,
    const struct cache_lease *lease)
{
	const struct lease_slot *slot = shard_lease(cache, shard, hash);

	return !lease->is_void && lease->flushes == shard->flushes &&
	    lease->version == slot->version && slot->writes == 0;
}

bool
cache_lease_holds(struct cache *cache, struct slice key, const struct cache_lease *lease)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);
	bool it_holds = holds(cache, shard, hash, lease);

	lock_give(&shard->lock);
	return it_holds;
}

bool
cache_lease_is_latest(struct cache *cache, struct slice key, const struct cache_lease *lease)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);
	bool is_latest = holds(cache, shard, hash, lease) &&
	    lease->fills == shard_lease(cache, shard, hash)->fills;

	lock_give(&shard->lock);
	return is_latest;
}

static bool drop(struct cache *cache, struct shard *shard, struct slice key, uint64_t hash);

static bool
is_same_value(const struct entry *held, const struct cache_value *value)
{
	if (held->kind != (unsigned)value->kind || entry_has_bytes(held) != (value->bytes != NULL))
		return false;
	return value->bytes == NULL || slice_equal(entry_bytes_of(held), blob_slice(value->bytes));
}

/* What memory holds where a value is to go; NULL: nothing. Lock held. */
static const struct entry *
find_held(const struct shard *shard, struct slice key, struct slice variant, uint64_t hash)
{
	uint32_t place = shard_find(shard, key, variant, hash);

	return place != NOWHERE ? entry_at(shard, place) : NULL;
}

/*
 * The answer has reached a client by now, so what says otherwise goes: who was
 * told the one is not told the other later. But what was written here meanwhile
 * is known to be newer. Lock held.
 */
static void
drop_contradiction(struct cache *cache, struct shard *shard, struct slice key, struct slice variant,
    uint64_t hash, bool is_held, const struct cache_value *value)
{
	struct cache_value known;
	const struct entry *held = find_held(shard, key, variant, hash);

	if (held == NULL || is_same_value(held, value))
		return;
	entry_read(&shard->spans, held, &known);
	bool is_fresh = known.fresh_until_ms > value->filled_ms;
	if ((is_fresh && is_held) || known.source != CACHE_FROM_WRITE)
		drop(cache, shard, key, hash);
}

/* Between the lease and now nothing else was filled, or the same. What was may
 * be stale by now: an answer that took longer than the other's ttl. */
static bool
is_alone(const struct cache *cache, struct shard *shard, struct slice key, struct slice variant,
    uint64_t hash, const struct cache_lease *lease, const struct cache_value *value)
{
	if (lease->fills == shard_lease(cache, shard, hash)->fills)
		return true;
	const struct entry *held = find_held(shard, key, variant, hash);
	return held == NULL || is_same_value(held, value);
}

static void
keep_exact_validity(const struct shard *shard, const struct entry *old, struct cache_value *value)
{
	struct cache_value known;

	if (value->is_validity_exact || value->bytes == NULL || !old->is_validity_exact ||
	    !is_same_value(old, value))
		return;
	entry_read(&shard->spans, old, &known);
	value->valid_until_ms = known.valid_until_ms;
	value->is_validity_exact = true;
}

static bool
is_too_large(const struct cache *cache, const struct cache_value *value)
{
	return value->bytes != NULL && (int64_t)value->bytes->len > cache->max_value_bytes;
}

static struct expiry *
expiry_set(const struct cache *cache, const struct shard *shard, uint64_t hash)
{
	return shard->expiries[(hash >> 40) & (cache->expiry_sets_a_shard - 1)];
}

/* A value is no longer good than its key is there. Lock held. */
static void
bound_by_expiry(const struct cache *cache, const struct shard *shard, uint64_t hash,
    struct cache_value *value)
{
	const struct expiry *set = expiry_set(cache, shard, hash);

	for (int i = 0; i < EXPIRY_WAYS; i++) {
		if (set[i].at_ms > value->filled_ms && set[i].hash == hash &&
		    set[i].at_ms < value->valid_until_ms)
			value->valid_until_ms = set[i].at_ms;
	}
}

/* Succeeds the old entry, if there is one. Lock held. */
static void
replace(struct cache *cache, struct shard *shard, struct slice key, struct slice variant,
    uint64_t hash, const struct cache_value *value)
{
	struct cache_value fresh = *value;

	shard_tidy(shard);
	bound_by_expiry(cache, shard, hash, &fresh);
	uint32_t old_place = shard_find(shard, key, variant, hash);
	struct entry old = { 0 };
	if (old_place != NOWHERE) {
		keep_exact_validity(shard, entry_at(shard, old_place), &fresh);
		old = *entry_at(shard, old_place);
		shard_remove(cache, shard, old_place);
	}
	uint32_t place = shard_add(cache, shard, key, variant, hash, &fresh);
	if (old_place != NOWHERE)
		shard_succeed(shard, &old, place);
	else
		shard_enqueue(cache, shard, place, hash);
	shard_evict(cache, shard, place);
}

bool
cache_fill(struct cache *cache, struct slice key, const struct cache_lease *lease,
    const struct cache_value *value)
{
	return cache_fill_variant(cache, key, SLICE_NONE, lease, value);
}

bool
cache_fill_variant(struct cache *cache, struct slice key, struct slice variant,
    const struct cache_lease *lease, const struct cache_value *value)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);
	bool is_held = holds(cache, shard, hash, lease);
	bool may_fill = is_held && is_alone(cache, shard, key, variant, hash, lease, value);

	if (!may_fill)
		drop_contradiction(cache, shard, key, variant, hash, is_held, value);
	if (may_fill && is_too_large(cache, value)) {
		drop(cache, shard, key, hash); /* what is there is older */
		may_fill = false;
	}
	if (may_fill) {
		shard_lease(cache, shard, hash)->fills++;
		replace(cache, shard, key, variant, hash, value);
	}
	lock_give(&shard->lock);
	if (may_fill && cache_is_over_bounds(cache))
		cache_evict_elsewhere(cache, hash);
	return may_fill;
}

/* Forgets a key with its variants, and voids its leases; the lock is held. */
static bool
drop(struct cache *cache, struct shard *shard, struct slice key, uint64_t hash)
{
	bool was_there = false;

	shard_lease(cache, shard, hash)->version++;
	for (uint32_t place = shard_first(shard, key, hash), next; place != NOWHERE; place = next) {
		next = entry_next(entry_at(shard, place));
		shard_remember(cache, shard, entry_at(shard, place), hash);
		shard_remove(cache, shard, place);
		was_there = true;
	}
	return was_there;
}

/*
 * Where a moment goes: each key has two places at most, its nearest moment and
 * its latest. The nearest stays, because the key may still go then, and asking
 * once more is never wrong. Else a free place, or that of the most distant.
 */
static struct expiry *
choose_place(struct expiry *set, uint64_t hash)
{
	struct expiry *chosen = &set[0], *own = NULL;
	int owned = 0;

	for (int i = 0; i < EXPIRY_WAYS; i++) {
		if (set[i].at_ms != 0 && set[i].hash == hash) {
			owned++;
			own = own == NULL || set[i].at_ms > own->at_ms ? &set[i] : own;
		}
		if (chosen->at_ms != 0 && (set[i].at_ms == 0 || set[i].at_ms > chosen->at_ms))
			chosen = &set[i];
	}
	return owned >= CACHE_EXPIRIES ? own : chosen;
}

void
cache_note_expiry(struct cache *cache, struct slice key, int64_t now_ms, int64_t at_ms)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);
	struct expiry *set = expiry_set(cache, shard, hash);

	for (int i = 0; i < EXPIRY_WAYS; i++) {
		if (set[i].at_ms <= now_ms)
			set[i] = (struct expiry){ 0, 0 };
	}
	*choose_place(set, hash) = (struct expiry){ hash, at_ms };
	lock_give(&shard->lock);
}

size_t
cache_known_expiries(struct cache *cache, struct slice key, int64_t now_ms,
    int64_t at_ms[CACHE_EXPIRIES])
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);
	const struct expiry *set = expiry_set(cache, shard, hash);
	size_t count = 0;

	for (int i = 0; i < EXPIRY_WAYS && count < CACHE_EXPIRIES; i++) {
		if (set[i].hash == hash && set[i].at_ms > now_ms)
			at_ms[count++] = set[i].at_ms;
	}
	lock_give(&shard->lock);
	return count;
}

void
cache_put(struct cache *cache, struct slice key, const struct cache_value *value)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);

	drop(cache, shard, key, hash);
	if (!is_too_large(cache, value))
		replace(cache, shard, key, SLICE_NONE, hash, value);
	lock_give(&shard->lock);
	if (cache_is_over_bounds(cache))
		cache_evict_elsewhere(cache, hash);
}

bool
cache_drop(struct cache *cache, struct slice key)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);
	bool was_there = drop(cache, shard, key, hash);

	lock_give(&shard->lock);
	return was_there;
}

/* Keeps what is known of a key as stale copies, and voids its leases. */
static void
expire(struct cache *cache, struct shard *shard, struct slice key, uint64_t hash)
{
	shard_lease(cache, shard, hash)->version++;
	for (uint32_t place = shard_first(shard, key, hash); place != NOWHERE;
	     place = entry_next(entry_at(shard, place)))
		entry_expire(entry_at(shard, place));
}

void
cache_expire(struct cache *cache, struct slice key)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);

	expire(cache, shard, key, hash);
	lock_give(&shard->lock);
}

void
cache_drop_under(struct cache *cache, struct slice key, const struct cache_lease *lease)
{
	uint64_t hash = cache_hash(key);
	struct shard *shard = shard_lock(cache, hash);

	if (holds(cache, shard, hash, lease))
		drop(cache, shard, key, hash);
	lock_give(&shard->lock);
}

void
cache_write_begin(struct cache *cache, struct slice key, uint64_t hash)
{
	struct shard *shard = shard_lock(cache, hash);

	drop(cache, shard, key, hash);
	shard_lease(cache, shard, hash)->writes++;
	lock_give(&shard->lock);
}

void
cache_write_end(struct cache *cache, struct slice key, uint64_t hash)
{
	struct shard *shard = shard_lock(cache, hash);

	drop(cache, shard, key, hash);
	shard_lease(cache, shard, hash)->writes--;
	lock_give(&shard->lock);
}

void
cache_write_end_late(struct cache *cache, uint64_t hash)
{
	struct shard *shard = shard_lock(cache, hash);
	struct lease_slot *slot = shard_lease(cache, shard, hash);

	slot->version++;
	slot->writes--;
	lock_give(&shard->lock);
}
