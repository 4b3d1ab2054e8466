/* See roll_call.h. */
#include "front/roll_call.h"

#include <stddef.h>

static size_t
place_of(const struct census *census, const struct front *front)
{
	size_t at = 0;

	while (census->fronts[at] != front)
		at++;
	return at;
}

/* Workers that have ended are passed by: they have no clients. */
static void
go_on(struct roll_call *call)
{
	const struct census *census = call->census;

	while (call->left > 0) {
		call->left--;
		call->at = (call->at + 1) % census->worker_count;
		if (mailbox_try_post(front_ladder(census->fronts[call->at])->mailbox,
			&call->letter))
			return;
	}
	call->end(call, false);
}

static void
on_arrived(struct letter *letter)
{
	struct roll_call *call =
	    (struct roll_call *)((char *)letter - offsetof(struct roll_call, letter));

	if (call->visit(call, roll_call_front(call)))
		roll_call_resume(call);
}

void
roll_call_resume(struct roll_call *call)
{
	if (call->left == 0)
		call->end(call, true);
	else
		go_on(call);
}

struct front *
roll_call_front(const struct roll_call *call)
{
	return call->census->fronts[call->at];
}

void
roll_call_start(struct roll_call *call, struct client *asker)
{
	call->asker_id = client_session(asker)->id;
	call->slot = slot_new(asker);
	call->census = front_census(client_front(asker));
	call->at = place_of(call->census, client_front(asker));
	call->left = call->census->worker_count;
	call->letter.deliver = on_arrived;
	go_on(call);
}
