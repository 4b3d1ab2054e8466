#include "ladder/flight.h"

#include "../test.h"
#include "ladder/flight_inside.h"
#include "ladder_world.h"

/* Somebody who waits, and what came. */
struct reader {
	struct flight_waiter waiter; /* first */
	int ended;
	enum fetch_outcome outcome;
	char bytes[100];
};

static bool is_inside; /* one of our calls is running: nothing may come */

static void
on_fetched(struct flight_waiter *waiter, const struct fetched *fetched)
{
	struct reader *reader = (struct reader *)waiter;

	CHECK(!is_inside);
	reader->ended++;
	reader->outcome = fetched->outcome;
	if (fetched->bytes != NULL)
		snprintf(reader->bytes, sizeof(reader->bytes), "%.*s", (int)fetched->bytes->len,
		    fetched->bytes->bytes);
}

static struct flight_order
order_of(const char *key, int resp)
{
	struct flight_order order = {
		.key = slice_of(key),
		.may_keep = true,
		.link = { .resp = resp },
	};

	order.map = maps_find(world.rules.maps, order.key, &order.id);
	return order;
}

static void
ask_by(struct reader *reader, struct flight_order order)
{
	*reader = (struct reader){ .waiter.fetched = on_fetched };
	is_inside = true;
	CHECK(flights_ask_redis(world.context.flights, &order, &reader->waiter));
	is_inside = false;
}

static void
ask(struct reader *reader, const char *key)
{
	ask_by(reader, order_of(key, 2));
}

static void
ask_many(struct reader *readers, const char *const *keys, size_t count, int resp)
{
	is_inside = true;
	flights_begin_many(world.context.flights);
	for (size_t i = 0; i < count; i++) {
		struct flight_order order = order_of(keys[i], resp);
		order.is_many = true;
		ask_by(&readers[i], order);
		is_inside = true;
	}
	flights_end_many(world.context.flights);
	is_inside = false;
}

/* ---- one key ---- */

TEST(ten_readers_of_one_key_cost_one_command)
{
	struct reader readers[10];
	world_start();
	for (int i = 0; i < 10; i++)
		ask(&readers[i], "k");
	world_await_asked("GET k;");
	fake_say(&world.fake, "$5\r\nvalue\r\n");
	AWAIT(readers[9].ended > 0);
	for (int i = 0; i < 10; i++) {
		CHECK_INT(readers[i].ended, 1);
		CHECK_INT(readers[i].outcome, FETCH_VALUE);
		CHECK_TEXT(readers[i].bytes, "value");
	}
	CHECK_TEXT(world_memory("k"), "value");
	world_stop();
}

TEST(who_comes_after_the_answer_asks_again)
{
	struct reader first, second;
	world_start();
	ask(&first, "k");
	world_await_asked("GET k;");
	fake_say(&world.fake, "$1\r\na\r\n");
	AWAIT(first.ended > 0);
	ask(&second, "k");
	world_await_asked("GET k;GET k;");
	fake_say(&world.fake, "$1\r\nb\r\n");
	AWAIT(second.ended > 0);
	CHECK_TEXT(second.bytes, "b");
	world_stop();
}

/* The answer under way may be older than the write that dropped the key: it
 * is good for those who asked before, and for nobody else. */
TEST(a_flight_with_a_void_lease_is_neither_joined_nor_kept)
{
	struct reader before, after;
	world_start();
	ask(&before, "k");
	world_await_asked("GET k;");
	cache_drop(world.backends.cache, SLICE("k"));
	ask(&after, "k");
	world_await_asked("GET k;GET k;");
	fake_say(&world.fake, "$3\r\nold\r\n");
	AWAIT(before.ended > 0);
	CHECK_TEXT(before.bytes, "old");
	CHECK_TEXT(world_memory("k"), "-");
	CHECK_INT(after.ended, 0);
	fake_say(&world.fake, "$3\r\nnew\r\n");
	AWAIT(after.ended > 0);
	CHECK_TEXT(after.bytes, "new");
	CHECK_TEXT(world_memory("k"), "new");
	world_stop();
}

