/*
 * Changes of rows, as Postgres announces them ([postgres] listen_url): the
 * keys made from them go from memory here, from Redis (by way of the journal,
 * so also after an outage, and behind every fill that is under way) and from
 * the other sidecars.
 *
 * A message names a map, and ids behind it: "profile 42", "profile 42 43". The
 * byte behind the map's name stands between the ids, so that "word\nhello
 * world" can name an id with a blank in it. A map's name alone: all its rows
 * have changed, or may have.
 *
 * While nobody listens nothing is heard. So when the connection stands again,
 * whatever memory holds counts as stale, and is asked for when next read.
 *
 * The keeper's thread, but for the functions marked otherwise.
 */
#ifndef SIDECAR_LADDER_ROW_CHANGES_H
#define SIDECAR_LADDER_ROW_CHANGES_H

#include "ladder/backends.h"

#define ROW_CHANGES_CHANNEL "sidecar" /* as in deploy/postgres/003_notify.sql */

struct event_base;
struct evdns_base;
struct row_changes;

/* NULL where no listen_url is set; every function takes that. */
struct row_changes *row_changes_new(struct event_base *base, struct evdns_base *dns,
    struct backends *backends, const struct rules *rules);
void row_changes_free(struct row_changes *changes);
/* After a reload: the maps. */
void row_changes_set_rules(struct row_changes *changes, const struct rules *rules);

/* ---- any thread ---- */

bool row_changes_is_heard(const struct row_changes *changes);
/* Keys dropped because their row has changed. */
int64_t row_changes_count(const struct row_changes *changes);

/* ---- for its tests; pure ---- */

/* Calls on_key for each key of the message; false: no map has
 * this name. *is_all: the message names no id. */
MUST_CHECK bool row_changes_read(const struct maps *maps, struct slice payload,
    void (*on_key)(struct slice key, void *arg), void *arg, bool *is_all);

#endif
