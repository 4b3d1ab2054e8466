/* See ladder.h. What one climb may do at each rung stands in the table. */
#include "ladder/ladder.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ladder/answer.h"
#include "ladder/flight.h"
#include "ladder/ladder_hit.h"

/* One read of one key that memory could not answer. */
struct climb {
	struct ladder_context *context;
	const struct rules *rules; /* those of its start, also across a reload */
	struct flight_waiter waiter;
	struct deadline rung_due, ladder_due;
	enum rung rung; /* where it stands */
	struct flight_order order;
	bool is_refresh; /* nobody waits: only backends are asked */
	int64_t started_us;
	ladder_answered_fn answered;
	void *arg;
	char bytes[]; /* key, id */
};

enum climb_next {
	CLIMB_ANSWERED, /* `answer` is set */
	CLIMB_NEXT,     /* this rung has nothing */
	CLIMB_WAIT,     /* a backend was asked */
};

static enum climb_next ask_redis(struct climb *climb, struct answer *answer);
static enum climb_next ask_postgres(struct climb *climb, struct answer *answer);
static enum climb_next try_stale(struct climb *climb, struct answer *answer);
static enum climb_next give_free(struct climb *climb, struct answer *answer);

/* The order of this table is the promise in the README.
 * give_free() cannot fail, so every climb ends. */
static const struct ladder_rung {
	const char *name; /* as counted in sidecar_answers_total{rung="..."} */
	enum climb_next (*step)(struct climb *climb, struct answer *answer);
} ladder[] = {
	[RUNG_MEMORY] = { "memory", NULL }, /* before a climb: ladder_try_memory() */
	[RUNG_REDIS] = { "redis", ask_redis },
	[RUNG_POSTGRES] = { "postgres", ask_postgres },
	[RUNG_STALE] = { "stale", try_stale },
	[RUNG_FREE] = { "free", give_free },
	[RUNG_ERROR] = { "error", NULL },
};

const char *
rung_name(enum rung rung)
{
	return ladder[rung].name;
}

/* ---- memory ---- */

static bool
find_fresh(struct ladder_context *context, const struct flight_order *order, struct answer *answer,
    bool *should_refresh)
{
	int64_t now_ms = clock_mono_ms();
	struct cache_value value;

	*should_refresh = false;
	if (!order->may_keep)
		return false;
	enum cache_find found =
	    cache_find(context->backends->cache, order->key, now_ms, &value, should_refresh);
	if (found == CACHE_STALE)
		cache_value_release(&value);
	return found == CACHE_FRESH &&
	    answer_from_memory(order->map, order->is_hash, &value, RUNG_MEMORY, now_ms, answer);
}

/* ---- redis and postgres ---- */

static void on_rung_due(struct deadline *deadline);
static void on_ladder_due(struct deadline *deadline);
static void on_fetched(struct flight_waiter *waiter, const struct fetched *fetched);

static void
wait_at_rung(struct climb *climb, int64_t for_ms)
{
	climb->rung_due.on_due = on_rung_due;
	deadlines_add(climb->context->deadlines, &climb->rung_due, clock_mono_ms() + for_ms);
}

static bool
has_copy(const struct climb *climb)
{
	struct cache_value value;

	if (!climb->order.may_keep)
		return false;
	bool is_held = cache_find(climb->context->backends->cache, climb->order.key,
			   clock_mono_ms(), &value, NULL) != CACHE_MISS;
	if (is_held)
		cache_value_release(&value);
	return is_held;
}

static enum climb_next
ask_redis(struct climb *climb, struct answer *answer)
{
	struct ladder_context *context = climb->context;
	const struct settings *settings = climb->rules->settings;

	(void)answer;
	climb->waiter.fetched = on_fetched;
	/* A command to Redis is dear; another reader has just paid for it. */
	if (climb->order.map != NULL && flights_is_at_postgres(context->flights, climb->order.key))
		return CLIMB_NEXT;
	if (!backends_may_ask_redis(context->backends, climb->order.key) ||
	    !flights_ask_redis(context->flights, &climb->order, &climb->waiter)) {
		climb->order.fills_redis = true; /* it may be back by then */
		return CLIMB_NEXT;
	}
	/* Who has something to fall back on does not wait for long. */
	bool has_other_rung = climb->order.map != NULL || has_copy(climb);
	wait_at_rung(climb,
	    has_other_rung ? settings->redis.budget_ms : settings->redis.timeout_ms);
	return CLIMB_WAIT;
}

