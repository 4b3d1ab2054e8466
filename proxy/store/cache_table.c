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
#include <stdlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/alloc.h"
#include "base/hash.h"
#include "store/cache_inside.h"

#define FIRST_BUCKETS 4
#define FULL 10 /* slots in use of a bucket, on average */

static uint8_t
tag_of(uint64_t hash)
{
	uint8_t tag = (uint8_t)(hash >> 48);

	return tag != 0 ? tag : 1;
}

/* Which slots have this tag, a bit each. */
static unsigned
slots_with(const struct bucket *bucket, uint8_t tag)
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

static uint32_t
count_of(const struct shard *shard)
{
	return atomic_load_explicit(&shard->bucket_count, memory_order_relaxed);
}

static struct bucket *
buckets_of(const struct shard *shard)
{
	return atomic_load_explicit(&shard->buckets, memory_order_relaxed);
}

static uint32_t
home_of(const struct shard *shard, uint64_t hash)
{
	return (uint32_t)((hash & UINT32_MAX) * count_of(shard) >> 32);
}

static uint32_t
after(const struct shard *shard, uint32_t index)
{
	return index + 1 < count_of(shard) ? index + 1 : 0;
}

struct bucket *
table_home(const struct shard *shard, uint64_t hash)
{
	struct bucket *buckets = buckets_of(shard);

	return buckets != NULL ? &buckets[home_of(shard, hash)] : NULL;
}

uint32_t
table_guess(const struct shard *shard, uint64_t hash)
{
	const struct bucket *home = table_home(shard, hash);
	unsigned slots = home != NULL ? slots_with(home, tag_of(hash)) : 0;

	return slots != 0 ? home->places[__builtin_ctz(slots)] : NOWHERE;
}

uint32_t *
table_find(const struct shard *shard, struct slice key, uint64_t hash)
{
	struct bucket *buckets = buckets_of(shard);
	uint8_t tag = tag_of(hash);

	if (buckets == NULL)
		return NULL;
	uint32_t i = home_of(shard, hash);
	/* In a small table somebody may have gone past every bucket. */
	for (uint32_t seen = 0; seen < count_of(shard); seen++, i = after(shard, i)) {
		struct bucket *bucket = &buckets[i];
		for (unsigned slots = slots_with(bucket, tag); slots != 0; slots &= slots - 1) {
			uint32_t *slot = &bucket->places[__builtin_ctz(slots)];
			if (slice_equal(entry_key(entry_at(shard, *slot)), key))
				return slot;
		}
		if (bucket->passed == 0)
			break;
	}
	return NULL;
}

/* The portion of a hash is its place's share of the table, however large that
 * is: a portion's keys have their homes in a row. */
static uint32_t
portion_of(uint64_t hash)
{
	return (uint32_t)((hash & UINT32_MAX) * TABLE_PORTIONS >> 32);
}

static void
visit(const struct shard *shard, const struct bucket *bucket, size_t portion, table_each_fn each,
    void *arg)
{
	for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
		if (bucket->tags[i] == 0)
			continue;
		uint32_t place = bucket->places[i];
		if (portion_of(hash_bytes(entry_key(entry_at(shard, place)))) == portion)
			each(shard, place, arg);
	}
}

void
table_each(const struct shard *shard, size_t portion, table_each_fn each, void *arg)
{
	const struct bucket *buckets = buckets_of(shard);
	uint64_t width = (UINT64_C(1) << 32) / TABLE_PORTIONS;

	if (buckets == NULL)
		return;
	uint32_t i = home_of(shard, portion * width);
	uint32_t homes = home_of(shard, (portion + 1) * width - 1) - i + 1;
	for (uint32_t done = 0; done < count_of(shard); done++, i = after(shard, i)) {
		visit(shard, &buckets[i], portion, each, arg);
		if (done + 1 >= homes && buckets[i].passed == 0)
			break;
	}
}

/* ---- changing ---- */

static void
put(const struct shard *shard, uint64_t hash, uint32_t place)
{
	struct bucket *buckets = buckets_of(shard);
	uint32_t i = home_of(shard, hash);
	unsigned slots;

	while ((slots = slots_with(&buckets[i], 0)) == 0) {
		buckets[i].passed++;
		i = after(shard, i);
	}
	unsigned slot = (unsigned)__builtin_ctz(slots);
	buckets[i].tags[slot] = tag_of(hash);
	buckets[i].places[slot] = place;
}

static struct bucket *
new_buckets(uint32_t count)
{
	size_t size = (size_t)count * sizeof(struct bucket);
	struct bucket *buckets = aligned_alloc(64, size);

	if (buckets == NULL)
		abort();
	return memset(buckets, 0, size);
}

static void
set_buckets(struct shard *shard, struct bucket *buckets, uint32_t count)
{
	atomic_store_explicit(&shard->buckets, buckets, memory_order_relaxed);
	atomic_store_explicit(&shard->bucket_count, count, memory_order_relaxed);
}

/* By half, but to what is expected where that is not much more. */
static uint32_t
next_count(const struct shard *shard, uint32_t count)
{
	uint32_t next = count > 0 ? count + count / 2 : FIRST_BUCKETS;
	/* Keys are spread by chance: some shards have a few more. */
	size_t expected = (shard->keys_expected + shard->keys_expected / 16) / FULL + 2;

	return expected > count && expected < next + next / 4 ? (uint32_t)expected : next;
}

static void
grow(struct shard *shard)
{
	struct bucket *old = buckets_of(shard);
	uint32_t old_count = count_of(shard), count = next_count(shard, old_count);

	set_buckets(shard, new_buckets(count), count);
	for (uint32_t i = 0; i < old_count; i++) {
		for (unsigned slot = 0; slot < BUCKET_SLOTS; slot++) {
			if (old[i].tags[slot] == 0)
				continue;
			uint32_t place = old[i].places[slot];
			put(shard, hash_bytes(entry_key(entry_at(shard, place))), place);
		}
	}
	free(old);
}

void
table_insert(struct shard *shard, uint64_t hash, uint32_t place)
{
	if (shard->keys >= (size_t)count_of(shard) * FULL)
		grow(shard);
	put(shard, hash, place);
	shard->keys++;
}

void
table_remove(struct shard *shard, uint64_t hash, const uint32_t *slot)
{
	struct bucket *buckets = buckets_of(shard);
	uint32_t i = home_of(shard, hash);

	while (slot < buckets[i].places || slot >= buckets[i].places + BUCKET_SLOTS) {
		buckets[i].passed--;
		i = after(shard, i);
	}
	buckets[i].tags[slot - buckets[i].places] = 0;
	shard->keys--;
}

void
table_free(struct shard *shard)
{
	free(buckets_of(shard));
	set_buckets(shard, NULL, 0);
}
