/*
 * Getting in: passwords, URLs, TLS; and what the canary says once we are.
 */
#include "postgres_harness.h"

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

TEST(tls_is_used_and_the_name_in_the_certificate_checked)
{
	NEEDS_SERVERS;
	struct asked a;
	const char *const make[] = { "/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048",
		"-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", "data/server.key",
		"-out", "data/server.crt", NULL };

	if (!run("openssl", make)) {
		printf("SKIPPED: no openssl\n");
		return;
	}
	sql("ALTER SYSTEM SET ssl = on");
	sql("SELECT pg_reload_conf()");
	sleep_ms(200);
	for (int i = 0; i < 2; i++) {
		snprintf(url, sizeof(url),
		    "postgres://app:secret@%s:%d/postgres?sslmode=verify-full"
		    "&sslrootcert=%s/data/server.crt",
		    i == 0 ? "localhost" : "127.0.0.1", postgres_server.port, servers_dir);
		open_pool(url, 1);
		ask_now(&a, PROFILE, "1");
		CHECK_INT(a.lookup.result, i == 0 ? LOOKUP_FOUND : LOOKUP_FAILED);
		CHECK_INT(counter_get(&metrics.errors[FAILURE_TLS]) > 0, i == 1);
		close_pool();
	}
	CHECK_TEXT(sql("ALTER SYSTEM RESET ssl"), "");
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
		      " does not exist"),
	    3000);
	UNTIL(log_has("postgres map by_day: the query works"), 3000);
	UNTIL(log_has("postgres map hidden: the query works, but role \"app\" sees no row of"
		      " public.hidden: row-level security without a policy for it?"),
	    3000);
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
