/* See random.h. */
#include "base/random.h"

#include <stdlib.h>
#include <sys/random.h>

void
random_bytes(void *at, size_t len)
{
	/* Up to 256 bytes come whole once the kernel's pool is ready. */
	if (getrandom(at, len, 0) != (ssize_t)len)
		abort();
}

uint64_t
random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

double
random_unit(uint64_t *state)
{
	return (double)(random_next(state) >> 11) * 0x1p-53;
}
