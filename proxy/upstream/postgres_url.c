/*
 * URLs as people paste them (?pgbouncer=true, made for other drivers) into
 * conninfos that libpq takes, and conninfos into hosts. No I/O.
 */
#include "upstream/postgres_url.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/log.h"
#include "upstream/postgres.h"

static bool
is_url(const char *text)
{
	return strncmp(text, "postgres://", 11) == 0 || strncmp(text, "postgresql://", 13) == 0;
}

/* Where the query starts. A raw '?' may stand in user:password@, so that is
 * passed first, by the rule of libpq: up to '@', unless a '/' comes before. */
static const char *
find_query(const char *url)
{
	const char *authority = strstr(url, "://") + 3;
	const char *at = authority + strcspn(authority, "@/");

	return strchr(*at == '@' ? at : authority, '?');
}

static bool
libpq_knows(const PQconninfoOption *known, struct slice key)
{
	/* libpq's own exception: JDBC's ssl=true means sslmode=require. */
	if (slice_equal(key, SLICE("ssl")))
		return true;
	for (; known->keyword != NULL; known++) {
		if (slice_equal(key, slice_of(known->keyword)))
			return true;
	}
	return false;
}

static void
note_dropped(struct slice key, char *dropped, size_t size)
{
	size_t used = strlen(dropped);

	/* A key can be anything: what does not look like one may be a secret. */
	for (size_t i = 0; i < key.len; i++) {
		if (!isalnum((unsigned char)key.at[i]) && strchr("_-.", key.at[i]) == NULL)
			key = SLICE("(unreadable)");
	}
	if (used + 1 < size)
		snprintf(dropped + used, size - used, "%s%.*s", used > 0 ? ", " : "", (int)key.len,
		    key.at);
}

/* Copies `query` (after the '?') to `clean`, leaving out what libpq does not know. */
static void
clean_query(const char *query, struct buf *clean, char *dropped, size_t dropped_size)
{
	PQconninfoOption *known = PQconndefaults();
	char separator = '?';

	for (const char *at = query; known != NULL && *at != '\0';) {
		size_t len = strcspn(at, "&");
		struct slice key = { at, strcspn(at, "=&") };

		if (libpq_knows(known, key)) {
			buf_append(clean, &separator, 1);
			buf_append(clean, at, len);
			separator = '&';
		} else if (len > 0 && dropped_size > 0) {
			note_dropped(key, dropped, dropped_size);
		}
		at += len + (at[len] == '&');
	}
	PQconninfoFree(known);
}

/* libpq quotes what it stumbled over, which may be the password. */
static void
copy_before_quote(char *to, size_t size, const char *from)
{
	size_t len = strcspn(from, "\"\n");

	while (len > 0 && strchr(": ", from[len - 1]) != NULL)
		len--;
	snprintf(to, size, "%.*s", (int)len, from);
}

static bool
libpq_takes(const char *conninfo, char *error, size_t error_size)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(conninfo, &message);

	if (options == NULL)
		copy_before_quote(error, error_size, message != NULL ? message : "no memory");
	PQfreemem(message);
	PQconninfoFree(options);
	return options != NULL;
}

bool
postgres_clean_url(const char *url, char **conninfo, char *dropped, size_t dropped_size,
    char *error, size_t error_size)
{
	struct buf clean = BUF_EMPTY;
	const char *query = NULL;

	*conninfo = NULL;
	if (dropped_size > 0)
		dropped[0] = '\0';
	if (strstr(url, "://") != NULL && !is_url(url) && strchr(url, '=') == NULL) {
		snprintf(error, error_size, "not a postgres:// URL");
		return false;
	}
	if (is_url(url))
		query = find_query(url);
	buf_append(&clean, url, query != NULL ? (size_t)(query - url) : strlen(url));
	if (query != NULL)
		clean_query(query + 1, &clean, dropped, dropped_size);
	buf_append(&clean, "", 1);
	if (!libpq_takes(clean.at, error, error_size)) {
		buf_free(&clean);
		return false;
	}
	*conninfo = alloc_text(clean.at);
	buf_free(&clean);
	return true;
}

const char *
postgres_target_option(const struct postgres_target *target, const char *keyword,
    const char *variable)
{
	const char *fallback = variable != NULL ? getenv(variable) : NULL;

	for (const PQconninfoOption *o = target->options; o->keyword != NULL; o++) {
		if (strcmp(o->keyword, keyword) == 0 && o->val != NULL && o->val[0] != '\0')
			return o->val;
	}
	return fallback != NULL ? fallback : "";
}

static size_t
list_len(const char *list)
{
	size_t count = *list != '\0';

	for (; *list != '\0'; list++)
		count += *list == ',';
	return count;
}

/* The i-th of a comma separated list; "" past its end. The caller frees it. */
static char *
list_item(const char *list, size_t i)
{
	for (; i > 0 && *list != '\0'; i--) {
		list += strcspn(list, ",");
		list += *list == ',';
	}
	return slice_dup((struct slice){ list, strcspn(list, ",") });
}

