/*
 * One connection to Postgres or PgBouncer, from the name's resolution to its
 * end; one query at a time, each with a budget.
 *
 *   NEW -> RESOLVING -> CONNECTING -> IDLE <-> AWAIT_RESULT
 *                                      ^            | budget over
 *                                      +-- AWAIT_CANCEL
 *   any -> CLOSED
 *
 * One thread. Events come from the event loop, never inside a call; the
 * callee may free the connection in any of them.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_CONN_H
#define SIDECAR_UPSTREAM_POSTGRES_CONN_H

#include "upstream/postgres_cancel.h"
#include "upstream/postgres_error.h"
#include "upstream/postgres_url.h"

struct event_base;
struct evdns_base;
struct postgres_conn;

struct postgres_conn_events {
	/* Connected and idle. */
	void (*ready)(struct postgres_conn *conn, void *arg);
	/* The query is answered and the connection idle again. `result` is the
	 * last one or the first error; borrowed during the call. */
	void (*result)(struct postgres_conn *conn, const PGresult *result, void *arg);
	/* The budget is over, or postgres_conn_cancel() was called: the query is
	 * being cancelled. `recovered` or `closed` follows. */
	void (*overdue)(struct postgres_conn *conn, void *arg);
	/* The cancelled query is gone and the connection idle again. */
	void (*recovered)(struct postgres_conn *conn, void *arg);
	/* Somebody has said NOTIFY on a channel listened to; at any time while it is
	 * connected. NULL: nobody asks. In this one it may not be freed. */
	void (*notified)(struct postgres_conn *conn, const char *payload, void *arg);
	/* It is over. Nothing follows. */
	void (*closed)(struct postgres_conn *conn, enum failure_kind kind, const char *reason,
	    void *arg);
};

/* Starts connecting at once. Everything passed in must outlive it. */
struct postgres_conn *postgres_conn_new(struct event_base *base, struct evdns_base *dns,
    struct postgres_target *target, struct canceller *canceller, int64_t connect_ms,
    const struct postgres_conn_events *events, void *arg);
/* Closes at once, no event comes any more. NULL is fine. */
void postgres_conn_free(struct postgres_conn *conn);

/* Sends a query with one text parameter of a type that the server infers, or
 * none (NULL). Only when idle; a failure shows as `closed`. */
void postgres_conn_query(struct postgres_conn *conn, const char *sql, const char *parameter,
    int64_t budget_ms);
/* The server process it is connected to, as the handshake said; when idle. */
int postgres_conn_pid(const struct postgres_conn *conn);
/* Nobody waits for the query under way any more. */
void postgres_conn_cancel(struct postgres_conn *conn);

#endif
