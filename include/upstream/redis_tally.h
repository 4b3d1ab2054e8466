/*
 * What a link counts, and what it tells its breaker: failures one by one as
 * they come, successes and latencies a batch of replies at a time, so that an
 * answered call costs no clock, no lock and mostly no histogram.
 *
 * One thread.
 */
#ifndef SIDECAR_UPSTREAM_REDIS_TALLY_H
#define SIDECAR_UPSTREAM_REDIS_TALLY_H

#include "upstream/metrics.h"
#include "upstream/redis_target.h"

struct redis_tally {
	struct redis_metrics *metrics;
	struct breaker *breaker;
	/* The batch of replies that is being read: */
	int64_t now_us; /* the clock; 0: no batch */
	int64_t successes;
	int64_t same_sent_us; /* a run of calls that were sent at the same time: */
	int64_t same_count;   /* their latency is the same, and entered once */
};

/* A reply has come: the time of its batch, read from the clock by the first. */
int64_t redis_tally_now_us(struct redis_tally *tally);
void redis_tally_answer(struct redis_tally *tally, int64_t sent_us);
void redis_tally_success(struct redis_tally *tally);
/* The batch is over: tells the breaker. */
void redis_tally_end(struct redis_tally *tally);

/* `times` failures. The breaker may change, and with it call back: to be
 * called when the caller's own state is in order. */
void redis_tally_failures(struct redis_tally *tally, int64_t times, enum failure_kind kind,
    const char *reason);

/* One line about a connection, at most once a second for all of them: they
 * break together. */
void redis_tally_log(const struct redis_target *target, const char *event, enum failure_kind kind,
    const char *reason);

#endif
