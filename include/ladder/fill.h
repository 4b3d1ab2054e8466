/*
 * Keeping what a backend said: in memory under the lease, and a row from
 * Postgres in Redis too. Worker's thread.
 */
#ifndef SIDECAR_LADDER_FILL_H
#define SIDECAR_LADDER_FILL_H

#include "ladder/context.h"

/* A backend's answer, before it is known how long it is good. */
struct fetched {
	enum fetch_outcome {
		FETCH_VALUE,   /* kind, bytes */
		FETCH_NIL,     /* Redis has no copy; kind CACHE_NO_STRING: said by MGET */
		FETCH_MISSING, /* Postgres has no row */
		FETCH_OVER,    /* Postgres has a row whose valid_until has passed */
		FETCH_ERROR,   /* Redis's error about the command: bytes, "-WRONGTYPE ...\r\n" */
		FETCH_FAILED,  /* nobody knows */
	} outcome;
	enum cache_kind kind;
	enum cache_source source;
	struct blob *bytes;     /* the holder's reference */
	int64_t valid_until_ms; /* monotonic */
	bool is_validity_exact;
	int64_t took_ms; /* to fetch it */
};

/* Keeps it in memory if the lease holds. FETCH_ERROR and FETCH_FAILED are
 * never kept. */
void fill_memory(struct ladder_context *context, struct slice key, const struct cache_lease *lease,
    const struct fetched *fetched);

/* The same for a reply kept by the words that asked for it. */
void fill_memory_variant(struct ladder_context *context, struct slice key, struct slice variant,
    const struct cache_lease *lease, const struct fetched *fetched);

/* Sends a row (FETCH_VALUE) to Redis, unless the lease is void, the value is
 * about to be over, or the journal has the key. */
void fill_redis(struct ladder_context *context, struct slice key, const struct cache_lease *lease,
    const struct fetched *fetched, struct link_choice link);

#endif
