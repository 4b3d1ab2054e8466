/* See postgres_ids.h. It waits, is asked, and is handed back in the turn after. */
#include "upstream/postgres_ids.h"

#include <stdio.h>

#include "upstream/postgres_pool.h"

void
postgres_read_ids(struct postgres *pool, struct id_query *query)
{
	query->ids = BUF_EMPTY;
	query->count = 0;
	query->reason[0] = '\0';
	pool->ids = query;
	postgres_turn_soon(pool);
}

bool
ids_wait(const struct postgres *pool)
{
	return pool->ids != NULL && !pool->are_ids_asked;
}

/* The limit is the server's to apply; "ORDER BY" within stays in force, and a
 * last ';' or comment does not. */
void
ids_ask(struct pg_slot *slot)
{
	struct id_query *query = slot->pool->ids;
	size_t len = strlen(query->sql);
	struct buf sql = BUF_EMPTY;

	while (len > 0 && strchr("; \t\r\n", query->sql[len - 1]) != NULL)
		len--;
	buf_printf(&sql, "SELECT * FROM (%.*s\n) AS ids LIMIT %lld", (int)len, query->sql,
	    (long long)query->limit);
	buf_append(&sql, "", 1);
	slot->pool->are_ids_asked = true;
	pool_send(slot, SLOT_IDS, sql.at, NULL, query->budget_ms);
	buf_free(&sql);
}

static void
finish(struct postgres *pool, enum ids_result result, const char *reason)
{
	struct id_query *query = pool->ids;

	query->result = result;
	snprintf(query->reason, sizeof(query->reason), "%s", reason);
	pool->ids = NULL;
	pool->are_ids_asked = false;
	pool->ids_done = query;
	postgres_turn_soon(pool);
}

void
ids_answered(struct pg_slot *slot, const PGresult *result)
{
	struct id_query *query = slot->pool->ids;
	struct postgres_error error;

	if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
		postgres_error_of_query(PQresultErrorField(result, PG_DIAG_SQLSTATE), false,
		    PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), &error);
		finish(slot->pool, error.verdict == VERDICT_BACKEND ? IDS_FAILED : IDS_REFUSED,
		    error.reason);
		return;
	}
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) < 1) {
		finish(slot->pool, IDS_REFUSED, "it must return ids");
		return;
	}
	for (int row = 0; row < PQntuples(result); row++) {
		if (PQgetisnull(result, row, 0))
			continue;
		/* With its NUL, which no text of Postgres has inside. */
		buf_append(&query->ids, PQgetvalue(result, row, 0),
		    (size_t)PQgetlength(result, row, 0) + 1);
		query->count++;
	}
	finish(slot->pool, IDS_READ, "");
}

void
ids_lost(struct postgres *pool, bool was_overdue, const char *reason)
{
	char late[64];

	snprintf(late, sizeof(late), "no answer within %lld s",
	    (long long)(pool->ids->budget_ms / 1000));
	finish(pool, was_overdue ? IDS_REFUSED : IDS_FAILED, was_overdue ? late : reason);
}

void
ids_fail_waiting(struct postgres *pool)
{
	if (ids_wait(pool))
		finish(pool, IDS_FAILED, "postgres is down");
}

void
ids_deliver(struct postgres *pool)
{
	struct id_query *query = pool->ids_done;

	pool->ids_done = NULL;
	if (query != NULL)
		query->done(query);
}
