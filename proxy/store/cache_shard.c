/*
 * An entry's coming and going. Two counters of the whole cache are touched
 * then, and never by a hit.
 *
 * What is known of one key hangs together: the table has the first, each long
 * entry the next; a short one, at most the value itself, is the last.
 */
#include <assert.h>

#include "store/cache_table.h"

#define INDEX_BYTES 9 /* an entry's share of the table and of what is remembered of leavers */

struct lease_slot *
shard_lease(const struct cache *cache, struct shard *shard, uint64_t hash)
{
	return &shard->leases[(hash >> 32) & (cache->leases_a_shard - 1)];
}

uint32_t
shard_first(const struct shard *shard, struct slice key, uint64_t hash)
{
	const uint32_t *slot = table_find(shard, key, hash);

	return slot != NULL ? *slot : NOWHERE;
}

uint32_t
shard_find(const struct shard *shard, struct slice key, struct slice variant, uint64_t hash)
{
	uint32_t place = shard_first(shard, key, hash);

	while (place != NOWHERE) {
		const struct entry *entry = entry_at(shard, place);
		if (slice_equal(entry_variant(entry), variant))
			break;
		place = entry_next(entry);
	}
	return place;
}

/* ---- coming ---- */

int64_t
entry_bytes(const struct entry *entry)
{
	const struct blob *blob = entry->form == FORM_LONG ? entry_extra(entry)->blob : NULL;
	size_t apart = blob != NULL ? blob_size(blob) : 0;

	return (int64_t)(entry_size(entry) + INDEX_BYTES + apart);
}

/* Long ones first: a short one knows no next. */
static void
hang_on(const struct shard *shard, uint32_t *first, uint32_t place)
{
	struct entry *entry = entry_at(shard, place), *last = entry_at(shard, *first);

	if (entry->form == FORM_LONG) {
		entry_extra(entry)->next = *first;
		*first = place;
		return;
	}
	while (entry_next(last) != NOWHERE)
		last = entry_at(shard, entry_next(last));
	assert(last->form == FORM_LONG);
	entry_extra(last)->next = place;
}

uint32_t
shard_add(struct cache *cache, struct shard *shard, struct slice key, struct slice variant,
    uint64_t hash, const struct cache_value *value)
{
	struct entry_plan plan = { .key = key, .variant = variant, .value = value };
	uint32_t *first = table_find(shard, key, hash);

	entry_plan(&shard->spans, &plan);
	uint32_t place = arena_take(&shard->arena, plan.size);
	struct entry *entry = entry_at(shard, place);
	entry_write(&shard->spans, &plan, entry);
	if (first != NULL)
		hang_on(shard, first, place);
	else
		table_insert(shard, hash, place);
	shard->entries++;
	atomic_fetch_add_explicit(&cache->entries, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&cache->bytes, entry_bytes(entry), memory_order_relaxed);
	return place;
}

/* ---- going ---- */

static void
unhang(struct shard *shard, uint32_t place)
{
	const struct entry *entry = entry_at(shard, place);
	struct slice key = entry_key(entry);
	uint64_t hash = cache_hash(key);
	uint32_t *first = table_find(shard, key, hash), next = entry_next(entry);

	if (*first != place) {
		struct entry *before = entry_at(shard, *first);
		while (entry_next(before) != place)
			before = entry_at(shard, entry_next(before));
		entry_extra(before)->next = next;
	} else if (next != NOWHERE) {
		*first = next;
	} else {
		table_remove(shard, hash, first);
	}
}

void
shard_remove(struct cache *cache, struct shard *shard, uint32_t place)
{
	struct entry *entry = entry_at(shard, place);
	uint32_t size = entry_size(entry);

	unhang(shard, place);
	shard_dequeue(shard, entry);
	shard->entries--;
	atomic_fetch_sub_explicit(&cache->entries, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(&cache->bytes, entry_bytes(entry), memory_order_relaxed);
	entry_clear(&shard->spans, entry);
	entry->kind = KIND_LEFT;
	arena_give(&shard->arena, place, size);
}

/* ---- moving ---- */

/* Whoever knows the entry by its old place is told the new one. */
static void
tell_all(struct shard *shard, const struct entry *entry, uint32_t old, uint32_t place)
{
	struct queue *queue = &shard->queues[entry->queue];
	struct slice key = entry_key(entry);
	uint32_t *at = table_find(shard, key, cache_hash(key));

	*(entry->newer != NOWHERE ? &entry_at(shard, entry->newer)->older : &queue->newest) = place;
	*(entry->older != NOWHERE ? &entry_at(shard, entry->older)->newer : &queue->oldest) = place;
	if (*at == old) {
		*at = place;
		return;
	}
	struct entry *before = entry_at(shard, *at);
	while (entry_next(before) != old)
		before = entry_at(shard, entry_next(before));
	entry_extra(before)->next = place;
}

static void
empty_segment(struct shard *shard, uint32_t index)
{
	struct arena *arena = &shard->arena;
	uint32_t left = arena->segments[index].live;

	for (uint32_t place = index << PLACE_BITS | 1; left > 0;) {
		const struct entry *entry = entry_at(shard, place);
		uint32_t size = entry_size(entry);
		if (entry->kind != KIND_LEFT) {
			uint32_t new_place = arena_take(arena, size);
			memcpy(entry_at(shard, new_place), entry, size);
			tell_all(shard, entry_at(shard, new_place), place, new_place);
			left -= size;
			arena_give(arena, place, size);
		}
		place += size / 4;
	}
}

void
shard_tidy(struct shard *shard)
{
	uint32_t worst = arena_worst(&shard->arena);

	if (worst < shard->arena.segment_count)
		empty_segment(shard, worst);
}
