/*
 * The warm-up: the busiest ids into memory, before the instance counts as
 * ready, or whenever somebody asks for it.
 *
 *   WAITING --postgres is up--> READING_IDS --> LOADING --> DONE
 *      ^                            |             |
 *      +------ postgres went -------+-------------+
 *   READING_IDS --the query is wrong--> GIVEN_UP
 *
 * Ids come from `[warm] query`, by the keeper's pool. Values come in batches
 * of `[postgres] max_batch`, one batch at a time, by the way that any read
 * takes (ladder_load): Redis is asked, Postgres for what Redis has not, with
 * leases, and not while a breaker is open. What is fresh in memory is not
 * asked for. Nothing is evicted for it: it ends when memory is full.
 *
 * The instance is ready when it is done, or gives up; when Postgres is found
 * down, at once; and after `[warm] wait` in any case. It goes on by itself when
 * Postgres is back.
 *
 * It runs on one worker's thread. Who may call what is said below.
 */
#ifndef SIDECAR_LADDER_WARM_H
#define SIDECAR_LADDER_WARM_H

#include "ladder/context.h"

#define WARM_QUERY_MS 30000 /* for the query for ids */

enum warm_state {
	WARM_OFF, /* nothing is configured */
	WARM_WAITING,
	WARM_READING_IDS,
	WARM_LOADING,
	WARM_DONE,
	WARM_GIVEN_UP,
};

struct warm;

struct warm *warm_new(const struct settings *settings);
void warm_free(struct warm *warm); /* after warm_end() and the workers */

/* The worker it runs on; before its thread starts. */
void warm_attach(struct warm *warm, struct ladder_context *context);
/* Begins what is configured; any thread, once the workers run. */
void warm_start(struct warm *warm);
/* Nothing is begun any more, waiters are told. After the workers' threads. */
void warm_end(struct warm *warm);

/* Whether it keeps nobody from being ready. Any thread. */
bool warm_is_settled(const struct warm *warm);

struct warm_progress {
	enum warm_state state;
	int64_t done, total; /* of the ids; done: in memory, or known to have no row */
};
/* Any thread. */
void warm_progress(const struct warm *warm, struct warm_progress *progress);
const char *warm_state_name(enum warm_state state);
/* "4,200/10,000" */
void warm_text(const struct warm_progress *progress, char *text, size_t size);

/*
 * Runs it again; one that is under way counts as well. Any worker's thread;
 * done() comes to that thread, from a later loop turn, with how many are in
 * memory, or -1 and what has kept it from that (never NULL then).
 */
struct warm_waiter {
	struct letter letter;
	struct warm *warm;
	struct mailbox *home; /* of the caller */
	void (*done)(struct warm_waiter *waiter, int64_t count, const char *problem);
	struct warm_waiter *next;
	int64_t count;
	char problem[160];
};
void warm_run(struct warm *warm, struct warm_waiter *waiter);

#endif
