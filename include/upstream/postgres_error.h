/*
 * What an error of Postgres or of a pooler means to us. Pure.
 *
 * Poolers often have no SQLSTATE to tell by, so that messages are read, too.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_ERROR_H
#define SIDECAR_UPSTREAM_POSTGRES_ERROR_H

#include "upstream/breaker.h"

enum postgres_verdict {
	VERDICT_QUERY,   /* the query is wrong; the backend is well */
	VERDICT_BAD_ID,  /* an id that its column's type cannot hold, most likely */
	VERDICT_BACKEND, /* the backend cannot serve */
};

struct postgres_error {
	enum postgres_verdict verdict;
	enum failure_kind kind; /* VERDICT_BACKEND only */
	char reason[96];        /* one phrase; never an id, a value or a secret */
};

/* An attempt to connect has failed, or a connection was lost, with libpq's
 * `message` (may be several lines). Always VERDICT_BACKEND. */
void postgres_error_of_connection(const char *message, struct postgres_error *error);

/*
 * A query was answered with an error. `sqlstate` may be NULL; is_fatal: the
 * server ends the connection with it.
 * The reason has the SQLSTATE, and the message only where it cannot hold an
 * id (`invalid input syntax for type bigint: "..."` does).
 */
void postgres_error_of_query(const char *sqlstate, bool is_fatal, const char *message,
    struct postgres_error *error);

#endif
