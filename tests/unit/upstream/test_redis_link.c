#include "upstream/redis_link.h"

#include "redis_world.h"

#define HELLO_REPLY "%1\r\n$2\r\nid\r\n:42\r\n"
#define PING "*1\r\n$4\r\nPING\r\n"
#define MAX_CALLS 100000

static const struct breaker_policy policy = {
	.failures = 5,
	.failure_rate = 50,
	.open_ms = 60000,
	.max_open_ms = 60000,
};
/* A breaker that stays closed whatever happens, and counts. */
static const struct breaker_policy patient = {
	.failures = 1000000,
	.failure_rate = 101,
	.open_ms = 60000,
	.max_open_ms = 60000,
};

struct seen_call {
	struct redis_call call; /* first: done() gets its address */
	int ended;              /* how often */
	enum call_result result;
	int order;   /* which one it was to end */
	int more;    /* calls to send from inside done() */
	bool closes; /* closes the link from inside done() */
	char reply[32];
};

static struct seen_call *calls;
static struct redis_link *link_;
static struct redis_target *target;
static struct breaker *breaker;
static struct redis_metrics metrics;
static bool is_inside; /* one of our calls is running: no done() may come */
static int sent, ended, wanted;
static bool is_enough;
static int orphans, pushes;
static int64_t orphan_id;

static bool send_one(const char *command);

static void
on_done(struct redis_call *call, enum call_result result, struct slice reply)
{
	struct seen_call *seen = (struct seen_call *)call;

	CHECK(!is_inside);
	seen->ended++;
	seen->result = result;
	seen->order = ended++;
	snprintf(seen->reply, sizeof(seen->reply), "%.*s", (int)reply.len, reply.at);
	for (; seen->more > 0; seen->more--)
		CHECK(send_one(PING));
	if (seen->closes)
		redis_link_close(link_);
	is_enough = ended >= wanted;
}

static bool
send_bytes(struct slice command)
{
	struct seen_call *seen = &calls[sent];
	bool was_inside = is_inside, is_taken;

	memset(seen, 0, sizeof(*seen));
	seen->call.done = on_done;
	is_inside = true;
	is_taken = redis_link_send(link_, command, &seen->call);
	is_inside = was_inside;
	sent += is_taken;
	return is_taken;
}

static bool
send_one(const char *command)
{
	return send_bytes(slice_of(command));
}

/* Runs the loop as a worker does, until so many calls have ended. */
static void
await(int count)
{
	int64_t until = clock_mono_ms() + 5000;

	for (wanted = count; ended < count && clock_mono_ms() < until;) {
		redis_link_flush(link_);
		is_enough = false;
		true_after(&is_enough, 20);
	}
	CHECK(ended >= count);
}

static void
await_ready(void)
{
	for (int i = 0; i < 1000 && !redis_link_is_ready(link_); i++)
		run_for(5);
	CHECK(redis_link_is_ready(link_));
}

static void
on_orphaned(int64_t client_id, void *arg)
{
	(void)arg;
	CHECK(!is_inside);
	orphans++;
	orphan_id = client_id;
}

static void
on_pushed(struct slice push, void *arg)
{
	(void)arg;
	CHECK(push.at[0] == '>');
	pushes++;
}

static struct redis_link_options options = {
	.resp_version = 3,
	.connect_ms = 300,
	.client_name = "sidecar",
	.orphaned = on_orphaned,
	.pushed = on_pushed,
};

static void
open_link_to(struct redis_target *to, const struct breaker_policy *with)
{
	sent = ended = orphans = pushes = 0;
	memset(&metrics, 0, sizeof(metrics));
	calls = calloc(MAX_CALLS + 1, sizeof(*calls));
	target = to;
	breaker = breaker_new("redis", with, 1, NULL, NULL);
	link_ = redis_link_new(base, NULL, target, &options, breaker, &metrics);
}

static void
open_link(int port, const struct breaker_policy *with)
{
	open_link_to(target_of(NULL, "redis://127.0.0.1:%d", port), with);
}

