/* See server.h. */
#include "run/server.h"

#include <errno.h>
#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/random.h"
#include "front/admin.h"
#include "front/listener.h"
#include "front/tls_stream.h"
#include "ladder/keeper.h"
#include "ladder/limits.h"
#include "ladder/warm.h"
#include "run/giveback.h"
#include "run/notify.h"
#include "run/preflight.h"
#include "run/restore.h"
#include "run/server_inside.h"
#include "run/worker.h"
#include "wire/reply.h"

#define DRAIN_LOOK_MS 10

/* ---- backends going down and coming back ---- */

/* Called by whichever thread saw it happen. */
static void
on_breaker(struct breaker *breaker, enum breaker_state before, enum breaker_state after,
    const char *reason, void *arg)
{
	struct server *server = arg;

	(void)before;
	outage_log_change(&server->outages, breaker, breaker == server->backends.redis, after,
	    reason);
	if (breaker == server->backends.redis && after != BREAKER_HALF_OPEN) {
		for (size_t i = 0; i < server->census.worker_count; i++)
			worker_redis_changed(server->workers[i]);
	}
	keeper_on_breaker(server->backends.keeper, breaker);
}

/* ---- making the parts ---- */

static void
make_backends(struct server *server)
{
	const struct settings *settings = server_settings(server);
	struct breaker_policy policy = server_breaker_policy(settings);
	struct cache_limits limits = server_cache_limits(settings);
	uint64_t seeds[2];

	random_bytes(seeds, sizeof(seeds));
	server->backends.cache = cache_new(&limits);
	server->snapshot = restore_snapshot(&server->backends, settings);
	server->backends.limits = limits_new();
	server->backends.warm = warm_new(settings);
	limits_set(server->backends.limits, settings->limits.per_user, settings->limits.per_ip);
	server->backends.redis = breaker_new("redis", &policy, seeds[0], on_breaker, server);
	server->backends.postgres = breaker_new("postgres", &policy, seeds[1], on_breaker, server);
	keeper_new(&server->backends, &server->rules->rules);
}

/* The keeper wants to know whether the journal holds keys of an earlier run. */
static bool
make_journal(struct server *server, char *error, size_t size)
{
	const struct settings *settings = server_settings(server);
	const char *path = settings->ladder.journal;

	server->backends.journal = journal_new((size_t)settings->ladder.max_journal_keys);
	return path[0] == '\0' || journal_open(server->backends.journal, path, error, size);
}

static void
make_workers(struct server *server)
{
	size_t count = (size_t)server_settings(server)->server.thread_count;

	server->workers = alloc_zero(count * sizeof(*server->workers));
	server->metrics = alloc_zero(count * sizeof(*server->metrics));
	server->fronts = alloc_zero(count * sizeof(*server->fronts));
	for (size_t i = 0; i < count; i++) {
		server->workers[i] =
		    worker_new(&server->backends, &server->census, &server->rules->rules);
		server->metrics[i] = worker_metrics(server->workers[i]);
		server->fronts[i] = worker_front(server->workers[i]);
	}
	server->census.backends = &server->backends;
	server->census.snapshot = server->snapshot;
	server->census.workers = server->metrics;
	server->census.clients_given = alloc_zero(count * sizeof(counter));
	server->census.fronts = server->fronts;
	server->census.worker_count = count;
	server->census.started_ms = clock_mono_ms();
	warm_attach(server->backends.warm, worker_ladder(server->workers[0]));
}

/* ---- listening ---- */

