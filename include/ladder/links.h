/*
 * A worker's links to Redis: `connections` of them in each protocol version
 * that its clients speak, opened when first needed. A client stays on one.
 *
 * One thread: the worker's.
 */
#ifndef SIDECAR_LADDER_LINKS_H
#define SIDECAR_LADDER_LINKS_H

#include "upstream/redis_link.h"

struct links;

/* Which link: a client's protocol version and its place in the row. */
struct link_choice {
	int resp; /* 2 or 3 */
	unsigned index;
};

struct links *links_new(struct event_base *base, struct evdns_base *dns,
    const struct redis_target *target, unsigned connections, int64_t connect_ms,
    struct breaker *breaker, struct redis_metrics *metrics,
    void (*orphaned)(int64_t client_id, void *arg), void *arg);
/* Ends every call, before it returns, and refuses all from then on. */
void links_shut(struct links *links);
bool links_are_shut(const struct links *links); /* or there is no Redis */
void links_free(struct links *links);

/* As redis_link_send(). */
MUST_CHECK bool links_send(struct links *links, struct link_choice choice, struct slice command,
    struct redis_call *call);
void links_overdue(struct links *links, struct link_choice choice, struct redis_call *call);
/* Sends what was queued; before the loop sleeps. */
void links_flush(struct links *links);
/* The breaker has changed: closes them all, or connects those that were used. */
void links_on_breaker(struct links *links);
/* Names the connection of a choice, in the whole process; never 0. */
uintptr_t links_way(const struct links *links, struct link_choice choice);
/* The next place in the row, for a new client. */
unsigned links_next_index(struct links *links);

#endif
