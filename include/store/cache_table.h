/*
 * Where a key's entries are: an open hash table in buckets of one cache line,
 * 12 slots each with a byte of the hash beside it, so that a lookup touches
 * one line of the table and the one entry that is meant. A key whose bucket is
 * full is in the next that has room; a bucket counts who had to go past it, so
 * that a search ends and a removal leaves no trace.
 *
 * A slot holds a key's first entry; what else is known of the key hangs off
 * that. The table holds no hashes: an entry's is computed from its key when it
 * leaves or the table grows, which is up to the number of entries that is
 * expected when the cache is full, by halves. The shard's lock is held, but
 * for table_home(), which only computes an address.
 */
#ifndef SIDECAR_STORE_CACHE_TABLE_H
#define SIDECAR_STORE_CACHE_TABLE_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "store/cache_inside.h"

static inline uint8_t
table_tag(uint64_t hash)
{
	uint8_t tag = (uint8_t)(hash >> 48);

	return tag != 0 ? tag : 1;
}

/* Which slots have this tag, a bit each. */
static inline unsigned
table_slots_with(const struct bucket *bucket, uint8_t tag)
{
#ifdef __SSE2__
	__m128i tags = _mm_load_si128((const __m128i *)(const void *)bucket->tags);
	__m128i equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag));

	return (unsigned)_mm_movemask_epi8(equal) & ((1u << BUCKET_SLOTS) - 1);
#else
	unsigned slots = 0;

	for (unsigned i = 0; i < BUCKET_SLOTS; i++)
		slots |= (unsigned)(bucket->tags[i] == tag) << i;
	return slots;
#endif
}

static inline uint32_t
table_count(const struct shard *shard)
{
	return atomic_load_explicit(&shard->bucket_count, memory_order_relaxed);
}

static inline struct bucket *
table_buckets(const struct shard *shard)
{
	return atomic_load_explicit(&shard->buckets, memory_order_relaxed);
}

static inline uint32_t
table_index(const struct shard *shard, uint64_t hash)
{
	return (uint32_t)((hash & UINT32_MAX) * table_count(shard) >> 32);
}

static inline uint32_t
table_after(const struct shard *shard, uint32_t index)
{
	return index + 1 < table_count(shard) ? index + 1 : 0;
}

/* The first bucket that a key with this hash may be in; NULL: no table yet. */
static inline struct bucket *
table_home(const struct shard *shard, uint64_t hash)
{
	struct bucket *buckets = table_buckets(shard);

	return buckets != NULL ? &buckets[table_index(shard, hash)] : NULL;
}

/* Where the hash's tag is in its first bucket: the entry it is most likely of. */
static inline uint32_t
table_guess(const struct shard *shard, uint64_t hash)
{
	const struct bucket *home = table_home(shard, hash);
	unsigned slots = home != NULL ? table_slots_with(home, table_tag(hash)) : 0;

	return slots != 0 ? home->places[__builtin_ctz(slots)] : NOWHERE;
}

/* The slot that holds the place of a key's first entry, and that entry; or NULL. */
static inline uint32_t *
table_look_up(const struct shard *shard, struct slice key, uint64_t hash, struct entry **entry)
{
	struct bucket *buckets = table_buckets(shard);
	uint8_t tag = table_tag(hash);

	if (buckets == NULL)
		return NULL;
	uint32_t i = table_index(shard, hash);
	/* In a small table somebody may have gone past every bucket. */
	for (uint32_t seen = 0; seen < table_count(shard); seen++, i = table_after(shard, i)) {
		struct bucket *bucket = &buckets[i];
		for (unsigned slots = table_slots_with(bucket, tag); slots != 0;
		     slots &= slots - 1) {
			uint32_t *slot = &bucket->places[__builtin_ctz(slots)];
			*entry = entry_at(shard, *slot);
			if (entry_has_key(*entry, key))
				return slot;
		}
		if (bucket->passed == 0)
			break;
	}
	return NULL;
}

static inline uint32_t *
table_find(const struct shard *shard, struct slice key, uint64_t hash)
{
	struct entry *entry;

	return table_look_up(shard, key, hash, &entry);
}

void table_insert(struct shard *shard, uint64_t hash, uint32_t place);
void table_remove(struct shard *shard, uint64_t hash, const uint32_t *slot);
void table_free(struct shard *shard);

/* All first entries of a portion of the keys, each in one portion. */
#define TABLE_PORTIONS 64
typedef void (*table_each_fn)(const struct shard *shard, uint32_t place, void *arg);
void table_each(const struct shard *shard, size_t portion, table_each_fn each, void *arg);

#endif
