/*
 * Flights to Redis: GET or HGETALL for one key, MGET for many.
 *
 * A row with a valid_until must not be kept past it, and a copy in Redis does
 * not say what it is; but whoever put it there gave it a ttl that ends no
 * later. So for maps whose query names valid_until, PTTL goes right behind
 * the read, and the copy is kept no longer than that. Other maps and other
 * keys cost exactly one command a miss.
 */
#include "ladder/flight_inside.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/resp.h"
#include "ladder/keeper.h"
#include "wire/request.h"

/* One command under way, and the flights that it answers. */
struct ask {
	struct redis_call call;
	struct flights *flights;
	bool is_overdue;
	size_t count;
	struct flight *members[];
};

static size_t
ask_size(size_t count)
{
	return sizeof(struct ask) + count * sizeof(struct flight *);
}

static void
ask_free(struct ask *ask)
{
	pool_give(ask->flights->context->pool, ask, ask_size(ask->count));
}

static bool send_ask(struct flights *flights, struct flight **members, size_t count);

bool
flights_ask_redis(struct flights *flights, const struct flight_order *order,
    struct flight_waiter *waiter)
{
	bool is_many = order->is_many && flights->is_collecting && !order->is_hash;
	enum flight_kind kind = order->is_hash ? FLIGHT_HASH : is_many ? FLIGHT_MGET : FLIGHT_GET;

	if (flight_join(flights, kind, order, waiter))
		return true;
	/* Several keys may also join those who ask for one. */
	if (kind == FLIGHT_MGET && flight_join(flights, FLIGHT_GET, order, waiter))
		return true;

	struct flight *flight = flight_open(flights, kind, order);
	if (is_many) {
		if (flights->many_count == flights->many_room) {
			flights->many_room = flights->many_room > 0 ? flights->many_room * 2 : 64;
			flights->many = alloc_again(flights->many,
			    flights->many_room * sizeof(struct flight *));
		}
		flights->many[flights->many_count++] = flight;
	} else if (!send_ask(flights, &flight, 1)) {
		flight_abandon(flight);
		return false;
	}
	flight_add_first(flight, waiter);
	return true;
}

void
flights_begin_many(struct flights *flights)
{
	flights->is_collecting = true;
}

static void
on_refused_later(struct letter *letter)
{
	struct flight *flight = (struct flight *)((char *)letter - offsetof(struct flight, letter));
	struct fetched failed = { .outcome = FETCH_FAILED };

	flight_land(flight, &failed);
	flight_abandon(flight);
}

void
flights_end_many(struct flights *flights)
{
	size_t count = flights->many_count;

	flights->is_collecting = false;
	flights->many_count = 0;
	if (count == 0 || send_ask(flights, flights->many, count))
		return;
	/* They have been told to wait, so they hear of it from a later turn. */
	for (size_t i = 0; i < count; i++) {
		flights->many[i]->letter.deliver = on_refused_later;
		mailbox_post(flights->context->mailbox, &flights->many[i]->letter);
	}
}

/* ---- asking ---- */

static bool
wants_ttl(const struct flight *flight)
{
	const struct keeper *keeper = flight->flights->context->backends->keeper;

	return flight->may_keep && flight->map != NULL &&
	    (flight->map->has_valid_until ||
		keeper_knows_valid_until(keeper, flight->map->settings));
}

static void on_answered(struct redis_call *call, enum call_result result, struct slice reply);
static void on_ttl(struct redis_call *call, enum call_result result, struct slice reply);

/* Behind the read, on the same link: Redis runs the two in this order. */
static void
ask_ttl(struct flight *flight)
{
	struct slice argv[] = { SLICE("PTTL"), flight_key(flight) };
	struct buf *command = &flight->flights->command;

	buf_reset(command);
	request_append(command, argv, 2);
	flight->ttl_call.done = on_ttl;
	flight->ttl_asked_ms = clock_mono_ms();
	flight->awaits_ttl = links_send(flight->flights->context->links, flight->link,
	    buf_slice(command), &flight->ttl_call);
	if (!flight->awaits_ttl)
		flight->may_keep = false;
}

