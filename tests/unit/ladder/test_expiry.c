/* What a command does to the time to live of its key. */
#include "ladder/expiry.h"

#include <string.h>

#include "../test.h"

#define NOW_MS 5000
#define WALL_MS 1700000000000

static struct slice argv[16];
static size_t argc;

static struct key_expiry
expiry_of_text(const char *text)
{
	static char copy[256];

	argc = 0;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " "))
		argv[argc++] = slice_of(word);
	struct key_expiry expiry = expiry_of(argv, argc, NOW_MS, WALL_MS);
	/* Who has asked that first would not have asked in vain. */
	CHECK(expiry_is_set(argv, argc) || expiry.kind == EXPIRY_NONE);
	return expiry;
}

TEST(a_time_from_now_counts_from_when_the_command_runs)
{
	static const struct {
		const char *text;
		int64_t ms;
	} cases[] = {
		{ "EXPIRE key 7", 7000 },
		{ "pexpire key 7", 7 },
		{ "SETEX key 7 v", 7000 },
		{ "PSETEX key 7 v", 7 },
		{ "SET key v EX 7", 7000 },
		{ "SET key v NX GET px 7", 7 },
		{ "GETEX key EX 7", 7000 },
		{ "RESTORE key 7 dump", 7 },
		{ "EXPIRE key -1", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct key_expiry expiry = expiry_of_text(cases[i].text);
		CHECK_INT(expiry.kind, EXPIRY_AFTER);
		CHECK_INT(expiry.ms, cases[i].ms);
		CHECK(slice_equal(expiry.key, SLICE("key")));
	}
}

TEST(a_moment_is_one_of_the_monotonic_clock)
{
	static const char *const cases[] = { "EXPIREAT key 1700000007",
		"PEXPIREAT key 1700000007000", "SET key v EXAT 1700000007",
		"GETEX key PXAT 1700000007000", "RESTORE key 1700000007000 dump REPLACE ABSTTL" };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct key_expiry expiry = expiry_of_text(cases[i]);
		CHECK_INT(expiry.kind, EXPIRY_AT);
		CHECK_INT(expiry.ms, NOW_MS + 7000);
	}
	CHECK_INT(expiry_of_text("EXPIREAT key 1").ms, NOW_MS);
}

TEST(what_gives_no_time_to_live_says_so)
{
	static const char *const cases[] = { "SET key v", "SET key v KEEPTTL", "SET key EX",
		"GET key", "PERSIST key", "RESTORE key 0 dump", "EXPIRE key soon",
		"GETEX key PERSIST", "EXPIRE key 9223372036854775807",
		"PEXPIRE key 9223372036854775807" };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_INT(expiry_of_text(cases[i]).kind, EXPIRY_NONE);
}

static struct cache *
cache_of_ten(void)
{
	return cache_new(&(struct cache_limits){ 10, 1 << 20, 1 << 20, CACHE_EVICT_LRU });
}

TEST(a_renamed_or_copied_key_takes_what_is_known_of_the_other)
{
	static const char *const cases[] = { "RENAME from key", "RENAMENX from key",
		"COPY from key REPLACE" };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cache *cache = cache_of_ten();
		struct key_expiry expiry = expiry_of_text(cases[i]);
		int64_t at_ms[CACHE_EXPIRIES];

		CHECK_INT(expiry.kind, EXPIRY_COPIED);
		expiry_note(cache, &expiry, NOW_MS);
		CHECK_INT(cache_known_expiries(cache, SLICE("key"), NOW_MS, at_ms), 0);
		cache_note_expiry(cache, SLICE("from"), NOW_MS, NOW_MS + 50);
		expiry_note(cache, &expiry, NOW_MS);
		CHECK_INT(cache_known_expiries(cache, SLICE("key"), NOW_MS, at_ms), 1);
		CHECK_INT(at_ms[0], NOW_MS + 50);
		CHECK_INT(cache_known_expiries(cache, SLICE("key"), NOW_MS + 50, at_ms), 0);
		cache_free(cache);
	}
}

TEST(most_writes_need_no_clock)
{
	static const char *const texts[] = { "SET key v", "INCR key", "LPUSH key a b", "DEL key",
		"HSET key f v", "GETEX key", "SETEX key" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		CHECK_INT(expiry_of_text(texts[i]).kind, EXPIRY_NONE);
		CHECK(!expiry_is_set(argv, argc));
	}
}

TEST(what_ran_late_ends_late)
{
	struct cache *cache = cache_of_ten();
	struct key_expiry expiry = expiry_of_text("PEXPIRE key 100");
	int64_t at_ms[CACHE_EXPIRIES];

	expiry_note(cache, &expiry, NOW_MS + 900);
	CHECK_INT(cache_known_expiries(cache, SLICE("key"), NOW_MS + 900, at_ms), 1);
	CHECK(at_ms[0] >= NOW_MS + 1000 && at_ms[0] <= NOW_MS + 1010);
	cache_free(cache);
}

TEST_MAIN
