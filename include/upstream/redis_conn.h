/*
 * One connection to Redis: resolve, connect, TLS with host-name check, HELLO
 * with AUTH, SELECT; then bytes in and bytes out. hiredis is the transport
 * (redis_socket.h); replies are framed by base/resp.h and handed up as they
 * came, byte for byte.
 *
 *   RESOLVING -> CONNECTING -> SECURING (TLS) -> GREETING (HELLO) -> READY
 *   any -> CLOSED
 *
 * One thread. Callbacks come from the event loop, never inside a call.
 */
#ifndef SIDECAR_UPSTREAM_REDIS_CONN_H
#define SIDECAR_UPSTREAM_REDIS_CONN_H

#include "base/metrics.h"
#include "base/slice.h"
#include "upstream/breaker.h"
#include "upstream/redis_target.h"

struct event_base;
struct evdns_base;
struct redis_conn;

struct redis_conn_events {
	/* Greeted: replies from here on belong to what redis_conn_write() sent. */
	void (*ready)(struct redis_conn *conn, void *arg);
	/* One whole reply (or RESP3 push, type '>'), valid during the call. The
	 * callee may close or free the connection in here. */
	void (*reply)(struct redis_conn *conn, char type, struct slice reply, void *arg);
	/* Optional: the replies of one loop turn have all been handed up; a
	 * good moment for what costs something once a batch. */
	void (*batch_end)(struct redis_conn *conn, void *arg);
	/* It is over; free it in here or later. `reason`: one phrase, no secrets,
	 * such as "connection refused", "certificate has expired". Not called
	 * after redis_conn_free(). */
	void (*closed)(struct redis_conn *conn, enum failure_kind kind, const char *reason,
	    void *arg);
};

struct redis_conn_options {
	int resp_version;        /* 2 or 3 */
	int database;            /* replaces the target's when >= 0 */
	const char *client_name; /* NULL: none; must outlive the connection */
	int64_t connect_ms;      /* until READY, or it is closed as FAILURE_TIMEOUT */
	counter *commands;       /* counts the greeting's; what redis_conn_write()
	                            sends is its caller's to count. May be NULL */
};

/* Starts connecting at once. `target` must outlive it. Never NULL. `dns` may
 * be NULL when the target's host is numeric, localhost or a unix socket.
 * Makes the process ignore SIGPIPE, if it does not catch it. */
struct redis_conn *redis_conn_new(struct event_base *base, struct evdns_base *dns,
    const struct redis_target *target, const struct redis_conn_options *options,
    const struct redis_conn_events *events, void *arg);
/* Closes at once; no callback comes any more. NULL is fine. May be called
 * from inside its own callbacks. */
void redis_conn_free(struct redis_conn *conn);

bool redis_conn_is_ready(const struct redis_conn *conn);

/* Appends to what redis_conn_flush() will send; only after ready(). What is
 * written after closed() goes nowhere. */
void redis_conn_write(struct redis_conn *conn, struct slice bytes);
/* Sends what it can now; the event loop sends the rest. */
void redis_conn_flush(struct redis_conn *conn);
/* Bytes written that certainly have not been taken by the kernel; known in
 * closed(), too. Whose last byte is among them did not run. */
size_t redis_conn_unsent(const struct redis_conn *conn);

/* Redis's CLIENT ID of this connection, from HELLO; 0 when it did not say. */
int64_t redis_conn_client_id(const struct redis_conn *conn);

/* Back-pressure: while paused nothing is read from it, and nothing that was
 * read already is handed up. */
void redis_conn_pause(struct redis_conn *conn, bool is_paused);

#endif
