/* See pool.h. */
#include "base/pool.h"

#include <stdlib.h>

#include "base/alloc.h"

struct block {
	struct block *next;
};

struct pool {
	struct block *first;
	size_t block_bytes, kept, most_kept;
};

struct pool *
pool_new(size_t block_bytes, size_t most_kept)
{
	struct pool *pool = alloc_zero(sizeof(*pool));

	pool->block_bytes = block_bytes > sizeof(struct block) ? block_bytes : sizeof(struct block);
#ifndef POOL_KEEPS_NOTHING
	pool->most_kept = most_kept;
#else
	(void)most_kept;
#endif
	return pool;
}

void
pool_free(struct pool *pool)
{
	if (pool == NULL)
		return;
	pool_trim(pool);
	free(pool);
}

void
pool_trim(struct pool *pool)
{
	while (pool->first != NULL) {
		struct block *block = pool->first;
		pool->first = block->next;
		free(block);
	}
	pool->kept = 0;
}

void *
pool_take(struct pool *pool, size_t size)
{
	struct block *block = pool->first;

	if (size > pool->block_bytes)
		return alloc(size);
	if (block == NULL)
		return alloc(pool->block_bytes);
	pool->first = block->next;
	pool->kept--;
	return block;
}

void
pool_give(struct pool *pool, void *at, size_t size)
{
	struct block *block = at;

	if (size > pool->block_bytes || pool->kept == pool->most_kept) {
		free(at);
		return;
	}
	block->next = pool->first;
	pool->first = block;
	pool->kept++;
}
