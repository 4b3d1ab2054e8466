#include "upstream/breaker.h"

#include "../test.h"
#include "base/clock.h"

static const struct breaker_policy policy = {
	.failures = 5,
	.failure_rate = 50,
	.open_ms = 1000,
	.max_open_ms = 30000,
};

static int changes;
static char last_reason[64];

static void
on_change(struct breaker *breaker, enum breaker_state before, enum breaker_state after,
    const char *reason, void *arg)
{
	(void)breaker, (void)before, (void)after, (void)arg;
	changes++;
	snprintf(last_reason, sizeof(last_reason), "%s", reason);
}

static struct breaker *
fresh(void)
{
	changes = 0;
	return breaker_new("redis", &policy, 1, on_change, NULL);
}

static void
fail(struct breaker *breaker, int times)
{
	for (int i = 0; i < times; i++)
		breaker_failed(breaker, 1000, FAILURE_CONNECT, "connection refused");
}

TEST(four_failures_in_a_row_leave_it_closed_and_the_fifth_opens_it)
{
	struct breaker *b = fresh();
	fail(b, 4);
	CHECK(breaker_allows(b));
	fail(b, 1);
	CHECK_INT(breaker_state(b), BREAKER_OPEN);
	CHECK_TEXT(last_reason, "connection refused");
	CHECK_INT(changes, 1);
	breaker_free(b);
}

TEST(a_success_between_failures_starts_the_count_again)
{
	struct breaker *b = fresh();
	fail(b, 4);
	breaker_succeeded(b, 1000);
	fail(b, 4);
	CHECK(breaker_allows(b));
	breaker_free(b);
}

TEST(half_of_twenty_calls_failing_opens_it_though_never_five_in_a_row)
{
	struct breaker *b = fresh();
	for (int i = 0; i < 9; i++) {
		breaker_succeeded(b, 1000);
		fail(b, 1);
	}
	breaker_succeeded(b, 1000);
	CHECK(breaker_allows(b));
	fail(b, 1);
	CHECK(!breaker_allows(b));
	breaker_free(b);
}

TEST(failures_older_than_the_window_do_not_count_towards_the_rate)
{
	struct breaker *b = fresh();
	for (int i = 0; i < 9; i++) {
		breaker_succeeded(b, 1000);
		fail(b, 1);
	}
	breaker_succeeded(b, 20000);
	for (int i = 0; i < 4; i++)
		breaker_failed(b, 20000, FAILURE_TIMEOUT, "slow");
	CHECK(breaker_allows(b));
	breaker_free(b);
}

TEST(no_probe_before_the_open_time_is_over_and_only_one_after)
{
	struct breaker *b = fresh();
	fail(b, 5);
	int64_t at = breaker_probe_at(b);
	CHECK(at > 1000 && at <= 2001);
	CHECK(!breaker_start_probe(b, at - 1));
	CHECK(breaker_start_probe(b, at));
	CHECK(!breaker_start_probe(b, at));
	CHECK_INT(breaker_state(b), BREAKER_HALF_OPEN);
	CHECK(!breaker_allows(b));
	breaker_probe_succeeded(b, at);
	CHECK(breaker_allows(b));
	breaker_free(b);
}

TEST(the_open_time_grows_with_failed_probes_up_to_its_maximum)
{
	struct breaker *b = fresh();
	int64_t now = 1000, longest = 0;
	fail(b, 5);
	for (int i = 0; i < 50; i++) {
		int64_t at = breaker_probe_at(b);
		if (at - now > longest)
			longest = at - now;
		now = at;
		CHECK(breaker_start_probe(b, now));
		breaker_probe_failed(b, now, FAILURE_CONNECT, "connection refused");
	}
	CHECK(longest > 15000);
	CHECK(longest <= 30001);
	breaker_free(b);
}

TEST(a_wrong_password_opens_it_at_once_and_for_long)
{
	struct breaker *b = fresh();
	breaker_failed(b, 1000, FAILURE_AUTH, "authentication failed");
	CHECK(!breaker_allows(b));
	CHECK(breaker_probe_at(b) - 1000 >= 15000);
	CHECK(breaker_probe_at(b) - 1000 <= 30002);
	breaker_free(b);
}

TEST(a_forced_breaker_holds_until_it_is_automatic_again)
{
	struct breaker *b = fresh();
	breaker_force(b, BREAKER_FORCE_OPEN, 1000);
	CHECK(!breaker_allows(b));
	CHECK(!breaker_start_probe(b, 1000000));
	CHECK_INT(breaker_probe_at(b), TIME_NEVER);
	breaker_force(b, BREAKER_AUTO, 2000);
	CHECK_INT(breaker_probe_at(b), 2000);
	CHECK(breaker_start_probe(b, 2000));
	breaker_force(b, BREAKER_FORCE_CLOSE, 2000);
	fail(b, 100);
	CHECK(breaker_allows(b));
	breaker_free(b);
}

TEST(a_late_verdict_of_a_probe_does_not_undo_a_forced_state)
{
	struct breaker *b = fresh();
	fail(b, 5);
	CHECK(breaker_start_probe(b, breaker_probe_at(b)));
	breaker_force(b, BREAKER_FORCE_OPEN, 9000);
	breaker_probe_succeeded(b, 9000);
	CHECK_INT(breaker_state(b), BREAKER_OPEN);
	breaker_free(b);
}

TEST(what_was_mended_is_asked_at_once)
{
	struct breaker *b = fresh();
	breaker_failed(b, 1000, FAILURE_AUTH, "wrong password");
	CHECK(breaker_probe_at(b) > 2000);
	breaker_ask_now(b, 2000);
	CHECK(breaker_start_probe(b, 2000));
	breaker_force(b, BREAKER_FORCE_OPEN, 3000);
	breaker_ask_now(b, 3000);
	CHECK(!breaker_start_probe(b, 3000));
	breaker_free(b);
}

TEST_MAIN