TEST(a_flight_opened_during_a_write_is_not_joined)
{
	struct reader first, second;
	world_start();
	cache_write_begin(world.backends.cache, SLICE("k"), cache_hash(SLICE("k")));
	ask(&first, "k");
	ask(&second, "k");
	world_await_asked("GET k;GET k;");
	fake_say(&world.fake, "$1\r\na\r\n$1\r\nb\r\n");
	AWAIT(second.ended > 0);
	CHECK_TEXT(world_memory("k"), "-");
	cache_write_end(world.backends.cache, SLICE("k"), cache_hash(SLICE("k")));
	world_stop();
}

TEST(who_leaves_hears_nothing_and_the_others_do)
{
	struct reader readers[3];
	world_start();
	for (int i = 0; i < 3; i++)
		ask(&readers[i], "k");
	flight_leave(&readers[1].waiter, false);
	flight_leave(&readers[1].waiter, false); /* twice is once */
	world_await_asked("GET k;");
	fake_say(&world.fake, "$1\r\nv\r\n");
	AWAIT(readers[2].ended > 0);
	CHECK_INT(readers[0].ended, 1);
	CHECK_INT(readers[1].ended, 0);
	world_stop();
}

TEST(an_answer_that_nobody_waits_for_is_kept)
{
	struct reader readers[2];
	world_start();
	ask(&readers[0], "k");
	ask(&readers[1], "k");
	world_await_asked("GET k;");
	flight_leave(&readers[0].waiter, true);
	flight_leave(&readers[1].waiter, true);
	/* Slow once, however many gave up. */
	CHECK_INT(counter_get(&world.redis_metrics.errors[FAILURE_TIMEOUT]), 1);
	fake_say(&world.fake, "$4\r\nlate\r\n");
	AWAIT(strcmp(world_memory("k"), "late") == 0);
	world_stop();
}

TEST(what_is_not_cacheable_is_not_kept)
{
	struct reader reader;
	world_start();
	struct flight_order order = order_of("k", 2);
	order.may_keep = false;
	ask_by(&reader, order);
	world_await_asked("GET k;");
	fake_say(&world.fake, "$1\r\nv\r\n");
	AWAIT(reader.ended > 0);
	CHECK_TEXT(world_memory("k"), "-");
	world_stop();
}

TEST(nil_is_remembered_for_keys_without_a_map_only)
{
	struct reader plain, mapped;
	world_start();
	ask(&plain, "k");
	ask(&mapped, "profile:1");
	world_await_asked("GET k;GET profile:1;");
	fake_say(&world.fake, "$-1\r\n$-1\r\n");
	AWAIT(mapped.ended > 0);
	CHECK_INT(plain.outcome, FETCH_NIL);
	CHECK_INT(mapped.outcome, FETCH_NIL);
	CHECK_TEXT(world_memory("k"), "absent");
	CHECK_TEXT(world_memory("profile:1"), "-");
	world_stop();
}

TEST(an_error_about_the_command_reaches_all_and_is_not_kept)
{
	struct reader readers[2];
	world_start();
	ask(&readers[0], "k");
	ask(&readers[1], "k");
	world_await_asked("GET k;");
	fake_say(&world.fake, "-WRONGTYPE no string\r\n");
	AWAIT(readers[1].ended > 0);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(readers[i].outcome, FETCH_ERROR);
		CHECK_TEXT(readers[i].bytes, "-WRONGTYPE no string\r\n");
	}
	CHECK_TEXT(world_memory("k"), "-");
	world_stop();
}

TEST(a_broken_connection_fails_the_flight_and_a_later_one_flies)
{
	struct reader first, second;
	world_start();
	ask(&first, "k");
	world_await_asked("GET k;");
	fake_hang_up(&world.fake);
	AWAIT(first.ended > 0);
	CHECK_INT(first.outcome, FETCH_FAILED);
	CHECK_TEXT(world_memory("k"), "-");
	struct flight_order order = order_of("k", 2);
	second = (struct reader){ .waiter.fetched = on_fetched };
	/* Refused until the next connection attempt is due. */
	for (int i = 0; i < 500 && second.waiter.flight == NULL; i++) {
		world_run_for(5);
		bool is_taken = flights_ask_redis(world.context.flights, &order, &second.waiter);
		CHECK_INT(is_taken, second.waiter.flight != NULL);
	}
	world_await_asked("GET k;GET k;");
	fake_say(&world.fake, "$1\r\nv\r\n");
	AWAIT(second.ended > 0);
	CHECK_TEXT(second.bytes, "v");
	world_stop();
}

