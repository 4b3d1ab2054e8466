/*
 * The replay of the journal as a conversation with Redis: areas are swept,
 * keys unlinked, batch by batch. What to send, and what the answers say; who
 * sends is the prober. The keeper's thread.
 */
#ifndef SIDECAR_LADDER_REPLAY_H
#define SIDECAR_LADDER_REPLAY_H

#include "ladder/journal.h"
#include "ladder/sweep.h"

struct replay {
	struct journal *journal;
	bool has_taken, is_sweeping;
	struct sweep sweep; /* of the area that was taken last */
};

/* Appends the next command. False: nothing is left, but for what is held. */
MUST_CHECK bool replay_next(struct replay *replay, struct buf *command);
/* The answer to it. False: not one that Redis gives. */
MUST_CHECK bool replay_answer(struct replay *replay, struct slice reply);
/* What was sent is done with (and is forgotten), or has to be sent again. */
void replay_end(struct replay *replay, bool is_done);
void replay_free(struct replay *replay); /* its buffers */

#endif
