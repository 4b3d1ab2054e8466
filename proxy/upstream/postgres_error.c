/* See postgres_error.h. */
#include "upstream/postgres_error.h"

#include <ctype.h>
#include <stdio.h>

/* Looked through from the top: what must not be retried soon comes first, as
 * the message of a multi-host attempt has the errors of all hosts in it. */
static const struct symptom {
	const char *text; /* anywhere in the message, either case */
	const char *also; /* and this, when set */
	enum failure_kind kind;
	const char *reason;
} symptoms[] = {
	{ "password authentication failed", NULL, FAILURE_AUTH, "password authentication failed" },
	{ "SASL authentication failed", NULL, FAILURE_AUTH, "password authentication failed" },
	{ "no password supplied", NULL, FAILURE_AUTH, "the server wants a password" },
	{ "no pg_hba.conf entry", NULL, FAILURE_AUTH, "no pg_hba.conf entry for us" },
	{ "pg_hba.conf rejects", NULL, FAILURE_AUTH, "pg_hba.conf rejects us" },
	{ "no such user", NULL, FAILURE_AUTH, "no such user" },
	{ "Tenant or user not found", NULL, FAILURE_AUTH, "tenant or user not found" },
	{ "role \"", "does not exist", FAILURE_AUTH, "no such role" },
	{ "not permitted to log in", NULL, FAILURE_AUTH, "the role is not permitted to log in" },
	{ "auth failed", NULL, FAILURE_AUTH, "authentication failed" },
	{ "authentication failed", NULL, FAILURE_AUTH, "authentication failed" },
	{ "too many authentication", NULL, FAILURE_AUTH, "too many failed logins" },

	{ "too many clients", NULL, FAILURE_QUOTA, "too many clients already" },
	{ "remaining connection slots", NULL, FAILURE_QUOTA, "no connection slots left" },
	{ "no more connections allowed", NULL, FAILURE_QUOTA, "no more connections allowed" },
	{ "max_client_conn", NULL, FAILURE_QUOTA, "no more connections allowed" },
	{ "too many connections", NULL, FAILURE_QUOTA, "too many connections" },
	{ "max clients", NULL, FAILURE_QUOTA, "no more connections allowed" },
	{ "MaxClients", NULL, FAILURE_QUOTA, "no more connections allowed" },

	{ "starting up", NULL, FAILURE_LOADING, "the database system is starting up" },
	{ "shutting down", NULL, FAILURE_LOADING, "the database system is shutting down" },
	{ "in recovery mode", NULL, FAILURE_LOADING, "the database system is in recovery mode" },
	{ "not yet accepting connections", NULL, FAILURE_LOADING, "not yet accepting connections" },
	{ "not accepting connections", NULL, FAILURE_LOADING, "not accepting connections" },
	{ "administrator command", NULL, FAILURE_LOADING, "terminated by an administrator" },
	{ "session is read-only", NULL, FAILURE_LOADING, "no server of the wanted kind" },
	{ "session is not read-only", NULL, FAILURE_LOADING, "no server of the wanted kind" },
	{ "server is in hot standby", NULL, FAILURE_LOADING, "no server of the wanted kind" },
	{ "server is not in hot standby", NULL, FAILURE_LOADING, "no server of the wanted kind" },

	{ "query_wait_timeout", NULL, FAILURE_TIMEOUT, "the pooler had no server for us in time" },
	{ "client_login_timeout", NULL, FAILURE_TIMEOUT, "the pooler did not log us in in time" },
	{ "timeout", "server", FAILURE_TIMEOUT, "no answer in time" },
	{ "timed out", NULL, FAILURE_TIMEOUT, "no answer in time" },

	{ "certificate", "does not match host name", FAILURE_TLS,
	    "the certificate is for another host name" },
	{ "certificate", "expired", FAILURE_TLS, "the certificate has expired" },
	{ "certificate", NULL, FAILURE_TLS, "the certificate is not accepted" },
	{ "server does not support SSL", NULL, FAILURE_TLS, "the server does not support TLS" },
	{ "SSL error", NULL, FAILURE_TLS, "the TLS handshake failed" },
	{ "SSL SYSCALL error", NULL, FAILURE_LOST, "server closed the connection" },
	{ "invalid sslmode", NULL, FAILURE_TLS, "libpq does not know this sslmode" },
	{ "SSL required", NULL, FAILURE_TLS, "the server requires TLS" },

	{ "database \"", "does not exist", FAILURE_CONNECT, "no such database" },
	{ "no such database", NULL, FAILURE_CONNECT, "no such database" },
	{ "server login has been failing", NULL, FAILURE_CONNECT,
	    "the pooler cannot reach Postgres" },
	{ "cannot connect to server", NULL, FAILURE_CONNECT, "the pooler cannot reach Postgres" },
	{ "server_login_retry", NULL, FAILURE_CONNECT, "the pooler cannot reach Postgres" },
	{ "server conn crashed", NULL, FAILURE_LOST, "the pooler lost Postgres" },
	{ "could not translate host name", NULL, FAILURE_CONNECT, "unknown host" },
	{ "connection refused", NULL, FAILURE_CONNECT, "connection refused" },
	{ "no route to host", NULL, FAILURE_CONNECT, "no route to host" },
	{ "network is unreachable", NULL, FAILURE_CONNECT, "network is unreachable" },
	{ "no such file or directory", NULL, FAILURE_CONNECT, "no such socket" },
	{ "permission denied", "socket", FAILURE_CONNECT, "permission denied for the socket" },
	{ "connection reset", NULL, FAILURE_LOST, "connection reset" },
	{ "broken pipe", NULL, FAILURE_LOST, "server closed the connection" },
	{ "server closed the connection", NULL, FAILURE_LOST, "server closed the connection" },
	{ "closed the connection", NULL, FAILURE_LOST, "server closed the connection" },
	{ "expected authentication request", NULL, FAILURE_PROTOCOL, "this is not Postgres" },
	{ "invalid response to SSL", NULL, FAILURE_PROTOCOL, "this is not Postgres" },
	{ "lost synchronization", NULL, FAILURE_PROTOCOL, "lost synchronization" },
};

