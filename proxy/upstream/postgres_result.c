/* See postgres_result.h. */
#include "upstream/postgres_result.h"

PGresult *
postgres_result_choose(PGresult *kept, PGresult *next)
{
	bool has_error = kept != NULL && PQresultStatus(kept) == PGRES_FATAL_ERROR;

	PQclear(has_error ? next : kept);
	return has_error ? kept : next;
}

bool
postgres_result_is_copy(const PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);

	return status == PGRES_COPY_OUT || status == PGRES_COPY_IN || status == PGRES_COPY_BOTH;
}
