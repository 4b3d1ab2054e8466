/*
 * Which Redis it is, from its INFO server: the process (run_id), and the
 * version that clients are told.
 */
#ifndef SIDECAR_LADDER_REDIS_IDENTITY_H
#define SIDECAR_LADDER_REDIS_IDENTITY_H

#include "base/slice.h"

struct redis_identity;

struct redis_identity *redis_identity_new(void);
void redis_identity_free(struct redis_identity *identity);

/* What INFO server answered. True when it is another process than the last
 * that said which it is (and for the first). One thread. */
bool redis_identity_note(struct redis_identity *identity, struct slice info);

/* redis_version as it was said last; "": never. Any thread; holds a lock for
 * as long as the copy takes. */
void redis_identity_version(struct redis_identity *identity, char *version, size_t size);

#endif
