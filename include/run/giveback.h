/*
 * Gives memory back that a burst has left behind. What is freed between blocks
 * that are still in use, glibc keeps for ever: 10,000 clients that each sent
 * 100 KB once would leave half a gigabyte resident.
 *
 * Under load nothing is given back, which would only have to be fetched again:
 * a forwarded value of 1 MB costs a third of what it does with glibc's own
 * thresholds. When a burst has been over for a moment, all is.
 *
 * Main thread. It takes some 100 us a megabyte, and who needs a block from the
 * same heap meanwhile waits.
 */
#ifndef SIDECAR_RUN_GIVEBACK_H
#define SIDECAR_RUN_GIVEBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct giveback;
struct worker;

/* Before the workers' threads start. */
struct giveback *giveback_new(struct event_base *base, struct worker *const *workers, size_t count);
/* After they have ended. NULL is fine. */
void giveback_free(struct giveback *giveback);

/* What it decides by. Pure; zeroed before the first call. */
struct giveback_state {
	int64_t high; /* the most that was held since something was given back */
	int calm;     /* looks in a row that have found much less than that */
};

/* Once a second, with what held_look() says: whether it is time. */
bool giveback_is_due(struct giveback_state *state, int64_t held, int64_t most);

#endif
