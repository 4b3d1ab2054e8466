/* See postgres_dial.h. */
#include "upstream/postgres_dial.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "upstream/resolve.h"

/* What we set, and whether it wins over the user's own. */
static const struct preset {
	const char *keyword;
	const char *value;
	bool wins;
} presets[] = {
	{ "client_encoding", "UTF8", true }, /* as RESP clients' ids are */
	{ "fallback_application_name", "sidecar", false },
	{ "gssencmode", "disable", false }, /* a round trip that PgBouncer never grants */
	{ "keepalives_idle", "30", false },
	{ "keepalives_interval", "10", false },
	/* Also ends the connect() of a PQcancel() to a host that drops packets. */
	{ "tcp_user_timeout", "5000", false },
};

#define PRESETS (sizeof(presets) / sizeof(presets[0]))
#define MAX_OPTIONS 128

/* The lists are comma separated and of equal length: a name that has three
 * addresses is in there three times. */
struct postgres_dial {
	struct event_base *base;
	struct evdns_base *dns;
	const struct postgres_target *target;
	postgres_dialled_fn done;
	void *arg;
	size_t host_at; /* of target->hosts */
	struct resolve *resolve;
	struct buf names, addresses, ports;
	int count;
	char error[64]; /* of the last name that was not found */
};

void
postgres_dial_cancel(struct postgres_dial *dial)
{
	if (dial == NULL)
		return;
	resolve_cancel(dial->resolve);
	buf_free(&dial->names);
	buf_free(&dial->addresses);
	buf_free(&dial->ports);
	free(dial);
}

static void
add_address(struct postgres_dial *dial, const char *address)
{
	const struct postgres_host *host = &dial->target->hosts[dial->host_at];
	const char *comma = dial->count > 0 ? "," : "";

	buf_printf(&dial->names, "%s%s", comma, host->name);
	buf_printf(&dial->addresses, "%s%s", comma, address);
	buf_printf(&dial->ports, "%s%s", comma, host->port);
	dial->count++;
}

struct options {
	const char *keywords[MAX_OPTIONS], *values[MAX_OPTIONS]; /* end in NULL */
	size_t count;
};

/* The first of equal keywords stays. */
static void
set_option(struct options *options, const char *keyword, const char *value)
{
	for (size_t i = 0; i < options->count; i++) {
		if (strcmp(options->keywords[i], keyword) == 0)
			return;
	}
	if (options->count == MAX_OPTIONS - 1)
		return;
	options->keywords[options->count] = keyword;
	options->values[options->count++] = value;
}

static const char *
text_of(struct buf *list)
{
	buf_append(list, "", 1);
	return buf_slice(list).at;
}

static PGconn *
start_libpq(struct postgres_dial *dial)
{
	struct options options = { .count = 0 };

	if (dial->count > 0) {
		set_option(&options, "host", text_of(&dial->names));
		set_option(&options, "hostaddr", text_of(&dial->addresses));
		set_option(&options, "port", text_of(&dial->ports));
	}
	for (size_t i = 0; i < PRESETS; i++) {
		if (presets[i].wins)
			set_option(&options, presets[i].keyword, presets[i].value);
	}
	for (const PQconninfoOption *o = dial->target->options; o->keyword != NULL; o++) {
		if (o->val != NULL)
			set_option(&options, o->keyword, o->val);
	}
	for (size_t i = 0; i < PRESETS; i++)
		set_option(&options, presets[i].keyword, presets[i].value);
	return PQconnectStartParams(options.keywords, options.values, 0);
}

static void
finish(struct postgres_dial *dial)
{
	bool has_address = dial->count > 0 || dial->target->host_count == 0;
	PGconn *pg = has_address ? start_libpq(dial) : NULL;
	postgres_dialled_fn done = dial->done;
	void *arg = dial->arg;
	char error[sizeof(dial->error)];

	snprintf(error, sizeof(error), "%s", has_address ? "no memory" : dial->error);
	postgres_dial_cancel(dial);
	done(pg, pg == NULL ? error : "", arg);
}

static bool resolve_rest(struct postgres_dial *dial);

static void
on_resolved(const char *const *addresses, int count, const char *error, void *arg)
{
	struct postgres_dial *dial = arg;

	dial->resolve = NULL;
	for (int i = 0; i < count; i++)
		add_address(dial, addresses[i]);
	if (count == 0)
		snprintf(dial->error, sizeof(dial->error), "%s", error);
	dial->host_at++;
	if (resolve_rest(dial))
		finish(dial);
}

/* One name after the other; a host without an address is left out. True when
 * all are through. */
static bool
resolve_rest(struct postgres_dial *dial)
{
	for (; dial->host_at < dial->target->host_count; dial->host_at++) {
		const struct postgres_host *host = &dial->target->hosts[dial->host_at];
		if (postgres_host_needs_resolving(host)) {
			dial->resolve =
			    resolve_start(dial->base, dial->dns, host->name, on_resolved, dial);
			return false;
		}
		add_address(dial, host->address);
	}
	return true;
}

struct postgres_dial *
postgres_dial_start(struct event_base *base, struct evdns_base *dns,
    const struct postgres_target *target, postgres_dialled_fn done, void *arg)
{
	struct postgres_dial *dial = alloc_zero(sizeof(*dial));

	dial->base = base;
	dial->dns = dns;
	dial->target = target;
	dial->done = done;
	dial->arg = arg;
	if (!resolve_rest(dial))
		return dial;
	finish(dial);
	return NULL;
}
