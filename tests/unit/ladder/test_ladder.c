#include "ladder/ladder.h"

#include "../test.h"
#include "ladder_world.h"
#include "ladder/explain.h"

/* Somebody who has asked, and what was answered. */
struct asker {
	int ended;
	enum answer_kind kind;
	enum rung rung;
	char bytes[200];
	int64_t asked_ms, took_ms;
};

static bool is_inside; /* one of our calls is running: nothing may come */

static void
take_answer(struct asker *asker, struct answer *answer)
{
	asker->ended++;
	asker->kind = answer->kind;
	asker->rung = answer->rung;
	asker->took_ms = clock_mono_ms() - asker->asked_ms;
	if (answer->bytes != NULL)
		snprintf(asker->bytes, sizeof(asker->bytes), "%.*s", (int)answer->bytes->len,
		    answer->bytes->bytes);
	answer_release(answer);
}

static void
on_answered(void *arg, struct answer *answer)
{
	CHECK(!is_inside);
	take_answer(arg, answer);
}

static struct question
question_of(const char *key)
{
	struct question question = { .key = slice_of(key), .link = { .resp = 2 } };

	question.map = maps_find(world.rules.maps, question.key, &question.id);
	question.is_hash = question.map != NULL && question.map->settings->type == MAP_HASH;
	return question;
}

static void
ask(struct asker *asker, const char *key)
{
	struct question question = question_of(key);
	struct answer answer;

	*asker = (struct asker){ .asked_ms = clock_mono_ms() };
	is_inside = true;
	if (ladder_ask(&world.context, &question, &answer, on_answered, asker))
		take_answer(asker, &answer);
	is_inside = false;
}

/* "string 1 value": kind, rung and bytes of an answer that has come. */
static const char *
told(const struct asker *asker)
{
	static const char *const kinds[] = { "string", "hash", "nil", "error" };
	static char text[300];

	if (asker->ended != 1)
		return asker->ended == 0 ? "not yet" : "twice";
	snprintf(text, sizeof(text), "%s %s %s", kinds[asker->kind], rung_name(asker->rung),
	    asker->bytes);
	return text;
}

/* Puts a copy into memory, fresh or stale by now. */
static void
remember(const char *key, const char *text, bool is_fresh)
{
	int64_t now_ms = clock_mono_ms();
	struct cache_value value = {
		.kind = CACHE_STRING,
		.bytes = blob_new(slice_of(text)),
		.filled_ms = now_ms - 100,
		.fresh_until_ms = now_ms + (is_fresh ? 10000 : -1),
		.stale_until_ms = now_ms + 60000,
		.valid_until_ms = TIME_NEVER,
		.refresh_at_ms = TIME_NEVER,
	};
	cache_put(world.backends.cache, slice_of(key), &value);
	cache_value_release(&value);
}

static void
redis_goes_down(void)
{
	breaker_force(world.backends.redis, BREAKER_FORCE_OPEN, clock_mono_ms());
}

/* ---- memory ---- */

TEST(a_fresh_copy_answers_at_once_and_asks_nobody)
{
	struct asker asker;
	world_start();
	remember("k", "v", true);
	ask(&asker, "k");
	CHECK_TEXT(told(&asker), "string memory v");
	CHECK_INT(counter_get(&world.metrics.hits), 1);
	CHECK_INT(counter_get(&world.metrics.answers[RUNG_MEMORY]), 1);
	world_run_for(10);
	CHECK_TEXT(world.asked, "");
	world_stop();
}

TEST(a_key_that_may_not_be_kept_is_asked_for_each_time)
{
	struct asker asker;
	world_start();
	for (int i = 0; i < 2; i++) {
		ask(&asker, "private:1");
		world_await_asked(i == 0 ? "GET private:1;" : "GET private:1;GET private:1;");
		fake_say(&world.fake, "$1\r\nv\r\n");
		AWAIT(asker.ended > 0);
		CHECK_TEXT(told(&asker), "string redis v");
	}
	world_stop();
}

/* ---- redis ---- */