/* Every call must have ended once by then. */
static void
close_link(void)
{
	redis_link_free(link_);
	for (int i = 0; i < sent; i++)
		CHECK(calls[i].ended == 1);
	breaker_free(breaker);
	redis_target_free(target);
	free(calls);
	link_ = NULL;
}

static int64_t
errors(void)
{
	int64_t sum = 0;

	for (int i = 0; i < FAILURE_KINDS; i++)
		sum += counter_get(&metrics.errors[i]);
	return sum;
}

/* What the fake answers to the n-th thing it hears; NULL: nothing. */
static const char *script[8];

static void
play_script(struct fake *fake, const char *bytes, size_t len)
{
	(void)bytes, (void)len;
	if (fake->commands < 8 && script[fake->commands] != NULL)
		fake_say(fake, script[fake->commands]);
	fake->commands++;
}

static void
set_script(const char *first, const char *second, const char *third)
{
	memset(script, 0, sizeof(script));
	script[0] = first;
	script[1] = second;
	script[2] = third;
}

/* Greets every connection, and says nothing more. */
static void
only_greet(struct fake *fake, const char *bytes, size_t len)
{
	if (len > 9 && memmem(bytes, len, "HELLO", 5) != NULL)
		fake_say(fake, HELLO_REPLY);
	else
		fake->commands++;
}

TEST(a_hundred_thousand_pipelined_calls_are_answered_in_order)
{
	int port = free_port();
	pid_t pid = start_plain_redis(port, NULL);
	char command[64], number[16];
	int64_t start;

	options.connect_ms = 5000;
	open_link(port, &policy);
	options.connect_ms = 300;
	start = clock_mono_ms();
	for (int i = 0; i < MAX_CALLS; i++) {
		snprintf(number, sizeof(number), "%d", i);
		snprintf(command, sizeof(command), "*2\r\n$4\r\nECHO\r\n$%zu\r\n%s\r\n",
		    strlen(number), number);
		CHECK(send_one(command));
	}
	await(MAX_CALLS);
	printf("%d calls in %d ms\n", MAX_CALLS, (int)(clock_mono_ms() - start));
	for (int i = 0; i < MAX_CALLS; i++) {
		snprintf(number, sizeof(number), "%d", i);
		snprintf(command, sizeof(command), "$%zu\r\n%s\r\n", strlen(number), number);
		if (calls[i].order != i || calls[i].result != CALL_ANSWERED ||
		    strcmp(calls[i].reply, command) != 0) {
			CHECK_TEXT(calls[i].reply, command);
			break;
		}
	}
	CHECK_INT(counter_get(&metrics.commands), MAX_CALLS + 1);
	CHECK_INT(errors(), 0);
	int64_t counted = 0;
	for (int i = 0; i <= HISTOGRAM_BUCKETS; i++)
		counted += counter_get(&metrics.seconds.buckets[i]);
	CHECK_INT(counted, MAX_CALLS);
	close_link();
	stop_redis(pid);
}

TEST(many_calls_of_all_sizes_pass_over_tls_in_order)
{
	enum { CALLS = 3000 };
	struct cert ca = make_cert("ca", NULL, NULL, 7200);
	struct cert cert = make_cert("server", "DNS:localhost", &ca, 7200);
	int port = free_port();
	char number[8], *command = malloc(70000);
	const char *redis_options[] = { "--port", "0", "--tls-port", number, "--tls-cert-file",
		cert.crt_path, "--tls-key-file", cert.key_path, "--tls-auth-clients", "no", NULL };
	pid_t pid;

	snprintf(number, sizeof(number), "%d", port);
	pid = start_redis(port, redis_options);
	options.connect_ms = 5000;
	open_link_to(target_of(ca.crt_path, "rediss://localhost:%d", port), &policy);
	options.connect_ms = 300;
	for (int i = 0; i < CALLS; i++) {
		int size = i % 100 == 0 ? 60000 : 20 + i % 7 * 300;
		int start = sprintf(command, "*2\r\n$4\r\nECHO\r\n$%d\r\n%-10d", size, i);

		memset(command + start, 'x', (size_t)size - 10);
		strcpy(command + start + size - 10, "\r\n");
		CHECK(send_one(command));
		if (i % 500 == 0)
			await(i / 2);
	}
	await(CALLS);
	for (int i = 0; i < CALLS; i++) {
		if (calls[i].order != i || atoi(strchr(calls[i].reply, '\n')) != i) {
			CHECK_INT(calls[i].order, i);
			break;
		}
	}
	CHECK_INT(errors(), 0);
	close_link();
	stop_redis(pid);
	free(command);
	free_cert(&ca), free_cert(&cert);
}

