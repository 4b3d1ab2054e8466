#include "ladder/copy_write.h"

#include "../test.h"
#include "ladder_world.h"

/* Splits at blanks. */
static size_t
split(const char *text, struct slice *argv)
{
	size_t argc = 0;

	while (*text != '\0') {
		size_t len = strcspn(text, " ");
		argv[argc++] = slice_make(text, len);
		text += len + (text[len] == ' ');
	}
	return argc;
}

static bool
can(const char *text)
{
	struct slice argv[20];

	return copy_write_can(&world.rules, argv, split(text, argv));
}

/* What Redis would have said; overwritten by the next call. */
static const char *
applied(const char *text)
{
	static char said[100];
	struct slice argv[20];
	struct buf reply = BUF_EMPTY;
	size_t argc = split(text, argv);

	if (!copy_write_can(&world.rules, argv, argc))
		return "cannot";
	if (!copy_write_apply(&world.context, argv, argc, &reply))
		return "full";
	snprintf(said, sizeof(said), "%.*s", (int)buf_len(&reply), buf_slice(&reply).at);
	buf_free(&reply);
	return said;
}

static bool
is_journaled(const char *key)
{
	return journal_has(world.backends.journal, slice_of(key));
}

TEST(a_set_of_a_mapped_key_is_in_memory_and_in_the_journal)
{
	world_start();
	CHECK_TEXT(applied("SET profile:1 v"), "+OK\r\n");
	CHECK_TEXT(world_memory("profile:1"), "v");
	CHECK(is_journaled("profile:1"));
	CHECK(!is_journaled("profile:2"));
	world_stop();
}

TEST(a_ttl_bounds_the_copy_whatever_its_unit)
{
	static const char *const sets[] = { "SET profile:1 v EX 5", "set profile:1 v px 5000",
		"SETEX profile:1 5 v", "PSETEX profile:1 5000 v" };

	for (int i = 0; i < 4; i++) {
		world_start();
		CHECK_TEXT(applied(sets[i]), "+OK\r\n");
		CHECK_TEXT(world_memory_in("profile:1", 4900), "v");
		CHECK_TEXT(world_memory_in("profile:1", 5001), "-");
		world_stop();
	}
}

TEST(a_copy_that_is_over_already_is_none)
{
	world_start();
	CHECK_TEXT(applied("SET profile:1 v"), "+OK\r\n");
	CHECK_TEXT(applied("SET profile:1 w PXAT 1"), "+OK\r\n");
	CHECK_TEXT(world_memory("profile:1"), "-");
	world_stop();
}

TEST(removing_drops_the_copies_and_counts_the_keys)
{
	world_start();
	CHECK_TEXT(applied("MSET profile:1 v profile:2 w"), "+OK\r\n");
	CHECK_TEXT(world_memory("profile:2"), "w");
	CHECK_TEXT(applied("DEL profile:1 profile:2"), ":2\r\n");
	CHECK_TEXT(world_memory("profile:1"), "-");
	CHECK_TEXT(world_memory("profile:2"), "-");
	CHECK(is_journaled("profile:1") && is_journaled("profile:2"));
	world_stop();
}

TEST(what_depends_on_what_redis_holds_cannot_be_done_without_it)
{
	static const char *const commands[] = { "SET profile:1 v NX", "SET profile:1 v XX",
		"SET profile:1 v GET", "SET profile:1 v EX 5 NX", "EXPIRE profile:1 5 NX",
		"INCR profile:1", "APPEND profile:1 v", "GETDEL profile:1", "MSETNX profile:1 v" };

	world_start();
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		CHECK(!can(commands[i]));
	world_stop();
}

TEST(one_key_without_a_map_makes_it_redis_own_affair)
{
	world_start();
	CHECK(!can("SET k v"));
	CHECK(!can("DEL profile:1 k"));
	CHECK(!can("MSET profile:1 v k w"));
	CHECK(can("DEL profile:1 vip:1"));
	world_stop();
}

TEST(what_redis_would_refuse_is_not_acknowledged)
{
	static const char *const wrong[] = { "SET profile:1", "SET profile:1 v EX",
		"SET profile:1 v EX 0", "SET profile:1 v EX -1", "SET profile:1 v EX x",
		"SET profile:1 v EX 9223372036854775807", "SETEX profile:1 0 v",
		"SETEX profile:1 v", "MSET profile:1", "MSET profile:1 v profile:2", "DEL",
		"EXPIRE profile:1 x", "EXPIRE profile:1" };

	world_start();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (can(wrong[i])) {
			printf("%s\n", wrong[i]);
			test_failures++;
		}
	}
	world_stop();
}

/* Redis: "invalid expire time in 'set' command". Added to the clock it has no
 * place in 64 bits. */
TEST(a_ttl_beyond_all_time_is_refused)
{
	static const char *const wrong[] = { "SET profile:1 v PX 9223372036854775806",
		"SET profile:1 v EX 9223372036854775", "SET profile:1 v PX 9223372036854775807",
		"SETEX profile:1 9223372036854775 v", "PSETEX profile:1 9223372036854775807 v" };

	world_start();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_TEXT(applied(wrong[i]), "cannot");
	world_stop();
}

TEST(with_a_full_journal_the_whole_map_counts_as_changed)
{
	char text[64];
	struct journal *journal;

	world_start();
	journal = world.backends.journal;
	for (int i = 0; i < 100; i++) {
		snprintf(text, sizeof(text), "SET profile:%d v", i);
		CHECK_TEXT(applied(text), "+OK\r\n");
	}
	CHECK(!journal_has(journal, SLICE("profile:200")));
	CHECK_TEXT(applied("SET profile:100 v"), "+OK\r\n");
	CHECK_TEXT(world_memory("profile:100"), "v");
	CHECK(journal_has(journal, SLICE("profile:200")));
	CHECK(!journal_has(journal, SLICE("other:200")));
	CHECK_INT(journal_pending(journal), 1);
	CHECK_TEXT(applied("MSET profile:1 w profile:101 w"), "+OK\r\n");
	CHECK_INT(journal_pending(journal), 1);
	world_stop();
}

TEST_MAIN