static struct slice
flight_command(const struct flight *flight)
{
	return flight->kind == FLIGHT_HASH ? SLICE("HGETALL")
	    : flight->kind == FLIGHT_MGET  ? SLICE("MGET")
					   : SLICE("GET");
}

static bool
send_ask(struct flights *flights, struct flight **members, size_t count)
{
	struct ask *ask = pool_take(flights->context->pool, ask_size(count));
	struct buf *command = &flights->command;

	*ask = (struct ask){ .flights = flights, .count = count, .call.done = on_answered };
	buf_reset(command);
	resp_append_header(command, '*', count + 1);
	resp_append_bulk(command, flight_command(members[0]));
	for (size_t i = 0; i < count; i++) {
		resp_append_bulk(command, flight_key(members[i]));
		ask->members[i] = members[i];
		members[i]->ask = ask;
	}
	bool is_sent =
	    links_send(flights->context->links, members[0]->link, buf_slice(command), &ask->call);
	for (size_t i = 0; i < count && is_sent; i++) {
		if (wants_ttl(members[i]))
			ask_ttl(members[i]);
	}
	for (size_t i = 0; i < count && !is_sent; i++)
		members[i]->ask = NULL;
	if (!is_sent)
		ask_free(ask);
	return is_sent;
}

void
flight_redis_overdue(struct flight *flight)
{
	struct ask *ask = flight->ask;

	/* A question of many keys is slow once, not a hundred times. */
	if (ask == NULL || ask->is_overdue)
		return;
	ask->is_overdue = true;
	/* Who comes later asks anew: on a link that works, or to be counted as
	 * one failure more by the breaker. */
	for (size_t i = 0; i < ask->count; i++)
		flight_close(ask->members[i]);
	links_overdue(flight->flights->context->links, flight->link, &ask->call);
}

/* ---- answers ---- */

/* The value at the start of `bytes`, which are whole, and how long it is there. */
static size_t
read_value(struct slice bytes, struct fetched *fetched)
{
	struct resp_scan scan;
	char type;
	int64_t number;
	size_t header;

	fetched->outcome = FETCH_FAILED;
	if (!resp_header(bytes, &type, &number, &header))
		return bytes.len;
	if ((type == '$' || type == '_') && number < 0) {
		fetched->outcome = FETCH_NIL;
		return header;
	}
	if (type == '$' && header + (size_t)number + 2 <= bytes.len) {
		fetched->outcome = FETCH_VALUE;
		fetched->kind = CACHE_STRING;
		fetched->bytes = blob_new(slice_make(bytes.at + header, (size_t)number));
		return header + (size_t)number + 2;
	}
	resp_scan_start(&scan);
	return resp_scan(&scan, bytes) == RESP_WHOLE ? scan.at : bytes.len;
}

/* HGETALL: the fields and values as they stand, without the header. */
static void
read_hash(struct slice reply, struct fetched *fetched)
{
	char type;
	int64_t number;
	size_t header;

	fetched->outcome = FETCH_FAILED;
	if (!resp_header(reply, &type, &number, &header) || (type != '*' && type != '%'))
		return;
	if (number <= 0) {
		fetched->outcome = FETCH_NIL;
		return;
	}
	fetched->outcome = FETCH_VALUE;
	fetched->kind = CACHE_HASH;
	fetched->bytes = blob_new(slice_make(reply.at + header, reply.len - header));
}

static bool
may_remember(const struct flight *flight, const struct fetched *fetched)
{
	bool is_nil = fetched->outcome == FETCH_NIL && flight->map == NULL &&
	    (flight->kind == FLIGHT_GET || flight->kind == FLIGHT_MGET);

	return flight->may_keep && (fetched->outcome == FETCH_VALUE || is_nil);
}

