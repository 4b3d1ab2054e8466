/*
 * Where Postgres is: the conninfo taken apart, so that names can be resolved
 * without libpq (its own look-up blocks) and put together again.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_URL_H
#define SIDECAR_UPSTREAM_POSTGRES_URL_H

#include <libpq-fe.h>

#include "base/slice.h"

struct postgres_host {
	char *name;    /* a name, an address, or a unix socket's directory; may be "" */
	char *address; /* hostaddr, when the user gave one, else "" */
	char *port;    /* "" for the default */
};

/* Counted, one thread's, and never changes. */
struct postgres_target {
	int refs;
	PQconninfoOption *options;
	struct postgres_host *hosts; /* in the order of the conninfo */
	size_t host_count;           /* 0: libpq's default unix socket */
	char *name;                  /* "db.example.com:6432/app", for logs: no user, no password */
	char *user;                  /* "" when left to libpq */
};

/* NULL with an `error` in one phrase, never containing the password. Reads
 * PGHOST, PGHOSTADDR and PGPORT where the conninfo is silent. */
MUST_CHECK struct postgres_target *postgres_target_new(const char *conninfo, char *error,
    size_t error_size);
/* Of a setting's URL, cleaned; NULL when it is empty, or cannot be used: then,
 * and where something was left out, the log says so. */
MUST_CHECK struct postgres_target *postgres_target_of(const char *url, const char *setting);
struct postgres_target *postgres_target_ref(struct postgres_target *target);
void postgres_target_unref(struct postgres_target *target);

/* The same database, whoever asks for it and however it proves itself. */
MUST_CHECK bool postgres_target_is_same_place(const struct postgres_target *a,
    const struct postgres_target *b);

/* Whether libpq would have to look this host's name up. */
bool postgres_host_needs_resolving(const struct postgres_host *host);

/* The value of a conninfo keyword, else of the environment variable (may be
 * NULL), else "". */
const char *postgres_target_option(const struct postgres_target *target, const char *keyword,
    const char *variable);

#endif
