/*
 * Counters and histograms. Each is written by one thread only and read by
 * any: a relaxed load and store, which costs what a plain increment costs.
 * A worker has its own struct; the admin page adds them up when scraped.
 */
#ifndef SIDECAR_BASE_METRICS_H
#define SIDECAR_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

typedef _Atomic int64_t counter;

static inline void
counter_add(counter *c, int64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
	    memory_order_relaxed);
}

static inline void
counter_set(counter *c, int64_t n)
{
	atomic_store_explicit(c, n, memory_order_relaxed);
}

static inline int64_t
counter_get(const counter *c)
{
	return atomic_load_explicit((counter *)c, memory_order_relaxed);
}

/* Latencies in microseconds, in buckets of 1, 2, 5, 10, 25 ... 10,000,000, and one at
 * 200,000, so that the alert there is exact. */
#define HISTOGRAM_BUCKETS 23
extern const int64_t histogram_bounds_us[HISTOGRAM_BUCKETS];

struct histogram {
	counter buckets[HISTOGRAM_BUCKETS + 1]; /* the last: beyond all bounds */
	counter sum;
};

void histogram_add(struct histogram *h, int64_t value_us);
void histogram_add_many(struct histogram *h, int64_t value_us, int64_t times);

/* The time that so many percent of the calls in `counts` (by bucket) stayed
 * below, as if they lay evenly within a bucket; -1 when there were none. */
int64_t histogram_percentile_us(const int64_t counts[HISTOGRAM_BUCKETS + 1], int percent);

/* Sizes (ids in a batch): buckets 1, 2, 4 ... 65536. */
#define SIZES_BUCKETS 17
struct sizes {
	counter buckets[SIZES_BUCKETS + 1];
	counter sum;
};

void sizes_add(struct sizes *s, int64_t value);

#endif
