/*
 * The keeper: the one thread that looks after both backends. It owns the
 * Postgres pool, asks a backend that is down whether it is back, and unlinks
 * the journal's keys in Redis before Redis counts as up again.
 *
 *   redis OPEN --its time is over--> connect, PING
 *     -> CLIENT KILL ID of connections given up while something on them was
 *        unanswered (a hung Redis still runs what lies in its buffers)
 *     -> UNLINK what the journal holds -> PING, PING -> CLOSED
 *
 * Where CLIENT KILL is refused, journaled keys stay off Redis for a grace
 * time and are unlinked once more at its end.
 */
#ifndef SIDECAR_LADDER_KEEPER_H
#define SIDECAR_LADDER_KEEPER_H

#include "ladder/backends.h"
#include "upstream/metrics.h"
#include "upstream/postgres.h"
#include "upstream/postgres_ids.h"

struct event_base;
struct keeper;

/* Makes it with an event loop of its own; the caller runs the loop on a
 * thread of its own by keeper_run(). backends->keeper is set. */
struct keeper *keeper_new(struct backends *backends, const struct rules *rules);
void keeper_run(struct keeper *keeper);  /* until keeper_stop(); blocks */
void keeper_stop(struct keeper *keeper); /* any thread */
/* After keeper_run() has returned: lookups under way end as failed. */
void keeper_free(struct keeper *keeper);

/* Any thread. */
void keeper_post_all(struct keeper *keeper, struct letter *first); /* see base/mailbox.h */
void keeper_on_breaker(struct keeper *keeper, struct breaker *breaker);
void keeper_add_orphan(struct keeper *keeper, int64_t client_id);
void keeper_journal_changed(struct keeper *keeper);
/* A key was written here, SLICE_NONE: all were; other sidecars are told. */
void keeper_publish(struct keeper *keeper, struct slice key);
/* A fill of this key is about to be sent to Redis. */
void keeper_note_fill(struct keeper *keeper, struct slice key);
/* It has changed nothing there: what Redis tells of the key is news. */
void keeper_forget_fill(struct keeper *keeper, struct slice key);
enum coherence_mode keeper_coherence(const struct keeper *keeper);
int64_t keeper_invalidations(const struct keeper *keeper);
/* Whether Postgres's announcements are listened to; keys dropped for one. */
bool keeper_hears_rows(const struct keeper *keeper);
int64_t keeper_changed_rows(const struct keeper *keeper);
void keeper_set_rules(struct keeper *keeper, const struct rules *rules);
const struct postgres_metrics *keeper_postgres_metrics(const struct keeper *keeper);
const struct redis_metrics *keeper_redis_metrics(const struct keeper *keeper);
bool keeper_has_met_redis(const struct keeper *keeper); /* it has answered at least once */
/* Redis's own, as it was met last; before that the one that this program was made with. */
void keeper_redis_version(const struct keeper *keeper, char *version, size_t size);
/* Whether the map's query was seen to give a valid_until. */
bool keeper_knows_valid_until(const struct keeper *keeper, const struct map_settings *map);

/* The keeper's thread only, from a letter. */
void keeper_lookup(struct keeper *keeper, struct lookup *lookup);
void keeper_read_ids(struct keeper *keeper, struct id_query *query);

#endif