/* It is told when it can be, and goes in any case. */
static void
refuse_client(int fd, bool is_plain)
{
	static const char full[] = "-ERR max number of clients reached\r\n";

	if (is_plain) {
		ssize_t sent = send(fd, full, sizeof(full) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		(void)sent;
	}
	close(fd);
}

static void
add_client(struct server *server, int fd, const struct peer *peer, SSL_CTX *context)
{
	struct census *census = &server->census;

	if (census_clients(census) >= server->most_clients) {
		counter_add(&census->clients_refused, 1);
		refuse_client(fd, context == NULL);
		return;
	}
	struct tls_stream *tls = context != NULL ? tls_stream_new(context, fd) : NULL;
	if (context != NULL && tls == NULL) {
		close(fd);
		return;
	}
	size_t at = census_emptiest(census, server->last_worker);
	/* Counted here, by the one who decides; the worker counts who has gone. */
	counter_add(&census->clients_given[at], 1);
	worker_add_client(server->workers[at], fd, census_clients_ever(census), peer, tls);
	server->last_worker = at;
}

static void
on_tcp_client(int fd, const struct peer *peer, void *arg)
{
	struct server *server = arg;

	add_client(server, fd, peer, server->tls);
}

/* The file's owner says who may come in; nobody listens on the way. */
static void
on_socket_client(int fd, const struct peer *peer, void *arg)
{
	add_client(arg, fd, peer, NULL);
}

static bool
start_listening(struct server *server, char *error, size_t size)
{
	const struct settings *settings = server_settings(server);

	server->admin = admin_new(server->base, &server->census, settings->admin.address,
	    (int)settings->admin.port, error, size);
	if (server->admin == NULL)
		return false;
	server->tcp = listener_tcp(server->base, settings->listen.address,
	    (int)settings->listen.port, on_tcp_client, server, error, size);
	if (server->tcp == NULL)
		return false;
	if (settings->listen.socket[0] != '\0') {
		server->local = listener_unix(server->base, settings->listen.socket,
		    on_socket_client, server, error, size);
		if (server->local == NULL)
			return false;
	}
	return true;
}

static void
stop_listening(struct server *server)
{
	listener_free(server->tcp);
	listener_free(server->local);
	server->tcp = server->local = NULL;
}

static void
drain_workers(struct server *server)
{
	int64_t until_ms = clock_mono_ms() + server_settings(server)->server.drain_ms;

	for (size_t i = 0; i < server->started_workers; i++)
		worker_drain(server->workers[i], until_ms);
}

static void
start_timer(struct event *timer)
{
	struct timeval wait = { 0, DRAIN_LOOK_MS * 1000 };

	event_add(timer, &wait);
}

/* ---- signals ---- */

static void
on_stop_signal(evutil_socket_t signal, short what, void *arg)
{
	struct server *server = arg;

	(void)what;
	if (atomic_exchange(&server->census.is_draining, true))
		return;
	log_info("%s: draining", signal == SIGTERM ? "SIGTERM" : "SIGINT");
	notify_stopping(server->notify);
	/* The kernel has taken them in for us; some have asked already. */
	listener_finish(server->tcp);
	listener_finish(server->local);
	stop_listening(server);
	drain_workers(server);
	start_timer(server->drain_timer);
}

/* The admin port answers until the last worker is done. */
static void
on_drain_timer(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	(void)fd, (void)what;
	for (size_t i = 0; i < server->started_workers; i++) {
		if (!worker_is_done(server->workers[i])) {
			start_timer(server->drain_timer);
			return;
		}
	}
	event_base_loopbreak(server->base);
}

static void
on_reload_signal(evutil_socket_t signal, short what, void *arg)
{
	struct server *server = arg;

	(void)signal, (void)what;
	notify_reloading(server->notify);
	server_reload(server);
	notify_ready(server->notify);
}

/* Those that we catch: held back before there is somebody to take them, and
 * from the end on, so that another one does not spoil the exit. */
static void
hold_signals(bool are_held)
{
	sigset_t ours;

	sigemptyset(&ours);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGHUP);
	pthread_sigmask(are_held ? SIG_BLOCK : SIG_UNBLOCK, &ours, NULL);
}

static void
catch_signals(struct server *server)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit of the journal's size is no reason to die */
	server->signals[0] = evsignal_new(server->base, SIGTERM, on_stop_signal, server);
	server->signals[1] = evsignal_new(server->base, SIGINT, on_stop_signal, server);
	server->signals[2] = evsignal_new(server->base, SIGHUP, on_reload_signal, server);
	for (int i = 0; i < MAX_SIGNALS; i++)
		event_add(server->signals[i], NULL);
	server->drain_timer = event_new(server->base, -1, 0, on_drain_timer, server);
}

/* ---- running ---- */

static void *
run_keeper(void *arg)
{
	keeper_run(arg);
	return NULL;
}

