/* See coherence.h. The messages' contents are coherence_message.c's. */
#include "ladder/coherence.h"

#include <assert.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "ladder/coherence_message.h"
#include "ladder/coherence_shared.h"
#include "ladder/drop_again.h"
#include "ladder/verifier.h"
#include "upstream/redis_conn.h"
#include "wire/request.h"

#define FIRST_RETRY_MS 100
#define MAX_RETRY_MS 5000
#define PING_S 25 /* an idle listener is closed by Upstash, and by NATs */
#define CLIENT_NAME "sidecar-coherence"

enum coherence_state {
	LISTENER_CLOSED, /* Redis is down, or a retry is due */
	AWAIT_READY,
	AWAIT_TRACKING,
	AWAIT_SUBSCRIBED,
	LISTENING,
	LISTENER_OFF, /* ttl: wanted, or nothing else is to be had */
};

struct coherence {
	struct event_base *base;
	struct evdns_base *dns;
	struct backends *backends;
	struct redis_metrics *metrics;
	const struct rules *rules;
	struct redis_conn *conn;
	struct event *timer; /* retry, keepalive, or what is awaited has not come */
	struct backoff backoff;
	enum coherence_state state;
	enum coherence_mode wanted;
	_Atomic int mode; /* in force */
	_Atomic int64_t invalidations;
	struct verifier *verifier;
	struct drop_again *again;
	char origin[17];
	struct outbox *outbox; /* what other sidecars are to drop */
	struct own_fills *own_fills;
};

static void
set_timer(struct coherence *coherence, int64_t wait_ms)
{
	struct timeval wait = { wait_ms / 1000, wait_ms % 1000 * 1000 };

	event_add(coherence->timer, &wait);
}

static void
enter(struct coherence *coherence, enum coherence_state state)
{
	assert(state != AWAIT_TRACKING || coherence->state == AWAIT_READY);
	coherence->state = state;
	int64_t wait_ms =
	    state == LISTENING ? PING_S * 1000 : backends_connect_ms(coherence->rules->settings);
	if (state > AWAIT_READY && state <= LISTENING) /* a connection has its own until then */
		set_timer(coherence, wait_ms);
}

/* ---- sending ---- */

static void
send_out(struct coherence *coherence, struct slice command)
{
	redis_conn_write(coherence->conn, command);
	redis_conn_flush(coherence->conn);
	counter_add(&coherence->metrics->commands, 1);
}

static void
send_out_for_verifier(struct slice command, void *arg)
{
	struct coherence *coherence = arg;

	if (coherence->state == LISTENING)
		send_out(coherence, command);
}

static void
ask(struct coherence *coherence, const struct slice *argv, size_t argc)
{
	struct buf command = BUF_EMPTY;

	request_append(&command, argv, argc);
	send_out(coherence, buf_slice(&command));
	buf_free(&command);
}

static void
start_tracking(struct coherence *coherence)
{
	struct slice argv[COHERENCE_TRACKING_WORDS];
	size_t argc =
	    coherence_tracking_words(slice_of(coherence->rules->settings->cache.keys), argv);

	enter(coherence, AWAIT_TRACKING);
	ask(coherence, argv, argc);
}

static void
start_broadcast(struct coherence *coherence)
{
	struct slice argv[] = { SLICE("SUBSCRIBE"), SLICE(COHERENCE_CHANNEL) };

	enter(coherence, AWAIT_SUBSCRIBED);
	ask(coherence, argv, 2);
}

/* ---- up, down, off ---- */

static void
turn_off(struct coherence *coherence, const char *why)
{
	log_info("coherence=ttl: %s", why);
	enter(coherence, LISTENER_OFF);
	redis_conn_free(coherence->conn);
	coherence->conn = NULL;
	event_del(coherence->timer);
}

static void
listen_now(struct coherence *coherence, enum coherence_mode mode)
{
	backoff_reset(&coherence->backoff);
	enter(coherence, LISTENING);
	/* What came while nobody told us may have changed since. */
	cache_distrust(coherence->backends->cache, clock_mono_ms());
	coherence->mode = (int)mode;
	log_info("coherence=%s", settings_coherence_name((int)mode));
}

static void
lose(struct coherence *coherence)
{
	redis_conn_free(coherence->conn);
	coherence->conn = NULL;
	coherence->mode = COHERENCE_TTL;
	verifier_clear(coherence->verifier);
	enter(coherence, LISTENER_CLOSED);
	if (backends_redis_allows(coherence->backends))
		set_timer(coherence, backoff_next_ms(&coherence->backoff));
	else
		event_del(coherence->timer);
}

