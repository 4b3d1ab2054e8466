/*
 * The room that a shard's entries take: segments of 128 KB, filled one after
 * the other. An entry's place is its segment's number and where in it, in
 * units of 4 bytes: 32 bits reach 16 GB a shard.
 *
 * Nothing is freed but whole segments. When a sixteenth of all is of entries
 * that have left, those that remain in the emptiest segment are moved
 * (shard_tidy()), so whatever sizes come and go, no more than that is lost:
 * there are no size classes, and between two entries at most 3 bytes. The
 * queues are first in, first out for most, so neighbours leave at about the
 * same time and little is moved.
 *
 * Segments are pages of their own. One that is empty keeps its addresses and
 * gives back its memory, but for a few of the whole cache's that will be
 * filled next.
 *
 * Chosen by measurement (tests/unit/store/test_cache_churn.c): 64 MB through
 * which values of 16 bytes to 64 KB pass, the mix changing 24 times. Resident,
 * of what is counted: with values past 1 KB in glibc's malloc 1.49; with those
 * up to 16 KB in here and larger ones in pages of their own, 1.08 to 1.14. A
 * million entries of 40 and 128 bytes take 201 bytes each.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "store/cache_inside.h"

#define SEGMENT_BYTES 131072
#define START 4                         /* so that no place is NOWHERE */
#define ALONE_BYTES (SEGMENT_BYTES / 4) /* larger ones have a segment to themselves */
#define MOST_SEGMENTS (1u << (32 - PLACE_BITS))
#define DEAD_SHARE 16
#define DEAD_SEGMENTS 1 /* fewer are not worth the trouble */

_Static_assert(SEGMENT_BYTES / 4 == 1 << PLACE_BITS, "a place reaches all of a segment");

/* ---- segments ---- */

static char *
take_spare(struct spares *spares)
{
	char *at = NULL;

	for (int i = 0; i < SPARE_SEGMENTS && at == NULL; i++)
		at = atomic_exchange_explicit(&spares->at[i], NULL, memory_order_acq_rel);
	return at;
}

/* Of what is there already, any is as good: the one that is too much, or NULL. */
static char *
give_spare(struct spares *spares, char *at)
{
	for (int i = 0; i < SPARE_SEGMENTS && at != NULL; i++)
		at = atomic_exchange_explicit(&spares->at[i], at, memory_order_acq_rel);
	return at;
}

void
spares_free(struct spares *spares)
{
	for (char *at = take_spare(spares); at != NULL; at = take_spare(spares))
		pages_give(at, SEGMENT_BYTES);
}

/* One that is not in use, with pages (of SEGMENT_BYTES) or without, or
 * segment_count. */
static uint32_t
find_unused(const struct arena *arena, bool has_pages)
{
	uint32_t i = 0;

	while (i < arena->segment_count &&
	    (arena->segments[i].size > 0 || (arena->segments[i].at != NULL) != has_pages))
		i++;
	return i;
}

static void
add_segments(struct arena *arena)
{
	uint32_t count = arena->segment_count, more = count > 0 ? count * 2 : 4;
	bool is_nowhere = arena->open == count;

	assert(more <= MOST_SEGMENTS);
	arena->segments = alloc_again(arena->segments, more * sizeof(*arena->segments));
	memset(arena->segments + count, 0, (more - count) * sizeof(*arena->segments));
	arena->segment_count = more;
	if (is_nowhere)
		arena->open = more;
}

/* With pages, if there is one. */
static uint32_t
unused_segment(struct arena *arena, bool has_pages)
{
	uint32_t index = has_pages ? find_unused(arena, true) : arena->segment_count;

	if (index == arena->segment_count)
		index = find_unused(arena, false);
	if (index == arena->segment_count)
		add_segments(arena);
	return index;
}

static uint32_t
new_segment(struct arena *arena, uint32_t size)
{
	bool is_usual = size == SEGMENT_BYTES;
	char *spare = is_usual ? take_spare(arena->spares) : NULL;
	uint32_t index = unused_segment(arena, is_usual && spare == NULL);
	struct segment *segment = &arena->segments[index];

	if (spare != NULL)
		segment->at = spare;
	else if (segment->at == NULL)
		segment->at = pages_take(size);
	if (segment->at == NULL)
		alloc_failed(size);
	segment->size = size;
	segment->used = START;
	return index;
}

static void
leave_segment(struct arena *arena, struct segment *segment)
{
	bool is_usual = segment->size == SEGMENT_BYTES;
	char *at = is_usual ? give_spare(arena->spares, segment->at) : NULL;

	if (!is_usual)
		pages_give(segment->at, segment->size);
	if (at != NULL)
		pages_empty(at, SEGMENT_BYTES);
	*segment = (struct segment){ .at = at };
}

/* ---- entries ---- */

uint32_t
arena_take(struct arena *arena, uint32_t size)
{
	uint32_t index = arena->open;

	if (size > ALONE_BYTES) {
		index = new_segment(arena, START + size);
	} else if (index == arena->segment_count ||
	    arena->segments[index].used + size > SEGMENT_BYTES) {
		index = new_segment(arena, SEGMENT_BYTES);
		arena->open = index;
	}
	struct segment *segment = &arena->segments[index];
	uint32_t place = index << PLACE_BITS | segment->used / 4;
	arena->changes++;
	segment->used += size;
	segment->live += size;
	arena->used += size;
	return place;
}

/* The last of a segment takes it along. */
void
arena_give(struct arena *arena, uint32_t place, uint32_t size)
{
	uint32_t index = place >> PLACE_BITS;
	struct segment *segment = &arena->segments[index];

	arena->changes++;
	segment->live -= size;
	arena->dead += size;
	if (segment->live > 0)
		return;
	arena->used -= segment->used - START;
	arena->dead -= segment->used - START;
	segment->used = START;
	if (index != arena->open)
		leave_segment(arena, segment);
}

uint32_t
arena_worst(const struct arena *arena)
{
	uint32_t worst = arena->segment_count, most_dead = 0;

	if (arena->dead < DEAD_SEGMENTS * SEGMENT_BYTES || arena->dead < arena->used / DEAD_SHARE)
		return worst;
	for (uint32_t i = 0; i < arena->segment_count; i++) {
		const struct segment *segment = &arena->segments[i];
		if (segment->size == 0 || i == arena->open)
			continue;
		uint32_t dead = segment->used - START - segment->live;
		if (dead > most_dead) {
			most_dead = dead;
			worst = i;
		}
	}
	return worst;
}

void
arena_free(struct arena *arena)
{
	for (uint32_t i = 0; i < arena->segment_count; i++) {
		const struct segment *segment = &arena->segments[i];
		if (segment->at != NULL)
			pages_give(segment->at, segment->size > 0 ? segment->size : SEGMENT_BYTES);
	}
	free(arena->segments);
	*arena = (struct arena){ .spares = arena->spares };
}
