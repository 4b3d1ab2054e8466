/*
 * The cache: what memory knows about keys. The only store that threads
 * share: shards with a lock each, bounded by entries and by bytes in all.
 * Who leaves first is said in cache_evict.c.
 *
 *            fresh_until          stale_until
 *   fill ------|--------------------|-------> time
 *       FRESH         STALE             MISS        (valid_until cuts all of it)
 *
 * A lease is asked for before a backend is, and the answer is filled under
 * it. Whatever makes a key's old value untrue (a write, an invalidation)
 * voids the leases of that key, so an answer that was under way is not kept
 * (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013). Leases live
 * in a fixed table by hash: two keys in one place void each other's now and
 * then, which costs a fill and never a wrong value.
 *
 * All times are monotonic milliseconds and passed in. Any thread may call;
 * every call holds one shard's lock at a time and does no I/O.
 */
#ifndef SIDECAR_STORE_CACHE_H
#define SIDECAR_STORE_CACHE_H

#include "base/blob.h"
#include "base/buf.h"
#include "base/hash.h"

struct cache;

enum cache_eviction {
	CACHE_EVICT_S3FIFO, /* new keys on probation first: scans pass by */
	CACHE_EVICT_LRU,    /* least recently used first */
};

struct cache_limits {
	int64_t max_entries;
	int64_t max_memory_bytes; /* keys, values and overhead */
	int64_t max_value_bytes;
	enum cache_eviction eviction;
};

enum cache_kind {
	CACHE_STRING, /* bytes: the value */
	CACHE_HASH,   /* bytes: RESP bulk strings, field and value in turn */
	CACHE_ABSENT, /* known not to be there: no row, or nil in Redis; no bytes */
	CACHE_OVER,   /* there is a row, but its valid_until has passed; no bytes */
	CACHE_REPLY,  /* bytes: Redis's reply to the words of the variant, as it came */
	/* MGET has said nil: not there, or of another type. Only cache_read()
	 * tells of it, a cache_find() knows nothing; no bytes. */
	CACHE_NO_STRING,
};

/* Where a value came from. */
enum cache_source { CACHE_FROM_REDIS, CACHE_FROM_POSTGRES, CACHE_FROM_WRITE };

struct cache_value {
	enum cache_kind kind;
	enum cache_source source;
	struct blob *bytes; /* NULL where the kind says so */
	int64_t filled_ms;
	int64_t fresh_until_ms;
	int64_t stale_until_ms;
	int64_t valid_until_ms; /* TIME_NEVER: none */
	/* False: valid_until is only a safe guess (from the key's ttl in Redis),
	 * and an exact one known for the same bytes is kept instead. */
	bool is_validity_exact;
	int64_t refresh_at_ms; /* early refresh; TIME_NEVER: none */
};

enum cache_find {
	CACHE_MISS, /* never filled, dropped, evicted, or past stale or valid until */
	CACHE_FRESH,
	CACHE_STALE, /* good only when nobody can say anything newer */
};

struct cache_lease {
	uint64_t flushes;
	uint32_t version, fills;
	bool is_void; /* from the start: a write of this key is under way */
};

struct cache *cache_new(const struct cache_limits *limits);
void cache_free(struct cache *cache);
/* New bounds: what is beyond them goes at once. Its kind of eviction stays. Any
 * thread. */
void cache_set_limits(struct cache *cache, const struct cache_limits *limits);

/*
 * Looks a key up and, on FRESH and STALE, hands over a copy of its entry with
 * one reference to its bytes: pay back with cache_value_release(). Finding a
 * FRESH entry counts as use, and what is used stays longer.
 *
 * should_refresh  may be NULL; set when this reader, and nobody else until
 *                 the next fill, should ask for the value again
 */
enum cache_find cache_find(struct cache *cache, struct slice key, int64_t now_ms,
    struct cache_value *value, bool *should_refresh);
void cache_value_release(struct cache_value *value);

/*
 * The same for what else is known of a key: the reply to one read of it, by
 * the read's exact words. A variant is an entry of its own, and goes when the
 * key is dropped. SLICE_NONE: the key's value itself.
 */
enum cache_find cache_find_variant(struct cache *cache, struct slice key, struct slice variant,
    int64_t now_ms, struct cache_value *value, bool *should_refresh);

/*
 * ---- the hit ----
 * What cache_find() does, for who has many keys to ask for and wants nothing
 * but bytes to send: hash all keys, prefetch all hashes, prefetch all entries,
 * then read. Nothing is allocated but room in `out`.
 */

/* The hash by which the functions below know a key. */
static inline uint64_t
cache_hash(struct slice key)
{
	return hash_quick(key);
}

struct cache_key {
	struct slice key;
	uint64_t hash;    /* cache_hash(key) */
	uint32_t place;   /* 0; where cache_prefetch_entry() believes it to be, */
	uint32_t changes; /* as long as this has not changed */
	size_t end;       /* of its value in the reader's `out`: written by cache_read_row() */
};

static inline struct cache_key
cache_key(struct slice key)
{
	return (struct cache_key){ .key = key, .hash = cache_hash(key) };
}

/*
 * Hints, without effect but on speed; neither waits for a lock. The first has
 * the place in the table brought near, the second reads that place and has
 * the entry brought near, and notes where in the key: call it when some other
 * work was done since the first, for other keys for example. The first needs
 * no more than the hash, which its caller has at hand: given the key it would
 * read that back from memory.
 */
void cache_prefetch(const struct cache *cache, uint64_t hash);
void cache_prefetch_entry(const struct cache *cache, struct cache_key *key);

struct cache_reader {
	struct buf *out;
	size_t most; /* bytes in `out`, past which no more is read */
	int64_t now_ms;
	bool is_there; /* written: there is something to be said of the key that it stopped at */
};

