/*
 * Coherence: how memory hears that a key has changed in Redis by somebody
 * else's hand. One RESP3 connection, the keeper's.
 *
 *   tracking   CLIENT TRACKING ON BCAST: Redis says which keys were written
 *   broadcast  sidecars PUBLISH what they drop, and subscribe (Upstash)
 *   ttl        neither: a copy is good for its ttl
 *
 * `auto` takes the first that Redis allows. While the connection is lost
 * entries live out their ttl; when it is back, what was filled before counts
 * as stale and is asked for again when next read.
 *
 * Tracking also tells of our own fills. Redis merges what happens to a key in
 * one turn of its loop into one message, so such a message cannot just be
 * ignored: the key is read once more, and dropped if it is another value.
 *
 * The keeper's thread, but for the functions marked otherwise.
 */
#ifndef SIDECAR_LADDER_COHERENCE_H
#define SIDECAR_LADDER_COHERENCE_H

#include "ladder/backends.h"
#include "upstream/metrics.h"

struct coherence;
struct event_base;
struct evdns_base;

struct coherence *coherence_new(struct event_base *base, struct evdns_base *dns,
    struct backends *backends, const struct rules *rules, struct redis_metrics *metrics);
void coherence_free(struct coherence *coherence);

/* After a reload; the old ones stay until exit. */
void coherence_set_rules(struct coherence *coherence, const struct rules *rules);
/* Redis has gone, or is back. */
void coherence_on_breaker(struct coherence *coherence);
/* Sends what coherence_publish() has gathered. */
void coherence_flush(struct coherence *coherence);

/* ---- any thread ---- */

/* The mode in force: COHERENCE_TTL while the connection is lost. */
enum coherence_mode coherence_mode_now(const struct coherence *coherence);
/* A key was written here: the other sidecars are to drop it. True: the
 * keeper has to be told to flush. SLICE_NONE: all keys. */
MUST_CHECK bool coherence_publish(struct coherence *coherence, struct slice key);
/* A fill of this key is being sent to Redis. */
void coherence_note_fill(struct coherence *coherence, struct slice key);
/* It has changed nothing. */
void coherence_forget_fill(struct coherence *coherence, struct slice key);
/* Keys dropped because somebody else had written them. */
int64_t coherence_invalidations(const struct coherence *coherence);

#endif
