/*
 * The canary: what can a map's query see? "No rows visible to this role"
 * looks exactly like "no such user" to whoever only counts rows, and would put
 * everyone on free. So each map is looked at, one query at a time on a
 * connection that has nothing else to do:
 *
 *   QUERY  the map's query with no ids: does it work, which columns
 *   KIND   with an id that no number and no uuid is: what type ids have
 *   PLAN   EXPLAIN: which relations it reads
 *   TABLE  for each: does row security apply to us, may we select from it
 *   ROWS   for each: is there a row that we can see
 *
 * None of its failures count as the backend's. See postgres_pool.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "upstream/postgres_pool.h"

#define LOOK_AGAIN_MS 30000
#define NO_SUCH_ID "sidecar canary"

void
canary_restart(struct postgres *pool, int64_t now_ms)
{
	for (size_t i = 0; i < pool->settings->map_count; i++)
		queue_of_map(pool, &pool->settings->maps[i])->canary_at_ms = now_ms;
}

void
canary_doubt(struct pg_map *map)
{
	int64_t soon_ms = map->canary_ran_ms + LOOK_AGAIN_MS;

	if (map->canary_at_ms > soon_ms)
		map->canary_at_ms = soon_ms;
}

static struct pg_map *
find_due(const struct postgres *pool)
{
	struct pg_map *best = NULL;

	for (size_t i = 0; i < pool->settings->map_count; i++) {
		struct pg_map *map =
		    queue_of_map((struct postgres *)pool, &pool->settings->maps[i]);
		if (map->canary_at_ms != TIME_NEVER &&
		    (best == NULL || map->canary_at_ms < best->canary_at_ms))
			best = map;
	}
	return best;
}

int64_t
canary_next_ms(const struct postgres *pool)
{
	const struct pg_map *map = find_due(pool);

	/* One that is at work, or due and waiting for a connection, is woken by it. */
	if (pool->stance != STANCE_SERVE || pool->canary.map != NULL || map == NULL ||
	    map->canary_at_ms <= clock_mono_ms())
		return TIME_NEVER;
	return map->canary_at_ms;
}

bool
canary_wants(struct postgres *pool, int64_t now_ms)
{
	struct canary *canary = &pool->canary;

	if (canary->map != NULL)
		return !canary->is_under_way;
	struct pg_map *map = find_due(pool);
	if (map == NULL || map->canary_at_ms > now_ms)
		return false;
	canary_free(canary);
	*canary = (struct canary){ .map = map, .blind = -1, .empty = -1 };
	return true;
}

void
canary_free(struct canary *canary)
{
	for (size_t i = 0; i < canary->relation_count; i++) {
		free(canary->relations[i].quoted);
		free(canary->relations[i].plain);
	}
	*canary = (struct canary){ 0 };
}

void
canary_ask(struct pg_slot *slot)
{
	static const char about_table[] =
	    "SELECT row_security_active(c.oid), c.relkind IN ('r', 'p', 'm') AND"
	    " has_any_column_privilege(c.oid, 'SELECT'), current_user"
	    " FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)";
	struct canary *canary = &slot->pool->canary;
	const char *query = canary->map->map->query;
	const char *table = canary->relation_at < canary->relation_count
	    ? canary->relations[canary->relation_at].quoted
	    : "";
	struct buf sql = BUF_EMPTY;

	switch (canary->step) {
	case CANARY_QUERY:
		pool_send(slot, SLOT_CANARY, query, "{}", 0);
		break;
	case CANARY_KIND:
		pool_send(slot, SLOT_CANARY, query, "{\"" NO_SUCH_ID "\"}", 0);
		break;
	case CANARY_PLAN:
		buf_printf(&sql, "EXPLAIN (FORMAT JSON, VERBOSE) %s", query);
		break;
	case CANARY_TABLE:
		pool_send(slot, SLOT_CANARY, about_table, table, 0);
		break;
	case CANARY_ROWS:
		buf_printf(&sql, "SELECT EXISTS (SELECT 1 FROM %s)", table);
		break;
	}
	if (buf_len(&sql) > 0) {
		buf_append(&sql, "", 1);
		pool_send(slot, SLOT_CANARY, sql.at, canary->step == CANARY_PLAN ? "{}" : NULL, 0);
	}
	buf_free(&sql);
	canary->is_under_way = true;
}

