/*
 * Full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015): the
 * n-th wait is a random time between nothing and min(max, first * 2^n), but
 * never less than a tenth of it, so that a random zero is no busy loop.
 * Pure: no clock is read, nothing sleeps.
 */
#ifndef SIDECAR_BASE_BACKOFF_H
#define SIDECAR_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
	int64_t first_ms;
	int64_t max_ms;
	unsigned tries; /* failures since the last backoff_reset() */
	uint64_t random;
};

void backoff_init(struct backoff *backoff, int64_t first_ms, int64_t max_ms, uint64_t seed);
/* How long to wait before the next try; every call counts as a failure. */
int64_t backoff_next_ms(struct backoff *backoff);
void backoff_reset(struct backoff *backoff);

#endif
