/* What errors of Postgres, PgBouncer and Supavisor mean. */
#include "upstream/postgres_error.h"

#include "../test.h"

static struct postgres_error error;

static enum failure_kind
kind_of(const char *message)
{
	postgres_error_of_connection(message, &error);
	return error.kind;
}

static enum postgres_verdict
verdict_of(const char *sqlstate, const char *message)
{
	postgres_error_of_query(sqlstate, false, message, &error);
	return error.verdict;
}

TEST(failed_logins_are_told_from_everything_else)
{
	static const char *const messages[] = {
		"connection to server at \"h\" failed: FATAL:  password authentication failed for user \"u\"",
		"FATAL:  SASL authentication failed",
		"FATAL:  no such user: u",
		"FATAL:  Tenant or user not found",
		"FATAL:  role \"u\" does not exist",
		"FATAL:  no pg_hba.conf entry for host \"1.2.3.4\", user \"u\", no encryption",
		"ERROR: auth failed",
		"fe_sendauth: no password supplied",
	};

	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
		CHECK_INT(kind_of(messages[i]), FAILURE_AUTH);
	CHECK_TEXT((kind_of(messages[0]), error.reason), "password authentication failed");
}

TEST(full_servers_and_starting_servers)
{
	CHECK_INT(kind_of("FATAL:  sorry, too many clients already"), FAILURE_QUOTA);
	CHECK_INT(kind_of("FATAL:  remaining connection slots are reserved for roles"),
	    FAILURE_QUOTA);
	CHECK_INT(kind_of("ERROR:  no more connections allowed (max_client_conn)"), FAILURE_QUOTA);
	CHECK_INT(kind_of("FATAL:  the database system is starting up"), FAILURE_LOADING);
	CHECK_INT(kind_of("FATAL:  the database system is shutting down"), FAILURE_LOADING);
}

TEST(broken_wires)
{
	CHECK_INT(
	    kind_of("connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n"
		    "\tIs the server running on that host"),
	    FAILURE_CONNECT);
	CHECK_TEXT(error.reason, "connection refused");
	CHECK_INT(kind_of("server closed the connection unexpectedly\n\tThis probably"),
	    FAILURE_LOST);
	CHECK_INT(kind_of("server does not support SSL, but SSL was required"), FAILURE_TLS);
	CHECK_INT(kind_of("SSL error: certificate verify failed"), FAILURE_TLS);
}

TEST(a_login_of_several_hosts_fails_by_its_worst_error)
{
	CHECK_INT(
	    kind_of(
		"a: Connection refused\nb: FATAL:  password authentication failed for user \"u\""),
	    FAILURE_AUTH);
}

TEST(unknown_words_of_the_server_are_shown_and_of_libpq_are_not)
{
	kind_of("connection to server failed: FATAL:  unsupported startup parameter: geqo\nmore");
	CHECK_TEXT(error.reason, "unsupported startup parameter: geqo");
	kind_of("something odd about host=secret");
	CHECK_TEXT(error.reason, "connection failed");
}

TEST(query_errors_by_sqlstate)
{
	CHECK_INT(verdict_of("42P01", "relation \"x\" does not exist"), VERDICT_QUERY);
	CHECK_TEXT(error.reason, "42P01 relation \"x\" does not exist");
	CHECK_INT(verdict_of("22P02", "invalid input syntax for type bigint: \"bob@example.com\""),
	    VERDICT_BAD_ID);
	CHECK_TEXT(error.reason, "22P02");
	CHECK_INT(verdict_of("22003", "value \"99999999999999999999\" is out of range"),
	    VERDICT_BAD_ID);
	CHECK_INT(verdict_of("22012", "division by zero"), VERDICT_QUERY);
	CHECK_TEXT(error.reason, "22012");
	CHECK_INT(verdict_of("P0001", "no user bob"), VERDICT_QUERY);
	CHECK_TEXT(error.reason, "P0001");
	CHECK_INT(verdict_of("08P01", "bind message supplies 1 parameters"), VERDICT_QUERY);
}

TEST(errors_that_are_the_backends)
{
	CHECK_INT(verdict_of("57014", "canceling statement due to statement timeout"),
	    VERDICT_BACKEND);
	CHECK_INT(error.kind, FAILURE_TIMEOUT);
	CHECK_INT(verdict_of("53300", "too many connections for role"), VERDICT_BACKEND);
	CHECK_INT(error.kind, FAILURE_QUOTA);
	CHECK_INT(verdict_of("53100", "could not extend file"), VERDICT_BACKEND);
	CHECK_INT(error.kind, FAILURE_LOADING);
	CHECK_INT(verdict_of("58030", "could not read"), VERDICT_BACKEND);
}

TEST(an_error_that_ends_the_connection_is_read_by_its_words_first)
{
	postgres_error_of_query("08P01", true, "FATAL:  query_wait_timeout", &error);
	CHECK_INT(error.verdict, VERDICT_BACKEND);
	CHECK_INT(error.kind, FAILURE_TIMEOUT);
	postgres_error_of_query("57P01", true,
	    "terminating connection due to administrator command", &error);
	CHECK_INT(error.kind, FAILURE_LOADING);
	postgres_error_of_query("XX000", true, "something about 42", &error);
	CHECK_INT(error.kind, FAILURE_LOST);
	CHECK_TEXT(error.reason, "XX000 ended the connection");
	postgres_error_of_query(NULL, false, NULL, &error);
	CHECK_INT(error.verdict, VERDICT_QUERY);
}

TEST_MAIN
