/*
 * Blocks of one size, kept for the next use: what is made and freed once a
 * request costs neither malloc() nor free() then. What is larger than a block,
 * and what comes back when enough are kept, is the allocator's.
 *
 * One thread. Under AddressSanitizer nothing is kept, so that it sees whoever
 * uses what he has given back.
 */
#ifndef SIDECAR_BASE_POOL_H
#define SIDECAR_BASE_POOL_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define POOL_KEEPS_NOTHING 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_KEEPS_NOTHING 1
#endif
#endif

struct pool;

struct pool *pool_new(size_t block_bytes, size_t most_kept);
/* What was taken and not given back stays its taker's to give back. */
void pool_free(struct pool *pool);

/* Gives what is kept back to the allocator. */
void pool_trim(struct pool *pool);

/* Not zeroed. */
void *pool_take(struct pool *pool, size_t size);
/* `size` as it was taken with. */
void pool_give(struct pool *pool, void *block, size_t size);

#endif
