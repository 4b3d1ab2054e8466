/* See deadlines.h. The heap's root, heap[1], is due first. */
#include "base/deadlines.h"

#include <assert.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"

#define FIRST_ROOM 64

struct deadlines {
	struct deadline **heap; /* heap[0] is not used */
	size_t count, room;
	uint64_t added; /* so far */
	struct event *timer;
	int64_t armed_for_ms; /* 0: the timer is not set */
};

/* ---- the heap ---- */

static bool
is_before(const struct deadline *a, const struct deadline *b)
{
	return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void
put(struct deadlines *queue, size_t place, struct deadline *deadline)
{
	queue->heap[place] = deadline;
	deadline->place = place;
}

static void
sift_up(struct deadlines *queue, size_t place, struct deadline *deadline)
{
	for (; place > 1 && is_before(deadline, queue->heap[place / 2]); place /= 2)
		put(queue, place, queue->heap[place / 2]);
	put(queue, place, deadline);
}

static void
sift_down(struct deadlines *queue, size_t place, struct deadline *deadline)
{
	while (place * 2 <= queue->count) {
		size_t child = place * 2;
		if (child < queue->count && is_before(queue->heap[child + 1], queue->heap[child]))
			child++;
		if (!is_before(queue->heap[child], deadline))
			break;
		put(queue, place, queue->heap[child]);
		place = child;
	}
	put(queue, place, deadline);
}

/* ---- the timer ---- */

static void
arm(struct deadlines *queue, int64_t now_ms)
{
	if (queue->count == 0)
		return;
	int64_t due_ms = queue->heap[1]->due_ms;
	if (queue->armed_for_ms != 0 && queue->armed_for_ms <= due_ms)
		return; /* a timer that fires early just arms again: cheaper than moving it */
	int64_t wait_ms = due_ms > now_ms ? due_ms - now_ms : 0;
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };
	event_add(queue->timer, &wait);
	queue->armed_for_ms = due_ms;
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct deadlines *queue = arg;
	int64_t now_ms = clock_mono_ms();

	(void)fd, (void)what;
	queue->armed_for_ms = 0;
	while (queue->count > 0 && queue->heap[1]->due_ms <= now_ms) {
		struct deadline *deadline = queue->heap[1];
		deadlines_remove(queue, deadline);
		deadline->on_due(deadline);
	}
	arm(queue, now_ms);
}

struct deadlines *
deadlines_new(struct event_base *base)
{
	struct deadlines *queue = alloc_zero(sizeof(*queue));

	queue->timer = event_new(base, -1, 0, on_timer, queue);
	return queue;
}

void
deadlines_free(struct deadlines *queue)
{
	if (queue == NULL)
		return;
	event_free(queue->timer);
	free(queue->heap);
	free(queue);
}

void
deadlines_add(struct deadlines *queue, struct deadline *deadline, int64_t due_ms)
{
	assert(deadline->place == 0);
	if (queue->count + 1 >= queue->room) {
		queue->room = queue->room > 0 ? queue->room * 2 : FIRST_ROOM;
		queue->heap = alloc_again(queue->heap, queue->room * sizeof(*queue->heap));
	}
	deadline->due_ms = due_ms;
	deadline->order = queue->added++;
	sift_up(queue, ++queue->count, deadline);
	if (deadline->place == 1)
		arm(queue, clock_mono_ms());
}

void
deadlines_remove(struct deadlines *queue, struct deadline *deadline)
{
	size_t place = deadline->place;

	if (place == 0)
		return;
	deadline->place = 0;
	deadline->due_ms = 0;
	struct deadline *last = queue->heap[queue->count--];
	if (last == deadline)
		return;
	if (place > 1 && is_before(last, queue->heap[place / 2]))
		sift_up(queue, place, last);
	else
		sift_down(queue, place, last);
}
