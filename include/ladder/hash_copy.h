/*
 * Changes to a hash as memory keeps it: bulk strings, field and value in
 * turn. Pure.
 */
#ifndef SIDECAR_LADDER_HASH_COPY_H
#define SIDECAR_LADDER_HASH_COPY_H

#include "base/buf.h"

/*
 * Appends `hash` to `out` without the fields named by every `step`-th word;
 * returns how many of the words were there.
 */
size_t hash_copy_without(struct slice hash, const struct slice *words, size_t count, size_t step,
    struct buf *out);

#endif