TEST(done_may_send_more_on_the_link)
{
	int port = free_port();
	pid_t pid = start_plain_redis(port, NULL);

	open_link(port, &policy);
	CHECK(send_one(PING));
	calls[0].more = 3;
	await(4);
	for (int i = 0; i < 4; i++)
		CHECK_TEXT(calls[i].reply, "+PONG\r\n");
	close_link();
	stop_redis(pid);
}

TEST(done_may_close_the_link)
{
	struct fake fake;

	fake_start(&fake, play_script);
	set_script(HELLO_REPLY, "+1\r\n+2\r\n+3\r\n", NULL);
	open_link(fake.port, &policy);
	for (int i = 0; i < 3; i++)
		CHECK(send_one(PING));
	calls[0].closes = true;
	await(3);
	CHECK_INT(calls[0].result, CALL_ANSWERED);
	CHECK_INT(calls[1].result, CALL_LOST);
	CHECK_INT(calls[2].result, CALL_LOST);
	CHECK_INT(ended, 3);
	CHECK_INT(orphans, 1);
	CHECK(!redis_link_is_ready(link_));
	close_link();
	fake_stop(&fake);
}

TEST(a_killed_connection_tells_the_lost_from_the_unsent)
{
	enum { CALLS = 40, SIZE = 1000000 };
	struct fake fake;
	char *big = calloc(1, SIZE);
	int lost = 0, unsent = 0;

	fake_start(&fake, only_greet);
	open_link(fake.port, &patient);
	redis_link_connect(link_);
	await_ready();
	fake.is_deaf = true;
	for (int i = 0; i < CALLS; i++)
		CHECK(send_bytes(slice_make(big, SIZE)));
	redis_link_flush(link_);
	fake_reset(&fake);
	await(CALLS);
	for (int i = 0; i < CALLS; i++) {
		/* First the lost ones, then the unsent ones. */
		CHECK(calls[i].result == CALL_LOST ? unsent == 0 : calls[i].result == CALL_UNSENT);
		CHECK_INT(calls[i].order, i);
		lost += calls[i].result == CALL_LOST;
		unsent += calls[i].result == CALL_UNSENT;
	}
	CHECK(lost > 0 && unsent > 0);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_LOST]), lost);
	CHECK_INT(orphans, 0); /* what Redis has closed itself runs nothing more */
	CHECK_INT(orphan_id, 42);
	close_link();
	fake_stop(&fake);
	free(big);
}

TEST(calls_that_wait_for_a_connection_that_fails_are_unsent)
{
	open_link(free_port(), &patient);
	CHECK(send_one(PING) && send_one(PING));
	await(2);
	CHECK_INT(calls[0].result, CALL_UNSENT);
	CHECK_INT(calls[1].result, CALL_UNSENT);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_CONNECT]), 1);
	CHECK_INT(errors(), 1);
	CHECK_INT(orphans, 0);
	close_link();
}

TEST(between_attempts_calls_are_refused_at_once_and_it_tries_again_by_itself)
{
	int port = free_port();
	pid_t pid;

	open_link(port, &patient);
	CHECK(send_one(PING));
	await(1);
	CHECK(!send_one(PING));
	run_for(200);
	CHECK(errors() > 1);
	pid = start_plain_redis(port, NULL);
	for (int i = 0; i < 100 && !redis_link_is_ready(link_); i++)
		run_for(20);
	CHECK(redis_link_is_ready(link_));
	CHECK(send_one(PING));
	await(2);
	CHECK_TEXT(calls[1].reply, "+PONG\r\n");
	close_link();
	stop_redis(pid);
}

