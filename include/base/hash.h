/*
 * SipHash-1-3 (Aumasson and Bernstein, 2012) with a key drawn at start, so
 * that nobody outside can choose keys that collide, and so that a key's name
 * in a log (`profile:#9f2c41`) cannot be looked up in a table.
 */
#ifndef SIDECAR_BASE_HASH_H
#define SIDECAR_BASE_HASH_H

#include "base/slice.h"

/* Draws the key. Call once, before any thread starts. */
void hash_init(void);
/* Sets the key, for tests that need the same hashes every time. */
void hash_init_with(uint64_t k0, uint64_t k1);

uint64_t hash_bytes(struct slice bytes);

#endif
