/* See dedicated.h. */
#include "ladder/dedicated.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "wire/request.h"

#define MAX_IDLE 16               /* a worker, either protocol version */
#define IDLE_MS 20000             /* before Upstash closes it */
#define NO_NAME "sidecar-session" /* of a client that has none */

struct dedicated {
	struct dedicated *next; /* in pool->idle */
	struct dedicated *next_dirty;
	struct dedicated_pool *pool;
	struct redis_conn *conn;
	char *opened_as, *renamed; /* the greeting reads the first; NULL: not renamed */
	int resp;
	bool is_untouching; /* Redis has been told so */
	bool is_idle, is_dirty, was_ready;
	int64_t idle_since_ms;
	struct dedicated_events events;
	void *arg;
};

struct dedicated_pool {
	struct event_base *base;
	struct evdns_base *dns;
	struct backends *backends;
	int64_t connect_ms;
	struct redis_metrics *metrics;
	struct dedicated *idle, *dirty;
	size_t idle_count;
};

struct dedicated_pool *
dedicated_pool_new(struct event_base *base, struct evdns_base *dns, struct backends *backends,
    int64_t connect_ms, struct redis_metrics *metrics)
{
	struct dedicated_pool *pool = alloc_zero(sizeof(*pool));

	pool->base = base;
	pool->dns = dns;
	pool->backends = backends;
	pool->connect_ms = connect_ms;
	pool->metrics = metrics;
	return pool;
}

void
dedicated_pool_free(struct dedicated_pool *pool)
{
	if (pool == NULL)
		return;
	dedicated_empty(pool);
	free(pool);
}

/* ---- the connection's events ---- */

static void
on_ready(struct redis_conn *conn, void *arg)
{
	struct dedicated *dedicated = arg;

	(void)conn;
	dedicated->was_ready = true;
	dedicated->events.ready(dedicated->arg);
}

static void
on_reply(struct redis_conn *conn, char type, struct slice reply, void *arg)
{
	struct dedicated *dedicated = arg;

	(void)conn;
	if (dedicated->is_idle) /* nobody asked: this is no connection to trust */
		dedicated_drop(dedicated);
	else
		dedicated->events.reply(type, reply, dedicated->arg);
}

static void
on_closed(struct redis_conn *conn, enum failure_kind kind, const char *reason, void *arg)
{
	struct dedicated *dedicated = arg;

	(void)conn;
	if (dedicated->is_idle) {
		dedicated_drop(dedicated); /* idle connections come and go */
		return;
	}
	counter_add(&dedicated->pool->metrics->errors[kind], 1);
	/* Redis hangs up on who subscribes and is silent, or is killed by name:
	 * a Redis that is gone is noticed by the next who connects. */
	if (!dedicated->was_ready || kind != FAILURE_LOST)
		breaker_failed(dedicated->pool->backends->redis, clock_mono_ms(), kind, reason);
	dedicated->events.closed(kind, reason, dedicated->arg);
}

/* ---- taking and giving back ---- */

static void
take_off_idle(struct dedicated *dedicated)
{
	struct dedicated **at = &dedicated->pool->idle;

	while (*at != dedicated)
		at = &(*at)->next;
	*at = dedicated->next;
	dedicated->pool->idle_count--;
	dedicated->is_idle = false;
}

static const char *
name_of(const struct dedicated_owner *owner)
{
	return owner->name != NULL ? owner->name : NO_NAME;
}

static bool
is_named(const struct dedicated *dedicated, const char *name)
{
	return strcmp(dedicated->renamed != NULL ? dedicated->renamed : dedicated->opened_as,
		   name) == 0;
}

/* Best of all one that has the name already. */
static struct dedicated *
find_idle(struct dedicated_pool *pool, int resp, const struct dedicated_owner *owner)
{
	int64_t oldest_ms = clock_mono_ms() - IDLE_MS;
	struct dedicated *found = NULL;

	for (struct dedicated *d = pool->idle, *next; d != NULL; d = next) {
		next = d->next;
		if (d->idle_since_ms < oldest_ms)
			dedicated_drop(d);
		else if (d->resp == resp && (found == NULL || is_named(d, name_of(owner))))
			found = d;
	}
	if (found != NULL)
		take_off_idle(found);
	return found;
}

