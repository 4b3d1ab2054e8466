/* See deadlines.h. */
#include "base/deadlines.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"

/* `ring` is the list's both ends: ring.next is due first, ring.prev last. */
struct deadlines {
	struct deadline ring;
	struct event *timer;
	int64_t armed_for_ms; /* 0: the timer is not set */
};

static void
arm(struct deadlines *queue, int64_t now_ms)
{
	struct deadline *first = queue->ring.next;

	if (first == &queue->ring || (queue->armed_for_ms != 0 && queue->armed_for_ms <= first->due_ms))
		return; /* a timer that fires early just arms again: cheaper than moving it */
	int64_t wait_ms = first->due_ms > now_ms ? first->due_ms - now_ms : 0;
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };
	event_add(queue->timer, &wait);
	queue->armed_for_ms = first->due_ms;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct deadlines *queue = arg;
	int64_t now_ms = clock_mono_ms();

	(void)fd, (void)what;
	queue->armed_for_ms = 0;
	while (queue->ring.next != &queue->ring && queue->ring.next->due_ms <= now_ms) {
		struct deadline *deadline = queue->ring.next;
		deadlines_remove(queue, deadline);
		deadline->on_due(deadline);
	}
	arm(queue, now_ms);
}

struct deadlines *
deadlines_new(struct event_base *base)
{
	struct deadlines *queue = alloc_zero(sizeof(*queue));

	queue->ring.next = queue->ring.prev = &queue->ring;
	queue->timer = event_new(base, -1, 0, on_timer, queue);
	return queue;
}

void
deadlines_free(struct deadlines *queue)
{
	if (queue == NULL)
		return;
	event_free(queue->timer);
	free(queue);
}

void
deadlines_add(struct deadlines *queue, struct deadline *deadline, int64_t due_ms)
{
	struct deadline *before = queue->ring.prev;

	while (before != &queue->ring && before->due_ms > due_ms)
		before = before->prev;
	deadline->due_ms = due_ms;
	deadline->prev = before;
	deadline->next = before->next;
	before->next->prev = deadline;
	before->next = deadline;
	if (queue->armed_for_ms == 0 || queue->ring.next == deadline)
		arm(queue, clock_mono_ms());
}

void
deadlines_remove(struct deadlines *queue, struct deadline *deadline)
{
	(void)queue;
	if (deadline->due_ms == 0)
		return;
	deadline->prev->next = deadline->next;
	deadline->next->prev = deadline->prev;
	deadline->due_ms = 0;
}
