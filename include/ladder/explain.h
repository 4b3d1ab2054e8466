/* SIDECAR EXPLAIN: what the ladder would do. Worker's thread. */
#ifndef SIDECAR_LADDER_EXPLAIN_H
#define SIDECAR_LADDER_EXPLAIN_H

#include "ladder/ladder.h"

/*
 * Says, without asking anybody, which rung would answer now and why; for
 * SIDECAR EXPLAIN. `why` is a static text.
 */
enum rung ladder_would_answer(struct ladder_context *context, const struct question *question,
    const char **why);

#endif
