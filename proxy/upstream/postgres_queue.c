/*
 * Lookups that wait for a connection: a queue a map, served in turn. See
 * postgres_pool.h.
 */
#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "upstream/postgres_pool.h"

struct pg_map *
queue_of_map(struct postgres *pool, const struct map_settings *map)
{
	struct pg_map *queue = atomic_load(&pool->maps);

	for (; queue != NULL; queue = queue->next) {
		if (queue->map == map)
			return queue;
	}
	queue = alloc_zero(sizeof(*queue));
	queue->pool = pool;
	queue->map = map;
	/* Until a result has shown it, "SELECT *" may well have one. */
	atomic_init(&queue->has_valid_until, strchr(map->query, '*') != NULL);
	queue->canary_at_ms = TIME_NEVER;
	queue->canary_ran_ms = INT64_MIN / 2;
	queue->next = atomic_load(&pool->maps);
	atomic_store(&pool->maps, queue);
	return queue;
}

static void
unlink_lookup(struct lookup *lookup)
{
	struct pg_map *queue = lookup->queue;

	*(lookup->prev != NULL ? &lookup->prev->next : &queue->first) = lookup->next;
	*(lookup->next != NULL ? &lookup->next->prev : &queue->last) = lookup->prev;
	deadlines_remove(queue->pool->deadlines, &lookup->deadline);
	queue->pool->waiting--;
}

static void
on_due(struct deadline *deadline)
{
	struct lookup *lookup =
	    (struct lookup *)(void *)((char *)deadline - offsetof(struct lookup, deadline));
	struct postgres *pool = lookup->queue->pool;

	unlink_lookup(lookup);
	postgres_finish(pool, lookup, LOOKUP_FAILED);
	pool_note_late(pool);
}

/* Links it in before `next`; NULL: at the end. */
static void
link_lookup(struct pg_map *queue, struct lookup *lookup, struct lookup *next)
{
	struct lookup *prev = next != NULL ? next->prev : queue->last;

	lookup->queue = queue;
	lookup->prev = prev;
	lookup->next = next;
	*(prev != NULL ? &prev->next : &queue->first) = lookup;
	*(next != NULL ? &next->prev : &queue->last) = lookup;
	lookup->deadline.on_due = on_due;
	/* 0 would mean "not queued" to deadlines.c */
	deadlines_add(queue->pool->deadlines, &lookup->deadline,
	    lookup->due_ms > 0 ? lookup->due_ms : 1);
	queue->pool->waiting++;
}

void
queue_add(struct pg_map *queue, struct lookup *lookup)
{
	link_lookup(queue, lookup, NULL);
}

struct pg_map *
queue_next(struct postgres *pool)
{
	struct pg_map *first = atomic_load(&pool->maps);
	struct pg_map *start = pool->turn_of != NULL ? pool->turn_of : first;
	struct pg_map *queue = start;

	if (pool->waiting == 0)
		return NULL;
	do {
		queue = queue->next != NULL ? queue->next : first;
		if (queue->first != NULL) {
			pool->turn_of = queue;
			return queue;
		}
	} while (queue != start);
	return NULL;
}

void
queue_take(struct pg_map *queue, struct id_batch *batch, int64_t now_ms)
{
	unsigned split = queue->first->split;

	for (struct lookup *lookup = queue->first, *next; lookup != NULL; lookup = next) {
		next = lookup->next;
		if (lookup->split != split ||
		    (batch->count == batch->limit && id_batch_find(batch, lookup->id) == NULL))
			return;
		unlink_lookup(lookup);
		/* Not full, or the same id is in it: it cannot refuse. */
		if (lookup->due_ms <= now_ms || !id_batch_add(batch, lookup))
			postgres_finish(queue->pool, lookup, LOOKUP_FAILED);
	}
}

void
queue_split(struct pg_map *queue, struct id_batch *batch)
{
	struct lookup *front = queue->first;
	unsigned split = 0;

	for (size_t i = 0; i < batch->count; i++) {
		if (i == 0 || i == batch->count / 2) {
			if (++queue->pool->splits == 0)
				queue->pool->splits = 1; /* 0: not of a split */
			split = queue->pool->splits;
		}
		for (struct lookup *lookup = batch->ids[i], *next; lookup != NULL; lookup = next) {
			next = lookup->next;
			lookup->split = split;
			link_lookup(queue, lookup, front);
		}
	}
	batch->count = 0;
}

void
queue_fail_all(struct postgres *pool)
{
	struct pg_map *queue = atomic_load(&pool->maps);

	for (; queue != NULL; queue = queue->next) {
		while (queue->first != NULL) {
			struct lookup *lookup = queue->first;
			unlink_lookup(lookup);
			postgres_finish(pool, lookup, LOOKUP_FAILED);
		}
	}
}

void
batch_finish(struct postgres *pool, struct id_batch *batch, enum lookup_result result)
{
	for (size_t i = 0; i < batch->count; i++) {
		for (struct lookup *lookup = batch->ids[i], *next; lookup != NULL; lookup = next) {
			next = lookup->next;
			postgres_finish(pool, lookup, result);
		}
	}
	batch->count = 0;
}