TEST(redis_that_is_down_refuses_at_once)
{
	struct reader reader = { .waiter.fetched = on_fetched };
	world_start();
	breaker_force(world.backends.redis, BREAKER_FORCE_OPEN, clock_mono_ms());
	struct flight_order order = order_of("k", 2);
	CHECK(!flights_ask_redis(world.context.flights, &order, &reader.waiter));
	world_run_for(20);
	CHECK_INT(reader.ended, 0);
	world_stop();
}

/* ---- hashes ---- */

TEST(a_hash_is_another_flight_than_a_string_of_that_key)
{
	struct reader string, hash;
	world_start();
	struct flight_order order = order_of("user:1", 2);
	order.is_hash = true;
	ask_by(&hash, order);
	ask(&string, "user:1");
	world_await_asked("HGETALL user:1;GET user:1;");
	fake_say(&world.fake, "*2\r\n$1\r\nf\r\n$1\r\nv\r\n-WRONGTYPE x\r\n");
	AWAIT(string.ended > 0);
	CHECK_INT(hash.outcome, FETCH_VALUE);
	CHECK_TEXT(hash.bytes, "$1\r\nf\r\n$1\r\nv\r\n");
	CHECK_TEXT(world_memory("user:1"), "$1\r\nf\r\n$1\r\nv\r\n");
	world_stop();
}

TEST(a_hash_is_read_from_resp3_too_and_an_empty_one_is_nil)
{
	struct reader full, empty;
	world_start();
	struct flight_order order = order_of("user:1", 3);
	order.is_hash = true;
	ask_by(&full, order);
	order = order_of("user:2", 3);
	order.is_hash = true;
	ask_by(&empty, order);
	world_await_asked("HGETALL user:1;HGETALL user:2;");
	fake_say(&world.fake, "%1\r\n$1\r\nf\r\n$1\r\nv\r\n%0\r\n");
	AWAIT(empty.ended > 0);
	CHECK_TEXT(full.bytes, "$1\r\nf\r\n$1\r\nv\r\n");
	CHECK_INT(empty.outcome, FETCH_NIL);
	world_stop();
}

/* ---- many keys ---- */

TEST(many_keys_leave_as_one_command)
{
	struct reader readers[3];
	world_start();
	ask_many(readers, (const char *const[]){ "a", "b", "c" }, 3, 2);
	world_await_asked("MGET a b c;");
	fake_say(&world.fake, "*3\r\n$1\r\n1\r\n$-1\r\n$2\r\n33\r\n");
	AWAIT(readers[2].ended > 0);
	CHECK_TEXT(readers[0].bytes, "1");
	CHECK_INT(readers[1].outcome, FETCH_NIL);
	CHECK_TEXT(readers[2].bytes, "33");
	CHECK_TEXT(world_memory("a"), "1");
	CHECK_TEXT(world_memory("b"), "-"); /* or a key of another type */
	CHECK_TEXT(world_memory("c"), "33");
	world_stop();
}

TEST(a_key_named_twice_is_asked_for_once)
{
	struct reader readers[3];
	world_start();
	ask_many(readers, (const char *const[]){ "a", "b", "a" }, 3, 3);
	world_await_asked("MGET a b;");
	fake_say(&world.fake, "*2\r\n$1\r\n1\r\n_\r\n");
	AWAIT(readers[1].ended > 0);
	CHECK_TEXT(readers[0].bytes, "1");
	CHECK_TEXT(readers[2].bytes, "1");
	CHECK_INT(readers[1].outcome, FETCH_NIL);
	world_stop();
}