TEST(an_open_breaker_refuses_and_ends_the_attempts)
{
	int64_t count;

	open_link(free_port(), &policy);
	redis_link_connect(link_);
	for (int i = 0; i < 300 && breaker_allows(breaker); i++)
		run_for(10);
	CHECK_INT(breaker_state(breaker), BREAKER_OPEN);
	count = errors();
	CHECK_INT(count, 5);
	CHECK(!send_one(PING));
	redis_link_connect(link_);
	run_for(100);
	CHECK_INT(errors(), count);
	close_link();
}

TEST(closing_ends_the_calls_from_a_later_turn)
{
	struct fake fake;

	fake_start(&fake, only_greet);
	open_link(fake.port, &policy);
	redis_link_connect(link_);
	await_ready();
	CHECK(send_one(PING));
	redis_link_flush(link_);
	CHECK(send_one(PING)); /* never flushed */
	is_inside = true;
	redis_link_close(link_);
	redis_link_close(link_);
	is_inside = false;
	CHECK_INT(ended, 0);
	await(2);
	CHECK_INT(calls[0].result, CALL_LOST);
	CHECK_INT(calls[1].result, CALL_UNSENT);
	CHECK_INT(errors(), 0);
	CHECK_INT(orphans, 1);
	close_link();
	fake_stop(&fake);
}

TEST(freeing_ends_every_call_before_it_returns)
{
	struct fake fake;

	fake_start(&fake, only_greet);
	open_link(fake.port, &policy);
	CHECK(send_one(PING));
	await_ready();
	redis_link_flush(link_);
	CHECK(send_one(PING));
	close_link();
	CHECK_INT(ended, 2);
	CHECK_INT(orphans, 1);
	fake_stop(&fake);
}

TEST(a_call_that_is_overdue_counts_once_and_is_still_answered)
{
	struct fake fake;

	fake_start(&fake, play_script);
	set_script(HELLO_REPLY, NULL, NULL);
	open_link(fake.port, &patient);
	CHECK(send_one(PING));
	await_ready();
	run_for(20);
	is_inside = true;
	redis_link_overdue(link_, &calls[0].call);
	redis_link_overdue(link_, &calls[0].call);
	is_inside = false;
	CHECK_INT(counter_get(&metrics.errors[FAILURE_TIMEOUT]), 1);
	fake_say(&fake, "+late\r\n");
	await(1);
	CHECK_INT(calls[0].result, CALL_ANSWERED);
	CHECK_TEXT(calls[0].reply, "+late\r\n");
	CHECK_INT(errors(), 1);
	/* A lost call that was overdue has been counted, too. */
	CHECK(send_one(PING));
	redis_link_flush(link_);
	run_for(10);
	redis_link_overdue(link_, &calls[1].call);
	fake_reset(&fake);
	await(2);
	CHECK_INT(calls[1].result, CALL_LOST);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_TIMEOUT]), 2);
	close_link();
	fake_stop(&fake);
}

TEST(overdue_calls_open_the_breaker_of_a_redis_that_hangs)
{
	struct fake fake;

	fake_start(&fake, only_greet);
	open_link(fake.port, &policy);
	for (int i = 0; i < 5; i++)
		CHECK(send_one(PING));
	await_ready();
	for (int i = 0; i < 5; i++)
		redis_link_overdue(link_, &calls[i].call);
	CHECK_INT(breaker_state(breaker), BREAKER_OPEN);
	CHECK(!send_one(PING));
	close_link();
	fake_stop(&fake);
}