/* ---- The verdict ------------------------------------------------------ */

/* Says it, unless it is what was said last. */
static void
say(struct pg_map *map, enum log_level level, const char *text)
{
	if (strcmp(map->canary_said, text) == 0)
		return;
	snprintf(map->canary_said, sizeof(map->canary_said), "%s", text);
	log_line(level, "postgres map %s: %s", map->map->name, text);
}

/* The map is done with; `again`: look at it once more later. */
static void
finish(struct canary *canary, enum log_level level, const char *text, bool again)
{
	struct pg_map *map = canary->map;

	say(map, level, text);
	map->canary_ran_ms = clock_mono_ms();
	map->canary_at_ms = again ? map->canary_ran_ms + LOOK_AGAIN_MS : TIME_NEVER;
	canary_free(canary);
}

static void
finish_with_sight(struct canary *canary)
{
	char text[CANARY_TEXT_SIZE];

	canary->map->is_blind = canary->blind >= 0;
	if (canary->blind >= 0) {
		snprintf(text, sizeof(text),
		    "the query works, but role \"%s\" sees no row of %s: "
		    "row-level security without a policy for it?",
		    canary->role, canary->relations[canary->blind].plain);
		finish(canary, LOG_WARN, text, true);
	} else if (canary->empty >= 0) {
		snprintf(text, sizeof(text), "the query works, %s has no rows",
		    canary->relations[canary->empty].plain);
		finish(canary, LOG_INFO, text, false);
	} else {
		finish(canary, LOG_INFO,
		    canary->is_seen ? "the query works, rows are visible" : "the query works",
		    false);
	}
}

void
canary_found_rows(struct pg_map *map)
{
	map->is_blind = false;
	map->canary_at_ms = TIME_NEVER;
	say(map, LOG_INFO, "the query works, rows are visible");
}

/* ---- The answers ------------------------------------------------------ */

static void
next_step(struct canary *canary, enum canary_step step)
{
	bool is_over = step == CANARY_TABLE && canary->relation_at == canary->relation_count;

	canary->step = step;
	if (is_over)
		finish_with_sight(canary);
}

static void
next_relation(struct canary *canary)
{
	canary->relation_at++;
	next_step(canary, CANARY_TABLE);
}

static void
take_query(struct canary *canary, const PGresult *result)
{
	struct postgres_error error;
	char text[CANARY_TEXT_SIZE];

	if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
		postgres_error_of_query(PQresultErrorField(result, PG_DIAG_SQLSTATE), false,
		    PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), &error);
		snprintf(text, sizeof(text), "the query fails: %s", error.reason);
		finish(canary, LOG_WARN, text, true);
		return;
	}
	if (PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) < 2) {
		finish(canary, LOG_WARN, "the query must return id and value", true);
		return;
	}
	atomic_store(&canary->map->has_valid_until,
	    answer_valid_until(result, canary->map->map->type) >= 0);
	next_step(canary, CANARY_KIND);
}

static void
take_kind(struct canary *canary, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
	bool is_about_it = state != NULL && strcmp(state, "22P02") == 0 && message != NULL &&
	    strstr(message, NO_SUCH_ID) != NULL;

	canary->map->id_kind = is_about_it ? id_kind_of_error(message) : ID_ANY;
	next_step(canary, CANARY_PLAN);
}

static void
take_plan(struct canary *canary, const PGresult *result)
{
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0)
		canary_read_plan(PQgetvalue(result, 0, 0), canary);
	next_step(canary, CANARY_TABLE);
}

static bool
is_true(const PGresult *result, int column)
{
	return PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
	    PQnfields(result) > column && strcmp(PQgetvalue(result, 0, column), "t") == 0;
}

static void
take_table(struct canary *canary, const PGresult *result)
{
	bool is_selectable = is_true(result, 1);

	canary->has_row_security = is_true(result, 0);
	if (!is_selectable) { /* read through a view or a function: cannot be told */
		next_relation(canary);
		return;
	}
	snprintf(canary->role, sizeof(canary->role), "%s", PQgetvalue(result, 0, 2));
	next_step(canary, CANARY_ROWS);
}

