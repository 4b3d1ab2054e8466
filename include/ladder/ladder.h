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

#include "ladder/context.h"

enum answer_kind {
	ANSWER_STRING, /* bytes: the value */
	ANSWER_HASH,   /* bytes: RESP bulk strings, field and value in turn */
	ANSWER_NIL,
	ANSWER_ERROR,  /* bytes: the whole line, "-WRONGTYPE ...\r\n" */
};

struct answer {
	enum answer_kind kind;
	enum rung rung;
	struct blob *bytes; /* one reference; answer_release() */
	int64_t age_ms;     /* since a backend said so; 0 from a backend just now */
};

void answer_release(struct answer *answer);

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

/*
 * Asks, memory included. True: `answer` is set, and answered() will not come. False: it will,
 * exactly once. `key` and `id` are copied.
 */
MUST_CHECK bool ladder_ask(struct ladder_context *context, const struct question *question,
    struct answer *answer, ladder_answered_fn answered, void *arg);

/* Questions between the two go to Redis as one command. */
void ladder_begin_many(struct ladder_context *context);
void ladder_end_many(struct ladder_context *context);

/* Whether memory may hold this key ([cache] keys). */
bool ladder_may_keep(const struct ladder_context *context, struct slice key);

/*
 * Says, without asking anybody, which rung would answer now and why; for
 * SIDECAR EXPLAIN. `why` is a static text.
 */
enum rung ladder_would_answer(struct ladder_context *context, const struct question *question,
    const char **why);

#endif
