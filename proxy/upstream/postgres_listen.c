/* See postgres_listen.h. */
#include "upstream/postgres_listen.h"

#include <assert.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "upstream/postgres_conn.h"

#define CONNECT_MS 5000
#define ANSWER_MS 5000
#define PING_MS 20000 /* a connection that NATs and firewalls forget says nothing */
#define RETRY_FIRST_MS 200
#define RETRY_MAX_MS 5000
/* Failed logins lock an account: 10 in 150 s are too many, all together. */
#define REFUSED_MIN_MS 60000
#define REFUSED_MAX_MS 600000

enum listen_state {
	LISTEN_CLOSED, /* a try is due */
	LISTEN_CONNECTING,
	AWAIT_LISTEN,
	AWAIT_PID,
	LISTENING,
	AWAIT_PING,
};

struct postgres_listen {
	struct event_base *base;
	struct evdns_base *dns;
	struct postgres_target *target;
	struct canceller *canceller;
	struct postgres_conn *conn;
	struct event *timer; /* the next try, or the next ping */
	struct postgres_listen_events events;
	const char *channel;
	enum listen_state state;
	struct backoff backoff, refused;
	_Atomic bool is_up;
	bool is_said_down, is_said_pooled; /* once an outage, and once */
};

static void
set_timer(struct postgres_listen *listen, int64_t wait_ms)
{
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };

	event_add(listen->timer, &wait);
}

static void
enter(struct postgres_listen *listen, enum listen_state state)
{
	assert(state == LISTEN_CLOSED || state == listen->state + 1 ||
	    (state == LISTENING && listen->state == AWAIT_PING));
	listen->state = state;
	listen->is_up = state >= AWAIT_PID;
	if (state == LISTENING)
		set_timer(listen, PING_MS);
}

/* ---- the end of a connection ---- */

static void
lose(struct postgres_listen *listen, enum failure_kind kind, const char *reason)
{
	bool is_refused = kind == FAILURE_AUTH || kind == FAILURE_QUOTA;
	int64_t wait_ms = is_refused ? REFUSED_MIN_MS + backoff_next_ms(&listen->refused)
				     : backoff_next_ms(&listen->backoff);

	log_line(listen->is_said_down ? LOG_DEBUG : LOG_WARN,
	    "postgres listen down: %s; next try in %.1f s", reason, (double)wait_ms / 1000);
	listen->is_said_down = true;
	postgres_conn_free(listen->conn);
	listen->conn = NULL;
	enter(listen, LISTEN_CLOSED);
	set_timer(listen, wait_ms);
}

static void
on_closed(struct postgres_conn *conn, enum failure_kind kind, const char *reason, void *arg)
{
	(void)conn;
	lose(arg, kind, reason);
}

static void
on_overdue(struct postgres_conn *conn, void *arg)
{
	(void)conn;
	lose(arg, FAILURE_TIMEOUT, "no answer in time");
}

/* ---- one step after the other ---- */

static void
ask(struct postgres_listen *listen, enum listen_state state, const char *sql)
{
	enter(listen, state);
	postgres_conn_query(listen->conn, sql, NULL, ANSWER_MS);
}

static void
on_ready(struct postgres_conn *conn, void *arg)
{
	struct postgres_listen *listen = arg;
	char sql[96];

	(void)conn;
	snprintf(sql, sizeof(sql), "LISTEN %s", listen->channel);
	ask(listen, AWAIT_LISTEN, sql);
}

static void
say_up(struct postgres_listen *listen)
{
	log_info("postgres listen up: %s", listen->target->name);
	listen->is_said_down = false;
	backoff_reset(&listen->backoff);
	backoff_reset(&listen->refused);
	listen->events.up(listen->events.arg);
}

/* A pooler's handshake names a process of its own. */
static void
look_for_pooler(struct postgres_listen *listen, const PGresult *result)
{
	bool is_pooled = PQntuples(result) == 1 &&
	    atoi(PQgetvalue(result, 0, 0)) != postgres_conn_pid(listen->conn);

	if (is_pooled && !listen->is_said_pooled)
		log_warn("postgres listen: this looks like a pooler, and one in transaction mode "
			 "passes no changes on: [postgres] listen_url should go straight to "
			 "Postgres");
	listen->is_said_pooled |= is_pooled;
}

static void
on_result(struct postgres_conn *conn, const PGresult *result, void *arg)
{
	struct postgres_listen *listen = arg;
	ExecStatusType status = PQresultStatus(result);
	struct postgres_error error;

	(void)conn;
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
		postgres_error_of_query(PQresultErrorField(result, PG_DIAG_SQLSTATE), false,
		    PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), &error);
		lose(listen, FAILURE_PROTOCOL, error.reason);
	} else if (listen->state == AWAIT_LISTEN) {
		ask(listen, AWAIT_PID, "SELECT pg_backend_pid()");
		say_up(listen);
	} else {
		if (listen->state == AWAIT_PID)
			look_for_pooler(listen, result);
		enter(listen, LISTENING);
	}
}

static void
on_notified(struct postgres_conn *conn, const char *payload, void *arg)
{
	struct postgres_listen *listen = arg;

	(void)conn;
	listen->events.notified(slice_of(payload), listen->events.arg);
}

/* ---- connecting ---- */

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const struct postgres_conn_events events = {
		.ready = on_ready,
		.result = on_result,
		.overdue = on_overdue,
		.closed = on_closed,
		.notified = on_notified,
	};
	struct postgres_listen *listen = arg;

	(void)fd, (void)what;
	if (listen->state == LISTENING) {
		ask(listen, AWAIT_PING, "SELECT 1");
		return;
	}
	assert(listen->state == LISTEN_CLOSED);
	enter(listen, LISTEN_CONNECTING);
	listen->conn = postgres_conn_new(listen->base, listen->dns, listen->target,
	    listen->canceller, CONNECT_MS, &events, listen);
}

struct postgres_listen *
postgres_listen_new(struct event_base *base, struct evdns_base *dns, const char *url,
    const char *channel, const struct postgres_listen_events *events)
{
	struct postgres_target *target = postgres_target_of(url, "listen_url");
	uint64_t seed;

	if (target == NULL)
		return NULL;
	struct postgres_listen *listen = alloc_zero(sizeof(*listen));
	random_bytes(&seed, sizeof(seed));
	listen->base = base;
	listen->dns = dns;
	listen->target = target;
	listen->channel = channel;
	listen->events = *events;
	listen->canceller = canceller_new(base);
	backoff_init(&listen->backoff, RETRY_FIRST_MS, RETRY_MAX_MS, seed);
	backoff_init(&listen->refused, REFUSED_MIN_MS, REFUSED_MAX_MS, ~seed);
	listen->timer = event_new(base, -1, 0, on_timer, listen);
	set_timer(listen, 0);
	return listen;
}

void
postgres_listen_free(struct postgres_listen *listen)
{
	if (listen == NULL)
		return;
	postgres_conn_free(listen->conn);
	canceller_free(listen->canceller);
	postgres_target_unref(listen->target);
	event_free(listen->timer);
	free(listen);
}

bool
postgres_listen_is_up(const struct postgres_listen *listen)
{
	return listen != NULL && atomic_load(&((struct postgres_listen *)listen)->is_up);
}
