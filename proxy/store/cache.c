/*
 * See cache.h. Each shard has a chained hash table and one list in the order
 * of use. The bounds are of the whole cache: two counters, touched when an
 * entry comes or goes and never by a hit. Who goes over a bound evicts, from
 * its own shard while that has others, then from the next.
 */
#include "store/cache.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/glob.h"
#include "base/hash.h"

#define MAX_SHARDS 16
#define ENTRIES_A_SHARD 512 /* fewer are not worth a lock of their own */
#define LEASE_SLOTS 16384   /* in all shards together */
#define FIRST_BUCKETS 64
#define EXPIRY_SETS 1024    /* a shard */
#define EXPIRY_WAYS 4
#define REFRESH_MIN_HITS 2  /* a key read once need not be kept warm */

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

struct cache *
cache_new(const struct cache_limits *limits)
{
	unsigned shards = 1;

	while (shards < MAX_SHARDS && limits->max_entries / (shards * 2) >= ENTRIES_A_SHARD)
		shards *= 2;
	size_t size = sizeof(struct cache) + shards * sizeof(struct shard);
	struct cache *cache = aligned_alloc(64, (size + 63) / 64 * 64);
	if (cache == NULL)
		abort();
	memset(cache, 0, size);
	cache->limits = *limits;
	cache->shard_count = shards;
	cache->leases_a_shard = LEASE_SLOTS / shards;
	for (unsigned i = 0; i < shards; i++) {
		struct shard *shard = &cache->shards[i];
		pthread_mutex_init(&shard->lock, NULL);
		shard->bucket_count = FIRST_BUCKETS;
		shard->buckets = alloc_zero(FIRST_BUCKETS * sizeof(struct entry *));
		shard->leases = alloc_zero(cache->leases_a_shard * sizeof(struct lease_slot));
		shard->expiries = alloc_zero(EXPIRY_SETS * sizeof(*shard->expiries));
	}
	return cache;
}

static int64_t drop_from_shard(struct cache *cache, struct shard *shard, const struct slice *pattern);

void
cache_free(struct cache *cache)
{
	if (cache == NULL)
		return;
	for (unsigned i = 0; i < cache->shard_count; i++) {
		struct shard *shard = &cache->shards[i];
		drop_from_shard(cache, shard, NULL);
		free(shard->buckets);
		free(shard->leases);
		free(shard->expiries);
		pthread_mutex_destroy(&shard->lock);
	}
	free(cache);
}

/* The shard from the hash's top, the bucket from its bottom, the lease from
 * its middle: none says anything about the others. */
static struct shard *
lock_shard(struct cache *cache, uint64_t hash)
{
	struct shard *shard = &cache->shards[(hash >> 56) & (cache->shard_count - 1)];

	pthread_mutex_lock(&shard->lock);
	return shard;
}

static struct lease_slot *
lease_slot(const struct cache *cache, struct shard *shard, uint64_t hash)
{
	return &shard->leases[(hash >> 32) & (cache->leases_a_shard - 1)];
}

static struct entry **
bucket_of(struct shard *shard, uint64_t hash)
{
	return &shard->buckets[hash & (shard->bucket_count - 1)];
}

static bool
is_of_key(const struct entry *entry, struct slice key, uint64_t hash)
{
	return entry->hash == hash && slice_equal(slice_make(entry->key, entry->key_len), key);
}

static struct entry *
find_entry(struct shard *shard, struct slice key, struct slice variant, uint64_t hash)
{
	struct entry *entry = *bucket_of(shard, hash);

	while (entry != NULL && (!is_of_key(entry, key, hash) ||
	    !slice_equal(slice_make(entry->key + entry->key_len, entry->variant_len), variant)))
		entry = entry->chain;
	return entry;
}

/* ---- one entry's comings and goings; the shard's lock is held ---- */

static int64_t
entry_bytes(const struct entry *entry)
{
	size_t blob = entry->value.bytes != NULL ? malloc_usable_size(entry->value.bytes) + 8 : 0;

	return (int64_t)(malloc_usable_size((void *)entry) + 8 + sizeof(struct entry *) + blob);
}

