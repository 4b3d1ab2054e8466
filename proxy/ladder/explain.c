/* See explain.h. */
#include "ladder/explain.h"
#include "ladder/ladder_hit.h"

#include "base/clock.h"

enum rung
ladder_would_answer(struct ladder_context *context, const struct question *question,
    const char **why)
{
	struct cache_value value;
	const struct map *map = question->map;
	enum cache_find found = CACHE_MISS;

	if (ladder_may_keep(context, question->key)) {
		found = cache_find(context->backends->cache, question->key, clock_mono_ms(), &value,
		    NULL);
		if (found != CACHE_MISS)
			cache_value_release(&value);
	}
	if (found == CACHE_FRESH) {
		*why = "memory holds a fresh copy";
		return RUNG_MEMORY;
	}
	if (backends_may_ask_redis(context->backends, question->key)) {
		*why = map != NULL ? "redis is up; what it does not hold, postgres is asked for"
				   : "redis is up";
		return RUNG_REDIS;
	}
	if (map != NULL && backends_postgres_allows(context->backends)) {
		*why = backends_redis_allows(context->backends)
		    ? "the copy in redis is older than a write here; postgres is up"
		    : "redis is down; postgres is up";
		return RUNG_POSTGRES;
	}
	if (found == CACHE_STALE) {
		*why = "no backend can answer; memory holds a stale copy";
		return RUNG_STALE;
	}
	*why = map != NULL ? "no backend can answer, and memory holds no copy"
			   : "redis is down, memory holds no copy, and no map has this key";
	return map != NULL ? RUNG_FREE : RUNG_ERROR;
}
