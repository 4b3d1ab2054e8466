/*
 * A pipelined link. Owned by a worker, run by its event loop.
 *
 * The calls stand in one queue, oldest first, from send to reply:
 *
 *   first -> [ sent, unanswered ... ][ waiting to be sent ... ] -> last
 *
 * No marker divides them: each call knows where its bytes end in the stream,
 * and when a connection breaks, how far the stream has left tells which calls
 * are LOST (they may have run) and which UNSENT.
 */
#include "upstream/redis_link.h"

#include <assert.h>
#include <stdlib.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/alloc.h"
#include "base/backoff.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/random.h"
#include "upstream/redis_calls.h"
#include "upstream/redis_link_inside.h"
#include "upstream/redis_tally.h"

#define KEEPALIVE_MS 30000
#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS 5000

static void start_connecting(struct redis_link *link);
static void on_ready(struct redis_conn *conn, void *arg);
static void on_reply(struct redis_conn *conn, char type, struct slice reply, void *arg);
static void on_batch_end(struct redis_conn *conn, void *arg);
static void on_ending(evutil_socket_t fd, short what, void *arg);
static void on_retry(evutil_socket_t fd, short what, void *arg);

static const struct redis_conn_events conn_events = {
	.ready = on_ready,
	.reply = on_reply,
	.batch_end = on_batch_end,
	.closed = link_on_closed,
};

/* The one setter of `state`. */
void
link_enter(struct redis_link *link, enum link_state state)
{
	assert(state != LINK_READY || link->state == LINK_CONNECTING);
	assert(state != LINK_PAUSING || link->state != LINK_IDLE);
	assert((state == LINK_CONNECTING || state == LINK_READY) == (link->conn != NULL));
	link->state = state;
}

void
link_start_timer(struct event *timer, int64_t wait_ms)
{
	event_add(timer, &(struct timeval){ wait_ms / 1000, wait_ms % 1000 * 1000 });
}

struct redis_link *
redis_link_new(struct event_base *base, struct evdns_base *dns, const struct redis_target *target,
    const struct redis_link_options *options, struct breaker *breaker,
    struct redis_metrics *metrics)
{
	struct redis_link *link = alloc_zero(sizeof(*link));
	uint64_t seed;

	random_bytes(&seed, sizeof(seed));
	link->base = base;
	link->dns = dns;
	link->target = target;
	link->options = *options;
	if (link->options.keepalive_ms == 0)
		link->options.keepalive_ms = KEEPALIVE_MS;
	link->breaker = breaker;
	link->tally = (struct redis_tally){ .metrics = metrics, .breaker = breaker };
	link->ping.is_keepalive = true;
	calls_clear(&link->calls);
	calls_clear(&link->ended);
	backoff_init(&link->backoff, RETRY_FIRST_MS, RETRY_MAX_MS, seed);
	evtimer_assign(&link->ending, base, on_ending, link);
	evtimer_assign(&link->retry, base, on_retry, link);
	evtimer_assign(&link->keepalive, base, link_on_keepalive, link);
	return link;
}

/* Queues a call behind the others. Its bytes go into `waiting` or the
 * connection's buffer, in the same order. */
void
link_enqueue(struct redis_link *link, struct slice command, struct redis_call *call)
{
	if (link->send_us == 0)
		link->send_us = clock_mono_us();
	call->sent_us = link->send_us;
	call->is_overdue = false;
	link->queued += command.len;
	call->end = link->queued;
	calls_add(&link->calls, call);
	link->is_dirty = true;
	if (link->state == LINK_CONNECTING) {
		link->waiting_count++; /* as sent only when they are: it may never come to that */
		buf_append_slice(&link->waiting, command);
		return;
	}
	counter_add(&link->tally.metrics->commands, 1);
	redis_conn_write(link->conn, command);
}

bool
redis_link_send(struct redis_link *link, struct slice command, struct redis_call *call)
{
	if (link->is_freeing || link->state == LINK_PAUSING || !breaker_allows(link->breaker))
		return false;
	if (link->state == LINK_IDLE)
		start_connecting(link);
	call->is_keepalive = false;
	link_enqueue(link, command, call);
	return true;
}

