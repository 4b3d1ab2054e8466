/*
 * The pool against a real Postgres behind a real PgBouncer in transaction
 * mode, well and broken. Skipped where these cannot be started.
 */
#include "upstream/postgres.h"

#include <event2/event.h>

#include "../test.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "postgres_servers.h"
#include "upstream/metrics.h"
#include "upstream/resolve.h"

enum { PROFILE, BY_DAY, HASHED, TIMES, SLOW, WRONG, HIDDEN, MAPS };

static struct map_settings maps[MAPS] = {
	[PROFILE] = { .name = (char *)"profile", .type = MAP_STRING, .query = (char *)
	    "SELECT id, name, valid_until FROM profiles WHERE id = ANY($1)" },
	[BY_DAY] = { .name = (char *)"by_day", .type = MAP_STRING, .query = (char *)
	    "SELECT day, 'on ' || day FROM unnest($1::date[]) day" },
	[HASHED] = { .name = (char *)"hashed", .type = MAP_HASH, .query = (char *)
	    "SELECT id, name, valid_until, 7 AS seats, NULL AS note FROM profiles WHERE id = ANY($1)" },
	[TIMES] = { .name = (char *)"times", .type = MAP_STRING, .query = (char *)
	    "SELECT id, 'x', 'extra', at::timestamptz AS valid_until FROM unnest($1::text[]) WITH ORDINALITY"
	    " AS t(id, n), (VALUES (1, 'infinity'), (2, '-infinity'), (3, NULL),"
	    " (4, '2026-11-22 14:00:00.25+02'), (5, '0044-03-15 00:00:00+00 BC')) v(i, at)"
	    " WHERE t.id = v.i::text" },
	[SLOW] = { .name = (char *)"slow", .type = MAP_STRING, .query = (char *)
	    "SELECT id, 'slept' FROM unnest($1::text[]) id, LATERAL (SELECT pg_sleep(id::float8)) s"
	    " WHERE id ~ '^[0-9.]+$'" },
	[WRONG] = { .name = (char *)"wrong", .type = MAP_STRING, .query = (char *)
	    "SELECT id, name FROM no_such_table WHERE id = ANY($1)" },
	[HIDDEN] = { .name = (char *)"hidden", .type = MAP_STRING, .query = (char *)
	    "SELECT id, value FROM hidden WHERE id = ANY($1)" },
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

static void
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

static void
ask(struct asked *asked, int map, const char *id)
{
	memset(asked, 0, sizeof(*asked));
	snprintf(asked->id, sizeof(asked->id), "%s", id);
	asked->asked_ms = clock_mono_ms();
	asked->lookup = (struct lookup){ .map = &maps[map], .id = slice_of(asked->id),
		.due_ms = asked->asked_ms + settings.postgres.budget_ms, .done = on_done };
	is_inside_call = true;
	postgres_lookup(pool, &asked->lookup);
	is_inside_call = false;
}

static void
on_breaker(struct breaker *b, enum breaker_state before, enum breaker_state after,
    const char *reason, void *arg)
{
	(void)b, (void)before, (void)after, (void)reason, (void)arg;
	if (pool != NULL)
		postgres_on_breaker(pool);
}

/* What the keeper does: probes when the time has come. */
static void
on_keeper(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
	if (breaker_start_probe(breaker, clock_mono_ms()))
		postgres_on_breaker(pool);
}

static void
turn(void)
{
	event_base_loop(base, EVLOOP_ONCE);
}

#define UNTIL(claim, limit_ms)                                                        \
	do {                                                                          \
		int64_t until_ = clock_mono_ms() + (limit_ms);                        \
		while (!(claim) && clock_mono_ms() < until_)                          \
			turn();                                                       \
		CHECK(claim);                                                         \
	} while (0)

static void
run_for(int64_t ms)
{
	int64_t until_ms = clock_mono_ms() + ms;

	while (clock_mono_ms() < until_ms)
		turn();
}

static void
ask_now(struct asked *asked, int map, const char *id)
{
	ask(asked, map, id);
	UNTIL(asked->is_done, 3000);
}

/* ---- Setting up ------------------------------------------------------- */

static char url[256];

static const char *
through_pgbouncer(void)
{
	snprintf(url, sizeof(url), "postgres://app:secret@localhost:%d/postgres",
	    pgbouncer_server.port);
	return url;
}

static void
open_pool(const char *to, int connections)
{
	static const struct breaker_policy policy = { 5, 50, 200, 2000 };
	static const struct timeval tick = { 0, 5000 };

	hash_init();
	log_setup(LOG_WARN, LOG_TEXT);
	memset(&metrics, 0, sizeof(metrics));
	settings.postgres.url = (char *)(uintptr_t)to;
	settings.postgres.pool = connections;
	settings.postgres.budget_ms = 300;
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

static void
close_pool(void)
{
	postgres_free(pool);
	pool = NULL;
	event_free(keeper);
	breaker_free(breaker);
	resolve_base_free(dns);
	event_base_free(base);
}

static int64_t
errors(void)
{
	int64_t sum = 0;

	for (int kind = 0; kind < FAILURE_KINDS; kind++)
		sum += counter_get(&metrics.errors[kind]);
	return sum;
}

/* Connected, and the canary through, so that queries can be counted. */
static void
settle(void)
{
	UNTIL(counter_get(&metrics.pool_size) > 0, 3000);
	run_for(50);
	UNTIL(counter_get(&metrics.pool_in_use) == 0, 2000);
}

#define NEEDS_SERVERS                                                                 \
	if (!has_servers)                                                             \
	return

TEST(servers_start_or_everything_is_skipped)
{
	has_servers = start_servers();
	if (!has_servers) {
		printf("SKIPPED: no Postgres and PgBouncer to be started here\n");
		return;
	}
	/* Defaults that would spoil the timestamps, were they not overridden. */
	CHECK_TEXT(sql("ALTER ROLE app SET datestyle = 'German, DMY';"
	               "ALTER ROLE app SET timezone = 'Asia/Tokyo';"
	               "ALTER ROLE app SET client_encoding = 'LATIN1';"
	               "CREATE TABLE profiles (id bigint PRIMARY KEY, name text, valid_until timestamptz);"
	               "INSERT INTO profiles SELECT i, 'user ' || i FROM generate_series(1, 3000) i;"
	               "UPDATE profiles SET valid_until = '2026-11-22 14:00:00.5+00' WHERE id = 7;"
	               "UPDATE profiles SET name = NULL WHERE id = 9;"
	               "CREATE TABLE hidden (id bigint, value text);"
	               "INSERT INTO hidden VALUES (1, 'one');"
	               "ALTER TABLE hidden ENABLE ROW LEVEL SECURITY;"
	               "GRANT SELECT ON profiles, hidden TO app"), "");
}

/* ---- Answers ---------------------------------------------------------- */

TEST(rows_missing_rows_and_times_come_through_pgbouncer)
{
	NEEDS_SERVERS;
	struct asked a, b, c, d;

	open_pool(through_pgbouncer(), 2);
	ask_now(&a, PROFILE, "42");
	CHECK_INT(a.lookup.result, LOOKUP_FOUND);
	CHECK_TEXT(a.value, "user 42");
	CHECK_INT(a.lookup.valid_until_ms, TIME_NEVER);
	ask_now(&b, PROFILE, "7");
	CHECK_INT(b.lookup.valid_until_ms, INT64_C(1795356000500));
	ask_now(&c, PROFILE, "999999");
	CHECK_INT(c.lookup.result, LOOKUP_MISSING);
	ask_now(&d, PROFILE, "9"); /* NULL */
	CHECK_INT(d.lookup.result, LOOKUP_MISSING);
	CHECK(postgres_map_has_valid_until(pool, &maps[PROFILE]));
	CHECK(!postgres_map_has_valid_until(pool, &maps[HIDDEN]));
	CHECK_INT(errors(), 0);
	close_pool();
}

TEST(all_kinds_of_valid_until_are_understood)
{
	NEEDS_SERVERS;
	static const int64_t wanted[] = { TIME_NEVER, INT64_MIN / 2, TIME_NEVER,
		INT64_C(1795348800250), INT64_C(-63517824000000) };
	struct asked a[5];

	open_pool(through_pgbouncer(), 2);
	for (int i = 0; i < 5; i++) {
		ask_now(&a[i], TIMES, (const char[]){ (char)('1' + i), 0 });
		CHECK_INT(a[i].lookup.result, LOOKUP_FOUND);
		CHECK_INT(a[i].lookup.valid_until_ms, wanted[i]);
	}
	close_pool();
}

TEST(a_hash_map_gives_its_fields)
{
	NEEDS_SERVERS;
	struct asked a;

	open_pool(through_pgbouncer(), 1);
	ask_now(&a, HASHED, "7");
	CHECK_TEXT(a.value, "$4\r\nname\r\n$6\r\nuser 7\r\n$5\r\nseats\r\n$1\r\n7\r\n");
	CHECK_INT(a.lookup.valid_until_ms, INT64_C(1795356000500));
	close_pool();
}

TEST(a_thousand_lookups_share_four_queries)
{
	NEEDS_SERVERS;
	static struct asked many[1000];

	open_pool(through_pgbouncer(), 1);
	settle();
	int64_t before = counter_get(&metrics.queries);
	for (int i = 0; i < 1000; i++) {
		char id[16];
		snprintf(id, sizeof(id), "%d", i + 1);
		ask(&many[i], PROFILE, id);
	}
	UNTIL(done_count == 1000, 3000);
	CHECK_INT(counter_get(&metrics.queries) - before, 4);
	CHECK_INT(counter_get(&metrics.batch_ids.sum), 1000);
	for (int i = 0; i < 1000; i++)
		CHECK_INT(many[i].lookup.result, i == 8 ? LOOKUP_MISSING : LOOKUP_FOUND);
	CHECK_TEXT(many[999].value, "user 1000");
	close_pool();
}

TEST(equal_ids_are_asked_for_once)
{
	NEEDS_SERVERS;
	static struct asked many[50];

	open_pool(through_pgbouncer(), 1);
	settle();
	for (int i = 0; i < 50; i++)
		ask(&many[i], PROFILE, "5");
	UNTIL(done_count == 50, 3000);
	CHECK_INT(counter_get(&metrics.batch_ids.sum), 1);
	for (int i = 0; i < 50; i++)
		CHECK_TEXT(many[i].value, "user 5");
	close_pool();
}

TEST(a_bad_id_is_missing_and_spoils_nothing_for_the_others)
{
	NEEDS_SERVERS;
	static struct asked many[28];

	open_pool(through_pgbouncer(), 2);
	settings.postgres.budget_ms = 1000;
	settle();
	for (int i = 0; i < 28; i++) {
		char id[64];
		snprintf(id, sizeof(id), "2026-02-%02d", i + 1);
		ask(&many[i], BY_DAY, i == 11 ? "no \"day\", {at} \\ all" : id);
	}
	UNTIL(done_count == 28, 3000);
	for (int i = 0; i < 28; i++)
		CHECK_INT(many[i].lookup.result, i == 11 ? LOOKUP_MISSING : LOOKUP_FOUND);
	CHECK_TEXT(many[27].value, "on 2026-02-28");
	CHECK_INT(errors(), 0);
	close_pool();
}

TEST(an_id_that_is_no_number_is_never_asked_for)
{
	NEEDS_SERVERS;
	struct asked a;

	open_pool(through_pgbouncer(), 1);
	settle();
	int64_t before = counter_get(&metrics.queries);
	ask_now(&a, PROFILE, "42; DROP TABLE profiles");
	CHECK_INT(a.lookup.result, LOOKUP_MISSING);
	CHECK_INT(counter_get(&metrics.queries), before);
	close_pool();
}

TEST(a_wrong_query_fails_its_lookups_and_not_the_backend)
{
	NEEDS_SERVERS;
	struct asked a, b;

	open_pool(through_pgbouncer(), 1);
	settle();
	for (int i = 0; i < 8; i++) {
		ask_now(&a, WRONG, "1");
		CHECK_INT(a.lookup.result, LOOKUP_FAILED);
	}
	CHECK_INT(counter_get(&metrics.query_errors), 8);
	CHECK_INT(breaker_state(breaker), BREAKER_CLOSED);
	ask_now(&b, PROFILE, "1");
	CHECK_INT(b.lookup.result, LOOKUP_FOUND);
	close_pool();
}

TEST(what_exceeds_max_waiting_fails)
{
	NEEDS_SERVERS;
	static struct asked many[12];

	open_pool(through_pgbouncer(), 1);
	settings.postgres.max_waiting = 10;
	settle();
	for (int i = 0; i < 12; i++)
		ask(&many[i], PROFILE, "1");
	UNTIL(done_count == 12, 3000);
	CHECK_INT(many[9].lookup.result, LOOKUP_FOUND);
	CHECK_INT(many[10].lookup.result, LOOKUP_FAILED);
	CHECK_INT(many[11].lookup.result, LOOKUP_FAILED);
	close_pool();
}

TEST(maps_take_turns)
{
	NEEDS_SERVERS;
	static struct asked many[600], other;

	open_pool(through_pgbouncer(), 1);
	settings.postgres.max_batch = 10;
	settings.postgres.budget_ms = 2000;
	settle();
	for (int i = 0; i < 600; i++) {
		char id[16];
		snprintf(id, sizeof(id), "%d", i + 1);
		ask(&many[i], PROFILE, id);
	}
	ask(&other, BY_DAY, "2026-01-01");
	UNTIL(other.is_done, 3000);
	CHECK(done_count <= 30);
	UNTIL(done_count == 601, 3000);
	close_pool();
}

/* ---- Slow ------------------------------------------------------------- */

static const char sleeping[] = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
    " AND query LIKE '%%LATERAL (SELECT pg_sleep%%' AND pid <> pg_backend_pid()";

static void
check_slow_query_is_cancelled(const char *to)
{
	struct asked slow, next;

	open_pool(to, 1);
	settle();
	ask_now(&slow, SLOW, "30");
	CHECK_INT(slow.lookup.result, LOOKUP_FAILED);
	CHECK(slow.took_ms >= 290 && slow.took_ms < 450);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_TIMEOUT]), 1);
	ask_now(&next, PROFILE, "1"); /* the same connection, soon idle again */
	CHECK_INT(next.lookup.result, LOOKUP_FOUND);
	CHECK_TEXT(sql(sleeping), "0");
	CHECK_INT(errors(), 1);
	CHECK_INT(breaker_state(breaker), BREAKER_CLOSED);
	close_pool();
}