/* The copy that memory may hold is of a key that is gone, or another now. */
static bool
says_it_is_gone(const struct flight *flight, const struct fetched *fetched)
{
	return flight->map == NULL &&
	    (fetched->outcome == FETCH_NIL || fetched->outcome == FETCH_ERROR);
}

static void
settle(struct flight *flight, const struct fetched *fetched)
{
	struct ladder_context *context = flight->flights->context;

	flight->ask = NULL;
	if (fetched->outcome == FETCH_VALUE && flight->awaits_ttl) {
		flight->landed = *fetched;
		blob_ref(fetched->bytes);
	} else if (may_remember(flight, fetched)) {
		fill_memory(context, flight_key(flight), &flight->lease, fetched);
	} else if (says_it_is_gone(flight, fetched)) {
		cache_drop_under(context->backends->cache, flight_key(flight), &flight->lease);
	}
	flight_land(flight, fetched);
	if (!flight->awaits_ttl)
		flight_abandon(flight);
}

static void
settle_all_as(struct ask *ask, const struct fetched *fetched)
{
	for (size_t i = 0; i < ask->count; i++)
		settle(ask->members[i], fetched);
}

static void
settle_values(struct ask *ask, struct slice reply)
{
	struct fetched fetched = { .source = CACHE_FROM_REDIS, .valid_until_ms = TIME_NEVER };
	bool is_list = ask->members[0]->kind == FLIGHT_MGET;
	char type;
	int64_t number;
	size_t at = 0;

	if (is_list &&
	    (!resp_header(reply, &type, &number, &at) || type != '*' ||
		number != (int64_t)ask->count)) {
		fetched.outcome = FETCH_FAILED;
		settle_all_as(ask, &fetched);
		return;
	}
	for (size_t i = 0; i < ask->count; i++) {
		fetched.bytes = NULL;
		/* If it is nil: among many it may also be of another type. */
		fetched.kind = is_list ? CACHE_NO_STRING : CACHE_ABSENT;
		fetched.took_ms = flight_took_ms(ask->members[i]);
		if (ask->members[i]->kind == FLIGHT_HASH)
			read_hash(reply, &fetched);
		else
			at += read_value(slice_make(reply.at + at, reply.len - at), &fetched);
		settle(ask->members[i], &fetched);
		blob_unref(fetched.bytes);
	}
}

static void
on_answered(struct redis_call *call, enum call_result result, struct slice reply)
{
	struct ask *ask = (struct ask *)call;
	struct fetched fetched = { .outcome = FETCH_FAILED };

	if (result != CALL_ANSWERED) {
		settle_all_as(ask, &fetched);
	} else if (reply.at[0] == '-') {
		fetched.outcome = FETCH_ERROR;
		fetched.bytes = blob_new(reply);
		settle_all_as(ask, &fetched);
		blob_unref(fetched.bytes);
	} else {
		settle_values(ask, reply);
	}
	ask_free(ask);
}

static void
on_ttl(struct redis_call *call, enum call_result result, struct slice reply)
{
	struct flight *flight = (struct flight *)((char *)call - offsetof(struct flight, ttl_call));
	char type;
	int64_t ttl_ms;
	size_t header;
	bool is_known =
	    result == CALL_ANSWERED && resp_header(reply, &type, &ttl_ms, &header) && type == ':';

	flight->awaits_ttl = false;
	if (flight->ask != NULL) {
		/* Only when the link broke: the read ends in a moment, unkept. */
		flight->may_keep = false;
		return;
	}
	/* -1: somebody put it there without a ttl, and means it. -2: gone.
	 * The rest counts from the question: the answer may have been under way for long. */
	if (is_known && ttl_ms != -2 && flight->landed.bytes != NULL) {
		flight->landed.valid_until_ms =
		    ttl_ms >= 0 ? flight->ttl_asked_ms + ttl_ms : TIME_NEVER;
		flight->landed.is_validity_exact = false;
		fill_memory(flight->flights->context, flight_key(flight), &flight->lease,
		    &flight->landed);
	}
	flight_abandon(flight);
}
