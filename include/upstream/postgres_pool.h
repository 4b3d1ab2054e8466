/*
 * The inside of struct postgres, shared by the postgres_*.c files only.
 *
 *   postgres.c         the public face, and the turn in which things happen
 *   postgres_queue.c   lookups that wait, a queue a map
 *   postgres_pool.c    connections, what they are used for, the breaker
 *   postgres_answer.c  a query's result, to its lookups
 *   postgres_canary.c  what a map's query can see
 *   postgres_ids.c     which ids the warm-up is to load
 *
 *   lookup -> [map's queue] -> slot (one query) -> [finished] -> done()
 *                  ^                  |
 *                  +---- halves ------+  an id was bad
 *
 * Calls and events only move things along this line and ask for a turn; the
 * turn, run by the loop right after them, sends, connects and delivers.
 */
#ifndef SIDECAR_UPSTREAM_POSTGRES_POOL_H
#define SIDECAR_UPSTREAM_POSTGRES_POOL_H

#include <stdatomic.h>

#include "base/backoff.h"
#include "upstream/metrics.h"
#include "upstream/postgres_batch.h"
#include "upstream/postgres_conn.h"
#include "upstream/postgres_ids.h"

#define CANARY_TEXT_SIZE 256

/* One [map NAME], of this configuration or one before. Never freed before the
 * pool, so that any thread may walk the list. */
struct pg_map {
	struct pg_map *next; /* fixed once it is in the list */
	struct postgres *pool;
	const struct map_settings *map;
	_Atomic bool has_valid_until;

	struct lookup *first, *last; /* waiting, oldest first */
	enum id_kind id_kind;
	bool is_blind; /* row security hides every row: a missing one proves nothing */

	int64_t canary_at_ms; /* when to look again; TIME_NEVER: no need */
	int64_t canary_ran_ms;
	char canary_said[CANARY_TEXT_SIZE]; /* not to be said twice */
	int64_t error_logged_ms, time_logged_ms;
};

enum slot_use {
	SLOT_CONNECTING,
	SLOT_IDLE,
	SLOT_LOOKUP, /* a batch is under way */
	SLOT_PROBE,  /* SELECT 1, half-open */
	SLOT_CANARY,
	SLOT_IDS,
	SLOT_CANCELLING, /* nobody waits for what it does any more */
};

/* A connection and what it is used for. */
struct pg_slot {
	struct pg_slot *next;
	struct postgres *pool;
	struct postgres_conn *conn;
	enum slot_use use;
	int64_t since_ms; /* in this use */
	int64_t sent_us;
	struct pg_map *asked; /* SLOT_LOOKUP */
	struct id_batch batch;
};

/* What the breaker wants of us. */
enum stance { STANCE_NONE, STANCE_OPEN, STANCE_PROBE, STANCE_SERVE };

enum canary_step { CANARY_QUERY, CANARY_KIND, CANARY_PLAN, CANARY_TABLE, CANARY_ROWS };

#define CANARY_RELATIONS 8

/* The one map that is being looked at. */
struct canary {
	struct pg_map *map; /* NULL: none */
	enum canary_step step;
	bool is_under_way; /* a query of it */
	struct canary_relation {
		char *quoted; /* "public"."profiles", as SQL takes it */
		char *plain;  /* public.profiles, as people write it */
	} relations[CANARY_RELATIONS];
	size_t relation_count, relation_at;
	bool has_row_security; /* relations[relation_at] */
	char role[64];
	/* Of the relations so far; index or -1. */
	int blind, empty;
	bool is_seen;
};

struct postgres {
	struct event_base *base;
	struct evdns_base *dns;
	const struct settings *settings;
	struct breaker *breaker;
	struct postgres_metrics *metrics;
	struct postgres_target *target; /* NULL: no usable URL */
	struct canceller *canceller;
	bool is_closing;

	struct event *turn;
	struct event *wake; /* for what is due later */
	enum stance stance;