void
redis_link_flush(struct redis_link *link)
{
	link->send_us = 0;
	if (!link->is_dirty)
		return;
	link->is_dirty = false;
	redis_conn_flush(link->conn);
}

bool
redis_link_is_dirty(const struct redis_link *link)
{
	return link->is_dirty;
}

bool
redis_link_is_ready(const struct redis_link *link)
{
	return link->state == LINK_READY;
}

static void
start_connecting(struct redis_link *link)
{
	struct redis_conn_options options = {
		.resp_version = link->options.resp_version,
		.database = -1,
		.client_name = link->options.client_name,
		.connect_ms = link->options.connect_ms,
		.commands = &link->tally.metrics->commands,
	};

	assert(link->conn == NULL && link->calls.first == NULL);
	event_del(&link->retry);
	link->queued = 0;
	link->is_proven = false;
	link->conn =
	    redis_conn_new(link->base, link->dns, link->target, &options, &conn_events, link);
	link_enter(link, LINK_CONNECTING);
}

void
redis_link_connect(struct redis_link *link)
{
	if (link->is_freeing || link->conn != NULL || !breaker_allows(link->breaker))
		return;
	backoff_reset(&link->backoff);
	start_connecting(link);
}

static void
on_ready(struct redis_conn *conn, void *arg)
{
	struct redis_link *link = arg;

	link_enter(link, LINK_READY);
	link->heard_us = clock_mono_us();
	link->deaf_calls = 0;
	link->is_pinging = false;
	link_start_timer(&link->keepalive, link->options.keepalive_ms);
	redis_conn_write(conn, buf_slice(&link->waiting));
	counter_add(&link->tally.metrics->commands, link->waiting_count);
	link->waiting_count = 0;
	buf_free(&link->waiting);
	redis_conn_flush(conn);
}

static void
answer(struct redis_link *link, struct redis_call *call, char type, struct slice reply)
{
	char code[REDIS_ERROR_CODE_SIZE];
	int kind = type == '-' ? redis_error_kind(reply) : -1;

	redis_tally_answer(&link->tally, call->sent_us);
	link->is_proven = true;
	if (call->is_keepalive)
		link->is_pinging = false;
	if (kind < 0 && !call->is_overdue)
		redis_tally_success(&link->tally);
	if (kind >= 0 && !call->is_overdue)
		redis_tally_failures(&link->tally, 1, (enum failure_kind)kind,
		    redis_error_code(reply, code));
	call->ended_us = link->heard_us;
	if (!call->is_keepalive)
		call->done(call, kind >= 0 ? CALL_SICK : CALL_ANSWERED, reply);
}

static void
on_reply(struct redis_conn *conn, char type, struct slice reply, void *arg)
{
	struct redis_link *link = arg;
	struct redis_call *call;

	link->heard_us = redis_tally_now_us(&link->tally);
	if (type == '>') {
		if (link->options.pushed != NULL)
			link->options.pushed(reply, link->options.arg);
		return;
	}
	call = calls_pop(&link->calls);
	if (call != NULL)
		answer(link, call, type, reply);
	else
		/* Question and answer no longer match: nothing on this
		 * connection can be believed. */
		link_on_closed(conn, FAILURE_PROTOCOL, "an answer that nobody asked for", link);
}

static void
on_batch_end(struct redis_conn *conn, void *arg)
{
	struct redis_link *link = arg;

	(void)conn;
	redis_tally_end(&link->tally);
	if (link->backoff.tries > 0 && link->is_proven)
		backoff_reset(&link->backoff);
}

/*
 * Closes the connection, if there is one, and moves its calls to `ended`.
 * Returns how many became LOST that have not been counted as failures yet.
 */
