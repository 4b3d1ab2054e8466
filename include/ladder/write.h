/*
 * Writes: forwarded to Redis, with the keys they name dropped from memory
 * when they are sent and again when they are answered, so that nothing read
 * in between is kept.
 *
 * The source of truth of a mapped key is Postgres; Redis holds copies. So
 * while Redis is down, hangs, or loses the connection, writes that only
 * replace or remove such copies (SET, SETEX, PSETEX, DEL, UNLINK, EXPIRE ...,
 * MSET) succeed: memory changes, and the journal sees to it that no older
 * copy in Redis is read afterwards. Any other write gets -REDISDOWN.
 *
 * One thread: the worker's.
 */
#ifndef SIDECAR_LADDER_WRITE_H
#define SIDECAR_LADDER_WRITE_H

#include "ladder/context.h"
#include "wire/commands.h"

/* `reply` is in wire form, valid during the call. From a later loop turn. */
typedef void (*ladder_replied_fn)(void *arg, enum rung rung, struct slice reply);

struct write_command {
	const struct slice *argv;
	size_t argc;
	struct slice raw;                /* as it goes out */
	const struct command_info *info; /* NULL: unknown command */
	struct link_choice link;
	bool is_hasty; /* waits no longer than [redis] budget */
};

/*
 * True: the reply was appended to `out`, `rung` says who answered, and
 * replied() will not come. False: it will, exactly once.
 */
MUST_CHECK bool ladder_write(struct ladder_context *context, const struct write_command *command,
    struct buf *out, enum rung *rung, ladder_replied_fn replied, void *arg);

/* The same for any other command: forwarded, nothing is dropped but, for
 * COMMAND_FLUSH, everything, when sent and when answered. */
MUST_CHECK bool ladder_forward(struct ladder_context *context, const struct write_command *command,
    struct buf *out, enum rung *rung, ladder_replied_fn replied, void *arg);

#endif
