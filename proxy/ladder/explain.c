/* See explain.h. */
#include "ladder/explain.h"
#include "ladder/ladder_hit.h"

#include "base/clock.h"

static const char *
why_redis(const struct backends *backends, const struct map *map, bool fits)
{
	if (map == NULL)
		return "redis is up";
	if (!fits)
		return "redis is up; what it does not hold is a missing row: the id does not fit";
	return backends_postgres_allows(backends)
	    ? "redis is up; what it does not hold, postgres is asked for"
	    : "redis is up; what it does not hold, postgres cannot be asked for";
}

/* Nobody is asked. Redis is up and yet not asked for a key of the journal. */
static const char *
why_the_end(bool is_redis_up, bool has_copy, bool is_mapped)
{
	if (is_redis_up)
		return has_copy
		    ? "the copy in redis is older than a write here; memory holds a stale copy"
		    : "the copy in redis is older than a write here; memory holds none";
	if (has_copy)
		return "no backend can answer; memory holds a stale copy";
	return is_mapped ? "no backend can answer, and memory holds no copy"
			 : "redis is down, memory holds no copy, and no map has this key";
}

enum rung
ladder_would_answer(struct ladder_context *context, const struct question *question,
    const char **why)
{
	struct cache_value value;
	const struct map *map = question->map;
	bool fits = map == NULL || map_accepts_id(map, question->id);
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
		*why = why_redis(context->backends, map, fits);
		return RUNG_REDIS;
	}
	if (!fits) {
		*why = "a missing row: the id does not fit the map's type, nobody is asked";
		return RUNG_POSTGRES;
	}
	if (map != NULL && backends_postgres_allows(context->backends)) {
		*why = backends_redis_allows(context->backends)
		    ? "the copy in redis is older than a write here; postgres is up"
		    : "redis is down; postgres is up";
		return RUNG_POSTGRES;
	}
	*why = why_the_end(backends_redis_allows(context->backends), found == CACHE_STALE,
	    map != NULL);
	return found == CACHE_STALE ? RUNG_STALE : map != NULL ? RUNG_FREE : RUNG_ERROR;
}
