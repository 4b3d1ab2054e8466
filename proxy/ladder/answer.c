/* See answer.h. */
#include "ladder/answer.h"

void
answer_release(struct answer *answer)
{
	blob_unref(answer->bytes);
	answer->bytes = NULL;
}

void
answer_free(const struct map *map, enum rung rung, struct answer *answer)
{
	*answer = (struct answer){
		.kind = map->settings->type == MAP_HASH ? ANSWER_HASH : ANSWER_STRING,
		.rung = rung,
		.bytes = blob_ref(map->free),
	};
}

void
answer_missing(const struct map *map, enum rung rung, struct answer *answer)
{
	if (map != NULL && map->settings->missing == MISSING_FREE)
		answer_free(map, rung, answer);
	else
		*answer = (struct answer){ .kind = ANSWER_NIL, .rung = rung };
}

bool
answer_from_memory(const struct map *map, bool is_hash, struct cache_value *value, enum rung rung,
    int64_t now_ms, struct answer *answer)
{
	bool is_value = value->kind == CACHE_STRING || value->kind == CACHE_HASH;

	if (is_value && (value->kind == CACHE_HASH) != is_hash) {
		cache_value_release(value);
		return false;
	}
	if (is_value) {
		*answer = (struct answer){
			.kind = value->kind == CACHE_HASH ? ANSWER_HASH : ANSWER_STRING,
			.rung = rung,
			.bytes = value->bytes,
		};
	} else if (value->kind == CACHE_OVER && map != NULL) {
		answer_free(map, rung, answer);
	} else {
		answer_missing(map, rung, answer);
	}
	answer->age_ms = now_ms - value->filled_ms;
	return true;
}

bool
answer_from_backend(const struct map *map, enum rung rung, const struct fetched *fetched,
    struct answer *answer)
{
	*answer = (struct answer){ .rung = rung, .bytes = NULL };
	switch (fetched->outcome) {
	case FETCH_VALUE:
		answer->kind = fetched->kind == CACHE_HASH ? ANSWER_HASH : ANSWER_STRING;
		answer->bytes = blob_ref(fetched->bytes);
		return true;
	case FETCH_NIL: /* evicted, perhaps: Postgres knows */
		answer->kind = ANSWER_NIL;
		return map == NULL;
	case FETCH_MISSING:
		answer_missing(map, rung, answer);
		return true;
	case FETCH_OVER:
		answer_free(map, rung, answer);
		return true;
	case FETCH_ERROR:
		answer->kind = ANSWER_ERROR;
		answer->bytes = blob_ref(fetched->bytes);
		return true;
	case FETCH_FAILED:
		break;
	}
	return false;
}