TEST(a_query_past_its_budget_is_cancelled_through_pgbouncer)
{
	NEEDS_SERVERS;
	check_slow_query_is_cancelled(through_pgbouncer());
}

TEST(a_query_past_its_budget_is_cancelled_in_postgres)
{
	NEEDS_SERVERS;
	snprintf(url, sizeof(url), "postgres://app:secret@127.0.0.1:%d/postgres", postgres_server.port);
	check_slow_query_is_cancelled(url);
}

TEST(lookups_behind_a_slow_query_fail_in_time)
{
	NEEDS_SERVERS;
	struct asked slow, late;

	open_pool(through_pgbouncer(), 1);
	settings.postgres.budget_ms = 1000;
	settle();
	ask(&slow, SLOW, "0.5");
	turn();
	settings.postgres.budget_ms = 100;
	ask(&late, PROFILE, "1");
	UNTIL(late.is_done, 3000);
	CHECK_INT(late.lookup.result, LOOKUP_FAILED);
	CHECK(late.took_ms >= 95 && late.took_ms < 200);
	UNTIL(slow.is_done, 3000);
	CHECK_TEXT(slow.value, "slept");
	close_pool();
}

TEST(closing_with_lookups_under_way_fails_them)
{
	NEEDS_SERVERS;
	struct asked slow, waiting;

	open_pool(through_pgbouncer(), 1);
	settle();
	ask(&slow, SLOW, "0.2");
	run_for(20);
	ask(&waiting, PROFILE, "1");
	close_pool();
	CHECK(slow.is_done && slow.lookup.result == LOOKUP_FAILED);
	CHECK(waiting.is_done && waiting.lookup.result == LOOKUP_FAILED);
}

