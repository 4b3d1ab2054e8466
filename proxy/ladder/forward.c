/* See forward.h. */
#include "ladder/forward.h"

#include <stddef.h>

#include "base/clock.h"

static void
on_done(struct redis_call *call, enum call_result result, struct slice reply)
{
	static const enum forward_event events[] = {
		[CALL_ANSWERED] = FORWARD_ANSWERED,
		[CALL_SICK] = FORWARD_SICK,
		[CALL_UNSENT] = FORWARD_UNSENT,
		[CALL_LOST] = FORWARD_LOST,
	};
	struct forward *forward = (struct forward *)((char *)call - offsetof(struct forward, call));

	deadlines_remove(forward->context->deadlines, &forward->due);
	forward->ended_us = call->ended_us;
	forward->on_event(forward, forward->is_overdue ? FORWARD_SETTLED : events[result], reply);
}

static void
on_due(struct deadline *deadline)
{
	struct forward *forward =
	    (struct forward *)((char *)deadline - offsetof(struct forward, due));

	forward->is_overdue = true;
	forward->ended_us = clock_mono_us();
	links_overdue(forward->context->links, forward->link, &forward->call);
	forward->on_event(forward, FORWARD_OVERDUE, SLICE_NONE);
}

bool
forward_send(struct ladder_context *context, struct forward *forward, struct link_choice link,
    struct slice command, int64_t wait_ms)
{
	forward->context = context;
	forward->link = link;
	forward->is_overdue = false;
	forward->call.done = on_done;
	forward->due = (struct deadline){ .on_due = on_due };
	if (!links_send(context->links, link, command, &forward->call))
		return false;
	forward->sent_us = forward->call.sent_us;
	deadlines_add(context->deadlines, &forward->due, forward->sent_us / 1000 + wait_ms);
	return true;
}