TEST(many_join_who_asks_for_one_and_not_the_other_way_round)
{
	struct reader one, many[2], late;
	world_start();
	ask(&one, "a");
	ask_many(many, (const char *const[]){ "a", "b" }, 2, 2);
	ask(&late, "b");
	world_await_asked("GET a;MGET b;GET b;");
	fake_say(&world.fake, "$1\r\n1\r\n*1\r\n$1\r\n2\r\n$1\r\n3\r\n");
	AWAIT(late.ended > 0);
	CHECK_TEXT(many[0].bytes, "1");
	CHECK_TEXT(many[1].bytes, "2");
	CHECK_TEXT(late.bytes, "3");
	world_stop();
}

TEST(an_answer_of_another_length_fails_all_of_them)
{
	struct reader readers[2];
	world_start();
	ask_many(readers, (const char *const[]){ "a", "b" }, 2, 2);
	world_await_asked("MGET a b;");
	fake_say(&world.fake, "*1\r\n$1\r\n1\r\n");
	AWAIT(readers[1].ended > 0);
	CHECK_INT(readers[0].outcome, FETCH_FAILED);
	CHECK_INT(readers[1].outcome, FETCH_FAILED);
	CHECK_TEXT(world_memory("a"), "-");
	world_stop();
}

/* ---- how long a copy is good ---- */

/* The copy has come, its ttl has not. */
static void
ask_vip_so_far(struct reader *reader)
{
	world_start();
	ask(reader, "vip:1");
	world_await_asked("GET vip:1;PTTL vip:1;");
	fake_say(&world.fake, "$1\r\nv\r\n");
	AWAIT(reader->ended > 0); /* the reader does not wait for the ttl */
	CHECK_TEXT(reader->bytes, "v");
	CHECK_TEXT(world_memory("vip:1"), "-"); /* memory does */
}

static void
ask_vip(struct reader *reader, const char *ttl_reply)
{
	ask_vip_so_far(reader);
	fake_say(&world.fake, ttl_reply);
	world_run_for(20);
}

TEST(the_ttl_is_asked_for_where_rows_have_a_valid_until_only)
{
	struct reader readers[3];
	world_start();
	ask(&readers[0], "profile:1");
	ask(&readers[1], "plain");
	ask(&readers[2], "vip:1");
	world_await_asked("GET profile:1;GET plain;GET vip:1;PTTL vip:1;");
	world_stop();
}

TEST(of_many_each_such_key_has_its_ttl_asked_for)
{
	struct reader readers[3];
	world_start();
	ask_many(readers, (const char *const[]){ "vip:1", "profile:1", "vip:2" }, 3, 2);
	world_await_asked("MGET vip:1 profile:1 vip:2;PTTL vip:1;PTTL vip:2;");
	fake_say(&world.fake, "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n:5000\r\n:-1\r\n");
	AWAIT(strcmp(world_memory("vip:2"), "3") == 0);
	CHECK_TEXT(world_memory("vip:1"), "1");
	CHECK_TEXT(world_memory_in("vip:1", 5001), "-");
	CHECK_TEXT(world_memory("profile:1"), "2");
	world_stop();
}

TEST(a_copy_is_kept_no_longer_than_it_lives_in_redis)
{
	struct reader reader;
	ask_vip(&reader, ":5000\r\n");
	CHECK_TEXT(world_memory_in("vip:1", 3000), "v");
	CHECK_TEXT(world_memory_in("vip:1", 5001), "-");
	world_stop();
}

TEST(a_ttl_counts_from_its_question_however_late_the_answer_comes)
{
	struct reader reader;
	ask_vip_so_far(&reader);
	world_run_for(150);
	fake_say(&world.fake, ":5000\r\n");
	AWAIT(strcmp(world_memory("vip:1"), "v") == 0);
	CHECK_TEXT(world_memory_in("vip:1", 5000 - 150), "-");
	world_stop();
}

TEST(a_copy_without_a_ttl_is_kept_like_any_other)
{
	struct reader reader;
	ask_vip(&reader, ":-1\r\n");
	CHECK_TEXT(world_memory_in("vip:1", 20000), "v");
	CHECK_TEXT(world_memory_in("vip:1", 40000), "stale v");
	world_stop();
}

TEST(a_copy_that_has_gone_meanwhile_is_not_kept)
{
	struct reader reader;
	ask_vip(&reader, ":-2\r\n");
	CHECK_TEXT(world_memory("vip:1"), "-");
	world_stop();
}