static void
on_refused(struct coherence *coherence, struct slice error)
{
	if (coherence->state == AWAIT_TRACKING && coherence->wanted == COHERENCE_AUTO) {
		start_broadcast(coherence);
		return;
	}
	char why[96];
	snprintf(why, sizeof(why), "Redis refuses %s (%.*s)",
	    coherence->state == AWAIT_TRACKING ? "CLIENT TRACKING" : "SUBSCRIBE",
	    (int)(error.len > 40 ? 40 : error.len - 2), error.at + 1);
	turn_off(coherence, why);
}

/* ---- what Redis says ---- */

/*
 * Redis holds copies of mapped keys, and says the same of one that was
 * revoked, that has expired, or that another sidecar has filled. So the next
 * read asks again; but where nobody can be asked, the last known copy is still
 * better than none. Of any other key Redis has the only truth.
 */
static void
forget(struct slice key, void *arg)
{
	struct coherence *coherence = arg;
	struct slice id;

	if (maps_find(coherence->rules->maps, key, &id) != NULL)
		cache_expire(coherence->backends->cache, key);
	else
		cache_drop(coherence->backends->cache, key);
	coherence->invalidations++;
}

static void
on_changed_key(struct slice key, void *arg)
{
	struct coherence *coherence = arg;

	if (own_fills_take(coherence->own_fills, key, clock_mono_ms())) {
		verifier_suspect(coherence->verifier, key);
		return;
	}
	forget(key, coherence);
}

/* Somebody else's drop; and once more, for replicas that lag. */
static void
on_published_key(struct slice key, void *arg)
{
	struct coherence *coherence = arg;

	cache_drop(coherence->backends->cache, key);
	coherence->invalidations++;
	drop_again_add(coherence->again, key);
}

static void
on_push(struct coherence *coherence, struct slice push)
{
	struct coherence_message message;

	coherence_read(push, &message);
	switch (message.kind) {
	case MESSAGE_INVALIDATE:
		coherence_each_key(message.keys, on_changed_key, coherence);
		break;
	case MESSAGE_INVALIDATE_ALL:
		coherence->invalidations += cache_drop_all(coherence->backends->cache);
		break;
	case MESSAGE_PUBLISHED:
		if (slice_equal(message.origin, slice_of(coherence->origin)))
			break;
		if (message.is_all)
			coherence->invalidations += cache_drop_all(coherence->backends->cache);
		else
			coherence_each_key(message.keys, on_published_key, coherence);
		break;
	case MESSAGE_SUBSCRIBED:
		if (coherence->state == AWAIT_SUBSCRIBED)
			listen_now(coherence, COHERENCE_BROADCAST);
		break;
	case MESSAGE_OTHER:
		break;
	}
}

static void
on_reply(struct redis_conn *conn, char type, struct slice reply, void *arg)
{
	struct coherence *coherence = arg;

	(void)conn;
	if (type == '>')
		on_push(coherence, reply);
	else if (coherence->state == LISTENING)
		verifier_answered(coherence->verifier, reply);
	else if (type == '-')
		on_refused(coherence, reply);
	else if (coherence->state == AWAIT_TRACKING)
		listen_now(coherence, COHERENCE_TRACKING);
}

static void
on_ready(struct redis_conn *conn, void *arg)
{
	struct coherence *coherence = arg;

	(void)conn;
	if (coherence->wanted == COHERENCE_BROADCAST)
		start_broadcast(coherence);
	else
		start_tracking(coherence);
}

static void
on_closed(struct redis_conn *conn, enum failure_kind kind, const char *reason, void *arg)
{
	struct coherence *coherence = arg;

	(void)conn;
	log_debug("coherence: connection lost: %s", reason);
	/* A server without RESP3 has no tracking, and no pushes either. */
	if (kind == FAILURE_PROTOCOL && coherence->state == AWAIT_READY)
		turn_off(coherence, "Redis does not speak RESP3");
	else
		lose(coherence);
}

/* ---- connecting ---- */

static void
connect_now(struct coherence *coherence)
{
	static const struct redis_conn_events events = {
		.ready = on_ready,
		.reply = on_reply,
		.closed = on_closed,
	};
	struct redis_conn_options options = {
		.resp_version = 3,
		.database = -1,
		.client_name = CLIENT_NAME,
		.connect_ms = backends_connect_ms(coherence->rules->settings),
		.commands = &coherence->metrics->commands,
	};

	if (coherence->state != LISTENER_CLOSED || !backends_redis_allows(coherence->backends))
		return;
	enter(coherence, AWAIT_READY);
	coherence->conn = redis_conn_new(coherence->base, coherence->dns,
	    coherence->backends->redis_target, &options, &events, coherence);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const struct slice ping[] = { SLICE_INIT("PING") };
	struct coherence *coherence = arg;

	(void)fd, (void)what;
	if (coherence->state <= AWAIT_READY) {
		connect_now(coherence);
	} else if (coherence->state != LISTENING || verifier_is_waiting(coherence->verifier)) {
		lose(coherence); /* the last one was never answered */
	} else {
		verifier_note_ping(coherence->verifier);
		ask(coherence, ping, 1);
		set_timer(coherence, PING_S * 1000);
	}
}