static void
unlink_from_order(struct shard *shard, struct entry *entry)
{
	*(entry->newer != NULL ? &entry->newer->older : &shard->newest) = entry->older;
	*(entry->older != NULL ? &entry->older->newer : &shard->oldest) = entry->newer;
}

static void
link_as_newest(struct shard *shard, struct entry *entry)
{
	entry->newer = NULL;
	entry->older = shard->newest;
	*(shard->newest != NULL ? &shard->newest->newer : &shard->oldest) = entry;
	shard->newest = entry;
}

static void
remove_entry(struct cache *cache, struct shard *shard, struct entry *entry)
{
	struct entry **at = bucket_of(shard, entry->hash);

	while (*at != entry)
		at = &(*at)->chain;
	*at = entry->chain;
	unlink_from_order(shard, entry);
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

	for (struct entry *e = shard->newest; e != NULL; e = e->older) {
		struct entry **at = &buckets[e->hash & (count - 1)];
		e->chain = *at;
		*at = e;
	}
	free(shard->buckets);
	shard->buckets = buckets;
	shard->bucket_count = count;
}

static struct entry *
add_entry(struct cache *cache, struct shard *shard, struct slice key, struct slice variant,
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
	struct entry **at = bucket_of(shard, hash);
	entry->chain = *at;
	*at = entry;
	link_as_newest(shard, entry);
	shard->entries++;
	atomic_fetch_add_explicit(&cache->entries, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&cache->bytes, entry_bytes(entry), memory_order_relaxed);
	return entry;
}

/* ---- bounds ---- */

static bool
is_over_bounds(const struct cache *cache)
{
	return atomic_load_explicit(&cache->entries, memory_order_relaxed) >
	    cache->limits.max_entries ||
	    atomic_load_explicit(&cache->bytes, memory_order_relaxed) >
	    cache->limits.max_memory_bytes;
}

static void
evict_from(struct cache *cache, struct shard *shard, const struct entry *spared)
{
	while (is_over_bounds(cache) && shard->oldest != NULL && shard->oldest != spared) {
		remove_entry(cache, shard, shard->oldest);
		atomic_fetch_add_explicit(&cache->evictions, 1, memory_order_relaxed);
	}
}

/* The newcomer's own shard had nothing else to give; no lock is held. */
static void
evict_elsewhere(struct cache *cache, uint64_t hash)
{
	unsigned home = (unsigned)(hash >> 56) & (cache->shard_count - 1);

	/* The home shard comes last: a newcomer larger than all bounds leaves, too. */
	for (unsigned i = 1; i <= cache->shard_count && is_over_bounds(cache); i++) {
		struct shard *shard = &cache->shards[(home + i) & (cache->shard_count - 1)];
		pthread_mutex_lock(&shard->lock);
		evict_from(cache, shard, NULL);
		pthread_mutex_unlock(&shard->lock);
	}
}

/* ---- finding ---- */

static enum cache_find
judge(const struct shard *shard, const struct entry *entry, int64_t now_ms)
{
	const struct cache_value *value = &entry->value;

	if (now_ms >= value->valid_until_ms || now_ms >= value->stale_until_ms)
		return CACHE_MISS;
	bool is_trusted = value->filled_ms >= shard->trusted_from_ms;
	return is_trusted && now_ms < value->fresh_until_ms ? CACHE_FRESH : CACHE_STALE;
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
	struct shard *shard = lock_shard(cache, hash);
	struct entry *entry = find_entry(shard, key, variant, hash);
	enum cache_find found = entry != NULL ? judge(shard, entry, now_ms) : CACHE_MISS;

	if (should_refresh != NULL)
		*should_refresh = false;
	if (entry != NULL && found == CACHE_MISS) {
		remove_entry(cache, shard, entry);
	} else if (entry != NULL) {
		*value = entry->value;
		if (value->bytes != NULL)
			blob_ref(value->bytes);
	}
	if (found == CACHE_FRESH) {
		entry->hits++;
		if (shard->newest != entry) {
			unlink_from_order(shard, entry);
			link_as_newest(shard, entry);
		}
		if (should_refresh != NULL && now_ms >= entry->value.refresh_at_ms &&
		    entry->hits >= REFRESH_MIN_HITS) {
			entry->value.refresh_at_ms = TIME_NEVER;
			*should_refresh = true;
		}
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

/* ---- leases and fills ---- */

struct cache_lease
cache_lease(struct cache *cache, struct slice key)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);
	const struct lease_slot *slot = lease_slot(cache, shard, hash);
	struct cache_lease lease = { shard->flushes, slot->version, slot->writes > 0 };

	pthread_mutex_unlock(&shard->lock);
	return lease;
}

