/*
 * The first rung by itself: most questions end here. One thread: the
 * worker's.
 */
#ifndef SIDECAR_LADDER_LADDER_HIT_H
#define SIDECAR_LADDER_LADDER_HIT_H

#include "base/glob.h"
#include "ladder/context.h"

/* Whether memory may hold all keys, and this one ([cache] keys). */
static inline bool
ladder_may_keep_all(const struct ladder_context *context)
{
	const char *keys = context->rules->settings->cache.keys;

	return keys[0] == '*' && keys[1] == '\0';
}

static inline bool
ladder_may_keep(const struct ladder_context *context, struct slice key)
{
	return ladder_may_keep_all(context) ||
	    glob_list_matches(slice_of(context->rules->settings->cache.keys), key);
}

/* When all are done. */
void ladder_count_hits(struct ladder_context *context, int64_t hits);

#endif