TEST(a_miss_is_answered_by_redis_and_then_by_memory)
{
	struct asker first, second;
	world_start();
	ask(&first, "k");
	CHECK_TEXT(told(&first), "not yet");
	world_await_asked("GET k;");
	fake_say(&world.fake, "$1\r\nv\r\n");
	AWAIT(first.ended > 0);
	CHECK_TEXT(told(&first), "string redis v");
	ask(&second, "k");
	CHECK_TEXT(told(&second), "string memory v");
	CHECK_INT(counter_get(&world.metrics.misses), 1);
	world_stop();
}

TEST(a_hundred_askers_of_a_missing_key_cost_one_command)
{
	struct asker askers[100];
	world_start();
	for (int i = 0; i < 100; i++)
		ask(&askers[i], "profile:7");
	world_await_asked("GET profile:7;");
	fake_say(&world.fake, "$1\r\nv\r\n");
	AWAIT(askers[99].ended > 0);
	for (int i = 0; i < 100; i++)
		CHECK_TEXT(told(&askers[i]), "string redis v");
	world_stop();
}

TEST(an_error_about_the_command_is_the_answer)
{
	struct asker asker;
	world_start();
	remember("k", "old", false);
	ask(&asker, "k");
	world_await_asked("GET k;");
	fake_say(&world.fake, "-WRONGTYPE no string\r\n");
	AWAIT(asker.ended > 0);
	CHECK_TEXT(told(&asker), "error redis -WRONGTYPE no string\r\n");
	world_stop();
}

TEST(nil_for_a_key_without_a_map_is_nil)
{
	struct asker asker;
	world_start();
	ask(&asker, "k");
	world_await_asked("GET k;");
	fake_say(&world.fake, "$-1\r\n");
	AWAIT(asker.ended > 0);
	CHECK_TEXT(told(&asker), "nil redis ");
	ask(&asker, "k");
	CHECK_TEXT(told(&asker), "nil memory ");
	world_stop();
}

TEST(an_error_that_redis_cannot_serve_goes_down_the_ladder)
{
	struct asker asker;
	world_start();
	remember("k", "old", false);
	ask(&asker, "k");
	world_await_asked("GET k;");
	fake_say(&world.fake, "-LOADING Redis is loading the dataset in memory\r\n");
	AWAIT(asker.ended > 0);
	CHECK_TEXT(told(&asker), "string stale old");
	world_stop();
}

/* ---- no backend ---- */

TEST(without_backends_a_mapped_key_gets_its_stale_copy_else_the_free_answer)
{
	struct asker stale, none, hash;
	world_start();
	redis_goes_down();
	remember("profile:1", "mine", false);
	ask(&stale, "profile:1");
	ask(&none, "profile:2");
	ask(&hash, "user:1");
	CHECK_TEXT(told(&stale), "string stale mine");
	CHECK_TEXT(told(&none), "string free {\"tier\":\"free\"}");
	CHECK_TEXT(told(&hash), "hash free $4\r\ntier\r\n$4\r\nfree\r\n");
	/* A free value is never kept. */
	CHECK_TEXT(world_memory("profile:2"), "-");
	world_stop();
}

TEST(without_redis_another_key_gets_its_stale_copy_else_an_error)
{
	struct asker stale, none;
	world_start();
	redis_goes_down();
	remember("k", "old", false);
	ask(&stale, "k");
	ask(&none, "l");
	CHECK_TEXT(told(&stale), "string stale old");
	CHECK_INT(none.kind, ANSWER_ERROR);
	CHECK(strncmp(none.bytes, "-REDISDOWN ", 11) == 0);
	CHECK(strcmp(none.bytes + strlen(none.bytes) - 2, "\r\n") == 0);
	CHECK_INT(none.rung, RUNG_ERROR);
	world_stop();
}

TEST(nil_in_redis_and_no_postgres_is_not_taken_for_a_missing_row)
{
	struct asker asker;
	world_start();
	ask(&asker, "profile:1");
	world_await_asked("GET profile:1;");
	fake_say(&world.fake, "$-1\r\n");
	AWAIT(asker.ended > 0);
	CHECK_TEXT(told(&asker), "string free {\"tier\":\"free\"}");
	world_stop();
}