TEST(an_answer_that_says_redis_is_sick_is_told_apart)
{
	struct fake fake;

	fake_start(&fake, play_script);
	set_script(HELLO_REPLY,
	    "-LOADING Redis is loading the dataset in memory\r\n"
	    "-WRONGTYPE Operation against a key\r\n"
	    "-READONLY You can't write against a read only replica.\r\n",
	    NULL);
	open_link(fake.port, &patient);
	for (int i = 0; i < 3; i++)
		CHECK(send_one(PING));
	await(3);
	CHECK_INT(calls[0].result, CALL_SICK);
	CHECK_INT(calls[1].result, CALL_ANSWERED);
	CHECK_INT(calls[2].result, CALL_SICK);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_LOADING]), 2);
	CHECK_INT(errors(), 2);
	close_link();
	fake_stop(&fake);
}

TEST(an_idle_connection_that_is_closed_is_no_failure)
{
	struct fake fake;

	fake_start(&fake, only_greet);
	open_link(fake.port, &policy);
	redis_link_connect(link_);
	await_ready();
	fake_hang_up(&fake);
	run_for(50);
	CHECK(!redis_link_is_ready(link_));
	CHECK_INT(errors(), 0);
	/* It was never used: the next send connects. */
	CHECK_INT(fake.accepted, 1);
	fake.on_bytes = play_script;
	set_script(HELLO_REPLY, "+PONG\r\n", HELLO_REPLY);
	CHECK(send_one(PING));
	await(1);
	CHECK_INT(calls[0].result, CALL_ANSWERED);
	CHECK_INT(fake.accepted, 2);
	/* This one has been used: it is replaced at once. */
	fake_hang_up(&fake);
	await_ready();
	run_for(50);
	CHECK_INT(fake.accepted, 3);
	CHECK_INT(errors(), 0);
	close_link();
	fake_stop(&fake);
}

TEST(an_idle_link_pings_and_gives_up_a_connection_that_does_not_answer)
{
	struct fake fake;

	options.keepalive_ms = 400;
	options.connect_ms = 350;
	fake_start(&fake, play_script);
	set_script(HELLO_REPLY, "+PONG\r\n", "+PONG\r\n");
	open_link(fake.port, &patient);
	options.keepalive_ms = 0;
	options.connect_ms = 300;
	redis_link_connect(link_);
	await_ready();
	for (int i = 0; i < 500 && counter_get(&metrics.commands) < 3; i++)
		run_for(10);
	CHECK(redis_link_is_ready(link_));
	CHECK_INT(errors(), 0);
	/* The third PING gets no answer. */
	for (int i = 0; i < 500 && counter_get(&metrics.commands) < 4; i++)
		run_for(10);
	CHECK_INT(counter_get(&metrics.commands), 4);
	for (int i = 0; i < 500 && errors() == 0; i++)
		run_for(10);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_TIMEOUT]), 1);
	CHECK_INT(orphans, 0);
	close_link();
	fake_stop(&fake);
}

TEST(a_busy_link_does_not_ping)
{
	int port = free_port();
	pid_t pid = start_plain_redis(port, NULL);

	options.keepalive_ms = 800;
	open_link(port, &policy);
	options.keepalive_ms = 0;
	for (int i = 1; i <= 60; i++) {
		CHECK(send_one(PING));
		await(i);
		run_for(20);
	}
	CHECK_INT(counter_get(&metrics.commands), 61);
	close_link();
	stop_redis(pid);
}

TEST(a_push_is_no_answer)
{
	struct fake fake;

	fake_start(&fake, play_script);
	set_script(HELLO_REPLY, ">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n+PONG\r\n>1\r\n+x\r\n",
	    NULL);
	open_link(fake.port, &policy);
	CHECK(send_one(PING));
	await(1);
	run_for(10);
	CHECK_TEXT(calls[0].reply, "+PONG\r\n");
	CHECK_INT(pushes, 2);
	close_link();
	fake_stop(&fake);
}

TEST(an_answer_that_nobody_asked_for_ends_the_connection)
{
	struct fake fake;

	fake_start(&fake, play_script);
	set_script(HELLO_REPLY, "+1\r\n+2\r\n", NULL);
	open_link(fake.port, &patient);
	CHECK(send_one(PING));
	await(1);
	run_for(10);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_PROTOCOL]), 1);
	close_link();
	fake_stop(&fake);
}