void
coherence_on_breaker(struct coherence *coherence)
{
	if (coherence->state == LISTENER_OFF)
		return;
	if (backends_redis_allows(coherence->backends))
		connect_now(coherence);
	else if (coherence->state != LISTENER_CLOSED)
		lose(coherence);
}

void
coherence_set_rules(struct coherence *coherence, const struct rules *rules)
{
	const char *before = coherence->rules->settings->cache.keys;
	bool tracks_others = strcmp(before, rules->settings->cache.keys) != 0;

	coherence->rules = rules;
	verifier_set_maps(coherence->verifier, rules->maps);
	if (tracks_others && coherence->conn != NULL) { /* it is told once a connection */
		lose(coherence);
		connect_now(coherence);
	}
}

struct coherence *
coherence_new(struct event_base *base, struct evdns_base *dns, struct backends *backends,
    const struct rules *rules, struct redis_metrics *metrics)
{
	struct coherence *coherence = alloc_zero(sizeof(*coherence));
	uint64_t random;

	random_bytes(&random, sizeof(random));
	coherence->base = base;
	coherence->dns = dns;
	coherence->backends = backends;
	coherence->rules = rules;
	coherence->metrics = metrics;
	coherence->wanted = (enum coherence_mode)rules->settings->cache.coherence;
	coherence->mode = COHERENCE_TTL;
	coherence->state = coherence->wanted == COHERENCE_TTL ? LISTENER_OFF : LISTENER_CLOSED;
	coherence->timer = event_new(base, -1, 0, on_timer, coherence);
	coherence->verifier = verifier_new(base, backends->cache, rules->maps,
	    &(struct verifier_calls){ send_out_for_verifier, forget, coherence });
	coherence->again = drop_again_new(base, backends->cache);
	snprintf(coherence->origin, sizeof(coherence->origin), "%016" PRIx64, random);
	backoff_init(&coherence->backoff, FIRST_RETRY_MS, MAX_RETRY_MS, random);
	coherence->outbox = outbox_new();
	coherence->own_fills = own_fills_new();
	connect_now(coherence);
	return coherence;
}

void
coherence_free(struct coherence *coherence)
{
	if (coherence == NULL)
		return;
	redis_conn_free(coherence->conn);
	event_free(coherence->timer);
	verifier_free(coherence->verifier);
	drop_again_free(coherence->again);
	outbox_free(coherence->outbox);
	own_fills_free(coherence->own_fills);
	free(coherence);
}

/* ---- any thread ---- */

enum coherence_mode
coherence_mode_now(const struct coherence *coherence)
{
	return (enum coherence_mode)atomic_load_explicit(&((struct coherence *)coherence)->mode,
	    memory_order_relaxed);
}

int64_t
coherence_invalidations(const struct coherence *coherence)
{
	return atomic_load(&((struct coherence *)coherence)->invalidations);
}

void
coherence_note_fill(struct coherence *coherence, struct slice key)
{
	if (coherence_mode_now(coherence) == COHERENCE_TRACKING)
		own_fills_add(coherence->own_fills, key, clock_mono_ms());
}

void
coherence_forget_fill(struct coherence *coherence, struct slice key)
{
	bool was_there = own_fills_take(coherence->own_fills, key, clock_mono_ms());

	(void)was_there; /* or its five seconds are over */
}

bool
coherence_publish(struct coherence *coherence, struct slice key)
{
	return coherence_mode_now(coherence) == COHERENCE_BROADCAST &&
	    outbox_add(coherence->outbox, key);
}

/* One PUBLISH for all that was dropped since the last. */
void
coherence_flush(struct coherence *coherence)
{
	struct buf text = BUF_EMPTY;

	buf_printf(&text, "%s ", coherence->origin);
	bool has_news = outbox_take(coherence->outbox, &text);
	struct slice argv[] = { SLICE("PUBLISH"), SLICE(COHERENCE_CHANNEL), buf_slice(&text) };
	if (has_news && coherence->state == LISTENING && coherence->mode == COHERENCE_BROADCAST)
		ask(coherence, argv, 3);
	buf_free(&text);
}
