/*
 * A pipelined link to Redis, shared by many clients: what is sent first is
 * answered first, and nothing on it has state (no SELECT, MULTI, SUBSCRIBE).
 *
 *        redis_link_send                    done
 *   call ---------------> [ c4 c3 c2 c1 ] ---------> replies in order
 *                          newest   oldest
 *
 * It connects by itself, keeps alive with a PING after 30 s in which nothing
 * came, and reconnects after a failure with full jitter, as long as its
 * breaker allows. Every outcome is reported to the breaker and counted: a
 * connection attempt or a call that failed, a call that was answered, one that
 * its caller has given up waiting for. A connection that is closed while
 * nobody waits on it is no failure.
 *
 * One thread. A call is refused by the return value or ends in exactly one
 * done(), from a later loop turn.
 */
#ifndef SIDECAR_UPSTREAM_REDIS_LINK_H
#define SIDECAR_UPSTREAM_REDIS_LINK_H

#include "upstream/metrics.h"
#include "upstream/redis_conn.h"
#include "upstream/redis_error.h"

struct redis_link;

enum call_result {
	CALL_ANSWERED, /* `reply` is what Redis said; errors about the command included */
	CALL_SICK,     /* `reply` is an error that says Redis itself cannot serve:
	                  LOADING, READONLY, MASTERDOWN, quota, NOAUTH ... */
	CALL_UNSENT,   /* it certainly did not run; no reply */
	CALL_LOST,     /* the connection broke after it was sent: it may have run; no reply */
};

/* Part of the caller's struct, who keeps it until done(). */
struct redis_call {
	/* May send more on the link, or close it; may not free it. */
	void (*done)(struct redis_call *call, enum call_result result, struct slice reply);

	/* Monotonic, of the turns of the loop in which it was sent, and ended;
	 * the second is known in done(). To be read only. */
	int64_t sent_us, ended_us;

	/* redis_link.c's own: */
	struct redis_call *next;
	uint64_t end;            /* where its bytes end among those sent on its connection */
	enum call_result result; /* while it waits for done() after a break */
	bool is_overdue;         /* counted as a failure already */
	bool is_keepalive;
};

struct redis_link_options {
	int resp_version;
	int64_t connect_ms;      /* until greeted; also how long a PING may take */
	int64_t keepalive_ms;    /* 0: 30 s */
	const char *client_name; /* must outlive the link */
	/* Optional: a connection was given up while calls on it were unanswered,
	 * so Redis may still run them when it wakes up. `client_id` 0: unknown.
	 * From a later turn, before the calls' done(). */
	void (*orphaned)(int64_t client_id, void *arg);
	/* Optional: a RESP3 push that is not an answer. */
	void (*pushed)(struct slice push, void *arg);
	void *arg;
};

/* Starts connecting at the first send, or by redis_link_connect(). */
struct redis_link *redis_link_new(struct event_base *base, struct evdns_base *dns,
    const struct redis_target *target, const struct redis_link_options *options,
    struct breaker *breaker, struct redis_metrics *metrics);
/* Calls under way end as redis_link_close() says, before this returns. Not
 * from inside done(). NULL is fine. */
void redis_link_free(struct redis_link *link);

/*
 * Queues one command (whole RESP arrays, as they shall go out). While the
 * link is connecting it waits with it. False, and no done(): the breaker is
 * open, or the last attempt failed and the next is not due.
 * `command` is copied.
 */
MUST_CHECK bool redis_link_send(struct redis_link *link, struct slice command,
    struct redis_call *call);

/* Sends what was queued; to be called before the loop sleeps. */
void redis_link_flush(struct redis_link *link);
/* True when something waits for redis_link_flush(). */
bool redis_link_is_dirty(const struct redis_link *link);

/*
 * The caller no longer waits: counts as a failure by slowness, once. done()
 * still comes when the reply does, and is then not counted as a success.
 */
void redis_link_overdue(struct redis_link *link, struct redis_call *call);

/* Connects now if it is not connected and the breaker allows. */
void redis_link_connect(struct redis_link *link);

/* Gives the connection up (the breaker has opened). Every call ends as
 * CALL_UNSENT or CALL_LOST, from a later loop turn; counts no failure. */
void redis_link_close(struct redis_link *link);

bool redis_link_is_ready(const struct redis_link *link);

#endif
