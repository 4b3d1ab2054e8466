/*
 * A worker: one thread with an event loop, its clients, its links to Redis
 * and its flights. Workers share the backends (ladder/backends.h) and nothing
 * else.
 */
#ifndef SIDECAR_RUN_WORKER_H
#define SIDECAR_RUN_WORKER_H

#include "front/metrics.h"

struct peer;
struct tls_stream;
struct worker;

struct worker *worker_new(struct backends *backends, struct census *census,
    const struct rules *rules);
/* Starts the thread. False: errno says why. */
MUST_CHECK bool worker_start(struct worker *worker);
const struct worker_metrics *worker_metrics(const struct worker *worker);
struct front *worker_front(const struct worker *worker);
struct ladder_context *worker_ladder(struct worker *worker);

/* Any thread, until worker_join(). */
void worker_add_client(struct worker *worker, int fd, int64_t id, const struct peer *peer,
    struct tls_stream *tls);
void worker_set_rules(struct worker *worker, const struct rules *rules);
void worker_redis_changed(struct worker *worker);
/* Frees a block, so that its heap shrinks: see giveback.h. */
void worker_give_back(struct worker *worker);
/* Asks it to turn its loop once. False: it has not done so since the last time.
 * Main thread, while it is started and does not drain. */
MUST_CHECK bool worker_poke(struct worker *worker);
/* Answers what is in flight, closes its clients, and ends; at `until_ms`
 * (monotonic) at the latest. */
void worker_drain(struct worker *worker, int64_t until_ms);

/* Whether it has drained; any thread. */
bool worker_is_done(const struct worker *worker);
/* Waits for the thread's end after worker_drain(). */
void worker_join(struct worker *worker);
/*
 * The end, in three steps, because climbs go from Redis to Postgres and come
 * back: after worker_join() and the keeper's stop, worker_shut() ends what is
 * under way to Redis; then the keeper is freed, which ends what is under way
 * to Postgres; then worker_free().
 */
void worker_shut(struct worker *worker);
void worker_free(struct worker *worker);

#endif
