/*
 * One attempt to reach a target: looks its names up without blocking, then
 * starts libpq with the addresses beside the names (which TLS and the
 * password file go by). One thread.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_DIAL_H
#define SIDECAR_UPSTREAM_POSTGRES_DIAL_H

#include "upstream/postgres_url.h"

struct event_base;
struct evdns_base;
struct postgres_dial;

/* `pg`: the callee's, to be driven with PQconnectPoll(); NULL: no address was
 * found, `error` says why. The dial is over and freed. */
typedef void (*postgres_dialled_fn)(PGconn *pg, const char *error, void *arg);

/* `done` may be called before this returns: call it from the event loop.
 * NULL is returned then. The target must outlive it. */
struct postgres_dial *postgres_dial_start(struct event_base *base, struct evdns_base *dns,
    const struct postgres_target *target, postgres_dialled_fn done, void *arg);
/* done will not be called; only before it was. NULL is fine. */
void postgres_dial_cancel(struct postgres_dial *dial);

#endif