/* ---- Down ------------------------------------------------------------- */

/* One lookup after the other until the breaker opens; none exceeds its time. */
static void
check_breaker_opens(void)
{
	struct asked a;
	int64_t started_ms = clock_mono_ms();

	while (breaker_allows(breaker) && clock_mono_ms() - started_ms < 8000) {
		ask_now(&a, PROFILE, "1");
		CHECK_INT(a.lookup.result, LOOKUP_FAILED);
		CHECK(a.took_ms < settings.postgres.budget_ms + 100);
	}
	CHECK(!breaker_allows(breaker));
	ask_now(&a, PROFILE, "1");
	CHECK_INT(a.lookup.result, LOOKUP_FAILED);
	CHECK(a.took_ms < 20);
}

static void
check_recovery(void)
{
	struct asked a;

	UNTIL(breaker_allows(breaker), 12000);
	ask_now(&a, PROFILE, "1");
	CHECK_INT(a.lookup.result, LOOKUP_FOUND);
}

static void
check_stop_and_continue(const struct server *server)
{
	open_pool(through_pgbouncer(), 2);
	settings.postgres.budget_ms = 100;
	settle();
	signal_all(server, SIGSTOP);
	check_breaker_opens();
	run_for(300);
	CHECK(counter_get(&metrics.pool_size) == 0 || !breaker_allows(breaker));
	signal_all(server, SIGCONT);
	check_recovery();
	close_pool();
}