TEST(an_id_that_its_column_cannot_hold_is_a_missing_row)
{
	struct asker asker;
	world_start();
	redis_goes_down();
	ask(&asker, "row:bob");
	CHECK_TEXT(told(&asker), "nil postgres ");
	ask(&asker, "row:1");
	CHECK_INT(asker.rung, RUNG_FREE);
	world_stop();
}

TEST(a_copy_of_another_type_answers_nobody)
{
	struct asker asker;
	world_start();
	redis_goes_down();
	remember("user:1", "a string", true);
	ask(&asker, "user:1");
	CHECK_TEXT(told(&asker), "hash free $4\r\ntier\r\n$4\r\nfree\r\n");
	world_stop();
}

/* ---- time ---- */

TEST(a_mapped_read_waits_for_redis_no_longer_than_its_budget)
{
	struct asker asker;
	world_start();
	ask(&asker, "profile:1");
	AWAIT(asker.ended > 0);
	CHECK_TEXT(told(&asker), "string free {\"tier\":\"free\"}");
	CHECK(asker.took_ms >= 400 && asker.took_ms < 1900); /* not the timeout */
	/* A late answer still fills. */
	fake_say(&world.fake, "$4\r\nlate\r\n");
	AWAIT(strcmp(world_memory("profile:1"), "late") == 0);
	CHECK_INT(asker.ended, 1);
	world_stop();
}

TEST(who_has_a_stale_copy_waits_for_the_budget_and_who_has_none_for_the_timeout)
{
	struct asker with, without;
	world_start();
	remember("k", "old", false);
	ask(&with, "k");
	ask(&without, "l");
	AWAIT(without.ended > 0);
	CHECK_TEXT(told(&with), "string stale old");
	CHECK(with.took_ms >= 400 && with.took_ms < 1900);
	CHECK_INT(without.kind, ANSWER_ERROR);
	CHECK(without.took_ms >= 2000);
	world_stop();
}

TEST(who_joins_a_flight_keeps_a_deadline_of_its_own)
{
	struct asker early, late;
	world_start();
	ask(&early, "profile:1");
	world_run_for(300);
	ask(&late, "profile:1");
	AWAIT(early.ended > 0);
	CHECK_TEXT(told(&late), "not yet");
	CHECK_TEXT(world.asked, "GET profile:1;");
	fake_say(&world.fake, "$1\r\nv\r\n");
	AWAIT(late.ended > 0);
	CHECK_TEXT(told(&early), "string free {\"tier\":\"free\"}");
	CHECK_TEXT(told(&late), "string redis v");
	world_stop();
}

/* ---- writes ---- */

TEST(who_asks_after_a_drop_is_not_given_what_was_asked_before)
{
	struct asker before, after;
	world_start();
	ask(&before, "profile:1");
	world_await_asked("GET profile:1;");
	cache_drop(world.backends.cache, SLICE("profile:1"));
	ask(&after, "profile:1");
	world_await_asked("GET profile:1;GET profile:1;");
	fake_say(&world.fake, "$3\r\nold\r\n$3\r\nnew\r\n");
	AWAIT(after.ended > 0);
	CHECK_TEXT(told(&before), "string redis old");
	CHECK_TEXT(told(&after), "string redis new");
	CHECK_TEXT(world_memory("profile:1"), "new");
	world_stop();
}

TEST(a_key_in_the_journal_is_not_read_from_redis)
{
	struct asker asker;
	world_start();
	CHECK(journal_add(world.backends.journal, SLICE("profile:1")));
	ask(&asker, "profile:1");
	CHECK_TEXT(told(&asker), "string free {\"tier\":\"free\"}");
	world_run_for(10);
	CHECK_TEXT(world.asked, "");
	world_stop();
}

/* ---- early refresh ---- */

