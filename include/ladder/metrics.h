/* What the ladder counts, one struct a worker. */
#ifndef SIDECAR_LADDER_METRICS_H
#define SIDECAR_LADDER_METRICS_H

#include "base/metrics.h"

/* As in sidecar_answers_total{rung}. */
enum rung {
	RUNG_MEMORY,
	RUNG_REDIS,
	RUNG_POSTGRES,
	RUNG_STALE,
	RUNG_FREE,
	RUNG_ERROR,
	RUNGS,
};

const char *rung_name(enum rung rung);

struct ladder_metrics {
	counter answers[RUNGS];
	struct histogram seconds[RUNGS];
	counter hits, misses;      /* of memory, by cacheable reads */
	counter refreshes;         /* early, in the background */
	counter invalidated_write; /* keys dropped because of a write here */
	counter invalidated_flush;
};

#endif
