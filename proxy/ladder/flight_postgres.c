/*
 * Flights to Postgres. The pool is the keeper's: a flight travels to its
 * thread as a letter, and comes back as one. In between nobody else touches
 * its `lookup`; waiters may join and leave. The flights of one loop turn
 * leave together, so that the ids of one MGET share a query.
 */
#include <ctype.h>
#include <stddef.h>

#include "base/clock.h"
#include "ladder/flight_inside.h"
#include "ladder/keeper.h"

static struct flight *
flight_of_letter(struct letter *letter)
{
	return (struct flight *)((char *)letter - offsetof(struct flight, letter));
}

/* ---- the keeper's thread ---- */

static void on_back(struct letter *letter);

static void
on_looked_up(struct lookup *lookup)
{
	struct flight *flight = (struct flight *)((char *)lookup - offsetof(struct flight, lookup));

	flight->letter.deliver = on_back;
	mailbox_post(flight->flights->context->mailbox, &flight->letter);
}

static void
on_there(struct letter *letter)
{
	struct flight *flight = flight_of_letter(letter);

	keeper_lookup(flight->flights->context->backends->keeper, &flight->lookup);
}

/* ---- the worker's thread ---- */

/* Postgres prints a uuid in lower case, and rows are found by what it prints. */
static void
copy_id(struct flight *flight, const struct flight_order *order)
{
	char *id = flight->bytes + flight->key_len;

	for (size_t i = 0; i < order->id.len; i++) {
		char c = order->id.at[i];
		id[i] = order->map->id_type == ID_UUID ? (char)tolower((unsigned char)c) : c;
	}
	flight->lookup.id = slice_make(id, order->id.len);
}

bool
flights_ask_postgres(struct flights *flights, const struct flight_order *order,
    struct flight_waiter *waiter)
{
	struct ladder_context *context = flights->context;

	if (flight_join(flights, FLIGHT_POSTGRES, order, waiter))
		return true;
	struct flight *flight = flight_open(flights, FLIGHT_POSTGRES, order);
	copy_id(flight, order);
	flight->lookup.map = order->map->settings;
	flight->lookup.due_ms = clock_mono_ms() + context->rules->settings->postgres.budget_ms;
	flight->lookup.done = on_looked_up;
	flight->letter.deliver = on_there;
	flight_add_first(flight, waiter);
	flight->letter.next = NULL;
	*flights->leaving_last = &flight->letter;
	flights->leaving_last = &flight->letter.next;
	return true;
}

void
flights_flush(struct flights *flights)
{
	struct letter *first = flights->leaving;

	flights->leaving = NULL;
	flights->leaving_last = &flights->leaving;
	if (first != NULL)
		keeper_post_all(flights->context->backends->keeper, first);
}

static void
judge_row(const struct lookup *lookup, const struct map *map, struct fetched *fetched)
{
	int64_t left_ms = lookup->valid_until_ms - clock_wall_ms();

	fetched->bytes = lookup->value;
	fetched->kind = map->settings->type == MAP_HASH ? CACHE_HASH : CACHE_STRING;
	fetched->is_validity_exact = true;
	if (lookup->valid_until_ms == TIME_NEVER) {
		fetched->outcome = FETCH_VALUE;
		fetched->valid_until_ms = TIME_NEVER;
	} else {
		fetched->outcome = left_ms > 0 ? FETCH_VALUE : FETCH_OVER;
		fetched->valid_until_ms = clock_mono_ms() + left_ms;
	}
}

static void
on_back(struct letter *letter)
{
	struct flight *flight = flight_of_letter(letter);
	struct ladder_context *context = flight->flights->context;
	struct fetched fetched = {
		.source = CACHE_FROM_POSTGRES,
		.took_ms = flight_took_ms(flight),
		.is_validity_exact = true,
	};

	if (flight->lookup.result == LOOKUP_FOUND)
		judge_row(&flight->lookup, flight->map, &fetched);
	else
		fetched.outcome =
		    flight->lookup.result == LOOKUP_MISSING ? FETCH_MISSING : FETCH_FAILED;
	if (flight->may_keep)
		fill_memory(context, flight_key(flight), &flight->lease, &fetched);
	if (fetched.outcome == FETCH_VALUE && flight->fills_redis)
		fill_redis(context, flight_key(flight), &flight->lease, &fetched, flight->link);
	flight_land(flight, &fetched);
	flight_abandon(flight);
	blob_unref(fetched.bytes);
}
