/* See postgres_conn.h. libpq's sockets may change while it connects (another
 * host, a second try without TLS), so their events are made anew each time. */
#include "upstream/postgres_conn.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "upstream/postgres_dial.h"
#include "upstream/postgres_result.h"

/* How long a cancelled query may take to go: its budget again, at least this. */
#define CANCEL_MIN_MS 250

enum conn_state {
	CONN_NEW,
	CONN_RESOLVING,
	CONN_CONNECTING,
	CONN_IDLE,
	CONN_AWAIT_RESULT,
	CONN_AWAIT_CANCEL,
	CONN_CLOSED,
};

struct postgres_conn {
	enum conn_state state;
	struct event_base *base;
	struct evdns_base *dns;
	struct postgres_target *target;
	struct canceller *canceller;
	const struct postgres_conn_events *events;
	void *arg;

	struct event *timer; /* what the state waits for, at most; see on_timer() */
	int64_t connect_ms;
	int64_t connect_by_ms;
	struct postgres_dial *dial; /* CONN_RESOLVING */

	PGconn *pg;
	struct event *io; /* connecting: one shot; later: readable */
	struct event *writable;
	PGresult *result; /* of the query under way, so far */
	int64_t budget_ms;
	bool is_broken;  /* told by the timer: no event from inside a call */
	bool is_drained; /* CONN_AWAIT_CANCEL: the query's results are through */
	struct cancel_job *cancel;
	struct postgres_error farewell; /* a FATAL that came while idle */
};

static void on_timer(evutil_socket_t fd, short what, void *arg);

static void
enter(struct postgres_conn *conn, enum conn_state after)
{
	static const unsigned allowed[] = {
		[CONN_NEW] = 1u << CONN_RESOLVING,
		[CONN_RESOLVING] = 1u << CONN_CONNECTING,
		[CONN_CONNECTING] = 1u << CONN_IDLE,
		[CONN_IDLE] = 1u << CONN_AWAIT_RESULT,
		[CONN_AWAIT_RESULT] = 1u << CONN_IDLE | 1u << CONN_AWAIT_CANCEL,
		[CONN_AWAIT_CANCEL] = 1u << CONN_IDLE,
		[CONN_CLOSED] = 0,
	};

	assert(after == CONN_CLOSED || (allowed[conn->state] & 1u << after) != 0);
	conn->state = after;
}

static void
arm(struct event *timer, int64_t wait_ms)
{
	if (wait_ms < 0)
		wait_ms = 0;
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };
	event_add(timer, &wait);
}

struct postgres_conn *
postgres_conn_new(struct event_base *base, struct evdns_base *dns, struct postgres_target *target,
    struct canceller *canceller, int64_t connect_ms, const struct postgres_conn_events *events,
    void *arg)
{
	struct postgres_conn *conn = alloc_zero(sizeof(*conn));

	conn->base = base;
	conn->dns = dns;
	conn->target = postgres_target_ref(target);
	conn->canceller = canceller;
	conn->connect_ms = connect_ms;
	conn->connect_by_ms = clock_mono_ms() + connect_ms;
	conn->events = events;
	conn->arg = arg;
	conn->timer = event_new(base, -1, 0, on_timer, conn);
	arm(conn->timer, 0);
	return conn;
}

static void
drop_events(struct postgres_conn *conn)
{
	if (conn->io != NULL)
		event_free(conn->io);
	if (conn->writable != NULL)
		event_free(conn->writable);
	conn->io = conn->writable = NULL;
}

static void
let_go(struct postgres_conn *conn)
{
	drop_events(conn);
	event_del(conn->timer);
	if (conn->cancel != NULL)
		cancel_job_forget(conn->cancel);
	conn->cancel = NULL;
	postgres_dial_cancel(conn->dial);
	conn->dial = NULL;
	PQclear(conn->result);
	conn->result = NULL;
	PQfinish(conn->pg);
	conn->pg = NULL;
}

void
postgres_conn_free(struct postgres_conn *conn)
{
	if (conn == NULL)
		return;
	let_go(conn);
	event_free(conn->timer);
	postgres_target_unref(conn->target);
	free(conn);
}

static void
conn_close(struct postgres_conn *conn, enum failure_kind kind, const char *reason)
{
	enter(conn, CONN_CLOSED);
	let_go(conn);
	conn->events->closed(conn, kind, reason, conn->arg); /* may free it */
}

