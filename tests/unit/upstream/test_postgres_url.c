/* URLs as people paste them, and the hosts in them. */
#include "upstream/postgres_url.h"

#include "../test.h"
#include "upstream/postgres.h"

struct cleaned {
	bool is_usable;
	char conninfo[512], dropped[256], error[160];
};

static struct cleaned
clean(const char *url)
{
	struct cleaned c = { 0 };
	char *conninfo;

	c.is_usable = postgres_clean_url(url, &conninfo, c.dropped, sizeof(c.dropped), c.error,
	    sizeof(c.error));
	if (conninfo != NULL)
		snprintf(c.conninfo, sizeof(c.conninfo), "%s", conninfo);
	free(conninfo);
	return c;
}

TEST(parameters_of_other_drivers_are_left_out_and_named)
{
	struct cleaned c =
	    clean("postgres://u:p@db.example.com:6543/app?pgbouncer=true&connection_limit=1");

	CHECK(c.is_usable);
	CHECK_TEXT(c.conninfo, "postgres://u:p@db.example.com:6543/app");
	CHECK_TEXT(c.dropped, "pgbouncer, connection_limit");
}

TEST(parameters_that_libpq_knows_stay)
{
	struct cleaned c = clean(
	    "postgresql://h/app?schema=x&sslmode=require&pool_timeout=0&application_name=a%20b");

	CHECK_TEXT(c.conninfo, "postgresql://h/app?sslmode=require&application_name=a%20b");
	CHECK_TEXT(c.dropped, "schema, pool_timeout");
	CHECK_TEXT(clean("postgres://h/app?ssl=true").conninfo, "postgres://h/app?ssl=true");
	CHECK_TEXT(clean("postgres://h/app").dropped, "");
}

TEST(a_question_mark_in_the_password_is_no_query)
{
	struct cleaned c = clean("postgres://u:se?cret=1@h/app?pgbouncer=true");

	CHECK_TEXT(c.conninfo, "postgres://u:se?cret=1@h/app");
	CHECK_TEXT(c.dropped, "pgbouncer");
}

TEST(a_conninfo_of_keywords_is_taken_as_it_is)
{
	CHECK_TEXT(clean("host=/run/postgresql dbname=app").conninfo,
	    "host=/run/postgresql dbname=app");
}

TEST(errors_never_hold_the_password)
{
	static const char *const bad[] = {
		"postgres://u:hunter2%zz@h/app",
		"postgres://u:hunter2@[h/app",
		"host=h password='hunter2",
		"host=h hunter2",
		"mysql://u:hunter2@h/app",
		"postgres://h/app?hunter2",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cleaned c = clean(bad[i]);
		CHECK(!c.is_usable || i == 5);
		CHECK(c.is_usable || c.error[0] != '\0');
		CHECK(strstr(c.error, "hunter2") == NULL);
	}
}

TEST(hosts_with_ports_sockets_and_addresses)
{
	char error[160];
	struct postgres_target *t =
	    postgres_target_new("postgres://u:p@a.example:1,10.0.0.1:2,[::1]:3/app", error,
		sizeof(error));

	CHECK(t != NULL);
	CHECK_INT(t->host_count, 3);
	CHECK_TEXT(t->hosts[0].name, "a.example");
	CHECK_TEXT(t->hosts[0].port, "1");
	CHECK(postgres_host_needs_resolving(&t->hosts[0]));
	CHECK_TEXT(t->hosts[1].port, "2");
	CHECK(!postgres_host_needs_resolving(&t->hosts[1]));
	CHECK_TEXT(t->hosts[2].name, "::1");
	CHECK(!postgres_host_needs_resolving(&t->hosts[2]));
	CHECK_TEXT(t->name, "a.example:1,10.0.0.1:2,::1:3/app");
	postgres_target_unref(t);

	t = postgres_target_new("host=/run/postgresql,b hostaddr=,10.0.0.2 port=6432", error,
	    sizeof(error));
	CHECK_INT(t->host_count, 2);
	CHECK(!postgres_host_needs_resolving(&t->hosts[0]));
	CHECK_TEXT(t->hosts[0].port, "6432");
	CHECK_TEXT(t->hosts[1].address, "10.0.0.2");
	CHECK_TEXT(t->hosts[1].port, "6432");
	CHECK(!postgres_host_needs_resolving(&t->hosts[1]));
	postgres_target_unref(t);
}

TEST(lists_of_different_length_are_refused)
{
	char error[160];

	CHECK(postgres_target_new("host=a,b hostaddr=10.0.0.1", error, sizeof(error)) == NULL);
	CHECK_TEXT(error, "host and hostaddr differ in length");
	CHECK(postgres_target_new("host=a,b port=1,2,3", error, sizeof(error)) == NULL);
	CHECK(postgres_target_new("service=x", error, sizeof(error)) == NULL);
}

TEST(a_place_is_hosts_ports_and_database_whoever_asks)
{
	const char *url = "postgres://u:p@h:6432/app";

	CHECK(postgres_url_is_same_place(url, "postgres://v:q@h:6432/app?sslmode=require"));
	/* A reload asks this of the URL that a provider has given. */
	CHECK(postgres_url_is_same_place(url, "postgres://u:p@h:6432/app?pgbouncer=true"));
	CHECK(postgres_url_is_same_place("", ""));
	CHECK(!postgres_url_is_same_place(url, ""));
	CHECK(!postgres_url_is_same_place(url, "postgres://u:p@g:6432/app"));
	CHECK(!postgres_url_is_same_place(url, "postgres://u:p@h:5432/app"));
	CHECK(!postgres_url_is_same_place(url, "postgres://u:p@h:6432/other"));
	CHECK(!postgres_url_is_same_place("host=h hostaddr=10.0.0.1 dbname=app",
	    "host=h hostaddr=10.0.0.2 dbname=app"));
}

TEST_MAIN
