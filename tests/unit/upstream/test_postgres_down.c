/*
 * The pool while Postgres or PgBouncer is stopped, killed, or something else:
 * deadlines hold, the breaker opens, and it comes back by itself.
 */
#include "postgres_harness.h"

/* ---- Down ------------------------------------------------------------- */

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
	UNTIL(a.is_done, LATE_MS);
	CHECK_INT(a.lookup.result, LOOKUP_FAILED);
	UNTIL(counter_get(&metrics.pool_size) == 0, 5000);
	UNTIL(strcmp(count_sleeping(), "0") == 0, 5000);
	breaker_force(breaker, BREAKER_AUTO, clock_mono_ms());
	check_recovery();
	close_pool();
}

TEST(closing_does_not_wait_for_a_hanging_pgbouncer)
{
	NEEDS_SERVERS;
	struct asked a;

	open_pool(through_pgbouncer(), 1);
	settle();
	signal_all(&pgbouncer_server, SIGSTOP);
	ask_now(&a, PROFILE, "1"); /* from here on PQcancel() hangs */
	run_for(50);
	int64_t before_ms = clock_mono_ms();
	close_pool();
	CHECK(clock_mono_ms() - before_ms < LATE_MS);
	signal_all(&pgbouncer_server, SIGCONT);
}

TEST(every_lookup_is_answered_once_while_connections_die)
{
	NEEDS_SERVERS;
	static struct asked many[2000];
	int count = 0, found = 0;

	snprintf(url, sizeof(url), "postgres://app:secret@127.0.0.1:%d/postgres",
	    postgres_server.port);
	open_pool(url, 2);
	settle();
	while (count < 2000) {
		for (int i = 0; i < 50; i++, count++)
			ask(&many[count], count % 25 == 0 ? SLOW : PROFILE,
			    count % 25 == 0 ? "0.05" : "1");
		if (count % 200 == 0)
			sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
		run_for(5);
	}
	UNTIL(done_count == 2000, 3000);
	for (int i = 0; i < 2000; i++)
		found += many[i].lookup.result == LOOKUP_FOUND;
	CHECK(found > 0);
	check_recovery();
	close_pool();
}

static const char *false_answer; /* NULL: says nothing */

static void
on_false_client(evutil_socket_t fd, short what, void *arg)
{
	int client = accept(fd, NULL, NULL);

	(void)what, (void)arg;
	if (false_answer == NULL)
		return; /* left open: the process ends soon enough */
	(void)!write(client, false_answer, strlen(false_answer));
	close(client);
}

/* Against what listens, and is no Postgres. */
static void
check_false_server(const char *answer, enum failure_kind kind, const char *wanted)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	char reason[160];

	CHECK(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(fd, 16) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	snprintf(url, sizeof(url), "postgres://app:secret@127.0.0.1:%d/x", ntohs(a.sin_port));
	false_answer = answer;
	open_pool(url, 2);
	settings.postgres.budget_ms = 100;
	struct event *event = event_new(base, fd, EV_READ | EV_PERSIST, on_false_client, NULL);
	event_add(event, NULL);
	int64_t before_ms = clock_mono_ms();
	check_breaker_opens();
	CHECK(clock_mono_ms() - before_ms < 8000);
	breaker_last_failure(breaker, reason, sizeof(reason));
	CHECK_TEXT(reason, wanted);
	CHECK(counter_get(&metrics.errors[kind]) >= 5);
	event_free(event);
	close_pool();
	close(fd);
}

TEST(what_listens_and_says_nothing_opens_the_breaker)
{
	check_false_server(NULL, FAILURE_TIMEOUT, "no connection came free in time");
}

TEST(what_is_not_postgres_opens_the_breaker)
{
	check_false_server("HTTP/1.1 400 Bad Request\r\n\r\n", FAILURE_PROTOCOL,
	    "this is not Postgres");
	check_false_server("", FAILURE_LOST, "server closed the connection");
}

TEST_MAIN
