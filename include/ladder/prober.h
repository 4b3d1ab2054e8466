/*
 * The keeper's own connection to Redis: says whether Redis is back, and puts
 * right there what went wrong meanwhile. A run is
 *
 *   connect -> INFO -> CLIENT KILL ID ... -> UNLINK ... (-> PING PING) -> idle
 *
 * and is either a probe (the breaker is HALF_OPEN and hears the verdict) or,
 * while the breaker is CLOSED, a repair. One thread: the keeper's.
 */
#ifndef SIDECAR_LADDER_PROBER_H
#define SIDECAR_LADDER_PROBER_H

#include "ladder/backends.h"
#include "ladder/redis_identity.h"
#include "upstream/metrics.h"

struct event_base;
struct evdns_base;
struct prober;

struct prober_times {
	int64_t connect_ms; /* until Redis has greeted, and for KILL and UNLINK */
	int64_t ping_ms;    /* slower counts as down */
};

/* run_ended: a run is over, well or not; from the event loop. */
struct prober *prober_new(struct event_base *base, struct evdns_base *dns,
    struct backends *backends, const struct prober_times *times, struct redis_metrics *metrics,
    void (*run_ended)(void *arg), void *arg);
void prober_free(struct prober *prober);
void prober_set_times(struct prober *prober, const struct prober_times *times);

/* A connection was given up while something on it was unanswered. 0: Redis
 * never told its id. */
void prober_add_orphan(struct prober *prober, int64_t client_id);

/* Starts a run unless one is under way. The caller has moved the breaker to
 * HALF_OPEN for a probe. */
void prober_probe(struct prober *prober);
void prober_repair(struct prober *prober);
/* Ends a run under way without a verdict (the breaker was forced). */
void prober_stop(struct prober *prober);

/* When it wants to be called again by prober_repair() though nothing new has
 * happened: the end of a grace time, a retry. TIME_NEVER: no wish. */
int64_t prober_repair_at(const struct prober *prober, int64_t now_ms);

/* Whether Redis has answered at least once. Any thread. */
bool prober_has_met_redis(const struct prober *prober);
/* Which Redis answered last; lives as long as the prober. Any thread. */
struct redis_identity *prober_redis(const struct prober *prober);

#endif
