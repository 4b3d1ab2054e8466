/*
 * Dedicated connections to Redis, for clients whose state needs one: taken
 * for as long as the state lasts, given back clean, kept for the next taker
 * for a while (a TLS handshake a BLPOP would be dear). Those in use are bounded
 * for the whole process, those that wait for each worker (16). Each worker has
 * a pool; one thread.
 *
 * In Redis's CLIENT LIST they have their client's name. One that waits keeps
 * it until somebody else takes it: who blocks again and again is served by the
 * same connection, and none of it costs a command.
 */
#ifndef SIDECAR_LADDER_DEDICATED_H
#define SIDECAR_LADDER_DEDICATED_H

#include "ladder/backends.h"
#include "upstream/metrics.h"
#include "upstream/redis_conn.h"

struct dedicated;
struct dedicated_pool;

/* As in redis_conn_events, but `closed` leaves the connection to be dropped
 * by its holder. */
struct dedicated_events {
	void (*ready)(void *arg);
	void (*reply)(char type, struct slice reply, void *arg);
	void (*closed)(enum failure_kind kind, const char *reason, void *arg);
};

/* What a client has told us of itself, and Redis has to know for it to work. */
struct dedicated_owner {
	const char *name;   /* CLIENT SETNAME; NULL: none */
	bool is_untouching; /* CLIENT NO-TOUCH */
};

struct dedicated_pool *dedicated_pool_new(struct event_base *base, struct evdns_base *dns,
    struct backends *backends, int64_t connect_ms, struct redis_metrics *metrics);
void dedicated_pool_free(struct dedicated_pool *pool); /* all must have been paid back */

/*
 * NULL when `max` are in use in the process. Otherwise ready already
 * (dedicated_is_ready), or `ready` or `closed` comes from a later turn.
 * dedicated_introduce() comes next.
 */
struct dedicated *dedicated_take(struct dedicated_pool *pool, int resp, int64_t max,
    const struct dedicated_owner *owner, const struct dedicated_events *events, void *arg);
/*
 * Appends one command that tells Redis what it does not know of the owner
 * yet; false: there is none (left). The caller sends it and takes its reply,
 * an error as well: NO-TOUCH is new in Redis 7.2.
 */
MUST_CHECK bool dedicated_introduce(struct dedicated *dedicated,
    const struct dedicated_owner *owner, struct buf *out);
/* It has no state, and nothing on it is unanswered. */
void dedicated_give_back(struct dedicated *dedicated);
/* Closes it; NULL is fine. May be called from its events. */
void dedicated_drop(struct dedicated *dedicated);

bool dedicated_is_ready(const struct dedicated *dedicated);
/* Sends and counts `count` commands. */
void dedicated_send(struct dedicated *dedicated, struct slice commands, size_t count);
/* Redis's CLIENT ID of it; 0: not known (yet). */
int64_t dedicated_redis_id(const struct dedicated *dedicated);
size_t dedicated_unsent(const struct dedicated *dedicated);
void dedicated_pause(struct dedicated *dedicated, bool is_paused);

/* Sends what was written; before the loop sleeps. */
void dedicated_flush(struct dedicated_pool *pool);
/* Redis is down: what waits in the pool is closed. */
void dedicated_empty(struct dedicated_pool *pool);

#endif