static int64_t
give_up(struct redis_link *link)
{
	int64_t uncounted = 0;
	uint64_t left;
	struct redis_call *call;

	if (link->conn == NULL)
		return 0;
	left = link->queued - buf_len(&link->waiting) - redis_conn_unsent(link->conn);
	while ((call = calls_pop(&link->calls)) != NULL) {
		bool is_lost = link->state == LINK_READY && call->end <= left;

		uncounted += is_lost && !call->is_overdue;
		if (call->is_keepalive)
			continue;
		call->result = is_lost ? CALL_LOST : CALL_UNSENT;
		call->is_overdue = true;
		calls_add(&link->ended, call);
		if (is_lost) {
			link->has_orphans = true;
			link->orphans_id = redis_conn_client_id(link->conn);
		}
	}
	redis_conn_free(link->conn);
	link->conn = NULL;
	link->is_dirty = link->is_pinging = false;
	link->send_us = 0; /* nobody flushes what is not dirty */
	link->waiting_count = 0;
	buf_free(&link->waiting);
	event_del(&link->keepalive);
	if (link->ended.first != NULL)
		link_start_timer(&link->ending, 0);
	redis_tally_end(&link->tally);
	return uncounted;
}

/* After a failure: again after a while, if the breaker still allows. */
static void
try_again_later(struct redis_link *link)
{
	if (!breaker_allows(link->breaker)) {
		link_enter(link, LINK_IDLE);
		return;
	}
	link_enter(link, LINK_PAUSING);
	link_start_timer(&link->retry, backoff_next_ms(&link->backoff));
}

void
link_on_closed(struct redis_conn *conn, enum failure_kind kind, const char *reason, void *arg)
{
	struct redis_link *link = arg;
	bool was_ready = link->state == LINK_READY;
	bool was_proven = was_ready && link->is_proven;
	bool had_calls = link->calls.first != NULL;
	bool had_orphans = link->has_orphans;
	int64_t failures = give_up(link);

	(void)conn; /* freed by now */
	/* What Redis has closed itself runs nothing more there. */
	if (kind == FAILURE_LOST)
		link->has_orphans = had_orphans;
	/* A failed attempt is one failure. A connection that broke is one for
	 * each call that it lost; nobody missed one that broke idle. */
	if (failures == 0 && (!was_ready || had_calls || kind == FAILURE_PROTOCOL))
		failures = 1;
	/* The state first: the breaker may change, and call us. One that has
	 * worked is replaced at once; one that never did, and breaks without
	 * harm, by the next send. */
	link_enter(link, was_proven || failures == 0 ? LINK_IDLE : LINK_PAUSING);
	if (failures > 0)
		redis_tally_log(link->target, was_ready ? "connection_lost" : "connect_failed",
		    kind, reason);
	redis_tally_failures(&link->tally, failures, kind, reason);
	if (link->state == LINK_PAUSING)
		try_again_later(link);
	else if (was_proven && link->state == LINK_IDLE && breaker_allows(link->breaker))
		start_connecting(link);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *link = arg;

	(void)fd, (void)what;
	if (breaker_allows(link->breaker))
		start_connecting(link);
	else
		link_enter(link, LINK_IDLE);
}

void
redis_link_close(struct redis_link *link)
{
	event_del(&link->retry);
	give_up(link);
	link_enter(link, LINK_IDLE);
}

/* Detaches the list first: what done() breaks anew waits for the next turn. */
static void
end_calls(struct redis_link *link)
{
	struct calls ended = { link->ended.first, NULL };
	struct redis_call *call;

	calls_clear(&link->ended);
	if (link->has_orphans && link->options.orphaned != NULL)
		link->options.orphaned(link->orphans_id, link->options.arg);
	link->has_orphans = false;
	int64_t now_us = clock_mono_us();
	while ((call = calls_pop(&ended)) != NULL) {
		call->ended_us = now_us;
		call->done(call, call->result, SLICE_NONE);
	}
}

static void
on_ending(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	end_calls(arg);
}

void
redis_link_free(struct redis_link *link)
{
	if (link == NULL)
		return;
	link->is_freeing = true;
	redis_link_close(link);
	while (link->ended.first != NULL)
		end_calls(link);
	event_del(&link->ending);
	free(link);
}
