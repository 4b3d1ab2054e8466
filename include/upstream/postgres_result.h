/* Which of a query's results counts. Pure. */
#ifndef SIDECAR_UPSTREAM_POSTGRES_RESULT_H
#define SIDECAR_UPSTREAM_POSTGRES_RESULT_H

#include <libpq-fe.h>
#include <stdbool.h>

/* The first error, else the last; the other is cleared. `kept` may be NULL. */
PGresult *postgres_result_choose(PGresult *kept, PGresult *next);
/* A COPY gives results without an end. */
bool postgres_result_is_copy(const PGresult *result);

#endif