/* Signals belong to the main thread. */
static bool
start_threads(struct server *server, char *error, size_t size)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int problem =
	    pthread_create(&server->keeper_thread, NULL, run_keeper, server->backends.keeper);
	server->has_keeper_thread = problem == 0;
	while (problem == 0 && server->started_workers < server->census.worker_count) {
		if (!worker_start(server->workers[server->started_workers]))
			problem = errno;
		else
			server->started_workers++;
	}
	problem = problem != 0 ? problem : snapshot_start(server->snapshot);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (problem != 0)
		snprintf(error, size, "cannot start a thread: %s", strerror(problem));
	return problem == 0;
}

static void
stop_threads(struct server *server)
{
	if (!atomic_exchange(&server->census.is_draining, true))
		drain_workers(server); /* it never served: there is nothing to wait for */
	for (size_t i = 0; i < server->started_workers; i++)
		worker_join(server->workers[i]);
	if (server->has_keeper_thread) {
		keeper_stop(server->backends.keeper);
		pthread_join(server->keeper_thread, NULL);
	}
	snapshot_stop(server->snapshot); /* nobody changes memory any more */
}

static void
free_all(struct server *server)
{
	warm_end(server->backends.warm);
	for (size_t i = 0; i < server->census.worker_count; i++)
		worker_shut(server->workers[i]);
	keeper_free(server->backends.keeper);
	for (size_t i = 0; i < server->census.worker_count; i++)
		worker_free(server->workers[i]);
	free(server->workers);
	free(server->metrics);
	free(server->fronts);
	free(server->census.clients_given);
	admin_free(server->admin);
	notify_free(server->notify);
	giveback_free(server->giveback);
	for (int i = 0; i < MAX_SIGNALS; i++) {
		if (server->signals[i] != NULL)
			event_free(server->signals[i]);
	}
	if (server->drain_timer != NULL)
		event_free(server->drain_timer);
	event_base_free(server->base);
	snapshot_free(server->snapshot);
	cache_free(server->backends.cache);
	journal_free(server->backends.journal);
	limits_free(server->backends.limits);
	warm_free(server->backends.warm);
	breaker_free(server->backends.redis);
	breaker_free(server->backends.postgres);
	redis_target_free(server->backends.redis_target);
	SSL_CTX_free(server->tls);
	for (struct rules_age *age = server->rules, *older; age != NULL; age = older) {
		older = age->older;
		maps_free(age->rules.maps);
		settings_free((struct settings *)age->rules.settings);
		free(age);
	}
	outage_log_end(&server->outages);
	free(server);
}

static bool
set_up(struct server *server, char *error, size_t size, int *code)
{
	struct preflight found;

	*code = EXIT_BAD_USAGE;
	if (!preflight_make(server_settings(server), &found, error, size))
		return false;
	*code = EXIT_CANNOT_START;
	preflight_say(server_settings(server), &found);
	server->tls = found.tls;
	server->backends.redis_target = found.redis_target;
	server->backends.has_postgres = found.has_postgres;
	server->most_clients = preflight_descriptors(server_settings(server)->listen.max_clients);
	if (!make_journal(server, error, size))
		return false;
	make_backends(server);
	make_workers(server);
	server->giveback = giveback_new(server->base, server->workers, server->census.worker_count);
	server->notify = notify_new(server->base, &server->census, server->workers);
	catch_signals(server);
	if (!start_listening(server, error, size) || !start_threads(server, error, size))
		return false;
	warm_start(server->backends.warm);
	return true;
}

int
server_run(struct settings *settings, const struct arguments *arguments)
{
	struct server *server = alloc_zero(sizeof(*server));
	char error[512];
	int code = 0;

	log_setup((enum log_level)settings->server.log_level,
	    (enum log_format)settings->server.log_format);
	hash_init();
	outage_log_init(&server->outages);
	hold_signals(true);
	server->arguments = arguments;
	server_add_rules(server, settings);
	server->base = event_base_new();
	if (server->base == NULL)
		abort();
	if (set_up(server, error, sizeof(error), &code)) {
		log_info("sidecar %s serves on %s:%d with %zu threads", SIDECAR_VERSION,
		    settings->listen.address, (int)settings->listen.port,
		    server->census.worker_count);
		notify_ready(server->notify);
		hold_signals(false);
		event_base_dispatch(server->base);
		hold_signals(true);
		code = 0;
	} else {
		fprintf(stderr, "%s\n", error);
	}
	stop_listening(server);
	stop_threads(server);
	free_all(server);
	if (code == 0)
		log_info("stopped");
	return code;
}