static bool
holds(const struct cache *cache, struct shard *shard, uint64_t hash, const struct cache_lease *lease)
{
	const struct lease_slot *slot = lease_slot(cache, shard, hash);

	return !lease->is_void && lease->flushes == shard->flushes &&
	    lease->version == slot->version && slot->writes == 0;
}

bool
cache_lease_holds(struct cache *cache, struct slice key, const struct cache_lease *lease)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);
	bool it_holds = holds(cache, shard, hash, lease);

	pthread_mutex_unlock(&shard->lock);
	return it_holds;
}

static void
keep_exact_validity(const struct entry *old, struct cache_value *value)
{
	const struct cache_value *known = &old->value;

	if (!value->is_validity_exact && known->is_validity_exact && known->kind == value->kind &&
	    known->bytes != NULL && value->bytes != NULL &&
	    slice_equal(blob_slice(known->bytes), blob_slice(value->bytes))) {
		value->valid_until_ms = known->valid_until_ms;
		value->is_validity_exact = true;
	}
}

static bool
is_too_large(const struct cache *cache, const struct cache_value *value)
{
	return value->bytes != NULL && (int64_t)value->bytes->len > cache->limits.max_value_bytes;
}

static struct expiry *
expiry_set(struct shard *shard, uint64_t hash)
{
	return shard->expiries[(hash >> 40) & (EXPIRY_SETS - 1)];
}

/* A value is no longer good than its key is there. Lock held. */
static void
bound_by_expiry(struct shard *shard, uint64_t hash, struct cache_value *value)
{
	const struct expiry *set = expiry_set(shard, hash);

	for (int i = 0; i < EXPIRY_WAYS; i++) {
		if (set[i].at_ms > value->filled_ms && set[i].hash == hash &&
		    set[i].at_ms < value->valid_until_ms)
			value->valid_until_ms = set[i].at_ms;
	}
}

/* Takes the place of the old entry, whose hits it keeps. Lock held. */
static void
replace(struct cache *cache, struct shard *shard, struct slice key, struct slice variant,
    uint64_t hash, const struct cache_value *value)
{
	struct entry *old = find_entry(shard, key, variant, hash);
	uint32_t hits = 0;
	struct cache_value fresh = *value;

	bound_by_expiry(shard, hash, &fresh);
	if (old != NULL) {
		hits = old->hits;
		keep_exact_validity(old, &fresh);
		remove_entry(cache, shard, old);
	}
	struct entry *entry = add_entry(cache, shard, key, variant, hash, &fresh);
	entry->hits = hits;
	evict_from(cache, shard, entry);
}

static bool drop(struct cache *cache, struct shard *shard, struct slice key, uint64_t hash);

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
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);
	bool is_held = holds(cache, shard, hash, lease);
	bool may_fill = is_held && !is_too_large(cache, value);

	if (is_held && !may_fill)
		drop(cache, shard, key, hash); /* what is there is older */
	if (may_fill)
		replace(cache, shard, key, variant, hash, value);
	pthread_mutex_unlock(&shard->lock);
	if (may_fill && is_over_bounds(cache))
		evict_elsewhere(cache, hash);
	return may_fill;
}

