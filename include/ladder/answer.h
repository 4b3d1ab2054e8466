/*
 * What a rung has to say, as an answer. Pure, but for references to blobs.
 */
#ifndef SIDECAR_LADDER_ANSWER_H
#define SIDECAR_LADDER_ANSWER_H

#include "ladder/fill.h"
#include "ladder/metrics.h"

enum answer_kind {
	ANSWER_STRING, /* bytes: the value */
	ANSWER_HASH,   /* bytes: RESP bulk strings, field and value in turn */
	ANSWER_NIL,
	ANSWER_ERROR, /* bytes: the whole line, "-WRONGTYPE ...\r\n" */
};

struct answer {
	enum answer_kind kind;
	enum rung rung;
	struct blob *bytes; /* one reference; answer_release() */
	int64_t age_ms;     /* since a backend said so; 0 from a backend just now */
};

void answer_release(struct answer *answer);

/* The map's free value. */
void answer_free(const struct map *map, enum rung rung, struct answer *answer);
/* What a user without a row gets; `map` NULL: nil. */
void answer_missing(const struct map *map, enum rung rung, struct answer *answer);
/*
 * Takes over the reference in `value`; false when it is of another type than
 * what is asked for. age_ms is set.
 */
bool answer_from_memory(const struct map *map, bool is_hash, struct cache_value *value,
    enum rung rung, int64_t now_ms, struct answer *answer);
/* False: the next rung has to be asked. The reference in `fetched` stays the
 * flight's. */
bool answer_from_backend(const struct map *map, enum rung rung, const struct fetched *fetched,
    struct answer *answer);

#endif