/* ---- Connecting ------------------------------------------------------- */

static void on_connect_io(evutil_socket_t fd, short what, void *arg);
static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

/* Nothing goes to libpq's stderr. What a server says before it hangs up on an
 * idle connection comes as a notice, and tells a shutdown from a broken wire. */
static void
on_notice(void *arg, const PGresult *result)
{
	struct postgres_conn *conn = arg;
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY);

	if (severity != NULL && strcmp(severity, "FATAL") == 0)
		postgres_error_of_query(PQresultErrorField(result, PG_DIAG_SQLSTATE), true,
		    PQresultErrorMessage(result), &conn->farewell);
}

static void
connection_failed(struct postgres_conn *conn)
{
	struct postgres_error error;

	postgres_error_of_connection(PQerrorMessage(conn->pg), &error);
	conn_close(conn, error.kind, error.reason);
}

static void
await_socket(struct postgres_conn *conn, short what)
{
	drop_events(conn);
	conn->io = event_new(conn->base, PQsocket(conn->pg), what, on_connect_io, conn);
	event_add(conn->io, NULL);
}

static void
on_dialled(PGconn *pg, const char *error, void *arg)
{
	struct postgres_conn *conn = arg;

	conn->dial = NULL;
	if (pg == NULL) {
		conn_close(conn, FAILURE_CONNECT, error);
		return;
	}
	enter(conn, CONN_CONNECTING);
	conn->pg = pg;
	PQsetNoticeReceiver(pg, on_notice, conn);
	if (PQstatus(pg) == CONNECTION_BAD)
		connection_failed(conn);
	else
		await_socket(conn, EV_WRITE); /* as the manual of PQconnectPoll() says */
}

/* on_dialled() may come, and the connection be closed and freed, inside. */
static void
start_dialling(struct postgres_conn *conn)
{
	enter(conn, CONN_RESOLVING);
	struct postgres_dial *dial =
	    postgres_dial_start(conn->base, conn->dns, conn->target, on_dialled, conn);
	if (dial != NULL)
		conn->dial = dial; /* else `conn` may be gone */
}

static void
connected(struct postgres_conn *conn)
{
	drop_events(conn);
	event_del(conn->timer);
	PQsetnonblocking(conn->pg, 1);
	conn->io =
	    event_new(conn->base, PQsocket(conn->pg), EV_READ | EV_PERSIST, on_readable, conn);
	conn->writable = event_new(conn->base, PQsocket(conn->pg), EV_WRITE, on_writable, conn);
	event_add(conn->io, NULL);
	enter(conn, CONN_IDLE);
	conn->events->ready(conn, conn->arg);
}

static void
on_connect_io(evutil_socket_t fd, short what, void *arg)
{
	struct postgres_conn *conn = arg;

	(void)fd, (void)what;
	/* Before the poll: it may close the socket, and open one of the same number. */
	drop_events(conn);
	switch (PQconnectPoll(conn->pg)) {
	case PGRES_POLLING_READING:
		await_socket(conn, EV_READ);
		break;
	case PGRES_POLLING_WRITING:
		await_socket(conn, EV_WRITE);
		break;
	case PGRES_POLLING_OK:
		connected(conn);
		break;
	default:
		connection_failed(conn);
	}
}

/* ---- Asking ----------------------------------------------------------- */

/* The connection turned out broken inside a call: told from the loop. */
static void
break_soon(struct postgres_conn *conn)
{
	conn->is_broken = true;
	arm(conn->timer, 0);
}

static void
flush(struct postgres_conn *conn)
{
	int left = PQflush(conn->pg);

	if (left > 0)
		event_add(conn->writable, NULL);
	else if (left < 0)
		break_soon(conn);
}

static void
on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	flush(arg);
}

void
postgres_conn_query(struct postgres_conn *conn, const char *sql, const char *parameter,
    int64_t budget_ms)
{
	enter(conn, CONN_AWAIT_RESULT);
	conn->budget_ms = budget_ms;
	conn->is_drained = false;
	arm(conn->timer, budget_ms);
	if (PQsendQueryParams(conn->pg, sql, parameter != NULL ? 1 : 0, NULL, &parameter, NULL,
		NULL, 0) == 1)
		flush(conn);
	else
		break_soon(conn);
}

