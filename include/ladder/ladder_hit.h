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

/* What is too large for cache_read() to copy; pays the reference back. */
void ladder_hit_large(struct buf *out, struct blob *bytes);

/*
 * Memory's fresh string, of a key that it may keep: the reply to GET goes to `out`, with `hash` the
 * key's cache_hash(). False: nothing was written, and there may be an answer
 * all the same. Then ladder_refresh() where that is asked for, and
 * ladder_count_hits() when all are done.
 */
MUST_CHECK static inline bool
ladder_hit(struct ladder_context *context, struct slice key, uint64_t hash, int64_t now_ms,
    struct buf *out, bool *should_refresh)
{
	struct cache_reading reading;

	enum cache_read read =
	    cache_read(context->backends->cache, key, hash, now_ms, out, &reading);
	*should_refresh = reading.should_refresh;
	if (read == CACHE_READ_BLOB)
		ladder_hit_large(out, reading.bytes);
	return read != CACHE_READ_NONE;
}

void ladder_count_hits(struct ladder_context *context, int64_t hits);

#endif
