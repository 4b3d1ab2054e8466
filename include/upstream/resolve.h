/*
 * Names to addresses without blocking: libevent's evdns, with /etc/hosts and
 * /etc/resolv.conf. A numeric address and "localhost" take no query. A
 * resolver that hangs costs its own time limit, never the loop.
 *
 * One thread; `done` comes from a later loop turn, exactly once unless the
 * query was cancelled first.
 */
#ifndef SIDECAR_UPSTREAM_RESOLVE_H
#define SIDECAR_UPSTREAM_RESOLVE_H

#include <stdbool.h>

struct event_base;
struct evdns_base;
struct resolve;

#define RESOLVE_MAX_ADDRESSES 8
#define RESOLVE_ADDRESS_SIZE 64

/* `addresses`: numeric, `count` of them, best first, valid until done returns.
 * count 0: `error` says why in one phrase ("unknown host", "resolver does not answer"). */
typedef void (*resolved_fn)(const char *const *addresses, int count, const char *error, void *arg);

/* Reads /etc/hosts and /etc/resolv.conf; a missing file is no error. Both are
 * read again after a query that got no answer: they may have changed. */
struct evdns_base *resolve_base_new(struct event_base *base);
/* evdns ends a cancelled query on a later loop turn: give the loop one
 * (EVLOOP_NONBLOCK) between the last resolve_cancel() and this. */
void resolve_base_free(struct evdns_base *dns);

struct resolve *resolve_start(struct event_base *base, struct evdns_base *dns, const char *host,
    resolved_fn done, void *arg);
/* done will not be called; only before it was. NULL is fine. */
void resolve_cancel(struct resolve *resolve);

#endif