TEST(a_stopped_postgres_opens_the_breaker_and_comes_back)
{
	NEEDS_SERVERS;
	check_stop_and_continue(&postgres_server);
}

TEST(a_stopped_pgbouncer_opens_the_breaker_and_comes_back)
{
	NEEDS_SERVERS;
	check_stop_and_continue(&pgbouncer_server);
}

TEST(a_killed_pgbouncer_opens_the_breaker_and_comes_back)
{
	NEEDS_SERVERS;
	char reason[160];

	open_pool(through_pgbouncer(), 2);
	settle();
	stop_server(&pgbouncer_server, SIGKILL);
	check_breaker_opens();
	breaker_last_failure(breaker, reason, sizeof(reason));
	CHECK_TEXT(reason, "connection refused");
	CHECK(start_pgbouncer());
	check_recovery();
	close_pool();
}

TEST(a_killed_postgres_opens_the_breaker_and_comes_back)
{
	NEEDS_SERVERS;

	open_pool(through_pgbouncer(), 2);
	settle();
	stop_server(&postgres_server, SIGKILL);
	check_breaker_opens();
	CHECK(start_postgres());
	check_recovery();
	close_pool();
}

TEST(it_starts_with_the_backend_down)
{
	NEEDS_SERVERS;

	snprintf(url, sizeof(url), "postgres://app:secret@127.0.0.1:%d/postgres", free_port());
	open_pool(url, 2);
	check_breaker_opens();
	close_pool();
}

