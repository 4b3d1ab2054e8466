/* See redis_dial.h. Owned by a connection, run by its event loop. */
#include "upstream/redis_dial.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "upstream/resolve.h"

enum dial_state {
	DIAL_RESOLVING,
	DIAL_CONNECTING,
	DIAL_SECURING,
	DIAL_OVER,
};

struct redis_dial {
	struct event_base *base;
	const struct redis_target *target;
	struct redis_socket *socket;
	int64_t connect_ms;
	int64_t due_ms;
	dialled_fn done;
	void *arg;

	enum dial_state state;
	struct resolve *resolve;
	char addresses[RESOLVE_MAX_ADDRESSES][RESOLVE_ADDRESS_SIZE];
	int address_count;
	int address_next;
	struct event progress; /* on the socket; assigned while has_progress */
	bool has_progress;
	struct event deadline; /* of the address that is tried, or of it all */
	struct event later;
	struct redis_failure failure;
};

static void on_unix_turn(evutil_socket_t fd, short what, void *arg);
static void on_deadline(evutil_socket_t fd, short what, void *arg);
static void on_resolved(const char *const *addresses, int count, const char *error, void *arg);
static void on_progress(evutil_socket_t fd, short what, void *arg);
static void try_next_address(struct redis_dial *dial);
static void secure(struct redis_dial *dial);

/* The one setter of `state`. */
static void
enter(struct redis_dial *dial, enum dial_state state)
{
	/* CONNECTING follows itself, from one address to the next. */
	assert(state == DIAL_CONNECTING ? dial->state <= state : dial->state < state);
	dial->state = state;
}

static void
set_deadline(struct redis_dial *dial, int64_t share)
{
	int64_t wait_ms = (dial->due_ms - clock_mono_ms()) / share;
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };

	if (wait_ms < 1)
		wait = (struct timeval){ 0, 1000 };
	event_add(&dial->deadline, &wait);
}

struct redis_dial *
redis_dial_new(struct event_base *base, struct evdns_base *dns, const struct redis_target *target,
    struct redis_socket *socket, int64_t connect_ms, dialled_fn done, void *arg)
{
	struct redis_dial *dial = alloc_zero(sizeof(*dial));
	static const struct timeval at_once = { 0, 0 };

	dial->base = base;
	dial->target = target;
	dial->socket = socket;
	dial->connect_ms = connect_ms;
	dial->due_ms = clock_mono_ms() + connect_ms;
	dial->done = done;
	dial->arg = arg;
	dial->state = DIAL_RESOLVING;
	evtimer_assign(&dial->deadline, base, on_deadline, dial);
	evtimer_assign(&dial->later, base, on_unix_turn, dial);
	set_deadline(dial, 1);
	if (target->path != NULL) /* refused at once, but not inside this call */
		event_add(&dial->later, &at_once);
	else
		dial->resolve = resolve_start(base, dns, target->host, on_resolved, dial);
	return dial;
}

static void
stop_watching(struct redis_dial *dial)
{
	if (dial->has_progress)
		event_del(&dial->progress);
	dial->has_progress = false;
}

static void
stop(struct redis_dial *dial)
{
	resolve_cancel(dial->resolve);
	dial->resolve = NULL;
	stop_watching(dial);
	event_del(&dial->deadline);
	event_del(&dial->later);
}

void
redis_dial_free(struct redis_dial *dial)
{
	if (dial == NULL)
		return;
	stop(dial);
	free(dial);
}

/* done() comes last: the dial may be gone then. */
static void
finish(struct redis_dial *dial, bool is_open)
{
	enter(dial, DIAL_OVER);
	stop(dial);
	if (!is_open)
		redis_socket_close(dial->socket);
	dial->done(is_open ? NULL : &dial->failure, dial->arg);
}

static void
on_deadline(evutil_socket_t fd, short what, void *arg)
{
	static const char *const waited_for[] = {
		[DIAL_RESOLVING] = "no answer from the resolver",
		[DIAL_CONNECTING] = "no connection",
		/* A Redis without TLS takes the handshake for half a command. */
		[DIAL_SECURING] = "no answer to the TLS handshake (redis://?)",
	};
	struct redis_dial *dial = arg;

	(void)fd, (void)what;
	redis_fail_by_timeout(&dial->failure, waited_for[dial->state], dial->connect_ms);
	if (dial->state == DIAL_CONNECTING)
		try_next_address(dial);
	else
		finish(dial, false);
}

static void
on_resolved(const char *const *addresses, int count, const char *error, void *arg)
{
	struct redis_dial *dial = arg;

	dial->resolve = NULL;
	for (int i = 0; i < count; i++)
		snprintf(dial->addresses[i], RESOLVE_ADDRESS_SIZE, "%s", addresses[i]);
	dial->address_count = count;
	if (count == 0)
		redis_fail(&dial->failure, FAILURE_CONNECT, "%s", error);
	try_next_address(dial);
}

static void
on_unix_turn(evutil_socket_t fd, short what, void *arg)
{
	struct redis_dial *dial = arg;

	(void)fd, (void)what;
	dial->address_count = 1; /* the path */
	try_next_address(dial);
}

static void
watch(struct redis_dial *dial, enum socket_step wanted)
{
	stop_watching(dial);
	event_assign(&dial->progress, dial->base, redis_socket_fd(dial->socket),
	    wanted == SOCKET_WANTS_READ ? EV_READ : EV_WRITE, on_progress, dial);
	event_add(&dial->progress, NULL);
	dial->has_progress = true;
}

static void
connected(struct redis_dial *dial)
{
	if (!dial->target->is_tls) {
		finish(dial, true);
		return;
	}
	enter(dial, DIAL_SECURING);
	set_deadline(dial, 1);
	secure(dial);
}

static void
try_next_address(struct redis_dial *dial)
{
	enum socket_step step = SOCKET_FAILED;

	enter(dial, DIAL_CONNECTING);
	stop_watching(dial);
	redis_socket_close(dial->socket);
	while (step == SOCKET_FAILED && dial->address_next < dial->address_count) {
		/* Each may take its share of the time that is left. */
		set_deadline(dial, dial->address_count - dial->address_next);
		step = redis_socket_open(dial->socket, dial->target,
		    dial->addresses[dial->address_next++], &dial->failure);
		if (step == SOCKET_FAILED)
			redis_socket_close(dial->socket);
	}
	if (step == SOCKET_FAILED)
		finish(dial, false);
	else if (step == SOCKET_DONE)
		connected(dial);
	else
		watch(dial, step);
}

static void
secure(struct redis_dial *dial)
{
	enum socket_step step = redis_socket_secure(dial->socket, dial->target, &dial->failure);

	if (step == SOCKET_DONE || step == SOCKET_FAILED)
		finish(dial, step == SOCKET_DONE);
	else
		watch(dial, step);
}

static void
on_progress(evutil_socket_t fd, short what, void *arg)
{
	struct redis_dial *dial = arg;

	(void)fd, (void)what;
	dial->has_progress = false; /* it was for one time */
	if (dial->state == DIAL_SECURING)
		secure(dial);
	else if (redis_socket_finish(dial->socket, &dial->failure) == SOCKET_DONE)
		connected(dial);
	else
		try_next_address(dial);
}
