/* What warm.c and warm_load.c share; nobody else. */
#ifndef SIDECAR_LADDER_WARM_INSIDE_H
#define SIDECAR_LADDER_WARM_INSIDE_H

#include <stdatomic.h>

#include "ladder/keeper.h"
#include "ladder/warm.h"

struct warm {
	struct ladder_context *context;
	_Atomic int state;
	_Atomic bool is_settled;
	_Atomic int64_t done, total;

	struct letter start;
	struct letter errand; /* to the keeper for the ids, and back */
	struct id_query query;
	struct deadline look; /* what it waits for, see on_look() */
	struct deadline ready_by;
	struct warm_waiter *waiters;
	int64_t waits_logged_ms;
	bool is_ended;

	/* Of this run: */
	const struct rules *rules;
	const struct map *map;
	const char *next_id; /* in query.ids */
	size_t left;
	struct link_choice link;
	int64_t began_ms, logged_ms, evictions;
	size_t waiting; /* keys under way, and one for the batch that is being asked */
	bool has_failures, is_full;
	int64_t room;   /* how many keys may be new to memory */
	struct buf key; /* of the id at hand */
};

/* ---- warm.c ---- */
void warm_finish(struct warm *warm);
void warm_give_up(struct warm *warm, const char *problem);
/* Nobody waits for it any longer, but it is tried again. */
void warm_wait(struct warm *warm, const char *problem);
void warm_look_in(struct warm *warm, int64_t wait_ms);

/* ---- warm_load.c ---- */
/* The ids are there. From the loop, and again while it waits for Redis. */
void warm_load(struct warm *warm);

#endif
