/*
 * The public face of the Postgres pool, and its turn: see postgres.h for the
 * contract, postgres_pool.h for the parts. Runs on the keeper's thread.
 */
#include "upstream/postgres.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "upstream/postgres_pool.h"

/* Five failures open the breaker, which then keeps the time. */
#define RECONNECT_FIRST_MS 20
#define RECONNECT_MAX_MS 1000

/* ---- The turn --------------------------------------------------------- */

void
postgres_turn_soon(struct postgres *pool)
{
	event_active(pool->turn, EV_TIMEOUT, 0);
}

void
postgres_finish(struct postgres *pool, struct lookup *lookup, enum lookup_result result)
{
	lookup->result = result;
	lookup->next = NULL;
	*pool->finished_last = lookup;
	pool->finished_last = &lookup->next;
	postgres_turn_soon(pool);
}

/* What done() adds is delivered in the next turn. */
static void
deliver_finished(struct postgres *pool)
{
	struct lookup *lookup = pool->finished;

	pool->finished = NULL;
	pool->finished_last = &pool->finished;
	while (lookup != NULL) {
		struct lookup *next = lookup->next; /* done() may free it */
		lookup->done(lookup);
		lookup = next;
	}
}

static void
sleep_until_next(struct postgres *pool, int64_t now_ms)
{
	int64_t pool_ms = pool_next_ms(pool), canary_ms = canary_next_ms(pool);
	int64_t next_ms = pool_ms < canary_ms ? pool_ms : canary_ms;

	if (next_ms == TIME_NEVER) {
		event_del(pool->wake);
		return;
	}
	int64_t wait_ms = next_ms > now_ms ? next_ms - now_ms : 0;
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };
	event_add(pool->wake, &wait);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct postgres *pool = arg;
	int64_t now_ms = clock_mono_ms();

	(void)fd, (void)what;
	pool_follow_breaker(pool);
	pool_work(pool, now_ms);
	sleep_until_next(pool, now_ms);
	deliver_finished(pool);
	ids_deliver(pool);
}

/* ---- Making it -------------------------------------------------------- */

struct postgres *
postgres_new(struct event_base *base, struct evdns_base *dns, const struct settings *settings,
    struct breaker *breaker, struct postgres_metrics *metrics)
{
	struct postgres *pool = alloc_zero(sizeof(*pool));
	uint64_t seed;

	/* libpq has no conninfo keyword for these. PgBouncer follows both; it would
	 * refuse `options=-c datestyle=...`. */
	setenv("PGDATESTYLE", "ISO", 1);
	setenv("PGTZ", "UTC", 1);
	unsetenv("PGGEQO"); /* sent as well, and refused by PgBouncer */

	pool->base = base;
	pool->dns = dns;
	pool->breaker = breaker;
	pool->metrics = metrics;
	pool->target = postgres_target_of(settings->postgres.url, "url");
	pool->canceller = canceller_new(base);
	pool->deadlines = deadlines_new(base);
	pool->turn = event_new(base, -1, 0, on_turn, pool);
	pool->wake = event_new(base, -1, 0, on_turn, pool);
	pool->finished_last = &pool->finished;
	random_bytes(&seed, sizeof(seed));
	backoff_init(&pool->backoff, RECONNECT_FIRST_MS, RECONNECT_MAX_MS, seed);
	postgres_set_settings(pool, settings);
	return pool;
}

void
postgres_free(struct postgres *pool)
{
	if (pool == NULL)
		return;
	pool->is_closing = true;
	pool_close_all(pool);
	queue_fail_all(pool);
	ids_fail_waiting(pool);
	ids_deliver(pool);
	while (pool->finished != NULL)
		deliver_finished(pool);
	for (struct pg_map *map = atomic_load(&pool->maps), *next; map != NULL; map = next) {
		next = map->next;
		free(map);
	}
	canary_free(&pool->canary);
	event_free(pool->turn);
	event_free(pool->wake);
	deadlines_free(pool->deadlines);
	canceller_free(pool->canceller);
	postgres_target_unref(pool->target);
	free(pool);
}

/* Connections that stand have logged in, and stay. */
static void
renew_target(struct postgres *pool, const char *url)
{
	struct postgres_target *target = postgres_target_of(url, "url");

	if (target == NULL || pool->target == NULL ||
	    !postgres_target_is_same_place(pool->target, target)) {
		postgres_target_unref(target);
		return;
	}
	postgres_target_unref(pool->target);
	pool->target = target;
}

void
postgres_set_settings(struct postgres *pool, const struct settings *settings)
{
	if (pool->settings != NULL &&
	    strcmp(pool->settings->postgres.url, settings->postgres.url) != 0)
		renew_target(pool, settings->postgres.url);
	pool->settings = settings;
	for (size_t i = 0; i < settings->map_count; i++)
		queue_of_map(pool, &settings->maps[i]);
	canary_restart(pool, clock_mono_ms());
	postgres_turn_soon(pool);
}

/* ---- Using it --------------------------------------------------------- */

void
postgres_lookup(struct postgres *pool, struct lookup *lookup)
{
	lookup->value = NULL;
	lookup->valid_until_ms = TIME_NEVER;
	lookup->deadline = (struct deadline){ 0 };
	lookup->split = 0;
	if (pool->is_closing || pool->target == NULL || !breaker_allows(pool->breaker) ||
	    pool->waiting >= (size_t)pool->settings->postgres.max_waiting) {
		postgres_finish(pool, lookup, LOOKUP_FAILED);
		return;
	}
	struct pg_map *queue = queue_of_map(pool, lookup->map);
	if (id_fits(queue->id_kind, lookup->id) == FIT_NEVER) {
		canary_doubt(queue); /* the column may have got another type */
		postgres_finish(pool, lookup, LOOKUP_MISSING);
		return;
	}
	queue_add(queue, lookup);
	postgres_turn_soon(pool);
}

void
postgres_on_breaker(struct postgres *pool)
{
	postgres_turn_soon(pool);
}

bool
postgres_map_has_valid_until(const struct postgres *pool, const struct map_settings *map)
{
	const struct pg_map *m = atomic_load(&((struct postgres *)pool)->maps);

	while (m != NULL && m->map != map)
		m = m->next;
	return m != NULL && atomic_load(&((struct pg_map *)m)->has_valid_until);
}
