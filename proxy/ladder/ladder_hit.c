/* See ladder_hit.h. */
#include "ladder/ladder_hit.h"

#include "wire/reply.h"

void
ladder_hit_large(struct buf *out, struct blob *bytes)
{
	reply_bulk(out, blob_slice(bytes));
	blob_unref(bytes);
}

void
ladder_count_hits(struct ladder_context *context, int64_t hits)
{
	counter_add(&context->metrics->hits, hits);
	counter_add(&context->metrics->answers[RUNG_MEMORY], hits);
}
