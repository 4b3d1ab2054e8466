/* See ladder_hit.h. */
#include "ladder/ladder_hit.h"

void
ladder_count_hits(struct ladder_context *context, int64_t hits)
{
	counter_add(&context->metrics->hits, hits);
	counter_add(&context->metrics->answers[RUNG_MEMORY], hits);
}
