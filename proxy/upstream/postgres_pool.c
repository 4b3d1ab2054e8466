/*
 * The connections of the pool: how many, what for, and what their ends mean to
 * the breaker. See postgres_pool.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "upstream/postgres_pool.h"

#define CONNECT_MS 5000
#define PROBES_WANTED 3
/* A connection attempt younger than this is no reason to call the backend
 * slow: TLS to another continent takes a while. */
#define CONNECT_PATIENCE_MS 500

static void
slot_use(struct pg_slot *slot, enum slot_use use)
{
	struct postgres *pool = slot->pool;
	int64_t in_use = 0;

	slot->use = use;
	slot->since_ms = clock_mono_ms();
	for (slot = pool->slots; slot != NULL; slot = slot->next)
		in_use += slot->use > SLOT_IDLE;
	counter_set(&pool->metrics->pool_in_use, in_use);
	postgres_turn_soon(pool);
}

static void
slot_free(struct pg_slot *slot)
{
	struct postgres *pool = slot->pool;
	struct pg_slot **link = &pool->slots;

	while (*link != slot)
		link = &(*link)->next;
	*link = slot->next;
	pool->slot_count--;
	if (slot->use != SLOT_CONNECTING)
		counter_add(&pool->metrics->pool_size, -1);
	if (slot->use > SLOT_IDLE)
		counter_add(&pool->metrics->pool_in_use, -1);
	postgres_conn_free(slot->conn);
	id_batch_free(&slot->batch);
	free(slot);
	postgres_turn_soon(pool);
}

static struct pg_slot *
find_slot(const struct postgres *pool, enum slot_use use)
{
	struct pg_slot *slot = pool->slots;

	while (slot != NULL && slot->use != use)
		slot = slot->next;
	return slot;
}

/* ---- What the breaker is told ----------------------------------------- */

void
pool_failed(struct postgres *pool, enum failure_kind kind, const char *reason)
{
	counter_add(&pool->metrics->errors[kind], 1);
	log_debug("postgres %s: %s", pool->target->name, reason);
	/* May call back into postgres_on_breaker(), which only asks for a turn. */
	if (pool->stance == STANCE_PROBE)
		breaker_probe_failed(pool->breaker, clock_mono_ms(), kind, reason);
	else if (pool->stance == STANCE_SERVE)
		breaker_failed(pool->breaker, clock_mono_ms(), kind, reason);
	postgres_turn_soon(pool);
}

/* Whether there are connections, and none of them can be hoped for. A pool
 * without any counts its attempts to connect instead. */
static bool
is_stuck(const struct postgres *pool)
{
	int64_t now_ms = clock_mono_ms();

	for (const struct pg_slot *slot = pool->slots; slot != NULL; slot = slot->next) {
		bool hangs = slot->use == SLOT_CANCELLING ||
		    (slot->use == SLOT_CONNECTING &&
			now_ms - slot->since_ms >= CONNECT_PATIENCE_MS);
		if (!hangs)
			return false;
	}
	return pool->slots != NULL;
}

/* Lookups that wait in vain, while every connection hangs, must open the
 * breaker as queries do; one for each half budget, however many are late. */
void
pool_note_late(struct postgres *pool)
{
	int64_t now_ms = clock_mono_ms();

	if (pool->stance != STANCE_SERVE || !is_stuck(pool) ||
	    now_ms - pool->starved_ms < pool->settings->postgres.budget_ms / 2)
		return;
	pool->starved_ms = now_ms;
	pool_failed(pool, FAILURE_TIMEOUT, "no connection came free in time");
}

/* ---- What connections tell -------------------------------------------- */

static void
answered_well(struct postgres *pool)
{
	backoff_reset(&pool->backoff);
	pool->connect_at_ms = 0;
}

static void
on_ready(struct postgres_conn *conn, void *arg)
{
	struct pg_slot *slot = arg;

	(void)conn;
	counter_add(&slot->pool->metrics->pool_size, 1);
	log_debug("postgres %s: connected", slot->pool->target->name);
	slot_use(slot, SLOT_IDLE);
}

static void
probe_answered(struct postgres *pool, const PGresult *result)
{
	struct postgres_error error;

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		postgres_error_of_query(PQresultErrorField(result, PG_DIAG_SQLSTATE), false,
		    PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), &error);
		pool_failed(pool, error.verdict == VERDICT_BACKEND ? error.kind : FAILURE_PROTOCOL,
		    error.reason);
		return;
	}
	if (++pool->probes_answered >= PROBES_WANTED && pool->stance == STANCE_PROBE)
		breaker_probe_succeeded(pool->breaker, clock_mono_ms());
}

