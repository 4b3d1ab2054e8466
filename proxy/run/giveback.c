/* See giveback.h. */
#include "run/giveback.h"

#include <event2/event.h>
#include <malloc.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/held.h"
#include "base/log.h"
#include "run/worker.h"

#define LOOK_S 1
#define CALM_LOOKS 2
#define WORTH_BYTES (4 << 20)

/* Under load: blocks up to this come from a heap, whose free end may grow to
 * that. Said once, they no longer follow the largest block ever freed. */
#define MAPPED_BYTES (16 << 20)
#define FREE_END_BYTES (32 << 20)
/* While something is given back. */
#define CALM_FREE_END_BYTES (128 << 10)

struct giveback {
	struct event *timer;
	struct worker *const *workers;
	size_t worker_count;
	struct giveback_state state;
	bool is_giving;
};

bool
giveback_is_due(struct giveback_state *state, int64_t held, int64_t most)
{
	if (most > state->high)
		state->high = most;
	/* By the most since the last look: between two bursts is not calm. */
	state->calm = most + WORTH_BYTES <= state->high ? state->calm + 1 : 0;
	if (state->calm < CALM_LOOKS)
		return false;
	state->high = held;
	state->calm = 0;
	return true;
}

/* First each worker: what it keeps for the next request, and the free end of
 * its heap, which is given back only when its own thread frees something, and
 * by the threshold. */
static void
begin_giving(struct giveback *giveback)
{
	mallopt(M_TRIM_THRESHOLD, CALM_FREE_END_BYTES);
	for (size_t i = 0; i < giveback->worker_count; i++)
		worker_give_back(giveback->workers[i]);
	giveback->is_giving = true;
}

/* Then, a look later, what lies between blocks, by whoever asks. */
static void
end_giving(struct giveback *giveback)
{
	int64_t began_us = clock_mono_us();

	malloc_trim(0);
	mallopt(M_TRIM_THRESHOLD, FREE_END_BYTES);
	giveback->is_giving = false;
	log_debug("event=memory_given_back us=%lld", (long long)(clock_mono_us() - began_us));
}

static void
on_look(evutil_socket_t fd, short what, void *arg)
{
	struct giveback *giveback = arg;
	int64_t held, most;

	(void)fd, (void)what;
	if (giveback->is_giving)
		end_giving(giveback);
	held_look(&held, &most);
	if (giveback_is_due(&giveback->state, held, most))
		begin_giving(giveback);
}

struct giveback *
giveback_new(struct event_base *base, struct worker *const *workers, size_t count)
{
	struct giveback *giveback = alloc_zero(sizeof(*giveback));
	struct timeval interval = { .tv_sec = LOOK_S };

	mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
	mallopt(M_TRIM_THRESHOLD, FREE_END_BYTES);
	giveback->workers = workers;
	giveback->worker_count = count;
	giveback->timer = event_new(base, -1, EV_PERSIST, on_look, giveback);
	event_add(giveback->timer, &interval);
	return giveback;
}

void
giveback_free(struct giveback *giveback)
{
	if (giveback == NULL)
		return;
	event_free(giveback->timer);
	free(giveback);
}
