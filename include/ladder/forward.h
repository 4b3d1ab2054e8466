/*
 * Sends one command to Redis as it came, and waits for its answer no longer
 * than a time. Never sends anything twice. One thread: the worker's.
 */
#ifndef SIDECAR_LADDER_FORWARD_H
#define SIDECAR_LADDER_FORWARD_H

#include "ladder/context.h"

enum forward_event {
	FORWARD_ANSWERED, /* reply */
	FORWARD_SICK,     /* reply: an error that says that Redis cannot serve */
	FORWARD_UNSENT,   /* it did not run */
	FORWARD_LOST,     /* it may have run */
	FORWARD_OVERDUE,  /* no answer in time; FORWARD_SETTLED follows one day */
	FORWARD_SETTLED,  /* after OVERDUE: an answer came, or never will */
};

/* Part of the caller's struct, who keeps it until the last event. */
struct forward {
	void (*on_event)(struct forward *forward, enum forward_event event, struct slice reply);

	/* Of the turn of the loop in which it was sent, and of the event's. */
	int64_t sent_us, ended_us;

	/* forward.c's own: */
	struct redis_call call;
	struct deadline due;
	struct ladder_context *context;
	struct link_choice link;
	bool is_overdue;
};

/* False: refused at once, nothing was sent and no event comes. */
MUST_CHECK bool forward_send(struct ladder_context *context, struct forward *forward,
    struct link_choice link, struct slice command, int64_t wait_ms);

#endif
