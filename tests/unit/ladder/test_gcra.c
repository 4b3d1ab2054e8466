#include "ladder/gcra.h"

#include "../test.h"

#define S INT64_C(1000000000)
#define MS INT64_C(1000000)
#define START (1000 * S)

static struct gcra_answer answer;

static struct gcra_rate
rate_of(int64_t count, int64_t period_ns, int64_t burst)
{
	struct gcra_rate rate = { 0, 0 };

	CHECK(gcra_rate_make(count, period_ns, burst, &rate));
	return rate;
}

static bool
take(struct gcra *gcra, struct gcra_rate rate, int64_t quantity, int64_t now_ns)
{
	gcra_take(gcra, &rate, quantity, now_ns, &answer);
	return answer.is_allowed;
}

TEST(a_burst_comes_at_once_and_then_one_an_interval)
{
	struct gcra gcra = { 0, 0 };
	struct gcra_rate rate = rate_of(1000, 60 * S, 3);

	CHECK_INT(rate.interval_ns, 60 * MS);
	for (int i = 0; i < 3; i++) {
		CHECK(take(&gcra, rate, 1, START));
		CHECK_INT(answer.left, 2 - i);
		CHECK_INT(answer.retry_ns, -1);
	}
	CHECK(!take(&gcra, rate, 1, START + 3 * MS));
	CHECK_INT(answer.retry_ns, 57 * MS);
	CHECK_INT(answer.reset_ns, 177 * MS);
	CHECK(!take(&gcra, rate, 1, START + 60 * MS - 1));
	CHECK_INT(answer.retry_ns, 1);
	CHECK(take(&gcra, rate, 1, START + 60 * MS));
	CHECK(!take(&gcra, rate, 1, START + 60 * MS));
}

TEST(twice_the_rate_for_three_minutes_gets_the_rate_and_the_burst)
{
	struct gcra gcra = { 0, 0 };
	struct gcra_rate rate = rate_of(1000, 60 * S, 20);
	int allowed = 0;

	for (int i = 0; i < 6000; i++)
		allowed += take(&gcra, rate, 1, START + i * 30 * MS);
	CHECK(allowed >= 3000 && allowed <= 3021);
}

TEST(what_is_refused_costs_nothing)
{
	struct gcra gcra = { 0, 0 };
	struct gcra_rate rate = rate_of(1, S, 1);

	CHECK(take(&gcra, rate, 1, START));
	for (int i = 0; i < 1000; i++)
		CHECK(!take(&gcra, rate, 1, START + S / 2));
	CHECK(take(&gcra, rate, 1, START + S));
}

TEST(after_a_long_time_there_is_a_burst_and_no_more)
{
	struct gcra gcra = { 0, 0 };
	struct gcra_rate rate = rate_of(10, S, 4);
	int allowed = 0;

	CHECK(take(&gcra, rate, 1, START));
	for (int i = 0; i < 10; i++)
		allowed += take(&gcra, rate, 1, START + 86400 * S);
	CHECK_INT(allowed, 4);
}

TEST(a_quantity_is_taken_whole_or_not_at_all)
{
	struct gcra gcra = { 0, 0 };
	struct gcra_rate rate = rate_of(10, 10 * S, 10);

	CHECK(take(&gcra, rate, 7, START));
	CHECK(!take(&gcra, rate, 4, START));
	CHECK_INT(answer.left, 3);
	CHECK_INT(answer.retry_ns, S);
	CHECK(take(&gcra, rate, 3, START));
	CHECK(!take(&gcra, rate, 11, START));
	CHECK_INT(answer.retry_ns, -1); /* never */
	CHECK(!take(&gcra, rate, INT64_MAX, START));
}

TEST(no_quantity_looks_and_a_negative_one_gives_back)
{
	struct gcra gcra = { 0, 0 };
	struct gcra_rate rate = rate_of(10, 10 * S, 10);

	CHECK(take(&gcra, rate, 0, START));
	CHECK_INT(answer.left, 10);
	CHECK(take(&gcra, rate, 10, START));
	CHECK(take(&gcra, rate, 0, START));
	CHECK_INT(answer.left, 0);
	CHECK(take(&gcra, rate, -4, START));
	CHECK_INT(answer.left, 4);
	CHECK(take(&gcra, rate, INT64_MIN, START));
	CHECK_INT(answer.left, 10);
}

TEST(a_raised_rate_denies_nobody)
{
	struct gcra gcra = { 0, 0 };

	CHECK(take(&gcra, rate_of(3, 60 * S, 3), 3, START));
	CHECK(!take(&gcra, rate_of(3, 60 * S, 3), 1, START));
	CHECK(take(&gcra, rate_of(300, 60 * S, 201), 1, START));
	CHECK_INT(answer.left, 201 - 4); /* what was used stays used */
}

TEST(a_lowered_rate_keeps_nobody_out_for_longer_than_its_own_burst)
{
	struct gcra gcra = { 0, 0 };

	CHECK(take(&gcra, rate_of(1000, S, 1000), 1000, START));
	CHECK(!take(&gcra, rate_of(1, 60 * S, 2), 1, START));
	CHECK_INT(answer.retry_ns, 60 * S);
	CHECK_INT(answer.reset_ns, 120 * S);
}

TEST(rates_above_a_thousand_a_second_work)
{
	struct gcra gcra = { 0, 0 };
	struct gcra_rate rate = rate_of(5000000, S, 1);
	int allowed = 0;

	CHECK_INT(rate.interval_ns, 200);
	for (int64_t ns = 0; ns < 1000000; ns += 100)
		allowed += take(&gcra, rate, 1, START + ns);
	CHECK_INT(allowed, 5000);
	CHECK_INT(rate_of(INT64_MAX, S, 1).interval_ns, 1);
}

TEST(what_cannot_be_reckoned_is_no_rate)
{
	struct gcra_rate rate;

	CHECK(!gcra_rate_make(0, S, 1, &rate));
	CHECK(!gcra_rate_make(1, 0, 1, &rate));
	CHECK(!gcra_rate_make(1, S, 0, &rate));
	CHECK(!gcra_rate_make(-1, S, 1, &rate));
	CHECK(!gcra_rate_make(1, INT64_MAX, 2, &rate));
	CHECK(gcra_rate_make(1, 86400 * S, 36500, &rate));
	CHECK(!gcra_rate_make(1, 86400 * S, 36501, &rate));
}

TEST_MAIN
