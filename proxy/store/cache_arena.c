/*
 * The room that a shard's entries take: segments of 32 KB, filled one after
 * the other. An entry's place is its segment's number and where in it, in
 * units of 4 bytes: 32 bits reach 16 GB a shard.
 *
 * Nothing is freed but whole segments. When a twelfth of all is of entries
 * that have left, those that remain in the emptiest segment are moved
 * (shard_tidy()), so whatever sizes come and go, no more than that is lost:
 * there are no size classes, and between two entries at most 3 bytes. The
 * queues are first in, first out for most, so neighbours leave at about the
 * same time and little is moved.
 *
 * Chosen by measurement: 64 MB through which millions of values pass, of 16
 * bytes to 22 KB, the mix changing 24 times. Resident, of what is counted:
 * entries and values in glibc's malloc 2.06, in jemalloc 1.55; this, with
 * values past 1 KB in glibc's 1.42, in jemalloc 1.67. A million entries of 40
 * and 128 bytes take 205 bytes each.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/held.h"
#include "store/cache_inside.h"

#define SEGMENT_BYTES 32768
#define START 4                         /* so that no place is NOWHERE */
#define ALONE_BYTES (SEGMENT_BYTES / 4) /* larger ones have a segment to themselves */
#define MOST_SEGMENTS (1u << (32 - PLACE_BITS))
#define DEAD_SHARE 12
#define DEAD_SEGMENTS 1 /* fewer are not worth the trouble */

_Static_assert(SEGMENT_BYTES / 4 == 1 << PLACE_BITS, "a place reaches all of a segment");

static uint32_t
unused_segment(struct arena *arena)
{
	uint32_t count = arena->segment_count;

	for (uint32_t i = 0; i < count; i++) {
		if (arena->segments[i].at == NULL)
			return i;
	}
	uint32_t more = count > 0 ? count * 2 : 4;
	bool is_nowhere = arena->open == count;
	assert(more <= MOST_SEGMENTS);
	arena->segments = alloc_again(arena->segments, more * sizeof(*arena->segments));
	memset(arena->segments + count, 0, (more - count) * sizeof(*arena->segments));
	arena->segment_count = more;
	if (is_nowhere)
		arena->open = more;
	return count;
}

static uint32_t
new_segment(struct arena *arena, uint32_t size)
{
	uint32_t index = unused_segment(arena);

	arena->segments[index] = (struct segment){ alloc(size), size, START, 0 };
	held_add(size);
	return index;
}

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

	segment->live -= size;
	arena->dead += size;
	if (segment->live > 0)
		return;
	arena->used -= segment->used - START;
	arena->dead -= segment->used - START;
	segment->used = START;
	if (index != arena->open) {
		held_sub(segment->size);
		free(segment->at);
		*segment = (struct segment){ 0 };
	}
}

uint32_t
arena_worst(const struct arena *arena)
{
	uint32_t worst = arena->segment_count, most_dead = 0;

	if (arena->dead < DEAD_SEGMENTS * SEGMENT_BYTES || arena->dead < arena->used / DEAD_SHARE)
		return worst;
	for (uint32_t i = 0; i < arena->segment_count; i++) {
		const struct segment *segment = &arena->segments[i];
		if (segment->at == NULL || i == arena->open)
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
	for (uint32_t i = 0; i < arena->segment_count; i++)
		free(arena->segments[i].at);
	free(arena->segments);
	*arena = (struct arena){ 0 };
}