static void
on_result(struct postgres_conn *conn, const PGresult *result, void *arg)
{
	struct pg_slot *slot = arg;
	struct postgres *pool = slot->pool;
	enum slot_use use = slot->use;

	(void)conn;
	if (use == SLOT_LOOKUP)
		histogram_add(&pool->metrics->seconds, clock_mono_us() - slot->sent_us);
	slot_use(slot, SLOT_IDLE);
	answered_well(pool);
	if (use == SLOT_LOOKUP)
		answer_take(slot, result);
	else if (use == SLOT_PROBE)
		probe_answered(pool, result);
	else if (use == SLOT_CANARY)
		canary_answered(slot, result);
	else if (use == SLOT_IDS)
		ids_answered(slot, result);
}

/* Whoever waited for this slot's query waits no longer. */
static void
give_up(struct pg_slot *slot, enum failure_kind kind, const char *reason)
{
	struct postgres *pool = slot->pool;

	if (slot->use == SLOT_LOOKUP) {
		histogram_add(&pool->metrics->seconds, clock_mono_us() - slot->sent_us);
		batch_finish(pool, &slot->batch, LOOKUP_FAILED);
	}
	if (slot->use == SLOT_IDS)
		ids_lost(pool, kind == FAILURE_TIMEOUT, reason);
	if (slot->use == SLOT_CANARY)
		canary_lost(pool, kind == FAILURE_TIMEOUT);
	else if (slot->use == SLOT_IDS && kind == FAILURE_TIMEOUT)
		return; /* it took too long, which others need not */
	else if (slot->use != SLOT_CANCELLING && slot->use != SLOT_IDLE)
		pool_failed(pool, kind, reason);
}

static void
on_overdue(struct postgres_conn *conn, void *arg)
{
	struct pg_slot *slot = arg;
	char reason[64];

	(void)conn;
	snprintf(reason, sizeof(reason), "no answer within %d ms",
	    (int)slot->pool->settings->postgres.budget_ms);
	give_up(slot, FAILURE_TIMEOUT, reason);
	slot_use(slot, SLOT_CANCELLING);
}

static void
on_recovered(struct postgres_conn *conn, void *arg)
{
	(void)conn;
	slot_use(arg, SLOT_IDLE);
}

/* An idle connection that is closed is no failure (poolers do that by the
 * clock): the attempt to connect again will tell. */
static void
on_closed(struct postgres_conn *conn, enum failure_kind kind, const char *reason, void *arg)
{
	struct pg_slot *slot = arg;
	struct postgres *pool = slot->pool;

	(void)conn;
	log_debug("postgres %s: connection closed: %s", pool->target->name, reason);
	give_up(slot, kind, reason);
	pool->connect_at_ms = clock_mono_ms() + backoff_next_ms(&pool->backoff);
	slot_free(slot);
}

static const struct postgres_conn_events conn_events = {
	.ready = on_ready,
	.result = on_result,
	.overdue = on_overdue,
	.recovered = on_recovered,
	.closed = on_closed,
};

/* ---- What connections are used for ------------------------------------ */

static void
connect_one(struct postgres *pool)
{
	struct pg_slot *slot = alloc_zero(sizeof(*slot));

	slot->pool = pool;
	slot->use = SLOT_CONNECTING;
	slot->since_ms = clock_mono_ms();
	slot->conn = postgres_conn_new(pool->base, pool->dns, pool->target, pool->canceller,
	    CONNECT_MS, &conn_events, slot);
	slot->next = pool->slots;
	pool->slots = slot;
	pool->slot_count++;
}

static bool
may_connect(const struct postgres *pool, int64_t now_ms)
{
	return pool->slot_count < (size_t)pool->settings->postgres.pool &&
	    now_ms >= pool->connect_at_ms && find_slot(pool, SLOT_CONNECTING) == NULL;
}

void
pool_send(struct pg_slot *slot, enum slot_use use, const char *sql, const char *parameter,
    int64_t budget_ms)
{
	int64_t usual_ms = slot->pool->settings->postgres.budget_ms;

	slot_use(slot, use);
	slot->sent_us = clock_mono_us();
	counter_add(&slot->pool->metrics->queries, 1);
	postgres_conn_query(slot->conn, sql, parameter, budget_ms != 0 ? budget_ms : usual_ms);
}

static void
ask(struct pg_slot *slot, struct pg_map *map, int64_t now_ms)
{
	struct postgres *pool = slot->pool;
	size_t limit = (size_t)pool->settings->postgres.max_batch;
	struct buf literal = BUF_EMPTY;

	id_batch_free(&slot->batch);
	id_batch_init(&slot->batch, pool->waiting < limit ? pool->waiting : limit);
	queue_take(map, &slot->batch, now_ms);
	if (slot->batch.count == 0)
		return; /* all of them came too late */
	slot->asked = map;
	sizes_add(&pool->metrics->batch_ids, (int64_t)slot->batch.count);
	id_batch_literal(&slot->batch, &literal);
	pool_send(slot, SLOT_LOOKUP, map->map->query, literal.at, 0);
	buf_free(&literal);
}

