/*
 * Random numbers for jitter and hash keys. random_seed() takes from the
 * kernel; the generator (splitmix64, Steele, Lea and Flood 2014) is for
 * jitter only, never for secrets.
 */
#ifndef SIDECAR_BASE_RANDOM_H
#define SIDECAR_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *at, size_t len); /* from the kernel */
uint64_t random_next(uint64_t *state);
double random_unit(uint64_t *state); /* 0 <= x < 1 */

#endif