	_Atomic(struct pg_map *) maps;
	struct pg_map *turn_of; /* whose queue was served last */
	struct deadlines *deadlines;
	size_t waiting;
	unsigned splits;
	struct lookup *finished, **finished_last;

	struct pg_slot *slots;
	size_t slot_count;
	struct backoff backoff;
	int64_t connect_at_ms; /* not before */
	int probes_answered;
	int64_t starved_ms;

	struct canary canary;

	struct id_query *ids, *ids_done; /* waiting or asked; to be handed back */
	bool are_ids_asked;
};

/* postgres.c */
void postgres_turn_soon(struct postgres *pool);
void postgres_finish(struct postgres *pool, struct lookup *lookup, enum lookup_result result);

/* postgres_queue.c */
struct pg_map *queue_of_map(struct postgres *pool, const struct map_settings *map);
void queue_add(struct pg_map *queue, struct lookup *lookup);
/* The next map in turn with lookups waiting, or NULL. */
struct pg_map *queue_next(struct postgres *pool);
/* Moves what may share one query from the queue to the batch; drops what is late. */
void queue_take(struct pg_map *queue, struct id_batch *batch, int64_t now_ms);
/* Both halves of the batch go back to the front, to be asked separately. */
void queue_split(struct pg_map *queue, struct id_batch *batch);
void queue_fail_all(struct postgres *pool);
void batch_finish(struct postgres *pool, struct id_batch *batch, enum lookup_result result);

/* postgres_pool.c */
void pool_follow_breaker(struct postgres *pool);
void pool_work(struct postgres *pool, int64_t now_ms);
void pool_close_all(struct postgres *pool);
/* `budget_ms` 0: that of the settings. */
void pool_send(struct pg_slot *slot, enum slot_use use, const char *sql, const char *parameter,
    int64_t budget_ms);
void pool_failed(struct postgres *pool, enum failure_kind kind, const char *reason);
/* A lookup's time ran out in the queue. */
void pool_note_late(struct postgres *pool);
/* When pool_work() should be called again; TIME_NEVER. */
int64_t pool_next_ms(const struct postgres *pool);

/* postgres_answer.c */
struct answer_counts {
	size_t found;     /* ids */
	size_t bad_times; /* ids whose valid_until makes no sense */
	int valid_until;  /* its column, or -1 */
};
/* Which column is named valid_until and not id or (MAP_STRING) value; or -1. */
int answer_valid_until(const PGresult *result, int map_type);
/*
 * Sets result, value and valid_until_ms of every lookup in the batch. False,
 * and nothing set: these are no rows of id and value.
 */
MUST_CHECK bool answer_read(const PGresult *result, int map_type, struct id_batch *batch,
    struct answer_counts *counts);
/* A batch was answered, well or with an error. */
void answer_take(struct pg_slot *slot, const PGresult *result);

/* postgres_ids.c */
bool ids_wait(const struct postgres *pool);
void ids_ask(struct pg_slot *slot);
void ids_answered(struct pg_slot *slot, const PGresult *result);
void ids_lost(struct postgres *pool, bool was_overdue, const char *reason);
void ids_fail_waiting(struct postgres *pool);
void ids_deliver(struct postgres *pool);

/* postgres_canary.c */
void canary_restart(struct postgres *pool, int64_t now_ms);
/* Whether the map should be looked at again, soon but not all the time. */
void canary_doubt(struct pg_map *map);
/* Whether it has something to ask now. */
bool canary_wants(struct postgres *pool, int64_t now_ms);
void canary_ask(struct pg_slot *slot);
void canary_answered(struct pg_slot *slot, const PGresult *result);
/* Its query was cancelled, or its connection lost. */
void canary_lost(struct postgres *pool, bool was_overdue);
void canary_found_rows(struct pg_map *map);
int64_t canary_next_ms(const struct postgres *pool);
void canary_free(struct canary *canary);
/* Collects the relations named in EXPLAIN (FORMAT JSON, VERBOSE). */
void canary_read_plan(const char *json, struct canary *canary);

#endif
