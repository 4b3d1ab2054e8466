/*
 * Two hashes, both keyed with what was drawn at start.
 *
 * hash_bytes() is SipHash-1-3 (Aumasson and Bernstein, 2012) with a key drawn at start, so
 * that nobody outside can choose keys that collide, and so that a key's name
 * in a log (`profile:#9f2c41`) cannot be looked up in a table.
 *
 * hash_quick() is for tables that are asked at every request: a fifth of the
 * instructions. It folds 128-bit products of words that are masked with the
 * key, after Wang Yi's wyhash (2019). Colliding keys cannot be chosen without
 * the key, and no table shows its hashes; but nobody has proven that of it as
 * of SipHash, so what it says stays in memory.
 */
#ifndef SIDECAR_BASE_HASH_H
#define SIDECAR_BASE_HASH_H

#include "base/slice.h"

/* Draws the key. Call once, before any thread starts. */
void hash_init(void);
/* Sets the key, for tests that need the same hashes every time. */
void hash_init_with(uint64_t k0, uint64_t k1);

uint64_t hash_bytes(struct slice bytes);

/* ---- the quick one ---- */

extern uint64_t hash_masks[4];

__extension__ typedef unsigned __int128 hash_product;

static inline uint64_t
hash_fold(uint64_t a, uint64_t b)
{
	hash_product product = (hash_product)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t
hash_read8(const char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static inline uint32_t
hash_read4(const char *at)
{
	uint32_t word;

	memcpy(&word, at, sizeof(word));
	return word;
}

static inline uint64_t
hash_quick(struct slice bytes)
{
	const char *at = bytes.at, *end = bytes.at + bytes.len;
	uint64_t hash = hash_masks[0], first = 0, last = 0;

	/* The last two words may overlap what was read before. */
	if (bytes.len >= 16) {
		for (; end - at > 16; at += 16)
			hash = hash_fold(hash_read8(at) ^ hash_masks[1], hash_read8(at + 8) ^ hash);
		first = hash_read8(end - 16);
		last = hash_read8(end - 8);
	} else if (bytes.len >= 8) {
		first = hash_read8(at);
		last = hash_read8(end - 8);
	} else if (bytes.len >= 4) {
		first = hash_read4(at);
		last = hash_read4(end - 4);
	} else if (bytes.len > 0) {
		first = (unsigned char)at[0];
		last = (uint64_t)(unsigned char)at[bytes.len / 2] << 8 | (unsigned char)end[-1];
	}
	hash = hash_fold(first ^ hash_masks[2], last ^ hash);
	return hash_fold(hash ^ hash_masks[3], bytes.len ^ hash_masks[1]);
}

#endif