/*
 * What nearly all reads are: short strings, fresh, and not to be refreshed.
 * Appends them to `out`, "$5\r\nhello\r\n", as replies to GETs, and counts them
 * as used, up to the first key that is anything else. Returns how many.
 */
size_t cache_read_row(struct cache *cache, struct cache_key *keys, size_t count,
    struct cache_reader *reader);

/* ... and that one key: */

enum cache_read {
	CACHE_READ_NONE,      /* not fresh, or none of these: cache_find() knows more */
	CACHE_READ_NIL,       /* known not to be there */
	CACHE_READ_NO_STRING, /* the same, or of another type: nil to MGET, and to nobody else */
	CACHE_READ_BULK,      /* `out` has it */
	CACHE_READ_BLOB,      /* too large to copy twice: `bytes` has it, one reference */
};

struct cache_reading {
	struct blob *bytes;  /* on CACHE_READ_BLOB; pay back with blob_unref() */
	bool should_refresh; /* as cache_find() says it; false on CACHE_READ_NONE */
};

/*
 * A fresh string, straight from memory into `out`, or what else is said above,
 * with nothing written. It counts as use. On CACHE_READ_NONE nothing has
 * changed, neither `out` nor the order of use, so a cache_find() that follows
 * counts once.
 */
enum cache_read cache_read(struct cache *cache, const struct cache_key *key, int64_t now_ms,
    struct buf *out, struct cache_reading *reading);

/* Takes a lease. Ask the backend only after. */
struct cache_lease cache_lease(struct cache *cache, struct slice key);
/* Whether nothing has voided it since. */
bool cache_lease_holds(struct cache *cache, struct slice key, const struct cache_lease *lease);
/* And nothing has been filled since, so that memory has said nothing newer. */
bool cache_lease_is_latest(struct cache *cache, struct slice key, const struct cache_lease *lease);

/*
 * Keeps a value (taking a reference of its own) if the lease still holds and
 * the value is not too large. False: not kept; an old entry goes where the new
 * value is too large. Where another fill has come between lease and fill, and
 * said something else, nobody knows which is newer: neither is kept. What a
 * refused value contradicts goes as well, but for what was written here: who was
 * told the one is not told the other later.
 */
bool cache_fill(struct cache *cache, struct slice key, const struct cache_lease *lease,
    const struct cache_value *value);

bool cache_fill_variant(struct cache *cache, struct slice key, struct slice variant,
    const struct cache_lease *lease, const struct cache_value *value);

/*
 * The key will be gone in Redis at that moment, or earlier: nothing filled
 * from now on is good for longer. Kept in a small table by hash, the nearest
 * moments first; what it forgets is bounded by the ttl.
 */
void cache_note_expiry(struct cache *cache, struct slice key, int64_t now_ms, int64_t at_ms);
/* The moments still ahead that are remembered of a key; how many. */
#define CACHE_EXPIRIES 2
size_t cache_known_expiries(struct cache *cache, struct slice key, int64_t now_ms,
    int64_t at_ms[CACHE_EXPIRIES]);

/* Keeps a value that is newer than any backend's (a write acknowledged by
 * ourselves): drops the key, and fills. */
void cache_put(struct cache *cache, struct slice key, const struct cache_value *value);

/* Forgets a key and voids its leases. True when there was an entry. */
bool cache_drop(struct cache *cache, struct slice key);
/* A key is to be asked for again when next read; as a stale copy it stays.
 * Voids its leases. */
void cache_expire(struct cache *cache, struct slice key);
/* Forgets a key if the lease still holds: its backend says it is gone. */
void cache_drop_under(struct cache *cache, struct slice key, const struct cache_lease *lease);
/* Forgets everything, voids every lease; how many entries there were. */
int64_t cache_drop_all(struct cache *cache);
/* The same for keys that match a glob; voids every lease. */
int64_t cache_drop_matching(struct cache *cache, struct slice pattern);

/*
 * Around a write that goes to Redis: from begin to end the key's old value
 * is on its way out, so leases taken meanwhile are void from the start. Each
 * begin needs its end, also when the write failed. Both drop. `hash` is
 * cache_hash(key).
 */
void cache_write_begin(struct cache *cache, struct slice key, uint64_t hash);
void cache_write_end(struct cache *cache, struct slice key, uint64_t hash);
/* The end of a write that was acknowledged long before, from the journal:
 * what was kept since is newer than the write. */
void cache_write_end_late(struct cache *cache, uint64_t hash);

/*
 * Whatever was filled before now counts as stale, and every lease is void:
 * for a while nobody would have told us that it has changed. Nothing is
 * dropped, so the stale rung keeps what it has.
 */
void cache_distrust(struct cache *cache, int64_t now_ms);

/* One entry, as it is kept. */
struct cache_entry {
	struct slice key, variant;
	struct cache_value value;
};
/*
 * Hands over some of the entries, going on from *place (0 at first); false:
 * these were the last. What comes, goes or changes between two calls is handed
 * over or not. each() is called with a shard's lock held, so it only copies,
 * and takes a reference to the bytes where it wants them.
 */
MUST_CHECK bool cache_each_some(struct cache *cache, size_t *place,
    void (*each)(const struct cache_entry *entry, void *arg), void *arg);

struct cache_stats {
	int64_t entries;
	int64_t bytes;
	int64_t evictions;
};
void cache_stats(const struct cache *cache, struct cache_stats *stats);

struct cache_hot_key {
	char *key; /* free() it */
	size_t key_len;
	int64_t hits;
	int64_t bytes;
};
/* The most used keys, most hits first; returns how many were written. Walks
 * everything, a shard at a time: for people, not for the request path. */
size_t cache_hottest(struct cache *cache, struct cache_hot_key *keys, size_t count);

#endif
