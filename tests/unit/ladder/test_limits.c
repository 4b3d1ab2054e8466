#include "ladder/limits.h"

#include <pthread.h>

#include "../test.h"
#include "base/random.h"

#define S INT64_C(1000000000)
#define MS INT64_C(1000000)
#define START (1000 * S)

static const struct rate off = { 0, 0 };
static const struct rate thousand_a_minute = { 1000, 60000 };

static int64_t retry_ns;

static struct limits *
fresh(struct rate per_user)
{
	struct limits *limits = limits_new();

	limits_set(limits, per_user, off);
	return limits;
}

static bool
ask(struct limits *limits, uint64_t who, int64_t now_ns)
{
	return limits_allow(limits, LIMIT_PER_USER, who, now_ns, &retry_ns);
}

/* How many of the requests, so far apart, are answered. */
static int
ask_often(struct limits *limits, uint64_t who, int64_t start_ns, int64_t apart_ns, int times)
{
	int allowed = 0;

	for (int i = 0; i < times; i++)
		allowed += ask(limits, who, start_ns + i * apart_ns);
	return allowed;
}

TEST(the_burst_is_a_second_s_worth_but_20_at_least_and_the_count_at_most)
{
	static const struct {
		struct rate rate;
		int burst;
	} cases[] = {
		{ { 1000, 60000 }, 20 },
		{ { 10000, 60000 }, 166 },
		{ { 5, 60000 }, 5 },
		{ { 100, 3600000 }, 20 },
		{ { 3000, 1000 }, 3000 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct limits *limits = fresh(cases[i].rate);
		CHECK_INT(ask_often(limits, 7, START, 0, 10000), cases[i].burst);
		limits_free(limits);
	}
}

TEST(zero_is_off)
{
	struct limits *limits = fresh(off);

	CHECK(!limits_is_on(limits, LIMIT_PER_USER));
	CHECK_INT(ask_often(limits, 7, START, 0, 10000), 10000);
	limits_free(limits);
}

TEST(two_thousand_a_minute_for_three_minutes_get_three_thousand_answers)
{
	struct limits *limits = fresh(thousand_a_minute);
	int allowed = ask_often(limits, 7, START, 30 * MS, 6000);

	CHECK(allowed >= 2970 && allowed <= 3030);
	limits_free(limits);
}

TEST(ten_times_the_rate_is_not_barred)
{
	struct limits *limits = fresh(thousand_a_minute);
	int allowed = ask_often(limits, 7, START, 6 * MS, 30000);

	CHECK(allowed >= 2970 && allowed <= 3030);
	limits_free(limits);
}

TEST(who_hammers_is_put_off_for_longer_each_time_up_to_a_minute)
{
	struct limits *limits = fresh(thousand_a_minute);
	int64_t longest_ns = 0;

	/* 1,000 a second: sixty times the rate. */
	CHECK(ask_often(limits, 7, START, MS, 10000) < 150);
	for (int i = 10000; i < 200000; i++) {
		if (!ask(limits, 7, START + i * MS) && retry_ns > longest_ns)
			longest_ns = retry_ns;
	}
	CHECK(longest_ns > 50 * S && longest_ns <= 60 * S);
	CHECK(ask(limits, 8, START + 200 * S)); /* nobody else */
	limits_free(limits);
}

TEST(who_waits_as_told_is_answered_and_forgiven)
{
	struct limits *limits = fresh(thousand_a_minute);
	int64_t now_ns = START;

	ask_often(limits, 7, now_ns, MS / 10, 100000);
	now_ns += 10 * S;
	CHECK(!ask(limits, 7, now_ns));
	CHECK(retry_ns > S);
	now_ns += retry_ns;
	CHECK(ask(limits, 7, now_ns));
	/* A burst, and the first bar again: two intervals. */
	now_ns += 5 * S;
	CHECK_INT(ask_often(limits, 7, now_ns, 0, 1000), 20);
	CHECK_INT(retry_ns, 120 * MS);
	limits_free(limits);
}

TEST(a_raised_rate_takes_effect_at_once_also_for_who_is_barred)
{
	struct limits *limits = fresh((struct rate){ 5, 60000 });

	CHECK_INT(ask_often(limits, 7, START, 0, 1000), 5);
	CHECK(retry_ns >= 12 * S);
	limits_set(limits, thousand_a_minute, off);
	CHECK_INT(ask_often(limits, 7, START, 0, 100), 15);
	limits_free(limits);
}

TEST(a_million_ids_of_one_request_push_no_limited_one_out)
{
	struct limits *limits = fresh(thousand_a_minute);
	uint64_t random = 1;

	CHECK_INT(ask_often(limits, 7, START, 0, 21), 20);
	for (int i = 0; i < 1000000; i++)
		CHECK(ask(limits, random_next(&random), START));
	CHECK(!ask(limits, 7, START));
	limits_free(limits);
}

/* Every place is taken by an id that is limited: 30 ids for each. */
TEST(being_forgotten_gives_one_request_and_no_burst)
{
	struct limits *limits = fresh(thousand_a_minute);
	int allowed = 0;

	for (int round = 0; round < 30; round++) {
		for (uint64_t who = 1; who <= 70; who++)
			allowed += ask_often(limits, who * 16384, START, 0, 30);
	}
	/* 7 places with a burst each, then one whenever an id comes back. */
	CHECK(allowed >= 7 * 20 && allowed <= 7 * 20 + 30 * 70);
	limits_free(limits);
}

TEST(the_refusal_says_when_and_why)
{
	struct limits *limits = fresh(thousand_a_minute);
	struct buf text = BUF_EMPTY;

	limits_refuse(limits, LIMIT_PER_USER, 56 * MS + 1, &text);
	buf_append(&text, "", 1);
	CHECK_TEXT(text.at, "-RATELIMITED retry in 57 ms (per_user 1000/min)\r\n");
	buf_reset(&text);
	limits_refuse(limits, LIMIT_PER_USER, 1, &text);
	buf_append(&text, "", 1);
	CHECK_TEXT(text.at, "-RATELIMITED retry in 1 ms (per_user 1000/min)\r\n");
	buf_free(&text);
	limits_free(limits);
}

TEST(users_addresses_and_keys_do_not_know_each_other)
{
	struct limits *limits = limits_new();
	struct gcra_rate rate = { S, 1 };
	struct gcra_answer answer;

	limits_set(limits, (struct rate){ 1, 1000 }, (struct rate){ 1, 1000 });
	CHECK(ask(limits, 7, START));
	CHECK(!ask(limits, 7, START));
	CHECK(limits_allow(limits, LIMIT_PER_IP, 7, START, &retry_ns));
	limits_throttle(limits, 7, &rate, 1, START, &answer);
	CHECK(answer.is_allowed);
	limits_throttle(limits, 7, &rate, 1, START, &answer);
	CHECK(!answer.is_allowed);
	limits_free(limits);
}

struct asker {
	struct limits *limits;
	int allowed;
};

static void *
ask_in_thread(void *arg)
{
	struct asker *asker = arg;
	int64_t retry;

	for (int i = 0; i < 100000; i++)
		asker->allowed +=
		    limits_allow(asker->limits, LIMIT_PER_USER, (uint64_t)(i % 100), START, &retry);
	return NULL;
}

TEST(threads_share_one_count)
{
	struct limits *limits = fresh(thousand_a_minute);
	struct asker askers[4];
	pthread_t threads[4];
	int allowed = 0;

	for (int i = 0; i < 4; i++) {
		askers[i] = (struct asker){ limits, 0 };
		pthread_create(&threads[i], NULL, ask_in_thread, &askers[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		allowed += askers[i].allowed;
	}
	CHECK_INT(allowed, 100 * 20);
	limits_free(limits);
}

TEST_MAIN