TEST(a_garbled_answer_loses_the_calls_behind_it)
{
	struct fake fake;

	fake_start(&fake, play_script);
	set_script(HELLO_REPLY, "+1\r\n?\r\n", NULL);
	open_link(fake.port, &patient);
	CHECK(send_one(PING) && send_one(PING) && send_one(PING));
	await(3);
	CHECK_INT(calls[0].result, CALL_ANSWERED);
	CHECK_INT(calls[1].result, CALL_LOST);
	CHECK_INT(calls[2].result, CALL_LOST);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_PROTOCOL]), 2);
	close_link();
	fake_stop(&fake);
}

TEST(a_refused_password_opens_the_breaker_at_once)
{
	int port = free_port();
	pid_t pid = start_plain_redis(port, "secret");

	open_link(port, &policy);
	CHECK(send_one(PING));
	await(1);
	CHECK_INT(calls[0].result, CALL_UNSENT);
	CHECK_INT(breaker_state(breaker), BREAKER_OPEN);
	CHECK_INT(counter_get(&metrics.errors[FAILURE_AUTH]), 1);
	CHECK_INT(errors(), 1);
	close_link();
	stop_redis(pid);
}

TEST(a_server_that_greets_and_hangs_up_is_not_asked_without_end)
{
	struct fake fake;

	fake_start(&fake, only_greet);
	open_link(fake.port, &patient);
	redis_link_connect(link_);
	for (int i = 0; i < 20; i++) {
		if (redis_link_is_ready(link_) && send_one(PING))
			redis_link_flush(link_);
		run_for(5);
		fake_hang_up(&fake);
		run_for(5);
	}
	CHECK(fake.accepted < 12);
	close_link();
	fake_stop(&fake);
}

TEST(what_is_sent_after_a_break_is_not_timed_from_before_it)
{
	struct fake fake;

	fake_start(&fake, only_greet);
	open_link(fake.port, &patient);
	CHECK(send_one(PING));
	redis_link_close(link_);
	CHECK(!redis_link_is_dirty(link_)); /* so nobody flushes it any more */
	run_for(50);
	int64_t now_us = clock_mono_us();
	CHECK(send_one(PING));
	CHECK(calls[1].call.sent_us >= now_us);
	close_link();
	fake_stop(&fake);
}

TEST(errors_about_the_command_are_no_sickness)
{
	CHECK_INT(redis_error_kind(SLICE("-LOADING x\r\n")), FAILURE_LOADING);
	CHECK_INT(redis_error_kind(SLICE("-MASTERDOWN Link\r\n")), FAILURE_LOADING);
	CHECK_INT(redis_error_kind(SLICE("-BUSY Redis is busy\r\n")), FAILURE_LOADING);
	CHECK_INT(redis_error_kind(SLICE("-NOAUTH Authentication required.\r\n")), FAILURE_AUTH);
	CHECK_INT(redis_error_kind(SLICE("-WRONGPASS invalid\r\n")), FAILURE_AUTH);
	CHECK_INT(redis_error_kind(SLICE("-ERR max requests limit exceeded. Limit: 1\r\n")),
	    FAILURE_QUOTA);
	CHECK_INT(redis_error_kind(SLICE("-ERR max daily request limit exceeded.\r\n")),
	    FAILURE_QUOTA);
	CHECK_INT(redis_error_kind(SLICE("-ERR max request size exceeded. Limit: 1\r\n")), -1);
	CHECK_INT(redis_error_kind(SLICE("-ERR unknown command\r\n")), -1);
	CHECK_INT(redis_error_kind(SLICE("-WRONGTYPE Operation\r\n")), -1);
	CHECK_INT(redis_error_kind(SLICE("-OOM command not allowed\r\n")), -1);
	CHECK_INT(redis_error_kind(SLICE("-NOPERM this user\r\n")), -1);
	CHECK_INT(redis_error_kind(SLICE("-\r\n")), -1);
	CHECK_INT(redis_error_kind(SLICE("-ERR")), -1);
}

int
main(void)
{
	int status;

	base = event_base_new();
	status = test_run_all();
	event_base_free(base);
	return status;
}
