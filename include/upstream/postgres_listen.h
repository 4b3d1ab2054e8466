/*
 * One connection to Postgres that listens to a channel: what is said with
 * NOTIFY there comes by an event. It connects by itself and again, and asks
 * now and then whether the other side is still there.
 *
 *   CLOSED -> CONNECTING -> AWAIT_LISTEN -> AWAIT_PID -> LISTENING <-> AWAIT_PING
 *      ^______________________________________________________|   any
 *
 * Straight to Postgres: a pooler in transaction mode takes the LISTEN, and
 * nothing ever comes.
 *
 * One thread (the keeper's); events come from its loop.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_LISTEN_H
#define SIDECAR_UPSTREAM_POSTGRES_LISTEN_H

#include "base/slice.h"

struct event_base;
struct evdns_base;
struct postgres_listen;

struct postgres_listen_events {
	/* It listens from now on: what was said before, nobody has heard. */
	void (*up)(void *arg);
	void (*notified)(struct slice payload, void *arg);
	void *arg;
};

/* `channel` is a plain name and must outlive it, as must `url`. NULL: there is
 * no URL, or none that can be used (the log says so). */
struct postgres_listen *postgres_listen_new(struct event_base *base, struct evdns_base *dns,
    const char *url, const char *channel, const struct postgres_listen_events *events);
void postgres_listen_free(struct postgres_listen *listen);

/* Any thread. */
bool postgres_listen_is_up(const struct postgres_listen *listen); /* NULL: false */

#endif