TEST(a_hot_value_is_asked_for_again_before_it_expires_and_nobody_waits)
{
	struct asker asker;
	world_start();
	remember("k", "old", true);
	struct cache_value value;
	int64_t now_ms = clock_mono_ms();
	CHECK_INT(cache_find(world.backends.cache, SLICE("k"), now_ms, &value, NULL), CACHE_FRESH);
	/* An entry keeps the distance to an eighth. */
	value.refresh_at_ms = now_ms - (value.fresh_until_ms - now_ms);
	cache_put(world.backends.cache, SLICE("k"), &value);
	cache_value_release(&value);
	for (int i = 0; i < 3; i++) {
		ask(&asker, "k");
		CHECK_TEXT(told(&asker), "string memory old");
	}
	world_await_asked("GET k;");
	CHECK_INT(counter_get(&world.metrics.refreshes), 1);
	fake_say(&world.fake, "$3\r\nnew\r\n");
	AWAIT(strcmp(world_memory("k"), "new") == 0);
	ask(&asker, "k");
	CHECK_TEXT(told(&asker), "string memory new");
	/* Three askers, one answer each; the refresh counts as none. */
	CHECK_INT(counter_get(&world.metrics.answers[RUNG_MEMORY]), 4);
	CHECK_INT(counter_get(&world.metrics.answers[RUNG_REDIS]), 0);
	world_stop();
}

/* ---- many ---- */

TEST(what_memory_lacks_of_many_leaves_as_one_command)
{
	static const char *const keys[] = { "a", "b", "c" };
	struct asker askers[3];
	world_start();
	remember("b", "in memory", true);
	ladder_begin_many(&world.context);
	for (int i = 0; i < 3; i++) {
		struct question question = question_of(keys[i]);
		struct answer answer;
		question.is_many = true;
		askers[i] = (struct asker){ 0 };
		if (ladder_ask(&world.context, &question, &answer, on_answered, &askers[i]))
			take_answer(&askers[i], &answer);
	}
	ladder_end_many(&world.context);
	CHECK_TEXT(told(&askers[1]), "string memory in memory");
	world_await_asked("MGET a c;");
	fake_say(&world.fake, "*2\r\n$1\r\n1\r\n$-1\r\n");
	AWAIT(askers[2].ended > 0);
	CHECK_TEXT(told(&askers[0]), "string redis 1");
	CHECK_TEXT(told(&askers[2]), "nil redis ");
	world_stop();
}

/* ---- explaining ---- */

static const char *said_why;

static enum rung
would(const char *key)
{
	struct question question = question_of(key);
	const char *why = NULL;
	enum rung rung = ladder_would_answer(&world.context, &question, &why);

	CHECK(why != NULL && why[0] != '\0');
	said_why = why;
	return rung;
}

TEST(an_id_that_does_not_fit_is_explained_as_it_is_answered)
{
	world_start();
	CHECK_INT(would("row:abc"), RUNG_REDIS);
	CHECK(strstr(said_why, "does not fit") != NULL);
	redis_goes_down();
	CHECK_INT(would("row:abc"), RUNG_POSTGRES);
	CHECK(strstr(said_why, "does not fit") != NULL);
	CHECK_INT(would("row:1"), RUNG_FREE);
	world_stop();
}

TEST(what_would_answer_is_what_answers)
{
	world_start();
	CHECK_INT(would("k"), RUNG_REDIS);
	CHECK_INT(would("profile:1"), RUNG_REDIS);
	CHECK(journal_add(world.backends.journal, SLICE("profile:1")));
	CHECK_INT(would("profile:1"), RUNG_FREE);
	CHECK_TEXT(said_why, "the copy in redis is older than a write here; memory holds none");
	remember("profile:1", "v", false);
	CHECK_INT(would("profile:1"), RUNG_STALE);
	CHECK_TEXT(said_why,
	    "the copy in redis is older than a write here; memory holds a stale copy");
	remember("k", "v", true);
	CHECK_INT(would("k"), RUNG_MEMORY);
	redis_goes_down();
	CHECK_INT(would("k"), RUNG_MEMORY);
	remember("k", "v", false);
	CHECK_INT(would("k"), RUNG_STALE);
	CHECK_INT(would("l"), RUNG_ERROR);
	remember("profile:2", "v", false);
	CHECK_INT(would("profile:2"), RUNG_STALE);
	world_run_for(5);
	CHECK_TEXT(world.asked, ""); /* nobody was asked */
	world_stop();
}

TEST_MAIN
