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

int64_t
histogram_percentile_us(const int64_t counts[HISTOGRAM_BUCKETS + 1], int percent)
{
	int64_t all = 0, below = 0;
	int i = 0;

	for (int b = 0; b <= HISTOGRAM_BUCKETS; b++)
		all += counts[b];
	if (all <= 0)
		return -1;
	double rank = (double)all * percent / 100;
	while (i < HISTOGRAM_BUCKETS && (double)(below + counts[i]) < rank)
		below += counts[i++];
	if (i == HISTOGRAM_BUCKETS) /* beyond all bounds: at least the last one */
		return histogram_bounds_us[i - 1];
	int64_t from = i > 0 ? histogram_bounds_us[i - 1] : 0;
	double within = (rank - (double)below) / (double)counts[i];
	int64_t us = from + (int64_t)(within * (double)(histogram_bounds_us[i] - from));
	return us > 0 ? us : 1; /* nothing takes no time */
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
