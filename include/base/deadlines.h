/*
 * Deadlines behind one timer: a binary heap, so that adding and removing cost
 * O(log n) whatever mix of times is in it.
 *
 * One thread. `on_due` is called from the event loop, one call a deadline,
 * after the deadline has been taken off.
 */
#ifndef SIDECAR_BASE_DEADLINES_H
#define SIDECAR_BASE_DEADLINES_H

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct deadlines;

/* Part of the caller's struct; all zero but for on_due before it is added. */
struct deadline {
	int64_t due_ms; /* 0: not queued */
	uint64_t order; /* of the same moment, the one added first ends first */
	size_t place;   /* in the heap, from 1 */
	void (*on_due)(struct deadline *deadline);
};

struct deadlines *deadlines_new(struct event_base *base);
void deadlines_free(struct deadlines *queue);
/* The deadline must not be queued. */
void deadlines_add(struct deadlines *queue, struct deadline *deadline, int64_t due_ms);
/* Nothing happens when it is not queued. */
void deadlines_remove(struct deadlines *queue, struct deadline *deadline);

#endif
