/* See flight.h. The two backends' sides are in flight_redis.c and
 * flight_postgres.c; here is what they share: the table, joining, landing. */
#include "ladder/flight_inside.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"

struct flights *
flights_new(struct ladder_context *context)
{
	struct flights *flights = alloc_zero(sizeof(*flights));

	flights->context = context;
	flights->leaving_last = &flights->leaving;
	return flights;
}

void
flights_free(struct flights *flights)
{
	if (flights == NULL)
		return;
	free(flights->many);
	buf_free(&flights->command);
	free(flights);
}

/* ---- the table ---- */

static struct flight **
find(struct flights *flights, enum flight_kind kind, struct slice key, uint64_t hash)
{
	struct flight **at = &flights->buckets[hash % FLIGHT_BUCKETS];

	while (*at != NULL &&
	    ((*at)->kind != kind || (*at)->hash != hash || !slice_equal(flight_key(*at), key)))
		at = &(*at)->chain;
	return at;
}

void
flight_close(struct flight *flight)
{
	if (!flight->is_on_table)
		return;
	struct flight **at = &flight->flights->buckets[flight->hash % FLIGHT_BUCKETS];
	while (*at != flight)
		at = &(*at)->chain;
	*at = flight->chain;
	flight->is_on_table = false;
}

static void
add_waiter(struct flight *flight, struct flight_waiter *waiter)
{
	waiter->flight = flight;
	waiter->next = NULL;
	waiter->prev = flight->last;
	*(flight->last != NULL ? &flight->last->next : &flight->first) = waiter;
	flight->last = waiter;
}

bool
flight_join(struct flights *flights, enum flight_kind kind, const struct flight_order *order,
    struct flight_waiter *waiter)
{
	struct flight *flight = *find(flights, kind, order->key, cache_hash(order->key));

	if (flight == NULL)
		return false;
	if (!cache_lease_is_latest(flights->context->backends->cache, order->key, &flight->lease)) {
		flight_close(flight); /* goes on for those who asked before */
		return false;
	}
	flight->fills_redis |= order->fills_redis;
	add_waiter(flight, waiter);
	return true;
}

bool
flights_is_at_postgres(struct flights *flights, struct slice key)
{
	const struct flight *flight = *find(flights, FLIGHT_POSTGRES, key, cache_hash(key));

	return flight != NULL && flight->fills_redis &&
	    cache_lease_holds(flights->context->backends->cache, key, &flight->lease);
}

/* Room behind the key for a copy of the id. */
struct flight *
flight_open(struct flights *flights, enum flight_kind kind, const struct flight_order *order)
{
	size_t size = sizeof(struct flight) + order->key.len + order->id.len;
	struct flight *flight = pool_take(flights->context->pool, size);
	uint64_t hash = cache_hash(order->key);

	memset(flight, 0, sizeof(*flight));
	flight->size = size;
	flight->flights = flights;
	flight->kind = kind;
	flight->hash = hash;
	flight->may_keep = order->may_keep;
	flight->map = order->map;
	flight->link = order->link;
	flight->fills_redis = order->fills_redis;
	flight->opened_us = clock_mono_us();
	flight->key_len = order->key.len;
	memcpy(flight->bytes, order->key.at, order->key.len);
	/* The lease comes before the question. */
	flight->lease = cache_lease(flights->context->backends->cache, order->key);
	struct flight **at = &flights->buckets[hash % FLIGHT_BUCKETS];
	flight->chain = *at;
	*at = flight;
	flight->is_on_table = true;
	return flight;
}

void
flight_add_first(struct flight *flight, struct flight_waiter *waiter)
{
	add_waiter(flight, waiter);
}

void
flight_abandon(struct flight *flight)
{
	flight_close(flight);
	blob_unref(flight->landed.bytes);
	pool_give(flight->flights->context->pool, flight, flight->size);
}

/* ---- landing ---- */

void
flight_land(struct flight *flight, const struct fetched *fetched)
{
	flight_close(flight);
	while (flight->first != NULL) {
		struct flight_waiter *waiter = flight->first;
		flight_leave(waiter, false);
		waiter->fetched(waiter, fetched);
	}
}

int64_t
flight_took_ms(const struct flight *flight)
{
	return (clock_mono_us() - flight->opened_us) / 1000;
}

void
flight_leave(struct flight_waiter *waiter, bool is_overdue)
{
	struct flight *flight = waiter->flight;

	if (flight == NULL)
		return;
	*(waiter->prev != NULL ? &waiter->prev->next : &flight->first) = waiter->next;
	*(waiter->next != NULL ? &waiter->next->prev : &flight->last) = waiter->prev;
	waiter->flight = NULL;
	if (is_overdue && flight->kind != FLIGHT_POSTGRES)
		flight_redis_overdue(flight);
}