static bool
split_hosts(struct postgres_target *target, char *error, size_t error_size)
{
	const char *names = postgres_target_option(target, "host", "PGHOST");
	const char *addresses = postgres_target_option(target, "hostaddr", "PGHOSTADDR");
	const char *ports = postgres_target_option(target, "port", "PGPORT");
	size_t count = list_len(addresses) > 0 ? list_len(addresses) : list_len(names);

	if (list_len(names) > 0 && list_len(names) != count) {
		snprintf(error, error_size, "host and hostaddr differ in length");
		return false;
	}
	if (list_len(ports) > 1 && list_len(ports) != count) {
		snprintf(error, error_size, "host and port differ in length");
		return false;
	}
	target->hosts = alloc_zero((count + 1) * sizeof(*target->hosts));
	for (size_t i = 0; i < count; i++) {
		target->hosts[i].name = list_item(names, i);
		target->hosts[i].address = list_item(addresses, i);
		target->hosts[i].port = list_item(ports, list_len(ports) > 1 ? i : 0);
	}
	target->host_count = count;
	return true;
}

static void
name_target(struct postgres_target *target)
{
	struct buf name = BUF_EMPTY;

	for (size_t i = 0; i < target->host_count; i++) {
		const struct postgres_host *host = &target->hosts[i];
		buf_printf(&name, "%s%s%s%s", i > 0 ? "," : "",
		    host->name[0] != '\0' ? host->name : host->address,
		    host->port[0] != '\0' ? ":" : "", host->port);
	}
	buf_printf(&name, "/%s", postgres_target_option(target, "dbname", "PGDATABASE"));
	buf_append(&name, "", 1);
	target->name = alloc_text(name.at);
	buf_free(&name);
}

struct postgres_target *
postgres_target_new(const char *conninfo, char *error, size_t error_size)
{
	struct postgres_target *target = alloc_zero(sizeof(*target));
	char *message = NULL;

	target->refs = 1;
	target->options = PQconninfoParse(conninfo, &message);
	if (target->options == NULL) {
		copy_before_quote(error, error_size, message != NULL ? message : "no memory");
		PQfreemem(message);
		goto bad;
	}
	/* A service file may name hosts behind our back, which libpq would resolve. */
	if (postgres_target_option(target, "service", NULL)[0] != '\0') {
		snprintf(error, error_size, "service= is not supported, name the host");
		goto bad;
	}
	if (!split_hosts(target, error, error_size))
		goto bad;
	name_target(target);
	return target;
bad:
	postgres_target_unref(target);
	return NULL;
}

struct postgres_target *
postgres_target_of(const char *url, const char *setting)
{
	struct postgres_target *target = NULL;
	char dropped[256], error[160];
	char *conninfo;

	if (url[0] == '\0')
		return NULL;
	if (postgres_clean_url(url, &conninfo, dropped, sizeof(dropped), error, sizeof(error)))
		target = postgres_target_new(conninfo, error, sizeof(error));
	free(conninfo);
	if (target == NULL)
		log_error("postgres %s cannot be used: %s", setting, error);
	else if (dropped[0] != '\0')
		log_warn("postgres %s: left out what libpq does not know: %s", setting, dropped);
	return target;
}

struct postgres_target *
postgres_target_ref(struct postgres_target *target)
{
	target->refs++;
	return target;
}

void
postgres_target_unref(struct postgres_target *target)
{
	if (target == NULL || --target->refs > 0)
		return;
	for (size_t i = 0; i < target->host_count; i++) {
		free(target->hosts[i].name);
		free(target->hosts[i].address);
		free(target->hosts[i].port);
	}
	PQconninfoFree(target->options);
	free(target->hosts);
	free(target->name);
	free(target);
}

bool
postgres_host_needs_resolving(const struct postgres_host *host)
{
	unsigned char address[sizeof(struct in6_addr)];

	/* "/run/postgresql" and "@abstract" are sockets, "" is the default one. */
	return host->address[0] == '\0' && host->name[0] != '\0' && host->name[0] != '/' &&
	    host->name[0] != '@' && inet_pton(AF_INET, host->name, address) != 1 &&
	    inet_pton(AF_INET6, host->name, address) != 1;
}

bool
postgres_target_is_same_place(const struct postgres_target *a, const struct postgres_target *b)
{
	/* The name has hosts, ports and the database in it. */
	if (a->host_count != b->host_count || strcmp(a->name, b->name) != 0)
		return false;
	for (size_t i = 0; i < a->host_count; i++) {
		if (strcmp(a->hosts[i].address, b->hosts[i].address) != 0)
			return false;
	}
	return true;
}

static struct postgres_target *
target_of_url(const char *url)
{
	struct postgres_target *target = NULL;
	char *conninfo, error[160];

	if (url[0] != '\0' && postgres_clean_url(url, &conninfo, NULL, 0, error, sizeof(error))) {
		target = postgres_target_new(conninfo, error, sizeof(error));
		free(conninfo);
	}
	return target;
}

bool
postgres_url_is_same_place(const char *a, const char *b)
{
	struct postgres_target *left = target_of_url(a), *right = target_of_url(b);
	bool is_same = left == NULL || right == NULL ? left == right
						     : postgres_target_is_same_place(left, right);

	postgres_target_unref(left);
	postgres_target_unref(right);
	return is_same;
}
