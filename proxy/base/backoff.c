/* See backoff.h. */
#include "base/backoff.h"

#include "base/random.h"

#define LEAST_SHARE 10

void
backoff_init(struct backoff *backoff, int64_t first_ms, int64_t max_ms, uint64_t seed)
{
	*backoff = (struct backoff){ .first_ms = first_ms, .max_ms = max_ms, .random = seed };
}

int64_t
backoff_next_ms(struct backoff *backoff)
{
	int64_t ceiling = backoff->first_ms;

	for (unsigned i = 0; i < backoff->tries && ceiling < backoff->max_ms; i++)
		ceiling *= 2;
	if (ceiling > backoff->max_ms)
		ceiling = backoff->max_ms;
	backoff->tries++;

	int64_t least = ceiling / LEAST_SHARE;
	return least + (int64_t)(random_unit(&backoff->random) * (double)(ceiling - least + 1));
}

void
backoff_reset(struct backoff *backoff)
{
	backoff->tries = 0;
}
