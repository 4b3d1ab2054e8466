/*
 * A queue of deadlines behind one timer. Nearly all deadlines of a queue lie
 * the same time ahead, so a new one belongs at the end and adding is O(1);
 * where settings have changed meanwhile it is put in order.
 *
 * One thread. `on_due` is called from the event loop, one call a deadline,
 * after the deadline has been taken off.
 */
#ifndef SIDECAR_BASE_DEADLINES_H
#define SIDECAR_BASE_DEADLINES_H

#include <stdint.h>

struct event_base;
struct deadlines;

struct deadline {
	struct deadline *next, *prev;
	int64_t due_ms; /* 0: not queued */
	void (*on_due)(struct deadline *deadline);
};

struct deadlines *deadlines_new(struct event_base *base);
void deadlines_free(struct deadlines *queue);
/* The deadline must not be queued. */
void deadlines_add(struct deadlines *queue, struct deadline *deadline, int64_t due_ms);
/* Nothing happens when it is not queued. */
void deadlines_remove(struct deadlines *queue, struct deadline *deadline);

#endif