static enum climb_next
ask_postgres(struct climb *climb, struct answer *answer)
{
	struct ladder_context *context = climb->context;
	const struct map *map = climb->order.map;

	if (map == NULL)
		return CLIMB_NEXT;
	if (!map_accepts_id(map, climb->order.id)) {
		answer_missing(map, RUNG_POSTGRES, answer);
		return CLIMB_ANSWERED;
	}
	climb->waiter.fetched = on_fetched;
	if (!backends_postgres_allows(context->backends) ||
	    !flights_ask_postgres(context->flights, &climb->order, &climb->waiter))
		return CLIMB_NEXT;
	wait_at_rung(climb, climb->rules->settings->postgres.budget_ms);
	return CLIMB_WAIT;
}

/* ---- stale and free ---- */

static enum climb_next
try_stale(struct climb *climb, struct answer *answer)
{
	int64_t now_ms = clock_mono_ms();
	struct cache_value value;

	if (!climb->order.may_keep)
		return CLIMB_NEXT;
	enum cache_find found =
	    cache_find(climb->context->backends->cache, climb->order.key, now_ms, &value, NULL);
	if (found == CACHE_MISS)
		return CLIMB_NEXT;
	/* It may have become fresh while we asked. */
	enum rung rung = found == CACHE_FRESH ? RUNG_MEMORY : RUNG_STALE;
	bool fits = answer_from_memory(climb->order.map, climb->order.is_hash, &value, rung, now_ms,
	    answer);
	return fits ? CLIMB_ANSWERED : CLIMB_NEXT;
}

static enum climb_next
give_free(struct climb *climb, struct answer *answer)
{
	struct buf text = BUF_EMPTY;

	if (climb->order.map != NULL) {
		answer_free(climb->order.map, RUNG_FREE, answer);
		return CLIMB_ANSWERED;
	}
	bool is_late = backends_redis_allows(climb->context->backends);
	backends_reply_down(climb->context->backends, is_late ? "no answer from redis" : NULL,
	    &text);
	*answer = (struct answer){
		.kind = ANSWER_ERROR,
		.rung = RUNG_ERROR,
		.bytes = blob_new(buf_slice(&text)),
	};
	buf_free(&text);
	return CLIMB_ANSWERED;
}

/* ---- the climb itself ---- */

/* Takes rung after rung until one answers (true), or has to wait (false). */
static bool
climb_on(struct climb *climb, struct answer *answer)
{
	for (;; climb->rung++) {
		assert(climb->rung > RUNG_MEMORY && climb->rung < RUNG_ERROR);
		if (climb->is_refresh && climb->rung >= RUNG_STALE)
			return true;
		enum climb_next next = ladder[climb->rung].step(climb, answer);
		if (next != CLIMB_NEXT)
			return next == CLIMB_ANSWERED;
	}
}

static void
stop_waiting(struct climb *climb, bool is_overdue)
{
	flight_leave(&climb->waiter, is_overdue);
	deadlines_remove(climb->context->deadlines, &climb->rung_due);
}

static void
count_answer(struct ladder_context *context, const struct answer *answer, int64_t took_us)
{
	counter_add(&context->metrics->answers[answer->rung], 1);
	histogram_add(&context->metrics->seconds[answer->rung], took_us);
}

static void
climb_free(struct climb *climb)
{
	pool_give(climb->context->pool, climb,
	    sizeof(*climb) + climb->order.key.len + climb->order.id.len);
}

/* Frees the climb. */
static void
finish(struct climb *climb, struct answer *answer)
{
	deadlines_remove(climb->context->deadlines, &climb->ladder_due);
	if (climb->answered == NULL) {
		answer_release(answer);
	} else if (climb->is_refresh) {
		answer->rung = climb->rung;
		climb->answered(climb->arg, answer);
	} else {
		count_answer(climb->context, answer, clock_mono_us() - climb->started_us);
		climb->answered(climb->arg, answer);
	}
	climb_free(climb);
}

static void
go_on_from(struct climb *climb, enum rung rung)
{
	struct answer answer = { 0 };

	climb->rung = rung;
	if (climb_on(climb, &answer))
		finish(climb, &answer);
}

static void
on_fetched(struct flight_waiter *waiter, const struct fetched *fetched)
{
	struct climb *climb = (struct climb *)((char *)waiter - offsetof(struct climb, waiter));
	struct answer answer = { 0 };

	stop_waiting(climb, false);
	if (answer_from_backend(climb->order.map, climb->rung, fetched, &answer)) {
		finish(climb, &answer);
		return;
	}
	climb->order.fills_redis |= fetched->outcome == FETCH_NIL;
	go_on_from(climb, climb->rung + 1);
}

static void
on_rung_due(struct deadline *deadline)
{
	struct climb *climb = (struct climb *)((char *)deadline - offsetof(struct climb, rung_due));

	stop_waiting(climb, true);
	go_on_from(climb, climb->rung + 1);
}

