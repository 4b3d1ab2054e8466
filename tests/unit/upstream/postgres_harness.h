/*
 * What the tests of the pool share: maps, a pool with its breaker and keeper on
 * one event base, lookups that remember how they ended, servers of their own.
 */
#ifndef SIDECAR_TESTS_POSTGRES_HARNESS_H
#define SIDECAR_TESTS_POSTGRES_HARNESS_H

#include <event2/event.h>

#include "../test.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "postgres_servers.h"
#include "upstream/metrics.h"
#include "upstream/postgres.h"
#include "upstream/resolve.h"

enum { PROFILE, BY_DAY, HASHED, TIMES, SLOW, WRONG, HIDDEN, MAPS };

static struct map_settings maps[MAPS] = {
	[PROFILE] = { .name = (char *)"profile",
	    .type = MAP_STRING,
	    .query = (char *)"SELECT id, name, valid_until FROM profiles WHERE id = ANY($1)" },
	[BY_DAY] = { .name = (char *)"by_day",
	    .type = MAP_STRING,
	    .query = (char *)"SELECT day, 'on ' || day FROM unnest($1::date[]) day" },
	[HASHED] = { .name = (char *)"hashed",
	    .type = MAP_HASH,
	    .query = (char
		    *)"SELECT id, name, valid_until::timestamp, 7 AS seats, NULL AS note FROM profiles WHERE id = ANY($1)" },
	[TIMES] = { .name = (char *)"times",
	    .type = MAP_STRING,
	    .query = (char
		    *)"SELECT id, 'x', 'extra', at::timestamptz AS valid_until FROM unnest($1::text[]) WITH ORDINALITY"
		      " AS t(id, n), (VALUES (1, 'infinity'), (2, '-infinity'), (3, NULL),"
		      " (4, '2026-11-22 14:00:00.25+02'), (5, '0044-03-15 00:00:00+00 BC')) v(i, at)"
		      " WHERE t.id = v.i::text" },
	[SLOW] = { .name = (char *)"slow",
	    .type = MAP_STRING,
	    .query = (char
		    *)"SELECT id, 'slept' FROM unnest($1::text[]) id, LATERAL (SELECT pg_sleep(id::float8)) s"
		      " WHERE id ~ '^[0-9.]+$'" },
	[WRONG] = { .name = (char *)"wrong",
	    .type = MAP_STRING,
	    .query = (char *)"SELECT id, name FROM no_such_table WHERE id = ANY($1)" },
	[HIDDEN] = { .name = (char *)"hidden",
	    .type = MAP_STRING,
	    .query = (char *)"SELECT id, value FROM hidden WHERE id = ANY($1)" },
};

static struct event_base *base;
static struct evdns_base *dns;
static struct breaker *breaker;
static struct settings settings;
static struct postgres_metrics metrics;
static struct postgres *pool;
static struct event *keeper;
static bool has_servers;

/* ---- A lookup and its answer ------------------------------------------ */

struct asked {
	struct lookup lookup;
	char id[64];
	char value[256];
	bool is_done;
	int64_t asked_ms, took_ms;
};

static int done_count;
static bool is_inside_call;

static inline void
on_done(struct lookup *lookup)
{
	struct asked *asked = (struct asked *)lookup;

	CHECK(!asked->is_done);
	CHECK(!is_inside_call);
	asked->is_done = true;
	asked->took_ms = clock_mono_ms() - asked->asked_ms;
	done_count++;
	if (lookup->result != LOOKUP_FOUND)
		return;
	snprintf(asked->value, sizeof(asked->value), "%.*s", (int)lookup->value->len,
	    lookup->value->bytes);
	blob_unref(lookup->value);
}

static inline void
ask(struct asked *asked, int map, const char *id)
{
	memset(asked, 0, sizeof(*asked));
	snprintf(asked->id, sizeof(asked->id), "%s", id);
	asked->asked_ms = clock_mono_ms();
	asked->lookup = (struct lookup){ .map = &maps[map],
		.id = slice_of(asked->id),
		.due_ms = asked->asked_ms + settings.postgres.budget_ms,
		.done = on_done };
	is_inside_call = true;
	postgres_lookup(pool, &asked->lookup);
	is_inside_call = false;
}

static inline void
on_breaker(struct breaker *b, enum breaker_state before, enum breaker_state after,
    const char *reason, void *arg)
{
	(void)b, (void)before, (void)after, (void)reason, (void)arg;
	if (pool != NULL)
		postgres_on_breaker(pool);
}

/* What the keeper does: probes when the time has come. */
static inline void
on_keeper(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	if (breaker_start_probe(breaker, clock_mono_ms()))
		postgres_on_breaker(pool);
}

static inline void
turn(void)
{
	event_base_loop(base, EVLOOP_ONCE);
}

#define UNTIL(claim, limit_ms) \
	do { \
		int64_t until_ = clock_mono_ms() + (limit_ms); \
		while (!(claim) && clock_mono_ms() < until_) \
			turn(); \
		CHECK(claim); \
	} while (0)

