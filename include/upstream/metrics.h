/*
 * What upstream counts. One struct redis_metrics a worker, one struct
 * postgres_metrics in all; each written by its own thread.
 */
#ifndef SIDECAR_UPSTREAM_METRICS_H
#define SIDECAR_UPSTREAM_METRICS_H

#include "base/metrics.h"
#include "upstream/breaker.h"

struct redis_metrics {
	struct histogram seconds; /* from send to reply */
	counter commands;         /* sent, handshakes and PINGs included: what is billed */
	counter errors[FAILURE_KINDS];
};

struct postgres_metrics {
	struct histogram seconds;
	counter queries;
	counter query_errors; /* SQL errors: kind="query" */
	counter errors[FAILURE_KINDS];
	counter pool_size;   /* connections open */
	counter pool_in_use; /* with a query under way */
	struct sizes batch_ids;
};

#endif