static void
on_ladder_due(struct deadline *deadline)
{
	struct climb *climb =
	    (struct climb *)((char *)deadline - offsetof(struct climb, ladder_due));

	stop_waiting(climb, true);
	go_on_from(climb, RUNG_STALE);
}

static struct slice
copy_slice(char **at, struct slice bytes)
{
	char *start = *at;

	if (bytes.len > 0)
		memcpy(start, bytes.at, bytes.len);
	*at += bytes.len;
	return slice_make(start, bytes.len);
}

static struct climb *
climb_new(struct ladder_context *context, const struct flight_order *order,
    ladder_answered_fn answered, void *arg)
{
	size_t size = sizeof(struct climb) + order->key.len + order->id.len;
	struct climb *climb = pool_take(context->pool, size);
	char *at = climb->bytes;

	memset(climb, 0, sizeof(*climb));
	climb->context = context;
	climb->rules = context->rules;
	climb->order = *order;
	climb->order.key = copy_slice(&at, order->key);
	climb->order.id = copy_slice(&at, order->id);
	climb->started_us = clock_mono_us();
	climb->answered = answered;
	climb->arg = arg;
	return climb;
}

/* The same climb, for memory's sake: one reader in time asks before the
 * value expires, so that nobody ever finds it expired. */
static void
refresh_early(struct ladder_context *context, const struct flight_order *order)
{
	struct climb *climb = climb_new(context, order, NULL, NULL);

	counter_add(&context->metrics->refreshes, 1);
	climb->is_refresh = true;
	climb->order.is_many = false;
	go_on_from(climb, RUNG_REDIS);
}

static struct flight_order
order_of(const struct ladder_context *context, const struct question *question)
{
	return (struct flight_order){
		.key = question->key,
		.is_hash = question->is_hash,
		.is_many = question->is_many,
		.may_keep = ladder_may_keep(context, question->key),
		.map = question->map,
		.id = question->id,
		.link = question->link,
	};
}

static bool
try_memory(struct ladder_context *context, const struct flight_order *order, struct answer *answer)
{
	bool should_refresh;

	if (!find_fresh(context, order, answer, &should_refresh))
		return false;
	ladder_count_hits(context, 1);
	if (should_refresh)
		refresh_early(context, order);
	return true;
}

bool
ladder_try_memory(struct ladder_context *context, const struct question *question,
    struct answer *answer)
{
	struct flight_order order = order_of(context, question);

	return try_memory(context, &order, answer);
}

void
ladder_refresh(struct ladder_context *context, const struct question *question)
{
	struct flight_order order = order_of(context, question);

	refresh_early(context, &order);
}

static bool
ask_backends(struct ladder_context *context, const struct flight_order *order,
    struct answer *answer, ladder_answered_fn answered, void *arg)
{
	if (order->may_keep)
		counter_add(&context->metrics->misses, 1);

	struct climb *climb = climb_new(context, order, answered, arg);
	if (order->map != NULL) {
		climb->ladder_due.on_due = on_ladder_due;
		deadlines_add(context->deadlines, &climb->ladder_due,
		    clock_mono_ms() + climb->rules->settings->ladder.deadline_ms);
	}
	climb->rung = RUNG_REDIS;
	if (!climb_on(climb, answer))
		return false;
	deadlines_remove(context->deadlines, &climb->ladder_due);
	count_answer(context, answer, clock_mono_us() - climb->started_us);
	climb_free(climb);
	return true;
}

bool
ladder_ask_backends(struct ladder_context *context, const struct question *question,
    struct answer *answer, ladder_answered_fn answered, void *arg)
{
	struct flight_order order = order_of(context, question);

	return ask_backends(context, &order, answer, answered, arg);
}

bool
ladder_ask(struct ladder_context *context, const struct question *question, struct answer *answer,
    ladder_answered_fn answered, void *arg)
{
	struct flight_order order = order_of(context, question);

	return try_memory(context, &order, answer) ||
	    ask_backends(context, &order, answer, answered, arg);
}

bool
ladder_load(struct ladder_context *context, const struct question *question, struct answer *answer,
    ladder_answered_fn answered, void *arg)
{
	struct flight_order order = order_of(context, question);
	struct climb *climb = climb_new(context, &order, answered, arg);

	climb->is_refresh = true;
	climb->rung = RUNG_REDIS;
	if (!climb_on(climb, answer))
		return false;
	answer->rung = climb->rung;
	climb_free(climb);
	return true;
}

void
ladder_begin_many(struct ladder_context *context)
{
	flights_begin_many(context->flights);
}

void
ladder_end_many(struct ladder_context *context)
{
	flights_end_many(context->flights);
}
