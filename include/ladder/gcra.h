/*
 * The generic cell rate algorithm (ITU-T I.371): how often something may
 * happen, kept as one moment, in nanoseconds. Pure; `now_ns` is monotonic and
 * passed in.
 *
 *             now        full_ns      now + burst * interval
 *   ----------|-------------|------------|----------> time
 *             |--- used ----|--- left ---|
 *
 * Each request moves full_ns by one interval, time by itself moves `now`.
 */
#ifndef SIDECAR_LADDER_GCRA_H
#define SIDECAR_LADDER_GCRA_H

#include <stdbool.h>
#include <stdint.h>

/* burst * interval_ns must fit, see gcra_rate_fits(). */
struct gcra_rate {
	int64_t interval_ns; /* between two requests at the rate; at least 1 */
	int64_t burst;       /* requests that may come at once; at least 1 */
};

/* All zero: nothing was used. */
struct gcra {
	int64_t full_ns;     /* when all of the burst is there again */
	int64_t interval_ns; /* of the rate that full_ns was reckoned by */
};

struct gcra_answer {
	bool is_allowed;
	int64_t left;     /* requests that may still come at once */
	int64_t retry_ns; /* refused: allowed after that; -1: never, or allowed now */
	int64_t reset_ns; /* until all of the burst is there again */
};

/* `count` in `period_ns`. False: count, period or burst are not above 0, or
 * their product is beyond what can be reckoned (a burst worth 100 years). */
bool gcra_rate_make(int64_t count, int64_t period_ns, int64_t burst, struct gcra_rate *rate);

/*
 * Takes `quantity` requests at once, or none of them. 0 only looks; a negative
 * quantity gives back. Where the rate is not the one before, what was used
 * stays used, counted in requests and not in time: a raised rate takes effect
 * at once.
 */
void gcra_take(struct gcra *gcra, const struct gcra_rate *rate, int64_t quantity, int64_t now_ns,
    struct gcra_answer *answer);

/*
 * One request, where the rate is known to be the one that *full_ns was reckoned
 * by: the same, for those who are in a hurry. burst_ns is burst * interval_ns.
 */
static inline bool
gcra_take_one(int64_t *full_ns, int64_t interval_ns, int64_t burst_ns, int64_t now_ns,
    int64_t *retry_ns)
{
	int64_t next_ns = (*full_ns > now_ns ? *full_ns : now_ns) + interval_ns;

	*retry_ns = next_ns - now_ns - burst_ns;
	if (*retry_ns > 0)
		return false;
	*full_ns = next_ns;
	return true;
}

#endif
