/* See ladder_hit.h. */
#include "ladder/ladder_hit.h"

#include "wire/reply.h"

bool
ladder_hit(struct ladder_context *context, struct slice key, uint64_t hash, int64_t now_ms,
    struct buf *out, bool *should_refresh)
{
	struct cache_reading reading;

	if (!ladder_may_keep(context, key))
		return false;
	enum cache_read read =
	    cache_read(context->backends->cache, key, hash, now_ms, out, &reading);
	if (read == CACHE_READ_NONE)
		return false;
	if (read == CACHE_READ_BLOB) {
		reply_bulk(out, blob_slice(reading.bytes));
		blob_unref(reading.bytes);
	}
	*should_refresh = reading.should_refresh;
	return true;
}

void
ladder_count_hits(struct ladder_context *context, int64_t hits)
{
	counter_add(&context->metrics->hits, hits);
	counter_add(&context->metrics->answers[RUNG_MEMORY], hits);
}
