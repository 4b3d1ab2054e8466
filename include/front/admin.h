/*
 * The admin port: the status page and what it asks for, /metrics /healthz
 * /readyz /status.json, by libevent's HTTP server. On the main thread, away
 * from the request path.
 */
#ifndef SIDECAR_FRONT_ADMIN_H
#define SIDECAR_FRONT_ADMIN_H

#include "front/metrics.h"

struct event_base;
struct admin;

/* NULL and a message in `error` when the port cannot be had. */
MUST_CHECK struct admin *admin_new(struct event_base *base, const struct census *census,
    const char *address, int port, char *error, size_t error_size);
void admin_free(struct admin *admin);

#endif
