/*
 * Any other read of one key (COMMAND_READ_KEY): Redis's reply is kept by the
 * read's exact words, as a variant of the key. Rungs: memory, redis, stale.
 * One thread: the worker's.
 */
#ifndef SIDECAR_LADDER_REPLY_READ_H
#define SIDECAR_LADDER_REPLY_READ_H

#include "ladder/write.h"

/* As ladder_forward(). argv[1] is the key. */
MUST_CHECK bool reply_read(struct ladder_context *context, const struct write_command *command,
    struct buf *out, enum rung *rung, ladder_replied_fn replied, void *arg);

#endif