static void
ask_waiting(struct postgres *pool, int64_t now_ms)
{
	struct pg_slot *slot;
	struct pg_map *map;

	while ((slot = find_slot(pool, SLOT_IDLE)) != NULL && (map = queue_next(pool)) != NULL)
		ask(slot, map, now_ms);
}

/* One connection at all times; more when something waits and none is free. */
static bool
needs_connection(const struct postgres *pool)
{
	if (find_slot(pool, SLOT_IDLE) != NULL)
		return false;
	return pool->waiting > 0 || ids_wait(pool) ||
	    (find_slot(pool, SLOT_LOOKUP) == NULL && find_slot(pool, SLOT_CANARY) == NULL);
}

static void
serve(struct postgres *pool, int64_t now_ms)
{
	struct pg_slot *slot;

	if (pool->slot_count > (size_t)pool->settings->postgres.pool &&
	    (slot = find_slot(pool, SLOT_IDLE)) != NULL)
		slot_free(slot); /* the pool was made smaller */
	/* Lookups go first, unless they have kept the canary waiting for long. */
	if (canary_wants(pool, now_ms - 1000) && (slot = find_slot(pool, SLOT_IDLE)) != NULL)
		canary_ask(slot);
	ask_waiting(pool, now_ms);
	if (ids_wait(pool) && (slot = find_slot(pool, SLOT_IDLE)) != NULL)
		ids_ask(slot);
	if (canary_wants(pool, now_ms) && (slot = find_slot(pool, SLOT_IDLE)) != NULL)
		canary_ask(slot);
	if (needs_connection(pool) && may_connect(pool, now_ms))
		connect_one(pool);
}

static void
probe(struct postgres *pool, int64_t now_ms)
{
	struct pg_slot *slot = find_slot(pool, SLOT_IDLE);

	if (find_slot(pool, SLOT_PROBE) != NULL)
		return;
	if (slot != NULL)
		pool_send(slot, SLOT_PROBE, "SELECT 1", NULL, 0);
	else if (may_connect(pool, now_ms))
		connect_one(pool);
}

/* Running queries are cancelled, so that none is left behind on the server. */
static void
hang_up(struct postgres *pool)
{
	for (struct pg_slot *slot = pool->slots, *next; slot != NULL; slot = next) {
		next = slot->next;
		if (slot->use == SLOT_CONNECTING || slot->use == SLOT_IDLE) {
			slot_free(slot);
		} else if (slot->use != SLOT_CANCELLING) {
			if (slot->use == SLOT_CANARY)
				canary_lost(pool, false);
			else if (slot->use == SLOT_IDS)
				ids_lost(pool, false, "postgres went down");
			batch_finish(pool, &slot->batch, LOOKUP_FAILED);
			postgres_conn_cancel(slot->conn);
			slot_use(slot, SLOT_CANCELLING);
		}
	}
}

static enum stance
find_stance(const struct postgres *pool)
{
	if (pool->target == NULL)
		return STANCE_OPEN;
	if (breaker_allows(pool->breaker))
		return STANCE_SERVE;
	return breaker_state(pool->breaker) == BREAKER_HALF_OPEN ? STANCE_PROBE : STANCE_OPEN;
}

void
pool_follow_breaker(struct postgres *pool)
{
	enum stance stance = find_stance(pool);

	if (stance == pool->stance)
		return;
	pool->stance = stance;
	pool->probes_answered = 0;
	pool->connect_at_ms = 0;
	backoff_reset(&pool->backoff);
	if (stance == STANCE_SERVE)
		canary_restart(pool, clock_mono_ms());
}

void
pool_work(struct postgres *pool, int64_t now_ms)
{
	if (pool->stance != STANCE_SERVE) {
		queue_fail_all(pool);
		ids_fail_waiting(pool);
	}
	if (pool->stance == STANCE_SERVE)
		serve(pool, now_ms);
	else if (pool->stance == STANCE_PROBE)
		probe(pool, now_ms);
	else
		hang_up(pool);
}

void
pool_close_all(struct postgres *pool)
{
	while (pool->slots != NULL) {
		if (pool->slots->use == SLOT_IDS)
			ids_lost(pool, false, "the end");
		batch_finish(pool, &pool->slots->batch, LOOKUP_FAILED);
		slot_free(pool->slots);
	}
}

int64_t
pool_next_ms(const struct postgres *pool)
{
	bool is_short = pool->stance == STANCE_SERVE
	    ? needs_connection(pool)
	    : pool->stance == STANCE_PROBE && find_slot(pool, SLOT_PROBE) == NULL;
	bool may_later = pool->slot_count < (size_t)pool->settings->postgres.pool &&
	    find_slot(pool, SLOT_CONNECTING) == NULL;

	return is_short && may_later ? pool->connect_at_ms : TIME_NEVER;
}
