#include "run/giveback.h"

#include "base/held.h"

#include "../test.h"

#define MB ((int64_t)1 << 20)

TEST(a_steady_load_is_left_alone)
{
	struct giveback_state state = { 0 };

	for (int second = 0; second < 100; second++)
		CHECK(!giveback_is_due(&state, 300 * MB + second % 3 * MB, 302 * MB));
}

TEST(a_burst_is_given_back_once_and_not_before_it_is_over)
{
	struct giveback_state state = { 0 };

	CHECK(!giveback_is_due(&state, 5 * MB, 5 * MB));
	CHECK(!giveback_is_due(&state, 800 * MB, 800 * MB));
	CHECK(!giveback_is_due(&state, 5 * MB, 700 * MB)); /* in this second it was still there */
	CHECK(giveback_is_due(&state, 5 * MB, 5 * MB));
	for (int second = 0; second < 10; second++)
		CHECK(!giveback_is_due(&state, 5 * MB, 5 * MB));
}

TEST(bursts_in_a_row_are_one)
{
	struct giveback_state state = { 0 };

	for (int second = 0; second < 20; second++)
		CHECK(!giveback_is_due(&state, 5 * MB, second % 2 == 0 ? 100 * MB : 5 * MB));
	CHECK(giveback_is_due(&state, 5 * MB, 5 * MB));
}

TEST(a_little_is_not_worth_it)
{
	struct giveback_state state = { 0 };

	CHECK(!giveback_is_due(&state, 10 * MB, 13 * MB));
	for (int second = 0; second < 10; second++)
		CHECK(!giveback_is_due(&state, 10 * MB, 10 * MB));
}

TEST(the_most_held_between_two_looks_is_seen)
{
	int64_t held, most;

	held_add(100 * MB);
	held_sub(60 * MB);
	held_look(&held, &most);
	CHECK_INT(held, 40 * MB);
	CHECK_INT(most, 100 * MB);
	held_look(&held, &most);
	CHECK_INT(most, 40 * MB);
	held_sub(40 * MB);
	held_look(&held, &most);
	CHECK_INT(held, 0);
	CHECK_INT(most, 40 * MB);
}

TEST(little_things_are_told_together)
{
	int64_t held, most;

	for (int i = 0; i < HELD_UNTOLD_BYTES / 1024 - 1; i++)
		held_add(1024);
	held_look(&held, &most);
	CHECK_INT(held, 0);
	held_add(1024);
	held_look(&held, &most);
	CHECK_INT(held, HELD_UNTOLD_BYTES);
	held_sub(HELD_UNTOLD_BYTES);
}

TEST_MAIN
