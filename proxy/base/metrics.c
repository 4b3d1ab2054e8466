/* See metrics.h. */
#include "base/metrics.h"

const int64_t histogram_bounds_us[HISTOGRAM_BUCKETS] = {
	1,
	2,
	5,
	10,
	25,
	50,
	100,
	250,
	500,
	1000,
	2500,
	5000,
	10000,
	25000,
	50000,
	100000,
	200000,
	250000,
	500000,
	1000000,
	2500000,
	5000000,
	10000000,
};

void
histogram_add_many(struct histogram *h, int64_t value_us, int64_t times)
{
	int i = 0;

	while (i < HISTOGRAM_BUCKETS && value_us > histogram_bounds_us[i])
		i++;
	counter_add(&h->buckets[i], times);
	counter_add(&h->sum, value_us * times);
}

void
histogram_add(struct histogram *h, int64_t value_us)
{
	histogram_add_many(h, value_us, 1);
}

void
sizes_add(struct sizes *s, int64_t value)
{
	int i = 0;

	while (i < SIZES_BUCKETS && value > (int64_t)1 << i)
		i++;
	counter_add(&s->buckets[i], 1);
	counter_add(&s->sum, value);
}
