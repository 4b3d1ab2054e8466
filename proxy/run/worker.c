/* See worker.h. */
#include "run/worker.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "front/client.h"
#include "front/tls_stream.h"
#include "ladder/dedicated.h"
#include "ladder/flight.h"
#include "ladder/keeper.h"
#include "upstream/resolve.h"

#define DRAIN_LOOK_MS 10           /* how often a draining worker looks whether it is done */
#define GIVE_BACK_BYTES (64 << 10) /* from so many on, glibc looks at its heap's free end */
#define GOODBYE_MS 200             /* for clients to hang up themselves, once all is sent */

struct worker {
	pthread_t thread;
	struct event_base *base;
	struct evdns_base *dns;
	struct mailbox *mailbox;
	struct ladder_context ladder;
	struct dedicated_pool *dedicated;
	struct front *front;
	struct worker_metrics metrics;

	struct letter drain;
	struct event *drain_timer;
	int64_t drain_by_ms; /* as ordered; the worker reads it with the letter */
	int64_t drain_until_ms, goodbye_until_ms;
	_Atomic bool is_done;

	struct letter poke;
	_Atomic bool is_poked; /* and has not turned its loop since */
};

static void
on_orphaned(int64_t client_id, void *arg)
{
	struct worker *worker = arg;

	keeper_add_orphan(worker->ladder.backends->keeper, client_id);
}

static void on_drain_timer(evutil_socket_t fd, short what, void *arg);

struct worker *
worker_new(struct backends *backends, struct census *census, const struct rules *rules)
{
	/* Metrics stand on a cache line of their own. */
	struct worker *worker = aligned_alloc(64, (sizeof(*worker) + 63) / 64 * 64);
	const struct settings *settings = rules->settings;

	if (worker == NULL)
		abort();
	memset(worker, 0, sizeof(*worker));
	worker->base = event_base_new();
	if (worker->base == NULL)
		abort();
	worker->dns = resolve_base_new(worker->base);
	worker->mailbox = mailbox_new(worker->base);
	worker->drain_timer = event_new(worker->base, -1, EV_PERSIST, on_drain_timer, worker);
	worker->ladder = (struct ladder_context){
		.mailbox = worker->mailbox,
		.backends = backends,
		.rules = rules,
		.deadlines = deadlines_new(worker->base),
		.metrics = &worker->metrics.ladder,
		.pool = pool_new(POOL_BLOCK_BYTES, POOL_KEEPS),
	};
	random_bytes(&worker->ladder.random, sizeof(worker->ladder.random));
	worker->ladder.flights = flights_new(&worker->ladder);
	worker->ladder.links = links_new(worker->base, worker->dns, backends->redis_target,
	    (unsigned)settings->redis.connections, backends_connect_ms(settings), backends->redis,
	    &worker->metrics.redis, on_orphaned, worker);
	worker->dedicated = dedicated_pool_new(worker->base, worker->dns, backends,
	    backends_connect_ms(settings), &worker->metrics.redis);
	worker->front =
	    front_new(worker->base, &worker->ladder, worker->dedicated, census, &worker->metrics);
	return worker;
}

struct front *
worker_front(const struct worker *worker)
{
	return worker->front;
}

struct ladder_context *
worker_ladder(struct worker *worker)
{
	return &worker->ladder;
}

const struct worker_metrics *
worker_metrics(const struct worker *worker)
{
	return &worker->metrics;
}

/* What was answered and what is to be asked leaves before the loop sleeps:
 * one write for all that one turn has brought together. */
static void *
run(void *arg)
{
	struct worker *worker = arg;

	while (!worker->is_done) {
		event_base_loop(worker->base, EVLOOP_ONCE);
		front_flush(worker->front); /* may let paused clients ask for more */
		links_flush(worker->ladder.links);
		flights_flush(worker->ladder.flights);
		dedicated_flush(worker->dedicated);
	}
	mailbox_close(worker->mailbox);
	flights_flush(worker->ladder.flights);
	return NULL;
}

bool
worker_start(struct worker *worker)
{
	int error = pthread_create(&worker->thread, NULL, run, worker);

	errno = error;
	return error == 0;
}

/* ---- letters from the main thread ---- */

struct worker_letter {
	struct letter letter;
	struct worker *worker;
	int fd;
	int64_t id;
	struct peer peer;
	struct tls_stream *tls;
	const struct rules *rules;
};

static void
post(struct worker *worker, struct worker_letter what, void (*deliver)(struct letter *letter))
{
	struct worker_letter *letter = alloc(sizeof(*letter));

	*letter = what;
	letter->letter.deliver = deliver;
	letter->worker = worker;
	mailbox_post(worker->mailbox, &letter->letter);
}

