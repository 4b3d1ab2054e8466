/* What the process is made of; for server.c and server_reload.c. Nobody
 * else's business. Main thread. */
#ifndef SIDECAR_RUN_SERVER_INSIDE_H
#define SIDECAR_RUN_SERVER_INSIDE_H

#include <pthread.h>

#include "front/metrics.h"
#include "run/arguments.h"
#include "run/outage_log.h"

typedef struct ssl_ctx_st SSL_CTX;

#define MAX_SIGNALS 3

struct admin;
struct event;
struct event_base;
struct giveback;
struct listener;
struct notify;
struct snapshot;
struct worker;

struct server {
	const struct arguments *arguments;
	struct event_base *base;
	struct event *signals[MAX_SIGNALS], *drain_timer;
	struct listener *tcp, *local;
	int64_t most_clients; /* of max_clients, those that there is room for */
	SSL_CTX *tls;         /* of clients to come, on the port; NULL: plain */
	struct admin *admin;
	struct notify *notify;
	struct giveback *giveback;

	/* The newest first; the others stay, for requests that began under them. */
	struct rules_age {
		struct rules rules;
		struct rules_age *older;
	} * rules;

	struct backends backends;
	struct snapshot *snapshot; /* NULL: none is kept */
	struct outage_log outages;
	struct census census;
	struct worker **workers;
	const struct worker_metrics **metrics;
	struct front **fronts;
	size_t last_worker; /* that was given a client */
	pthread_t keeper_thread;
	bool has_keeper_thread;
	size_t started_workers;
};

/* ---- server_reload.c ---- */
void server_add_rules(struct server *server, struct settings *settings);
const struct settings *server_settings(const struct server *server);
struct breaker_policy server_breaker_policy(const struct settings *settings);
struct cache_limits server_cache_limits(const struct settings *settings);
/* Reads the settings again, and what they name. All of it is good, or nothing
 * changes; either way the log says so. */
void server_reload(struct server *server);

#endif
