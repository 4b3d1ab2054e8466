/*
 * The pool's answers, from a real Postgres behind a real PgBouncer in transaction
 * mode. Skipped where these cannot be started.
 */
#include "postgres_harness.h"

/* ---- Answers ---------------------------------------------------------- */

TEST(rows_missing_rows_and_times_come_through_pgbouncer)
{
	NEEDS_SERVERS;
	struct asked a, b, c, d, e;

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
	ask_now(&e, PROFILE, "11");
	CHECK_TEXT(e.value, "€");
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

static void
check_slow_query_is_cancelled(const char *to)
{
	struct asked slow, next;

	open_pool(to, 1);
	settle();
	settings.postgres.budget_ms = 300;
	ask_now(&slow, SLOW, "30");
	settings.postgres.budget_ms = 3000;
	CHECK_INT(slow.lookup.result, LOOKUP_FAILED);
	CHECK(slow.took_ms >= 290 && slow.took_ms < 300 + LATE_MS);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_TIMEOUT]), 1);
	ask_now(&next, PROFILE, "1"); /* the same connection, soon idle again */
	CHECK_INT(next.lookup.result, LOOKUP_FOUND);
	UNTIL(strcmp(count_sleeping(), "0") == 0, 5000);
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
	snprintf(url, sizeof(url), "postgres://app:secret@127.0.0.1:%d/postgres",
	    postgres_server.port);
	check_slow_query_is_cancelled(url);
}

TEST(lookups_behind_a_slow_query_fail_in_time)
{
	NEEDS_SERVERS;
	struct asked slow, late;

	open_pool(through_pgbouncer(), 1);
	settings.postgres.budget_ms = 4000;
	settle();
	ask(&slow, SLOW, "0.9");
	turn();
	settings.postgres.budget_ms = 100;
	ask(&late, PROFILE, "1");
	UNTIL(late.is_done, 3000);
	CHECK_INT(late.lookup.result, LOOKUP_FAILED);
	CHECK(late.took_ms >= 95 && late.took_ms < 100 + LATE_MS);
	UNTIL(slow.is_done, 5000);
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

TEST_MAIN
