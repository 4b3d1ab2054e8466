/* See metrics.h. Any thread, but for what says otherwise. */
#include "front/metrics.h"

int64_t
census_sum(const struct census *census, size_t offset)
{
	int64_t sum = 0;

	for (size_t i = 0; i < census->worker_count; i++)
		sum += counter_get((const counter *)((const char *)census->workers[i] + offset));
	return sum;
}

/* Two counters with one writer each: who comes and who goes share no line. */
int64_t
census_clients_of(const struct census *census, size_t at)
{
	int64_t gone = counter_get(&census->workers[at]->clients_gone);

	/* Read second: it is never the smaller one. */
	return counter_get(&census->clients_given[at]) - gone;
}

int64_t
census_clients(const struct census *census)
{
	int64_t sum = 0;

	for (size_t i = 0; i < census->worker_count; i++)
		sum += census_clients_of(census, i);
	return sum;
}

int64_t
census_clients_ever(const struct census *census)
{
	int64_t sum = 0;

	for (size_t i = 0; i < census->worker_count; i++)
		sum += counter_get(&census->clients_given[i]);
	return sum;
}

size_t
census_emptiest(const struct census *census, size_t last)
{
	size_t best = (last + 1) % census->worker_count;
	int64_t fewest = census_clients_of(census, best);

	for (size_t i = 2; i <= census->worker_count; i++) {
		size_t at = (last + i) % census->worker_count;
		int64_t count = census_clients_of(census, at);
		if (count < fewest) {
			best = at;
			fewest = count;
		}
	}
	return best;
}
