/* See cache_table.h: walking and changing it. */
#include <stdlib.h>

#include "base/alloc.h"
#include "store/cache_table.h"

#define FIRST_BUCKETS 4
#define FULL 10 /* slots in use of a bucket, on average */

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
		if (portion_of(cache_hash(entry_key(entry_at(shard, place)))) == portion)
			each(shard, place, arg);
	}
}

void
table_each(const struct shard *shard, size_t portion, table_each_fn each, void *arg)
{
	const struct bucket *buckets = table_buckets(shard);
	uint64_t width = (UINT64_C(1) << 32) / TABLE_PORTIONS;

	if (buckets == NULL)
		return;
	uint32_t i = table_index(shard, portion * width);
	uint32_t homes = table_index(shard, (portion + 1) * width - 1) - i + 1;
	for (uint32_t done = 0; done < table_count(shard); done++, i = table_after(shard, i)) {
		visit(shard, &buckets[i], portion, each, arg);
		if (done + 1 >= homes && buckets[i].passed == 0)
			break;
	}
}

/* ---- changing ---- */

static void
put(const struct shard *shard, uint64_t hash, uint32_t place)
{
	struct bucket *buckets = table_buckets(shard);
	uint32_t i = table_index(shard, hash);
	unsigned slots;

	while ((slots = table_slots_with(&buckets[i], 0)) == 0) {
		buckets[i].passed++;
		i = table_after(shard, i);
	}
	unsigned slot = (unsigned)__builtin_ctz(slots);
	buckets[i].tags[slot] = table_tag(hash);
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
	struct bucket *old = table_buckets(shard);
	uint32_t old_count = table_count(shard), count = next_count(shard, old_count);

	set_buckets(shard, new_buckets(count), count);
	for (uint32_t i = 0; i < old_count; i++) {
		for (unsigned slot = 0; slot < BUCKET_SLOTS; slot++) {
			if (old[i].tags[slot] == 0)
				continue;
			uint32_t place = old[i].places[slot];
			put(shard, cache_hash(entry_key(entry_at(shard, place))), place);
		}
	}
	free(old);
}

void
table_insert(struct shard *shard, uint64_t hash, uint32_t place)
{
	if (shard->keys >= (size_t)table_count(shard) * FULL)
		grow(shard);
	put(shard, hash, place);
	shard->keys++;
}

void
table_remove(struct shard *shard, uint64_t hash, const uint32_t *slot)
{
	struct bucket *buckets = table_buckets(shard);
	uint32_t i = table_index(shard, hash);

	while (slot < buckets[i].places || slot >= buckets[i].places + BUCKET_SLOTS) {
		buckets[i].passed--;
		i = table_after(shard, i);
	}
	buckets[i].tags[slot - buckets[i].places] = 0;
	shard->keys--;
}

void
table_free(struct shard *shard)
{
	free(table_buckets(shard));
	set_buckets(shard, NULL, 0);
}
