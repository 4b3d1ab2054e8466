/*
 * Looks ids up in Postgres: a pool of non-blocking libpq connections, made
 * for PgBouncer in transaction mode (unnamed statements only, no SET).
 *
 * Lookups that come while every connection is busy wait in their map's queue
 * and leave together as one `= ANY($1)`, up to max_batch ids. Nothing is
 * queued longer than its deadline; a query that runs longer than its budget
 * is cancelled, and its connection closed when that does not help.
 *
 * One thread (the keeper's) owns it and makes every call; callbacks come on
 * that thread, from a later loop turn, never inside a call.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_H
#define SIDECAR_UPSTREAM_POSTGRES_H

#include "base/blob.h"
#include "base/deadlines.h"
#include "base/settings.h"
#include "upstream/breaker.h"

struct event_base;
struct evdns_base;
struct pg_map;
struct postgres;
struct postgres_metrics;

enum lookup_result {
	LOOKUP_FOUND,
	LOOKUP_MISSING, /* Postgres says that there is no such row */
	LOOKUP_FAILED,  /* it could not say: down, too late, queue full, bad query */
};

/*
 * One id to look up, part of the caller's struct, who keeps it until `done`.
 * Filled in by the caller:
 */
struct lookup {
	const struct map_settings *map; /* must outlive the lookup */
	struct slice id;                /* valid UTF-8 without NUL; kept by the caller until done */
	int64_t due_ms;                 /* monotonic: not worth asking after this */
	void (*done)(struct lookup *lookup); /* called exactly once */

	/* Set before done: */
	enum lookup_result result;
	struct blob *value;     /* LOOKUP_FOUND: one reference, the callee's to keep */
	int64_t valid_until_ms; /* wall clock; TIME_NEVER: none. May lie in the past */

	/* postgres*.c's own: */
	struct lookup *next, *prev;
	struct deadline deadline; /* while it waits */
	struct pg_map *queue;
	unsigned split; /* lookups of different splits never share a query */
};

/*
 * value: for MAP_STRING the bytes of column 2. For MAP_HASH a run of RESP
 * bulk strings, field and value in turn ("$4\r\nname\r\n$3\r\nbob\r\n..."),
 * for every column but `id` and `valid_until`; a NULL leaves its field out.
 */

/*
 * Refuses (LOOKUP_FAILED, from a later turn) when max_waiting are waiting, or
 * the breaker is open. An id that the column's type cannot hold is MISSING
 * and is not asked for, once the canary knows the type.
 */
void postgres_lookup(struct postgres *postgres, struct lookup *lookup);

/*
 * `settings` must outlive it, as the maps in it. Connects by itself, and in
 * the breaker's HALF_OPEN with one connection only; reports every outcome to
 * the breaker. An empty or unusable [postgres] url makes a pool that refuses
 * everything.
 *
 * Sets PGDATESTYLE and PGTZ, which libpq sends when it connects and PgBouncer
 * follows; to be called before there are other threads.
 */
struct postgres *postgres_new(struct event_base *base, struct evdns_base *dns,
    const struct settings *settings, struct breaker *breaker, struct postgres_metrics *metrics);
void postgres_free(struct postgres *postgres); /* lookups under way are done as FAILED */

/* After a reload: the new budget, bounds and maps from now on; new connections
 * log in as the new url says, unless it names another place. */
void postgres_set_settings(struct postgres *postgres, const struct settings *settings);

/* To be called when the breaker has changed, on the owner's thread, also from
 * inside breaker_changed_fn: from the next turn on, closes everything when it
 * opened, probes when it is half-open, connects when it closed. */
void postgres_on_breaker(struct postgres *postgres);

/* Whether the map's query was seen to return a column named valid_until.
 * Any thread, between postgres_new() and postgres_free(). */
bool postgres_map_has_valid_until(const struct postgres *postgres, const struct map_settings *map);

/* Whether two URLs name the same database, however they log in; two that are
 * empty or unusable do, too. */
MUST_CHECK bool postgres_url_is_same_place(const char *a, const char *b);

/*
 * Whether a URL is usable, and the conninfo that libpq takes: query
 * parameters that libpq does not know (?pgbouncer=true, ?pool_timeout=...)
 * are left out, named in `dropped` (comma separated) for the log. The caller
 * frees *conninfo. False: `error` says what is wrong, without the password.
 */
MUST_CHECK bool postgres_clean_url(const char *url, char **conninfo, char *dropped,
    size_t dropped_size, char *error, size_t error_size);

#endif