static inline void
run_for(int64_t ms)
{
	int64_t until_ms = clock_mono_ms() + ms;

	while (clock_mono_ms() < until_ms)
		turn();
}

static inline void
ask_now(struct asked *asked, int map, const char *id)
{
	ask(asked, map, id);
	UNTIL(asked->is_done, 3 * settings.postgres.budget_ms + 3000);
}

/* ---- Setting up ------------------------------------------------------- */

static char url[256];

static inline const char *
through_pgbouncer(void)
{
	snprintf(url, sizeof(url), "postgres://app:secret@localhost:%d/postgres",
	    pgbouncer_server.port);
	return url;
}

static inline void
open_pool(const char *to, int connections)
{
	static const struct breaker_policy policy = { 5, 50, 200, 2000 };
	static const struct timeval tick = { 0, 5000 };

	hash_init();
	log_setup(LOG_WARN, LOG_TEXT);
	memset(&metrics, 0, sizeof(metrics));
	settings.postgres.url = (char *)(uintptr_t)to;
	settings.postgres.pool = connections;
	settings.postgres.budget_ms = 3000;
	settings.postgres.max_batch = 256;
	settings.postgres.max_waiting = 10000;
	settings.maps = maps;
	settings.map_count = PROFILE + 1;
	base = event_base_new();
	dns = resolve_base_new(base);
	breaker = breaker_new("postgres", &policy, 1, on_breaker, NULL);
	keeper = event_new(base, -1, EV_PERSIST, on_keeper, NULL);
	event_add(keeper, &tick);
	pool = postgres_new(base, dns, &settings, breaker, &metrics);
	done_count = 0;
}

static inline void
close_pool(void)
{
	postgres_free(pool);
	pool = NULL;
	event_free(keeper);
	breaker_free(breaker);
	resolve_base_free(dns);
	event_base_free(base);
}

static inline int64_t
errors(void)
{
	int64_t sum = 0;

	for (int kind = 0; kind < FAILURE_KINDS; kind++)
		sum += counter_get(&metrics.errors[kind]);
	return sum;
}

/* Connected, and the canary through, so that queries can be counted. */
static inline void
settle(void)
{
	UNTIL(counter_get(&metrics.pool_size) > 0, 10000);
	run_for(50);
	UNTIL(counter_get(&metrics.pool_in_use) == 0, 10000);
}

#define NEEDS_SERVERS \
	if (!has_servers) \
	return

TEST(servers_start_or_everything_is_skipped)
{
	has_servers = start_servers();
	if (!has_servers) {
		printf("SKIPPED: no Postgres and PgBouncer to be started here\n");
		return;
	}
	CHECK_TEXT(
	    sql("CREATE TABLE profiles (id bigint PRIMARY KEY, name text, valid_until timestamptz);"
		"INSERT INTO profiles SELECT i, 'user ' || i FROM generate_series(1, 3000) i;"
		"UPDATE profiles SET valid_until = '2026-11-22 14:00:00.5+00' WHERE id = 7;"
		"UPDATE profiles SET name = NULL WHERE id = 9;"
		"UPDATE profiles SET name = U&'\\20AC' WHERE id = 11;" /* not in LATIN1 */
		"CREATE TABLE hidden (id bigint, value text);"
		"INSERT INTO hidden VALUES (1, 'one');"
		"ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;"
		"GRANT SELECT ON profiles, hidden TO app"),
	    "");
}

#define LATE_MS 2000 /* what a busy machine may take on top of anything */

/* One lookup after the other until the breaker opens; none exceeds its time. */
static inline void
check_breaker_opens(void)
{
	struct asked a;
	int64_t started_ms = clock_mono_ms();

	while (breaker_allows(breaker) && clock_mono_ms() - started_ms < 8000) {
		ask_now(&a, PROFILE, "1");
		CHECK_INT(a.lookup.result, LOOKUP_FAILED);
		CHECK(a.took_ms < settings.postgres.budget_ms + LATE_MS);
	}
	CHECK(!breaker_allows(breaker));
	int64_t budget_ms = settings.postgres.budget_ms;
	settings.postgres.budget_ms = 10 * LATE_MS; /* of which it takes nothing */
	ask_now(&a, PROFILE, "1");
	CHECK_INT(a.lookup.result, LOOKUP_FAILED);
	CHECK(a.took_ms < LATE_MS);
	settings.postgres.budget_ms = budget_ms;
}

static inline void
check_recovery(void)
{
	struct asked a;

	UNTIL(breaker_allows(breaker), 12000);
	ask_now(&a, PROFILE, "1");
	CHECK_INT(a.lookup.result, LOOKUP_FOUND);
}

/* How many of the SLOW map's queries run. */
static inline const char *
count_sleeping(void)
{
	return sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
		   " AND query LIKE '%%LATERAL (SELECT pg_sleep%%' AND pid <> pg_backend_pid()");
}

#endif