TEST(a_forced_open_breaker_hangs_up_and_auto_comes_back)
{
	NEEDS_SERVERS;
	struct asked a;

	open_pool(through_pgbouncer(), 2);
	settle();
	ask(&a, SLOW, "30");
	run_for(20);
	breaker_force(breaker, BREAKER_FORCE_OPEN, clock_mono_ms());
	UNTIL(a.is_done, 100);
	CHECK_INT(a.lookup.result, LOOKUP_FAILED);
	UNTIL(counter_get(&metrics.pool_size) == 0, 1000);
	CHECK_TEXT(sql(sleeping), "0");
	breaker_force(breaker, BREAKER_AUTO, clock_mono_ms());
	check_recovery();
	close_pool();
}

/* ---- Logging in ------------------------------------------------------- */

TEST(a_wrong_password_opens_the_breaker_at_once)
{
	NEEDS_SERVERS;
	const int ports[] = { pgbouncer_server.port, postgres_server.port };

	for (int i = 0; i < 2; i++) {
		char reason[160];
		snprintf(url, sizeof(url), "postgres://app:wrong@127.0.0.1:%d/postgres", ports[i]);
		open_pool(url, 2);
		UNTIL(!breaker_allows(breaker), 3000);
		breaker_last_failure(breaker, reason, sizeof(reason));
		CHECK_TEXT(reason, "password authentication failed");
		CHECK_INT(counter_get(&metrics.errors[FAILURE_AUTH]), 1);
		CHECK(breaker_probe_at(breaker) - clock_mono_ms() >= 900);
		close_pool();
	}
}