static const struct symptom *
find_symptom(const char *message)
{
	for (size_t i = 0; i < sizeof(symptoms) / sizeof(symptoms[0]); i++) {
		const struct symptom *s = &symptoms[i];
		if (strcasestr(message, s->text) != NULL &&
		    (s->also == NULL || strcasestr(message, s->also) != NULL))
			return s;
	}
	return NULL;
}

/* What the server itself said last, if anything: "FATAL:  unsupported startup
 * parameter: geqo\n". libpq's own words may quote the conninfo. */
static void
copy_fatal(const char *message, struct postgres_error *error)
{
	const char *said = NULL;

	for (const char *at = message; (at = strstr(at, "FATAL:")) != NULL; at += 6)
		said = at + 6;
	if (said == NULL)
		return;
	said += strspn(said, " ");
	snprintf(error->reason, sizeof(error->reason), "%.*s", (int)strcspn(said, "\n"), said);
}

void
postgres_error_of_connection(const char *message, struct postgres_error *error)
{
	const struct symptom *symptom = find_symptom(message);

	*error = (struct postgres_error){ .verdict = VERDICT_BACKEND, .kind = FAILURE_CONNECT };
	snprintf(error->reason, sizeof(error->reason), "connection failed");
	if (symptom == NULL) {
		copy_fatal(message, error);
		return;
	}
	error->kind = symptom->kind;
	snprintf(error->reason, sizeof(error->reason), "%s", symptom->reason);
}

/* The longest prefix decides; what is not listed is a query error. */
static const struct state_rule {
	const char *prefix;
	enum postgres_verdict verdict;
	enum failure_kind kind;
	bool is_safe; /* the primary message cannot hold an id */
} rules[] = {
	{ "22P02", VERDICT_BAD_ID, 0, false }, /* invalid text representation */
	{ "22003", VERDICT_BAD_ID, 0, false }, /* numeric value out of range */
	{ "22007", VERDICT_BAD_ID, 0, false }, /* invalid datetime format */
	{ "22008", VERDICT_BAD_ID, 0, false }, /* datetime field overflow */
	{ "22021", VERDICT_BAD_ID, 0, false }, /* character not in repertoire */
	{ "22P05", VERDICT_BAD_ID, 0, false }, /* untranslatable character */
	{ "08", VERDICT_QUERY, 0, true },      /* as an ERROR: wrong number of parameters */
	{ "0A", VERDICT_QUERY, 0, true },
	{ "25", VERDICT_QUERY, 0, true },
	{ "28", VERDICT_BACKEND, FAILURE_AUTH, true },
	{ "3D", VERDICT_QUERY, 0, true },
	{ "3F", VERDICT_QUERY, 0, true },
	{ "42", VERDICT_QUERY, 0, true },
	{ "53", VERDICT_BACKEND, FAILURE_LOADING, true }, /* out of memory, disk full */
	{ "53300", VERDICT_BACKEND, FAILURE_QUOTA, true },
	{ "54", VERDICT_QUERY, 0, true },
	{ "57", VERDICT_BACKEND, FAILURE_LOADING, true },
	{ "57014", VERDICT_BACKEND, FAILURE_TIMEOUT, true }, /* the role's statement_timeout */
	{ "58", VERDICT_BACKEND, FAILURE_LOADING, true },
};

static const struct state_rule *
find_rule(const char *sqlstate)
{
	static const struct state_rule otherwise = { "", VERDICT_QUERY, 0, false };
	const struct state_rule *best = &otherwise;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		size_t len = strlen(rules[i].prefix);
		if (strncmp(sqlstate, rules[i].prefix, len) == 0 && len > strlen(best->prefix))
			best = &rules[i];
	}
	return best;
}

void
postgres_error_of_query(const char *sqlstate, bool is_fatal, const char *message,
    struct postgres_error *error)
{
	const struct state_rule *rule = find_rule(sqlstate != NULL ? sqlstate : "");

	if (message == NULL)
		message = "";
	/* A pooler's FATAL has class 08 or nothing: its words tell more. */
	if (is_fatal) {
		postgres_error_of_connection(message, error);
		if (find_symptom(message) == NULL) {
			error->kind = rule->verdict == VERDICT_BACKEND ? rule->kind : FAILURE_LOST;
			snprintf(error->reason, sizeof(error->reason), "%s ended the connection",
			    sqlstate != NULL ? sqlstate : "an error");
		}
		return;
	}
	*error = (struct postgres_error){ .verdict = rule->verdict, .kind = rule->kind };
	snprintf(error->reason, sizeof(error->reason), "%s%s%.*s",
	    sqlstate != NULL ? sqlstate : "an error without SQLSTATE", rule->is_safe ? " " : "",
	    rule->is_safe ? (int)strcspn(message, "\n") : 0, message);
}
