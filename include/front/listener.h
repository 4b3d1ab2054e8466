/*
 * Accepts connections and hands them out. Runs on the main thread, so that
 * few long-lived connections spread evenly over the workers; it stops for a
 * moment when descriptors run out, and leaves those connected alone.
 */
#ifndef SIDECAR_FRONT_LISTENER_H
#define SIDECAR_FRONT_LISTENER_H

#include "front/peer.h"

struct event_base;
struct listener;

/* Takes over the descriptor; `peer` is the listener's. */
typedef void (*listener_accepted_fn)(int fd, const struct peer *peer, void *arg);

/* NULL and a message in `error`. */
MUST_CHECK struct listener *listener_tcp(struct event_base *base, const char *address, int port,
    listener_accepted_fn accepted, void *arg, char *error, size_t error_size);
/* Takes the place of a socket that nobody listens on any more. */
MUST_CHECK struct listener *listener_unix(struct event_base *base, const char *path,
    listener_accepted_fn accepted, void *arg, char *error, size_t error_size);
/* Accepts those that are waiting, before the end. NULL is fine. */
void listener_finish(struct listener *listener);
/* Stops accepting; a unix socket's file is removed. */
void listener_free(struct listener *listener);

#endif