TEST(a_copy_whose_ttl_nobody_knows_is_not_kept)
{
	struct reader reader;
	ask_vip(&reader, "-NOPERM no PTTL\r\n");
	CHECK_TEXT(world_memory("vip:1"), "-");
	world_stop();
	ask_vip(&reader, "+what\r\n");
	CHECK_TEXT(world_memory("vip:1"), "-");
	world_stop();
}

TEST(a_drop_between_the_copy_and_its_ttl_keeps_it_out)
{
	struct reader reader;
	ask_vip_so_far(&reader);
	cache_drop(world.backends.cache, SLICE("vip:1"));
	fake_say(&world.fake, ":5000\r\n");
	world_run_for(20);
	CHECK_TEXT(world_memory("vip:1"), "-");
	world_stop();
}

TEST(a_connection_that_breaks_between_the_copy_and_its_ttl_leaves_nothing_behind)
{
	struct reader reader;
	ask_vip_so_far(&reader);
	fake_hang_up(&world.fake);
	world_run_for(20);
	CHECK_TEXT(world_memory("vip:1"), "-");
	world_stop();
}

TEST(a_connection_that_breaks_before_both_answers_fails_the_flight_once)
{
	struct reader reader;
	world_start();
	ask(&reader, "vip:1");
	world_await_asked("GET vip:1;PTTL vip:1;");
	fake_hang_up(&world.fake);
	AWAIT(reader.ended > 0);
	world_run_for(10);
	CHECK_INT(reader.ended, 1);
	CHECK_INT(reader.outcome, FETCH_FAILED);
	world_stop();
}

/* ---- refused after all ---- */

/* They have been told to wait, so they hear of it from a later turn. */
TEST(many_that_the_link_refuses_fail_from_a_later_turn)
{
	struct reader one, many[2];
	world_start();
	ask(&one, "k");
	world_await_asked("GET k;");
	breaker_force(world.backends.redis, BREAKER_FORCE_OPEN, clock_mono_ms());
	ask_many(many, (const char *const[]){ "a", "b" }, 2, 2);
	CHECK_INT(many[0].ended + many[1].ended, 0);
	AWAIT(many[1].ended > 0);
	CHECK_INT(many[0].outcome, FETCH_FAILED);
	CHECK_INT(many[1].outcome, FETCH_FAILED);
	world_stop();
}

/* A deadline may pass between the refusal and that later turn: nothing was
 * asked, so nothing is slow (and there is no question left to look at). */
/* The last letters are read when the keeper has gone: see free_all() in run/server.c. */
TEST(a_row_that_comes_in_the_very_end_is_for_memory_alone)
{
	struct reader reader = { .waiter.fetched = on_fetched };

	world_start();
	struct flight_order order = order_of("profile:1", 2);
	order.fills_redis = true;
	CHECK(flights_ask_postgres(world.context.flights, &order, &reader.waiter));
	struct flight *flight = (struct flight *)((char *)world.context.flights->leaving -
	    offsetof(struct flight, letter));
	links_shut(world.context.links);
	keeper_free(world.backends.keeper);
	world.backends.keeper = NULL;
	flight->lookup.result = LOOKUP_FOUND;
	flight->lookup.value = blob_new(SLICE("row"));
	flight->lookup.valid_until_ms = TIME_NEVER;
	flight->lookup.done(&flight->lookup);
	AWAIT(reader.ended == 1);
	CHECK_TEXT(reader.bytes, "row");
	CHECK_TEXT(world_memory("profile:1"), "row");
	world_stop();
}

TEST(who_runs_out_of_time_after_a_refusal_counts_nothing_against_redis)
{
	struct reader one, many[2];
	world_start();
	ask(&one, "k");
	world_await_asked("GET k;");
	breaker_force(world.backends.redis, BREAKER_FORCE_OPEN, clock_mono_ms());
	ask_many(many, (const char *const[]){ "a", "b" }, 2, 2);
	flight_leave(&many[0].waiter, true);
	CHECK_INT(counter_get(&world.redis_metrics.errors[FAILURE_TIMEOUT]), 0);
	AWAIT(many[1].ended > 0);
	CHECK_INT(many[0].ended, 0);
	world_stop();
}

TEST_MAIN
