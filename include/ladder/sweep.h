/*
 * Unlinking every key that fits a pattern: SCAN, and an UNLINK of what each
 * step has found, until the cursor is back at 0. Pure: what to send, and what
 * the answers say. Redis promises that a SCAN finds every key that is there
 * from its beginning to its end.
 */
#ifndef SIDECAR_LADDER_SWEEP_H
#define SIDECAR_LADDER_SWEEP_H

#include "base/buf.h"

struct sweep {
	struct buf pattern, cursor;
	struct buf found; /* by the last SCAN: bulk strings */
	size_t found_count, unlinked;
	bool awaits_scan; /* what was sent last was a SCAN */
};

void sweep_start(struct sweep *sweep, struct slice pattern);
/* Appends the next command. False: nothing is left to do. */
MUST_CHECK bool sweep_next(struct sweep *sweep, struct buf *command);
/* The answer to it. False: this is no answer to SCAN. */
MUST_CHECK bool sweep_answer(struct sweep *sweep, struct slice reply);
void sweep_free(struct sweep *sweep); /* its buffers */

#endif
