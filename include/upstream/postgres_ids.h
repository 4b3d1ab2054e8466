/*
 * One query for ids, over the pool: what the warm-up is to load. It has no
 * parameter, and the first column of its rows counts. None of its errors
 * count as the backend's, and it may take longer than lookups may.
 *
 * The pool's thread; `done` from a later loop turn.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_IDS_H
#define SIDECAR_UPSTREAM_POSTGRES_IDS_H

#include "base/buf.h"

struct postgres;

enum ids_result {
	IDS_READ,    /* ids, count */
	IDS_REFUSED, /* the query is wrong, or takes too long: `reason` */
	IDS_FAILED,  /* Postgres is down, or went down: `reason` */
};

/* Part of the caller's struct, who keeps it until `done`. */
struct id_query {
	const char *sql;
	int64_t limit; /* no more ids than that */
	int64_t budget_ms;
	void (*done)(struct id_query *query); /* called exactly once */

	/* Set before done: */
	enum ids_result result;
	struct buf ids; /* texts, each ended by NUL; the callee's to free */
	size_t count;
	char reason[128]; /* never an id */
};

/* One at a time. Waits for a free connection as long as the breaker allows. */
void postgres_read_ids(struct postgres *postgres, struct id_query *query);

#endif
