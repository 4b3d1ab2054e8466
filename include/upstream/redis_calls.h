/* A queue of calls through their `next`; part of redis_link.c. */
#ifndef SIDECAR_UPSTREAM_REDIS_CALLS_H
#define SIDECAR_UPSTREAM_REDIS_CALLS_H

#include "upstream/redis_link.h"

struct calls {
	struct redis_call *first;
	struct redis_call **end; /* where the next one goes */
};

static inline void
calls_clear(struct calls *calls)
{
	calls->first = NULL;
	calls->end = &calls->first;
}

static inline void
calls_add(struct calls *calls, struct redis_call *call)
{
	call->next = NULL;
	*calls->end = call;
	calls->end = &call->next;
}

/* The oldest; NULL when there is none. */
static inline struct redis_call *
calls_pop(struct calls *calls)
{
	struct redis_call *call = calls->first;

	if (call == NULL)
		return NULL;
	calls->first = call->next;
	if (calls->first == NULL)
		calls->end = &calls->first;
	return call;
}

#endif
