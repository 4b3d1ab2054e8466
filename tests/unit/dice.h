/* Numbers that are the same in each run: xorshift, of a seed that is not 0. */
#ifndef SIDECAR_TESTS_DICE_H
#define SIDECAR_TESTS_DICE_H

#include <stdint.h>

static uint64_t seed;

static uint64_t
draw(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 2685821657736338717u;
}

#endif