static struct dedicated *
dedicated_new(struct dedicated_pool *pool, int resp, const struct dedicated_owner *owner)
{
	static const struct redis_conn_events events = {
		.ready = on_ready,
		.reply = on_reply,
		.closed = on_closed,
	};
	char *name = slice_dup(slice_of(name_of(owner)));
	struct redis_conn_options options = {
		.resp_version = resp,
		.database = -1,
		.client_name = name,
		.connect_ms = pool->connect_ms,
		.commands = &pool->metrics->commands,
	};
	struct dedicated *dedicated = alloc_zero(sizeof(*dedicated));

	dedicated->pool = pool;
	dedicated->opened_as = name;
	dedicated->resp = resp;
	dedicated->conn = redis_conn_new(pool->base, pool->dns, pool->backends->redis_target,
	    &options, &events, dedicated);
	return dedicated;
}

struct dedicated *
dedicated_take(struct dedicated_pool *pool, int resp, int64_t max,
    const struct dedicated_owner *owner, const struct dedicated_events *events, void *arg)
{
	struct dedicated *dedicated;

	if (atomic_fetch_add(&pool->backends->dedicated, 1) >= max) {
		atomic_fetch_sub(&pool->backends->dedicated, 1);
		return NULL;
	}
	dedicated = find_idle(pool, resp, owner);
	if (dedicated == NULL)
		dedicated = dedicated_new(pool, resp, owner);
	dedicated->events = *events;
	dedicated->arg = arg;
	return dedicated;
}

bool
dedicated_introduce(struct dedicated *dedicated, const struct dedicated_owner *owner,
    struct buf *out)
{
	const char *name = name_of(owner);
	struct slice words[] = { SLICE("CLIENT"), SLICE("SETNAME"), slice_of(name) };

	if (!is_named(dedicated, name)) {
		free(dedicated->renamed);
		dedicated->renamed = slice_dup(words[2]);
	} else if (dedicated->is_untouching != owner->is_untouching) {
		dedicated->is_untouching = owner->is_untouching;
		words[1] = SLICE("NO-TOUCH");
		words[2] = owner->is_untouching ? SLICE("ON") : SLICE("OFF");
	} else {
		return false;
	}
	request_append(out, words, 3);
	return true;
}

void
dedicated_give_back(struct dedicated *dedicated)
{
	struct dedicated_pool *pool = dedicated->pool;

	if (pool->idle_count >= MAX_IDLE || !redis_conn_is_ready(dedicated->conn)) {
		dedicated_drop(dedicated);
		return;
	}
	redis_conn_pause(dedicated->conn, false);
	atomic_fetch_sub(&pool->backends->dedicated, 1);
	dedicated->is_idle = true;
	dedicated->idle_since_ms = clock_mono_ms();
	dedicated->next = pool->idle;
	pool->idle = dedicated;
	pool->idle_count++;
}

void
dedicated_drop(struct dedicated *dedicated)
{
	if (dedicated == NULL)
		return;
	if (dedicated->is_idle)
		take_off_idle(dedicated);
	else
		atomic_fetch_sub(&dedicated->pool->backends->dedicated, 1);
	if (dedicated->is_dirty) {
		struct dedicated **at = &dedicated->pool->dirty;
		while (*at != dedicated)
			at = &(*at)->next_dirty;
		*at = dedicated->next_dirty;
	}
	redis_conn_free(dedicated->conn);
	free(dedicated->opened_as);
	free(dedicated->renamed);
	free(dedicated);
}

void
dedicated_empty(struct dedicated_pool *pool)
{
	while (pool->idle != NULL)
		dedicated_drop(pool->idle);
}

/* ---- sending ---- */

bool
dedicated_is_ready(const struct dedicated *dedicated)
{
	return redis_conn_is_ready(dedicated->conn);
}

void
dedicated_send(struct dedicated *dedicated, struct slice commands, size_t count)
{
	redis_conn_write(dedicated->conn, commands);
	counter_add(&dedicated->pool->metrics->commands, (int64_t)count);
	if (dedicated->is_dirty)
		return;
	dedicated->is_dirty = true;
	dedicated->next_dirty = dedicated->pool->dirty;
	dedicated->pool->dirty = dedicated;
}

int64_t
dedicated_redis_id(const struct dedicated *dedicated)
{
	return redis_conn_is_ready(dedicated->conn) ? redis_conn_client_id(dedicated->conn) : 0;
}

size_t
dedicated_unsent(const struct dedicated *dedicated)
{
	return redis_conn_unsent(dedicated->conn);
}

void
dedicated_pause(struct dedicated *dedicated, bool is_paused)
{
	redis_conn_pause(dedicated->conn, is_paused);
}

void
dedicated_flush(struct dedicated_pool *pool)
{
	while (pool->dirty != NULL) {
		struct dedicated *dedicated = pool->dirty;
		pool->dirty = dedicated->next_dirty;
		dedicated->is_dirty = false;
		redis_conn_flush(dedicated->conn);
	}
}