static void
idle_again(struct postgres_conn *conn)
{
	PGresult *result = conn->result;
	bool was_cancelled = conn->state == CONN_AWAIT_CANCEL;

	conn->result = NULL;
	event_del(conn->timer);
	enter(conn, CONN_IDLE);
	if (was_cancelled)
		conn->events->recovered(conn, conn->arg);
	else
		conn->events->result(conn, result, conn->arg);
	PQclear(result);
}

/* Why an established connection is gone, from what was heard last. */
static void
lost(struct postgres_conn *conn)
{
	struct postgres_error error = conn->farewell;

	if (conn->result != NULL && PQresultStatus(conn->result) == PGRES_FATAL_ERROR)
		postgres_error_of_query(PQresultErrorField(conn->result, PG_DIAG_SQLSTATE), true,
		    PQresultErrorMessage(conn->result), &error);
	else if (error.reason[0] == '\0')
		postgres_error_of_connection(PQerrorMessage(conn->pg), &error);
	conn_close(conn, error.kind, error.reason);
}

/* Takes what has come. Results end with a NULL. */
static void
take_results(struct postgres_conn *conn)
{
	while (!PQisBusy(conn->pg)) {
		PGresult *result = PQgetResult(conn->pg);
		if (result == NULL) {
			conn->is_drained = true;
			break;
		}
		bool is_endless = postgres_result_is_copy(result);
		conn->result = postgres_result_choose(conn->result, result);
		if (is_endless) {
			conn_close(conn, FAILURE_PROTOCOL, "the query is a COPY");
			return;
		}
	}
	if (PQstatus(conn->pg) == CONNECTION_BAD)
		lost(conn);
	else if (conn->is_drained && conn->cancel == NULL && conn->state != CONN_IDLE)
		idle_again(conn);
}

static void
tell_notified(struct postgres_conn *conn)
{
	PGnotify *notify;

	while ((notify = PQnotifies(conn->pg)) != NULL) {
		if (conn->events->notified != NULL)
			conn->events->notified(conn, notify->extra, conn->arg);
		PQfreemem(notify);
	}
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct postgres_conn *conn = arg;

	(void)fd, (void)what;
	/* A failure shows in PQstatus(), once what came before it is read. */
	(void)!PQconsumeInput(conn->pg);
	if (event_pending(conn->writable, EV_WRITE, NULL))
		flush(conn); /* reading may be what the server waited for */
	tell_notified(conn);
	take_results(conn);
}

/* ---- Cancelling ------------------------------------------------------- */

static void
on_cancelled(void *arg)
{
	struct postgres_conn *conn = arg;

	conn->cancel = NULL;
	take_results(conn);
}

/*
 * Idle again needs two things, in either order: the results are through, and
 * the cancel request is no longer under way. Else it could hit the next query.
 */
static void
start_cancel(struct postgres_conn *conn)
{
	enter(conn, CONN_AWAIT_CANCEL);
	conn->cancel = canceller_ask(conn->canceller, PQgetCancel(conn->pg), on_cancelled, conn);
	arm(conn->timer, conn->budget_ms > CANCEL_MIN_MS ? conn->budget_ms : CANCEL_MIN_MS);
}

int
postgres_conn_pid(const struct postgres_conn *conn)
{
	return PQbackendPID(conn->pg);
}

void
postgres_conn_cancel(struct postgres_conn *conn)
{
	if (conn->state == CONN_AWAIT_RESULT && !conn->is_broken)
		start_cancel(conn);
}

static void
no_answer(struct postgres_conn *conn)
{
	char reason[64];

	snprintf(reason, sizeof(reason), "no answer within %d s", (int)(conn->connect_ms / 1000));
	conn_close(conn, FAILURE_TIMEOUT, reason);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct postgres_conn *conn = arg;

	(void)fd, (void)what;
	if (conn->is_broken) {
		lost(conn);
		return;
	}
	switch (conn->state) {
	case CONN_NEW:
		arm(conn->timer, conn->connect_by_ms - clock_mono_ms());
		start_dialling(conn);
		break;
	case CONN_RESOLVING:
	case CONN_CONNECTING:
		no_answer(conn);
		break;
	case CONN_AWAIT_RESULT:
		start_cancel(conn);
		conn->events->overdue(conn, conn->arg);
		break;
	case CONN_AWAIT_CANCEL:
		conn_close(conn, FAILURE_TIMEOUT, "the query could not be cancelled");
		break;
	case CONN_IDLE:
	case CONN_CLOSED:
		break;
	}
}
