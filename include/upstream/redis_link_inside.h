/* What redis_link.c and redis_link_alive.c share; nobody else. */
#ifndef SIDECAR_UPSTREAM_REDIS_LINK_INSIDE_H
#define SIDECAR_UPSTREAM_REDIS_LINK_INSIDE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/backoff.h"
#include "base/buf.h"
#include "upstream/redis_calls.h"
#include "upstream/redis_link.h"
#include "upstream/redis_tally.h"

enum link_state {
	LINK_IDLE,       /* not connected; the next send connects */
	LINK_CONNECTING, /* calls wait in `waiting` */
	LINK_READY,
	LINK_PAUSING, /* an attempt failed; refuses until the next */
};

struct redis_link {
	struct event_base *base;
	struct evdns_base *dns;
	const struct redis_target *target;
	struct redis_link_options options;
	struct breaker *breaker;
	struct redis_tally tally;

	enum link_state state;
	struct redis_conn *conn; /* while CONNECTING and READY */
	bool is_dirty, is_freeing;
	bool is_proven; /* this connection has answered a call */
	struct calls calls;
	struct buf waiting; /* bytes of the calls that wait for the greeting */
	int64_t waiting_count;
	uint64_t queued; /* bytes of calls on this connection so far */
	int64_t send_us; /* the clock, read once a flush; 0: not yet */

	struct calls ended; /* broken calls; their done() comes from on_ending() */
	bool has_orphans;
	int64_t orphans_id;
	struct event ending;

	struct backoff backoff;
	struct event retry;

	struct redis_call ping;
	bool is_pinging;
	int64_t heard_us, pinged_us; /* when something last came, a PING last went */
	int deaf_calls;              /* in a row that ran out of time in silence */
	struct event keepalive;
};

/* The one setter of `state`. */
void link_enter(struct redis_link *link, enum link_state state);
void link_start_timer(struct event *timer, int64_t wait_ms);
void link_enqueue(struct redis_link *link, struct slice command, struct redis_call *call);
void link_on_closed(struct redis_conn *conn, enum failure_kind kind, const char *reason, void *arg);
void link_on_keepalive(evutil_socket_t fd, short what, void *arg);

#endif
