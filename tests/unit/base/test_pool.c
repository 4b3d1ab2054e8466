#include "base/pool.h"

#include <stdint.h>
#include <string.h>

#include "../test.h"

#define BLOCK 64
#define MOST 3

TEST(what_is_taken_holds_as_much_as_was_asked_for)
{
	struct pool *pool = pool_new(BLOCK, MOST);
	static const size_t sizes[] = { 1, BLOCK, BLOCK + 1, 100000 };
	void *taken[4];

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 4; i++) {
			taken[i] = pool_take(pool, sizes[i]);
			memset(taken[i], 0xff, sizes[i]);
		}
		for (size_t i = 0; i < 4; i++)
			pool_give(pool, taken[i], sizes[i]);
	}
	pool_free(pool);
}

TEST(nothing_is_given_to_two_at_a_time)
{
	struct pool *pool = pool_new(BLOCK, MOST);
	char *taken[2 * MOST];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < 2 * MOST; i++) {
			taken[i] = pool_take(pool, BLOCK);
			memset(taken[i], (int)i, BLOCK);
		}
		for (size_t i = 0; i < 2 * MOST; i++) {
			for (size_t b = 0; b < BLOCK; b++)
				CHECK_INT(taken[i][b], (int)i);
			pool_give(pool, taken[i], BLOCK);
		}
	}
	pool_free(pool);
}

TEST(what_was_trimmed_is_taken_anew)
{
	struct pool *pool = pool_new(BLOCK, MOST);

	for (int round = 0; round < 2; round++) {
		void *taken[MOST];
		for (size_t i = 0; i < MOST; i++)
			taken[i] = memset(pool_take(pool, BLOCK), 1, BLOCK);
		for (size_t i = 0; i < MOST; i++)
			pool_give(pool, taken[i], BLOCK);
		pool_trim(pool);
	}
	pool_trim(pool);
	pool_free(pool);
}

#ifndef POOL_KEEPS_NOTHING
TEST(what_was_given_back_last_is_taken_next)
{
	struct pool *pool = pool_new(BLOCK, MOST);
	void *first = pool_take(pool, BLOCK), *second = pool_take(pool, 1);
	uintptr_t were[] = { (uintptr_t)first, (uintptr_t)second };

	pool_give(pool, second, 1);
	pool_give(pool, first, BLOCK);
	CHECK((uintptr_t)(first = pool_take(pool, 10)) == were[0]);
	CHECK((uintptr_t)(second = pool_take(pool, 10)) == were[1]);
	pool_give(pool, first, 10);
	pool_give(pool, second, 10);
	pool_free(pool);
}
#endif

TEST_MAIN