/* Forgets a key with its variants, and voids its leases; the lock is held. */
static bool
drop(struct cache *cache, struct shard *shard, struct slice key, uint64_t hash)
{
	bool was_there = false;

	lease_slot(cache, shard, hash)->version++;
	for (struct entry *entry = *bucket_of(shard, hash), *next; entry != NULL; entry = next) {
		next = entry->chain;
		if (is_of_key(entry, key, hash)) {
			remove_entry(cache, shard, entry);
			was_there = true;
		}
	}
	return was_there;
}

void
cache_note_expiry(struct cache *cache, struct slice key, int64_t now_ms, int64_t at_ms)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);
	struct expiry *set = expiry_set(shard, hash);
	struct expiry *chosen = &set[0];

	/* Its own place, or a free one, or that of the most distant moment. A
	 * nearer moment is kept: the key may still go then, and asking once more
	 * is never wrong. */
	for (int i = 0; i < EXPIRY_WAYS; i++) {
		if (set[i].at_ms <= now_ms)
			set[i] = (struct expiry){ 0, 0 };
		if (set[i].hash == hash && set[i].at_ms != 0) {
			chosen = &set[i];
			at_ms = at_ms < chosen->at_ms ? at_ms : chosen->at_ms;
			break;
		}
		if (set[i].at_ms == 0 ? chosen->at_ms != 0 :
		    chosen->at_ms != 0 && set[i].at_ms > chosen->at_ms)
			chosen = &set[i];
	}
	*chosen = (struct expiry){ hash, at_ms };
	pthread_mutex_unlock(&shard->lock);
}

void
cache_put(struct cache *cache, struct slice key, const struct cache_value *value)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);

	drop(cache, shard, key, hash);
	if (!is_too_large(cache, value))
		replace(cache, shard, key, SLICE_NONE, hash, value);
	pthread_mutex_unlock(&shard->lock);
	if (is_over_bounds(cache))
		evict_elsewhere(cache, hash);
}

bool
cache_drop(struct cache *cache, struct slice key)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);
	bool was_there = drop(cache, shard, key, hash);

	pthread_mutex_unlock(&shard->lock);
	return was_there;
}

void
cache_drop_under(struct cache *cache, struct slice key, const struct cache_lease *lease)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);

	if (holds(cache, shard, hash, lease))
		drop(cache, shard, key, hash);
	pthread_mutex_unlock(&shard->lock);
}

void
cache_write_begin(struct cache *cache, struct slice key)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);

	drop(cache, shard, key, hash);
	lease_slot(cache, shard, hash)->writes++;
	pthread_mutex_unlock(&shard->lock);
}

void
cache_write_end(struct cache *cache, struct slice key)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);

	drop(cache, shard, key, hash);
	lease_slot(cache, shard, hash)->writes--;
	pthread_mutex_unlock(&shard->lock);
}

void
cache_write_end_late(struct cache *cache, struct slice key)
{
	uint64_t hash = hash_bytes(key);
	struct shard *shard = lock_shard(cache, hash);
	struct lease_slot *slot = lease_slot(cache, shard, hash);

	slot->version++;
	slot->writes--;
	pthread_mutex_unlock(&shard->lock);
}

/* ---- whole-cache walks ---- */

static int64_t
drop_from_shard(struct cache *cache, struct shard *shard, const struct slice *pattern)
{
	int64_t dropped = 0;

	shard->flushes++;
	for (struct entry *entry = shard->newest, *older; entry != NULL; entry = older) {
		older = entry->older;
		if (pattern == NULL ||
		    glob_matches(*pattern, slice_make(entry->key, entry->key_len))) {
			remove_entry(cache, shard, entry);
			dropped++;
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
		dropped += drop_from_shard(cache, shard, pattern);
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
		for (const struct entry *e = shard->newest; e != NULL; e = e->older)
			held = insert_hot(keys, held, count, e);
		pthread_mutex_unlock(&shard->lock);
	}
	return held;
}
