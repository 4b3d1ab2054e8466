/* What flight.c, flight_redis.c and flight_postgres.c share; nobody else. */
#ifndef SIDECAR_LADDER_FLIGHT_INSIDE_H
#define SIDECAR_LADDER_FLIGHT_INSIDE_H

#include "ladder/flight.h"
#include "upstream/postgres.h"

#define FLIGHT_BUCKETS 8192

/* An MGET tells a key of another type from no key only by another command,
 * so its flights are not joined by those who asked GET. */
enum flight_kind { FLIGHT_GET, FLIGHT_MGET, FLIGHT_HASH, FLIGHT_POSTGRES };

struct ask;

struct flight {
	struct flight *chain; /* in the table */
	struct flights *flights;
	uint64_t hash;
	enum flight_kind kind;
	bool is_on_table;
	bool may_keep;
	bool fills_redis;
	const struct map *map;
	struct link_choice link;
	struct cache_lease lease;
	int64_t opened_us;
	struct flight_waiter *first, *last;

	/* Redis: the question it is part of, and that about the key's ttl. */
	struct ask *ask;
	struct redis_call ttl_call;
	int64_t ttl_asked_ms;
	bool awaits_ttl;
	struct fetched landed; /* kept until the ttl is known */

	/* Postgres: carried to the keeper's thread and back. */
	struct letter letter;
	struct lookup lookup;

	size_t size; /* of this block */
	size_t key_len;
	char bytes[]; /* the key, then the id */
};

struct flights {
	struct ladder_context *context;
	struct flight **many; /* collected between begin_many and end_many */
	size_t many_count, many_room;
	bool is_collecting;
	struct buf command;                     /* being written */
	struct letter *leaving, **leaving_last; /* for the keeper, with flights_flush() */
	struct flight *buckets[FLIGHT_BUCKETS];
};

static inline struct slice
flight_key(const struct flight *flight)
{
	return (struct slice){ flight->bytes, flight->key_len };
}

bool flight_join(struct flights *flights, enum flight_kind kind, const struct flight_order *order,
    struct flight_waiter *waiter);
struct flight *flight_open(struct flights *flights, enum flight_kind kind,
    const struct flight_order *order);
void flight_add_first(struct flight *flight, struct flight_waiter *waiter);
void flight_land(struct flight *flight, const struct fetched *fetched);
/* From here on nobody joins it. */
void flight_close(struct flight *flight);
void flight_abandon(struct flight *flight); /* frees it; nobody waits */
int64_t flight_took_ms(const struct flight *flight);
void flight_redis_overdue(struct flight *flight);

#endif
