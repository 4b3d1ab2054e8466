#include "base/backoff.h"

#include "../test.h"

/* The shortest and longest n-th wait of many backoffs. */
static void
range_of(int n, int64_t first_ms, int64_t max_ms, int64_t *shortest, int64_t *longest)
{
	*shortest = INT64_MAX;
	*longest = 0;
	for (uint64_t seed = 0; seed < 2000; seed++) {
		struct backoff backoff;
		int64_t wait_ms = 0;
		backoff_init(&backoff, first_ms, max_ms, seed);
		for (int i = 0; i <= n; i++)
			wait_ms = backoff_next_ms(&backoff);
		*shortest = wait_ms < *shortest ? wait_ms : *shortest;
		*longest = wait_ms > *longest ? wait_ms : *longest;
	}
}

TEST(waits_double_up_to_the_longest_with_full_jitter)
{
	static const int64_t ceilings[] = { 1000, 2000, 4000, 8000, 10000, 10000 };

	for (int n = 0; n < 6; n++) {
		int64_t shortest, longest;
		range_of(n, 1000, 10000, &shortest, &longest);
		CHECK(longest <= ceilings[n]);
		CHECK(longest > ceilings[n] * 98 / 100);
		CHECK(shortest >= ceilings[n] / 10);
		CHECK(shortest < ceilings[n] * 12 / 100);
	}
}

TEST(a_success_starts_again_with_the_first_wait)
{
	struct backoff backoff;
	backoff_init(&backoff, 100, 100000, 1);
	for (int i = 0; i < 10; i++)
		backoff_next_ms(&backoff);
	backoff_reset(&backoff);
	CHECK(backoff_next_ms(&backoff) <= 100);
}

TEST(a_thousand_failures_do_not_overflow)
{
	struct backoff backoff;
	backoff_init(&backoff, 1, INT64_C(1) << 40, 1);
	for (int i = 0; i < 1000; i++) {
		int64_t wait_ms = backoff_next_ms(&backoff);
		CHECK(wait_ms >= 0 && wait_ms <= INT64_C(1) << 40);
	}
}

TEST(a_first_wait_beyond_the_longest_is_cut)
{
	struct backoff backoff;
	backoff_init(&backoff, 5000, 1000, 1);
	for (int i = 0; i < 20; i++) {
		int64_t wait_ms = backoff_next_ms(&backoff);
		CHECK(wait_ms >= 100 && wait_ms <= 1000);
	}
}

TEST(two_seeds_do_not_wait_in_step)
{
	struct backoff a, b;
	int same = 0;
	backoff_init(&a, 1000, 100000, 1);
	backoff_init(&b, 1000, 100000, 2);
	for (int i = 0; i < 50; i++)
		same += backoff_next_ms(&a) == backoff_next_ms(&b);
	CHECK(same < 5);
}

TEST_MAIN