static void
take_rows(struct canary *canary, const PGresult *result)
{
	int at = (int)canary->relation_at;

	if (is_true(result, 0))
		canary->is_seen = true;
	else if (PQresultStatus(result) != PGRES_TUPLES_OK)
		log_debug("postgres map %s: %s cannot be read", canary->map->map->name,
		    canary->relations[at].plain);
	else if (canary->has_row_security && canary->blind < 0)
		canary->blind = at;
	else if (!canary->has_row_security && canary->empty < 0)
		canary->empty = at;
	next_relation(canary);
}

void
canary_answered(struct pg_slot *slot, const PGresult *result)
{
	static void (*const take[])(struct canary * canary, const PGresult *result) = {
		[CANARY_QUERY] = take_query,
		[CANARY_KIND] = take_kind,
		[CANARY_PLAN] = take_plan,
		[CANARY_TABLE] = take_table,
		[CANARY_ROWS] = take_rows,
	};
	struct canary *canary = &slot->pool->canary;

	canary->is_under_way = false;
	take[canary->step](canary, result);
}

/* A row that row security lets through is found at once or, when there is
 * none, after reading the whole table: too late means no row, too. */
void
canary_lost(struct postgres *pool, bool was_overdue)
{
	struct canary *canary = &pool->canary;

	canary->is_under_way = false;
	if (was_overdue && canary->step == CANARY_ROWS && canary->has_row_security) {
		if (canary->blind < 0)
			canary->blind = (int)canary->relation_at;
		next_relation(canary);
		return;
	}
	canary->map->canary_ran_ms = clock_mono_ms();
	canary->map->canary_at_ms = canary->map->canary_ran_ms + LOOK_AGAIN_MS;
	canary_free(canary);
}

/* ---- The plan --------------------------------------------------------- */

/* The JSON string that `at` opens with its quote, decoded as far as names
 * need it (\" \\ and ASCII \u00XX). */
static void
read_string(const char *at, struct buf *out)
{
	for (at++; *at != '\0' && *at != '"'; at++) {
		char c = *at;
		if (c == '\\' && at[1] == 'u' && strnlen(at, 6) == 6) {
			char digits[5] = { at[2], at[3], at[4], at[5], '\0' };
			c = (char)strtol(digits, NULL, 16);
			at += 5;
		} else if (c == '\\' && at[1] != '\0') {
			c = *++at;
		}
		buf_append(out, &c, 1);
	}
	buf_append(out, "", 1);
}

static void
append_identifier(struct buf *sql, const char *name)
{
	buf_append(sql, "\"", 1);
	for (; *name != '\0'; name++) {
		if (*name == '"')
			buf_append(sql, "\"", 1);
		buf_append(sql, name, 1);
	}
	buf_append(sql, "\"", 1);
}

static void
add_relation(struct canary *canary, const char *schema, const char *name)
{
	struct buf quoted = BUF_EMPTY, plain = BUF_EMPTY;

	append_identifier(&quoted, schema);
	buf_append(&quoted, ".", 1);
	append_identifier(&quoted, name);
	buf_append(&quoted, "", 1);
	buf_printf(&plain, "%s.%s", schema, name);
	buf_append(&plain, "", 1);

	bool is_new = canary->relation_count < CANARY_RELATIONS;
	for (size_t i = 0; i < canary->relation_count; i++)
		is_new = is_new && strcmp(canary->relations[i].quoted, quoted.at) != 0;
	if (is_new)
		canary->relations[canary->relation_count++] =
		    (struct canary_relation){ alloc_text(quoted.at), alloc_text(plain.at) };
	buf_free(&quoted);
	buf_free(&plain);
}

/* Postgres writes one pair a line, "Relation Name" right before "Schema". In
 * the values of other pairs these quotes would be escaped. */
void
canary_read_plan(const char *json, struct canary *canary)
{
	static const char name_key[] = "\"Relation Name\": ", schema_key[] = "\"Schema\": ";

	while ((json = strstr(json, name_key)) != NULL) {
		struct buf name = BUF_EMPTY, schema = BUF_EMPTY;
		json += sizeof(name_key) - 1;
		read_string(json, &name);
		const char *next = strchr(json, '\n');
		next = next != NULL ? next + strspn(next, " \n") : "";
		if (strncmp(next, schema_key, sizeof(schema_key) - 1) == 0) {
			read_string(next + sizeof(schema_key) - 1, &schema);
			add_relation(canary, schema.at, name.at);
		}
		buf_free(&name);
		buf_free(&schema);
	}
}
