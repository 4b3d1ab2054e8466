/*
 * From a target to a socket that is connected and, with TLS, secured: asks
 * the resolver, tries each address in its share of the time, shakes hands.
 *
 *   RESOLVING -> CONNECTING (each address) -> SECURING (TLS) -> done
 *
 * One thread. `done` comes from the event loop, never inside redis_dial_new().
 */
#ifndef SIDECAR_UPSTREAM_REDIS_DIAL_H
#define SIDECAR_UPSTREAM_REDIS_DIAL_H

#include "upstream/redis_socket.h"

struct event_base;
struct evdns_base;
struct redis_dial;

/* `failure` NULL: the socket is open and nothing watches it any more. Else
 * the socket is closed. The dial is over: free it in here or later. */
typedef void (*dialled_fn)(const struct redis_failure *failure, void *arg);

/* `socket` is the caller's, to be closed by him after the dial is freed. Not
 * done after connect_ms, it fails as FAILURE_TIMEOUT. */
struct redis_dial *redis_dial_new(struct event_base *base, struct evdns_base *dns,
    const struct redis_target *target, struct redis_socket *socket, int64_t connect_ms,
    dialled_fn done, void *arg);
/* done() will not come any more. NULL is fine. */
void redis_dial_free(struct redis_dial *dial);

#endif
