/*
 * The ladder: one read of one key, from the fastest rung that can answer.
 *
 *   memory -> redis -> postgres -> stale -> free
 *
 * Mapped keys have all five; other keys have memory, redis and stale, and
 * after the last rung comes an error. A mapped read is answered within
 * [ladder] deadline, whatever the backends do.
 *
 * One thread: the worker's.
 */
#ifndef SIDECAR_LADDER_LADDER_H
#define SIDECAR_LADDER_LADDER_H

#include "ladder/answer.h"
#include "ladder/context.h"

struct question {
	struct slice key;
	bool is_hash;          /* the whole hash, not a string */
	bool is_many;          /* between ladder_begin_many() and ladder_end_many() */
	const struct map *map; /* NULL: not mapped */
	struct slice id;
	struct link_choice link;
};

/* `answer` is the callee's to release. From a later loop turn. */
typedef void (*ladder_answered_fn)(void *arg, struct answer *answer);

/* The first rung alone: true when memory answers. Nothing is allocated. */
MUST_CHECK bool ladder_try_memory(struct ladder_context *context, const struct question *question,
    struct answer *answer);

/* Asks the backends in the background, for memory's sake. */
void ladder_refresh(struct ladder_context *context, const struct question *question);

/*
 * Asks, memory included. True: `answer` is set, and answered() will not come. False: it will,
 * exactly once. `key` and `id` are copied.
 */
MUST_CHECK bool ladder_ask(struct ladder_context *context, const struct question *question,
    struct answer *answer, ladder_answered_fn answered, void *arg);

/* The same right behind a ladder_try_memory() that was in vain. */
MUST_CHECK bool ladder_ask_backends(struct ladder_context *context, const struct question *question,
    struct answer *answer, ladder_answered_fn answered, void *arg);

/*
 * The same for memory's sake alone: the backends are asked, what they say is
 * kept, and nothing is counted as a read. answer->rung is RUNG_STALE or later
 * when neither could say.
 */
MUST_CHECK bool ladder_load(struct ladder_context *context, const struct question *question,
    struct answer *answer, ladder_answered_fn answered, void *arg);

/* Questions between the two go to Redis as one command. */
void ladder_begin_many(struct ladder_context *context);
void ladder_end_many(struct ladder_context *context);

#endif
