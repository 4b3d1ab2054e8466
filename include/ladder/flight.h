/*
 * Flights: who waits for which key. The first that asks a backend for a key
 * opens a flight; who asks for the same key meanwhile joins it, unless a
 * write has voided its lease (then its answer may be older than what the
 * newcomer was promised). Whatever comes is kept (fill.h), also when nobody
 * waits any longer.
 *
 *   climb ---+                    +--> GET k      (MGET k1 k2 ... for many)
 *   climb ---+--> flight of key --+
 *   climb ---+    (one lease)     +--> id = ANY($1), by the keeper
 *
 * One thread: the worker's. fetched() comes from a later loop turn.
 */
#ifndef SIDECAR_LADDER_FLIGHT_H
#define SIDECAR_LADDER_FLIGHT_H

#include "ladder/context.h"
#include "ladder/fill.h"

struct flight;

struct flight_waiter {
	void (*fetched)(struct flight_waiter *waiter, const struct fetched *fetched);

	/* flight.c's own: */
	struct flight *flight;
	struct flight_waiter *next, *prev;
};

struct flight_order {
	struct slice key;
	bool is_hash;          /* HGETALL, not GET */
	bool is_many;          /* one of several keys: goes with them as one MGET */
	bool may_keep;         /* cacheable */
	const struct map *map; /* NULL: not mapped */
	struct slice id;       /* of the map */
	struct link_choice link;
	/* Postgres only: the answer goes to Redis, too, which has said nil or was
	 * not asked. */
	bool fills_redis;
};

struct flights *flights_new(struct ladder_context *context);
void flights_free(struct flights *flights); /* all calls must have ended */

/* Joins or opens a flight. False: refused at once, fetched() will not come. */
MUST_CHECK bool flights_ask_redis(struct flights *flights, const struct flight_order *order,
    struct flight_waiter *waiter);
MUST_CHECK bool flights_ask_postgres(struct flights *flights, const struct flight_order *order,
    struct flight_waiter *waiter);

/* Sends off what has been asked of Postgres: before the loop sleeps. */
void flights_flush(struct flights *flights);

/* Postgres is being asked for a key that Redis will be filled with. */
bool flights_is_at_postgres(struct flights *flights, struct slice key);

/* The waiter waits no longer; fetched() will not come. A Redis flight whose
 * waiter ran out of time counts as slow (is_overdue). */
void flight_leave(struct flight_waiter *waiter, bool is_overdue);

/* Orders with is_many that come between the two leave as one MGET. */
void flights_begin_many(struct flights *flights);
void flights_end_many(struct flights *flights);

#endif