TEST(urls_of_other_drivers_and_several_hosts_connect)
{
	NEEDS_SERVERS;
	struct asked a;

	snprintf(url, sizeof(url),
	    "postgres://app:secret@localhost:%d/postgres?pgbouncer=true&connection_limit=1",
	    pgbouncer_server.port);
	open_pool(url, 1);
	settle();
	ask_now(&a, PROFILE, "1");
	CHECK_INT(a.lookup.result, LOOKUP_FOUND);
	close_pool();

	snprintf(url, sizeof(url), "postgres://app:secret@localhost:%d,localhost:%d/postgres",
	    free_port(), pgbouncer_server.port);
	open_pool(url, 1);
	settle();
	ask_now(&a, PROFILE, "1");
	CHECK_INT(a.lookup.result, LOOKUP_FOUND);
	close_pool();

	snprintf(url, sizeof(url), "host=%s port=%d user=app dbname=postgres", servers_dir,
	    postgres_server.port);
	open_pool(url, 1);
	settle();
	ask_now(&a, PROFILE, "1");
	CHECK_INT(a.lookup.result, LOOKUP_FOUND);
	close_pool();
}

TEST(without_a_usable_url_every_lookup_fails)
{
	struct asked a;

	open_pool("", 2);
	ask_now(&a, PROFILE, "1");
	CHECK_INT(a.lookup.result, LOOKUP_FAILED);
	close_pool();
}

/* ---- The canary ------------------------------------------------------- */

static int real_stderr = -1;

static void
capture_log(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/log", servers_dir);
	real_stderr = dup(2);
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	dup2(file, 2);
	close(file);
	log_setup(LOG_INFO, LOG_TEXT);
}

static bool
log_has(const char *text)
{
	static char all[65536];
	ssize_t len = pread(2, all, sizeof(all) - 1, 0);

	all[len > 0 ? len : 0] = '\0';
	return strstr(all, text) != NULL;
}

static void
release_log(void)
{
	dup2(real_stderr, 2);
	close(real_stderr);
}

TEST(the_canary_says_which_maps_work)
{
	NEEDS_SERVERS;

	open_pool(through_pgbouncer(), 2);
	capture_log();
	settings.map_count = MAPS;
	postgres_set_settings(pool, &settings);
	UNTIL(log_has("postgres map profile: the query works, rows are visible"), 3000);
	UNTIL(log_has("postgres map wrong: the query fails: 42P01 relation \"no_such_table\""
	              " does not exist"), 3000);
	UNTIL(log_has("postgres map by_day: the query works"), 3000);
	UNTIL(log_has("postgres map hidden: the query works, but role \"app\" sees no row of"
	              " public.hidden: row-level security without a policy for it?"), 3000);
	CHECK_INT(errors(), 0);
	CHECK_INT(breaker_state(breaker), BREAKER_CLOSED);
	release_log();
	close_pool();
}

TEST(behind_row_level_security_a_missing_row_proves_nothing_until_one_is_seen)
{
	NEEDS_SERVERS;
	struct asked a, b;

	open_pool(through_pgbouncer(), 2);
	capture_log();
	settings.map_count = MAPS;
	postgres_set_settings(pool, &settings);
	UNTIL(log_has("sees no row of public.hidden"), 3000);
	ask_now(&a, HIDDEN, "1");
	CHECK_INT(a.lookup.result, LOOKUP_FAILED);
	CHECK_TEXT(sql("CREATE POLICY all_of_them ON hidden USING (true)"), "");
	ask_now(&a, HIDDEN, "1");
	CHECK_TEXT(a.value, "one");
	CHECK(log_has("postgres map hidden: the query works, rows are visible"));
	ask_now(&b, HIDDEN, "2");
	CHECK_INT(b.lookup.result, LOOKUP_MISSING);
	release_log();
	close_pool();
}

TEST_MAIN
