/*
 * What one worker counts, and the census of all: who wants a figure of the
 * whole process adds the workers' up.
 */
#ifndef SIDECAR_FRONT_METRICS_H
#define SIDECAR_FRONT_METRICS_H

#include "ladder/backends.h"
#include "ladder/limits.h"
#include "ladder/metrics.h"
#include "store/snapshot.h"
#include "upstream/metrics.h"

/* As in sidecar_requests_total{class}. */
enum request_class { REQUEST_READ, REQUEST_WRITE, REQUEST_SESSION, REQUEST_LOCAL, REQUEST_CLASSES };

struct front;

struct worker_metrics {
	_Alignas(64) struct ladder_metrics ladder;
	struct redis_metrics redis;
	counter requests[REQUEST_CLASSES];
	counter limited[LIMIT_SCOPES];
	counter clients_gone;
};

/* Made before the threads start; counters in it are shared by them. */
struct census {
	struct backends *backends;
	struct snapshot *snapshot; /* NULL: none */
	const struct worker_metrics *const *workers;
	struct front *const *fronts; /* of the same workers, in the same order */
	size_t worker_count;
	int64_t started_ms;      /* monotonic */
	counter *clients_given;  /* to each worker; counted by the main thread */
	counter clients_refused; /* for want of a place */
	_Atomic bool is_draining;
};

/* Clients of worker `at`: those that were given to it and have not gone. */
int64_t census_clients_of(const struct census *census, size_t at);
/* Of all. */
int64_t census_clients(const struct census *census);
/* All that ever were. */
int64_t census_clients_ever(const struct census *census);
/* The worker with the fewest clients; of several, the first behind `last`. */
size_t census_emptiest(const struct census *census, size_t last);

/* The sum of one counter, by its offset in struct worker_metrics. */
int64_t census_sum(const struct census *census, size_t offset);
#define CENSUS_SUM(census, field) census_sum(census, offsetof(struct worker_metrics, field))

#endif
