/*
 * A roll call: one letter that visits the workers in turn, does its part on
 * the thread of each, and ends where it was started, with an answer.
 *
 *   asker's worker -> next worker -> ... -> asker's worker: end()
 *
 * No locks: who is visited owns what it shows. Calls of one asker arrive
 * everywhere in their order.
 */
#ifndef SIDECAR_FRONT_ROLL_CALL_H
#define SIDECAR_FRONT_ROLL_CALL_H

#include "base/mailbox.h"
#include "front/client.h"

/* First in a struct of the caller's, which end() frees. */
struct roll_call {
	/* On each worker's thread, the asker's last. False: it stays here until
	 * roll_call_resume(), on the same thread. */
	bool (*visit)(struct roll_call *call, struct front *front);
	/* The answer goes into slot_out(call->slot), then slot_done(). With
	 * `is_home` on the asker's thread; without, its worker has ended, and the
	 * slot is nobody's any more. */
	void (*end)(struct roll_call *call, bool is_home);

	struct slot *slot;
	int64_t asker_id;

	/* roll_call.c's own: */
	struct letter letter;
	struct census *census;
	size_t at, left;
};

/* Takes a slot for the asker's reply. */
void roll_call_start(struct roll_call *call, struct client *asker);
void roll_call_resume(struct roll_call *call);
/* The worker that it is at; in end(), when home, the asker's. */
struct front *roll_call_front(const struct roll_call *call);

#endif