static void
on_client(struct letter *letter)
{
	struct worker_letter *what = (struct worker_letter *)letter;

	if (what->worker->drain_until_ms != 0) { /* accepted in the moment that we stopped */
		tls_stream_free(what->tls);
		close(what->fd);
		counter_add(&what->worker->metrics.clients_gone, 1);
	} else {
		front_add_client(what->worker->front, what->fd, what->id, &what->peer, what->tls);
	}
	free(what);
}

void
worker_add_client(struct worker *worker, int fd, int64_t id, const struct peer *peer,
    struct tls_stream *tls)
{
	post(worker, (struct worker_letter){ .fd = fd, .id = id, .peer = *peer, .tls = tls },
	    on_client);
}

static void
on_rules(struct letter *letter)
{
	struct worker_letter *what = (struct worker_letter *)letter;

	what->worker->ladder.rules = what->rules;
	free(what);
}

void
worker_set_rules(struct worker *worker, const struct rules *rules)
{
	post(worker, (struct worker_letter){ .rules = rules }, on_rules);
}

static void
on_redis_changed(struct letter *letter)
{
	struct worker_letter *what = (struct worker_letter *)letter;

	links_on_breaker(what->worker->ladder.links);
	dedicated_empty(what->worker->dedicated);
	free(what);
}

void
worker_redis_changed(struct worker *worker)
{
	post(worker, (struct worker_letter){ .fd = -1 }, on_redis_changed);
}

static void
on_give_back(struct letter *letter)
{
	struct worker *worker = ((struct worker_letter *)letter)->worker;

	free(letter);
	pool_trim(worker->ladder.pool);
	free(alloc(GIVE_BACK_BYTES));
}

void
worker_give_back(struct worker *worker)
{
	post(worker, (struct worker_letter){ .fd = -1 }, on_give_back);
}

static void
on_poke(struct letter *letter)
{
	struct worker *worker = (struct worker *)((char *)letter - offsetof(struct worker, poke));

	atomic_store(&worker->is_poked, false);
}

bool
worker_poke(struct worker *worker)
{
	if (atomic_exchange(&worker->is_poked, true))
		return false;
	worker->poke.deliver = on_poke;
	mailbox_post(worker->mailbox, &worker->poke);
	return true;
}

/* ---- draining ---- */

static void
on_drain_timer(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	int64_t now_ms = clock_mono_ms();

	(void)fd, (void)what;
	if (front_owed(worker->front) == 0 && worker->goodbye_until_ms == 0)
		worker->goodbye_until_ms = now_ms + GOODBYE_MS;
	bool is_over = now_ms >= worker->drain_until_ms ||
	    (worker->goodbye_until_ms != 0 && now_ms >= worker->goodbye_until_ms);
	if (front_clients(worker->front) == 0 || is_over) {
		front_drop_all(worker->front);
		event_del(worker->drain_timer);
		worker->is_done = true;
	}
}

static void
on_drain(struct letter *letter)
{
	struct worker *worker = (struct worker *)((char *)letter - offsetof(struct worker, drain));
	struct timeval often = { 0, DRAIN_LOOK_MS * 1000 };

	worker->drain_until_ms = worker->drain_by_ms;
	front_drain(worker->front);
	event_add(worker->drain_timer, &often);
	on_drain_timer(-1, 0, worker);
}

void
worker_drain(struct worker *worker, int64_t until_ms)
{
	worker->drain_by_ms = until_ms;
	worker->drain.deliver = on_drain;
	mailbox_post(worker->mailbox, &worker->drain);
}

bool
worker_is_done(const struct worker *worker)
{
	return atomic_load(&((struct worker *)worker)->is_done);
}

void
worker_join(struct worker *worker)
{
	pthread_join(worker->thread, NULL);
}

void
worker_shut(struct worker *worker)
{
	links_shut(worker->ladder.links);
	mailbox_close(worker->mailbox); /* what that has set free goes to the keeper */
	flights_flush(worker->ladder.flights);
}

void
worker_free(struct worker *worker)
{
	if (worker == NULL)
		return;
	/* The last letters first: flights that have come home from Postgres. */
	mailbox_free(worker->mailbox);
	links_free(worker->ladder.links);
	front_free(worker->front);
	dedicated_pool_free(worker->dedicated);
	flights_free(worker->ladder.flights);
	deadlines_free(worker->ladder.deadlines);
	pool_free(worker->ladder.pool);
	event_free(worker->drain_timer);
	/* A cancelled query says so once more before its base may go. */
	event_base_loop(worker->base, EVLOOP_NONBLOCK);
	resolve_base_free(worker->dns);
	event_base_free(worker->base);
	free(worker);
}
