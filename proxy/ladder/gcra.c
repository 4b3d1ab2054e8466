/* See gcra.h. Pure. */
#include "ladder/gcra.h"

#define MOST_NS (100 * 365 * INT64_C(86400) * 1000000000) /* of a burst, or a quantity */

bool
gcra_rate_make(int64_t count, int64_t period_ns, int64_t burst, struct gcra_rate *rate)
{
	if (count <= 0 || period_ns <= 0 || burst <= 0)
		return false;
	/* More than one a nanosecond is not told from one a nanosecond. */
	*rate = (struct gcra_rate){ period_ns / count, burst };
	if (rate->interval_ns == 0)
		rate->interval_ns = 1;
	return burst <= MOST_NS / rate->interval_ns;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* What is in use now, in nanoseconds of this rate. */
static int64_t
used_ns(const struct gcra *gcra, const struct gcra_rate *rate, int64_t now_ns)
{
	int64_t used = gcra->full_ns > now_ns ? gcra->full_ns - now_ns : 0;

	if (used > 0 && gcra->interval_ns != rate->interval_ns) {
		__int128 scaled = (__int128)used * rate->interval_ns / gcra->interval_ns;
		used = scaled < MOST_NS ? (int64_t)scaled : MOST_NS;
	}
	/* A burst that has become smaller. */
	return earlier(used, rate->burst * rate->interval_ns);
}

void
gcra_take(struct gcra *gcra, const struct gcra_rate *rate, int64_t quantity, int64_t now_ns,
    struct gcra_answer *answer)
{
	int64_t burst_ns = rate->burst * rate->interval_ns;
	int64_t used = used_ns(gcra, rate, now_ns);
	__int128 wanted = (__int128)used + (__int128)quantity * rate->interval_ns;

	answer->is_allowed = wanted <= burst_ns || quantity <= 0;
	answer->retry_ns = -1;
	if (answer->is_allowed)
		used = wanted > 0 ? (int64_t)wanted : 0;
	else if (quantity <= rate->burst)
		answer->retry_ns = (int64_t)(wanted - burst_ns);
	gcra->full_ns = now_ns + used;
	gcra->interval_ns = rate->interval_ns;
	answer->left = (burst_ns - used) / rate->interval_ns;
	answer->reset_ns = used;
}
