/*
 * A query's result, to the lookups that asked: rows to values, errors to what
 * they mean for whom. See postgres_pool.h.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/resp.h"
#include "upstream/postgres_pool.h"
#include "upstream/postgres_time.h"

#define LOG_EVERY_MS 30000

static struct slice
cell(const PGresult *result, int row, int column)
{
	return (struct slice){ PQgetvalue(result, row, column),
		(size_t)PQgetlength(result, row, column) };
}

int
answer_valid_until(const PGresult *result, int map_type)
{
	for (int column = map_type == MAP_STRING ? 2 : 1; column < PQnfields(result); column++) {
		if (strcmp(PQfname(result, column), "valid_until") == 0)
			return column;
	}
	return -1;
}

static struct blob *
read_hash(const PGresult *result, int row, int valid_until)
{
	struct buf fields = BUF_EMPTY;

	for (int column = 1; column < PQnfields(result); column++) {
		if (column == valid_until || PQgetisnull(result, row, column))
			continue;
		resp_append_bulk(&fields, slice_of(PQfname(result, column)));
		resp_append_bulk(&fields, cell(result, row, column));
	}
	struct blob *value = blob_new(buf_slice(&fields));
	buf_free(&fields);
	return value;
}

/* Gives one id's row to all who asked for it. */
static void
read_row(const PGresult *result, int row, int map_type, struct lookup *lookup,
    struct answer_counts *counts)
{
	int column = counts->valid_until;
	int64_t valid_until_ms = TIME_NEVER;
	struct blob *value;

	if (map_type == MAP_STRING && PQgetisnull(result, row, 1))
		return; /* like no row */
	if (column >= 0 && !PQgetisnull(result, row, column) &&
	    !postgres_time_parse(cell(result, row, column), &valid_until_ms)) {
		counts->bad_times++;
		for (; lookup != NULL; lookup = lookup->next)
			lookup->result = LOOKUP_FAILED;
		return;
	}
	counts->found++;
	value = map_type == MAP_STRING ? blob_new(cell(result, row, 1))
				       : read_hash(result, row, column);
	for (; lookup != NULL; lookup = lookup->next) {
		lookup->result = LOOKUP_FOUND;
		lookup->value = blob_ref(value);
		lookup->valid_until_ms = valid_until_ms;
	}
	blob_unref(value);
}

bool
answer_read(const PGresult *result, int map_type, struct id_batch *batch,
    struct answer_counts *counts)
{
	*counts = (struct answer_counts){ .valid_until = answer_valid_until(result, map_type) };
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) < 2)
		return false;
	for (size_t i = 0; i < batch->count; i++) {
		for (struct lookup *lookup = batch->ids[i]; lookup != NULL; lookup = lookup->next)
			lookup->result = LOOKUP_MISSING;
	}
	for (int row = 0; row < PQntuples(result); row++) {
		struct lookup *lookup =
		    PQgetisnull(result, row, 0) ? NULL : id_batch_find(batch, cell(result, row, 0));
		/* Not asked for, or its second row: the first one stands. */
		if (lookup != NULL && lookup->result == LOOKUP_MISSING)
			read_row(result, row, map_type, lookup, counts);
	}
	return true;
}

static void
finish_read(struct pg_slot *slot)
{
	for (size_t i = 0; i < slot->batch.count; i++) {
		for (struct lookup *lookup = slot->batch.ids[i], *next; lookup != NULL;
		     lookup = next) {
			bool proves_nothing =
			    slot->asked->is_blind && lookup->result == LOOKUP_MISSING;
			next = lookup->next;
			postgres_finish(slot->pool, lookup,
			    proves_nothing ? LOOKUP_FAILED : lookup->result);
		}
	}
	slot->batch.count = 0;
}

static void
take_rows(struct pg_slot *slot, const PGresult *result)
{
	struct pg_map *map = slot->asked;
	struct answer_counts counts;
	int64_t now_ms = clock_mono_ms();

	if (!answer_read(result, map->map->type, &slot->batch, &counts)) {
		if (log_throttle(&map->error_logged_ms, now_ms, LOG_EVERY_MS))
			log_warn("postgres map %s: the query must return id and value",
			    map->map->name);
		counter_add(&slot->pool->metrics->query_errors, 1);
		batch_finish(slot->pool, &slot->batch, LOOKUP_FAILED);
		return;
	}
	atomic_store(&map->has_valid_until, counts.valid_until >= 0);
	if (counts.bad_times > 0 && log_throttle(&map->time_logged_ms, now_ms, LOG_EVERY_MS))
		log_warn("postgres map %s: valid_until is not a timestamp", map->map->name);
	if (counts.found > 0 && map->is_blind)
		canary_found_rows(map);
	finish_read(slot);
}

static void
query_failed(struct pg_slot *slot, const char *reason)
{
	struct pg_map *map = slot->asked;

	counter_add(&slot->pool->metrics->query_errors, 1);
	if (log_throttle(&map->error_logged_ms, clock_mono_ms(), LOG_EVERY_MS))
		log_warn("postgres map %s: the query fails: %s", map->map->name, reason);
	batch_finish(slot->pool, &slot->batch, LOOKUP_FAILED);
}

/* One id that its type cannot hold spoils the query for all others in it. */
static void
bad_id(struct pg_slot *slot, const char *reason)
{
	if (slot->batch.count > 1)
		queue_split(slot->asked, &slot->batch);
	else if (id_fits(slot->asked->id_kind, slot->batch.ids[0]->id) == FIT_SURE)
		query_failed(slot, reason); /* the id is fine: something in its row is not */
	else
		batch_finish(slot->pool, &slot->batch, LOOKUP_MISSING);
}

void
answer_take(struct pg_slot *slot, const PGresult *result)
{
	struct postgres *pool = slot->pool;
	struct postgres_error error;

	if (PQresultStatus(result) != PGRES_FATAL_ERROR) {
		breaker_succeeded(pool->breaker, clock_mono_ms());
		take_rows(slot, result);
		return;
	}
	postgres_error_of_query(PQresultErrorField(result, PG_DIAG_SQLSTATE), false,
	    PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), &error);
	if (error.verdict == VERDICT_BACKEND) {
		batch_finish(pool, &slot->batch, LOOKUP_FAILED);
		pool_failed(pool, error.kind, error.reason);
		return;
	}
	breaker_succeeded(pool->breaker, clock_mono_ms());
	if (error.verdict == VERDICT_BAD_ID)
		bad_id(slot, error.reason);
	else
		query_failed(slot, error.reason);
}
