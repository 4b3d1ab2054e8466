/*
 * The first rung by itself: most questions end here. One thread: the
 * worker's.
 */
#ifndef SIDECAR_LADDER_LADDER_HIT_H
#define SIDECAR_LADDER_LADDER_HIT_H

#include "base/glob.h"
#include "ladder/context.h"

/* Whether memory may hold this key ([cache] keys). */
static inline bool
ladder_may_keep(const struct ladder_context *context, struct slice key)
{
	const char *keys = context->rules->settings->cache.keys;
	bool is_all = keys[0] == '*' && keys[1] == '\0';

	return is_all || glob_list_matches(slice_of(keys), key);
}

/*
 * Memory's fresh string: the reply to GET goes to `out`, with `hash` the
 * key's cache_hash(). False: nothing was written, and there may be an answer
 * all the same. Then ladder_refresh() where that is asked for, and
 * ladder_count_hits() when all are done.
 */
MUST_CHECK bool ladder_hit(struct ladder_context *context, struct slice key, uint64_t hash,
    int64_t now_ms, struct buf *out, bool *should_refresh);
void ladder_count_hits(struct ladder_context *context, int64_t hits);

#endif
