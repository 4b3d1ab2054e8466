/*
 * Writes that need no Redis: those that replace or remove copies of mapped
 * keys. Pure but for the cache and the journal it changes. Worker's thread.
 */
#ifndef SIDECAR_LADDER_COPY_WRITE_H
#define SIDECAR_LADDER_COPY_WRITE_H

#include "ladder/context.h"

/* Whether every key is mapped and the command one that copy_write_apply()
 * can carry out: its outcome must not depend on what Redis holds. */
bool copy_write_can(const struct rules *rules, const struct slice *argv, size_t argc);

/*
 * Carries it out: keys into the journal first, then memory. Appends what
 * Redis would have said, taking every key to exist. False: the journal
 * refuses (journal_why_not()), nothing was changed.
 */
MUST_CHECK bool copy_write_apply(struct ladder_context *context, const struct slice *argv,
    size_t argc, struct buf *reply);

#endif
