/*
 * The ids that one query asks for: each once, however many lookups want it.
 * Pure; lookups are borrowed, and hang on each other by `next`.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_BATCH_H
#define SIDECAR_UPSTREAM_POSTGRES_BATCH_H

#include "base/buf.h"
#include "upstream/postgres.h"

struct id_batch {
	struct lookup **ids; /* the first lookup of each id; equal ids follow by ->next */
	size_t count;        /* different ids */
	size_t limit;
	uint32_t *table; /* open addressing: index into ids plus one, 0 empty */
	size_t table_mask;
};

void id_batch_init(struct id_batch *batch, size_t limit);
/* False when it is full and has no such id. */
MUST_CHECK bool id_batch_add(struct id_batch *batch, struct lookup *lookup);
/* The first lookup of this id, or NULL. */
struct lookup *id_batch_find(const struct id_batch *batch, struct slice id);
/* Appends the ids as a Postgres array literal, {"1","2"}, ending in NUL. */
void id_batch_literal(const struct id_batch *batch, struct buf *literal);
void id_batch_free(struct id_batch *batch);

/*
 * What the canary has learned of the type that a map's ids must fit, so that
 * an id which cannot is never asked for: it would spoil its whole batch.
 */
enum id_kind { ID_ANY, ID_INT16, ID_INT32, ID_INT64, ID_UUID };
enum id_fit {
	FIT_NEVER, /* Postgres would refuse it */
	FIT_MAYBE, /* unusual, or anything goes: ask */
	FIT_SURE,  /* it cannot be the reason for an error */
};

/* From `invalid input syntax for type bigint: "..."`, in any language. */
enum id_kind id_kind_of_error(const char *message);
enum id_fit id_fits(enum id_kind kind, struct slice id);

#endif
