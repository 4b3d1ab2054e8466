#include "base/glob.h"

#include "../test.h"
#include "base/clock.h"

static bool
matches(const char *pattern, const char *text)
{
	/* Blocks without a byte to spare, so that ASan sees a read beyond them. */
	size_t pattern_len = strlen(pattern), text_len = strlen(text);
	char *p = malloc(pattern_len + 1), *t = malloc(text_len + 1);

	memcpy(p + 1, pattern, pattern_len);
	memcpy(t + 1, text, text_len);
	bool it_matches = glob_matches(slice_make(p + 1, pattern_len), slice_make(t + 1, text_len));
	free(p);
	free(t);
	return it_matches;
}

TEST(a_pattern_without_signs_matches_itself_only)
{
	CHECK(matches("profile", "profile"));
	CHECK(!matches("profile", "profiles"));
	CHECK(!matches("profile", "profil"));
	CHECK(!matches("profile", "Profile"));
	CHECK(matches("", ""));
	CHECK(!matches("", "a"));
	CHECK(!matches("a", ""));
}

TEST(a_star_matches_any_bytes_and_none)
{
	CHECK(matches("*", ""));
	CHECK(matches("*", "anything"));
	CHECK(matches("profile:*", "profile:"));
	CHECK(matches("profile:*", "profile:42"));
	CHECK(!matches("profile:*", "profile"));
	CHECK(matches("*:42", "profile:42"));
	CHECK(!matches("*:42", "profile:421"));
	CHECK(matches("a*b*c", "a-b-b-c"));
	CHECK(!matches("a*b*c", "a-c-b"));
	CHECK(matches("**a**", "a"));
	CHECK(matches("a*a", "aa"));
	CHECK(!matches("a*a", "a"));
	CHECK(matches("*aab", "aaaaab"));
}

TEST(a_question_mark_matches_exactly_one_byte)
{
	CHECK(matches("h?llo", "hello"));
	CHECK(!matches("h?llo", "hllo"));
	CHECK(!matches("?", ""));
	CHECK(matches("??", "ab"));
	CHECK(!matches("??", "abc"));
	CHECK(matches("*?", "a"));
	CHECK(!matches("*?", ""));
}

TEST(a_class_matches_one_of_its_bytes)
{
	CHECK(matches("h[ae]llo", "hello"));
	CHECK(matches("h[ae]llo", "hallo"));
	CHECK(!matches("h[ae]llo", "hillo"));
	CHECK(!matches("h[ae]llo", "haello"));
	CHECK(!matches("[]", "a"));
	CHECK(!matches("[]a", "a"));
	CHECK(!matches("[a]", ""));
}

TEST(a_negated_class_matches_any_other_byte)
{
	CHECK(matches("h[^e]llo", "hallo"));
	CHECK(!matches("h[^e]llo", "hello"));
	CHECK(!matches("h[^e]llo", "hllo"));
	CHECK(matches("[^]", "a"));
	CHECK(matches("[a^]", "^"));
}

TEST(a_class_may_hold_ranges_in_either_order)
{
	CHECK(matches("h[a-b]llo", "hallo"));
	CHECK(matches("h[a-b]llo", "hbllo"));
	CHECK(!matches("h[a-b]llo", "hcllo"));
	CHECK(matches("[z-a]", "m"));
	CHECK(matches("[0-9a-f]", "c") && matches("[0-9a-f]", "7"));
	CHECK(!matches("[0-9a-f]", "g") && !matches("[0-9a-f]", "-"));
	CHECK(!matches("[^0-9]", "5"));
	CHECK(matches("[-a]", "-"));
}

TEST(a_backslash_takes_what_follows_as_it_is)
{
	CHECK(matches("a\\*b", "a*b"));
	CHECK(!matches("a\\*b", "axb"));
	CHECK(matches("\\?\\[\\\\", "?[\\"));
	CHECK(matches("\\a", "a"));
	CHECK(matches("[\\]]", "]"));
	CHECK(matches("[\\^]", "^"));
	CHECK(!matches("[\\]]", "\\"));
	CHECK(matches("a\\", "a\\"));
}

TEST(a_class_without_an_end_ends_with_the_pattern)
{
	CHECK(matches("[abc", "b"));
	CHECK(!matches("[abc", "d"));
	CHECK(matches("[^abc", "d"));
	CHECK(!matches("[", "["));
	CHECK(matches("[^", "x"));
	CHECK(!matches("x[", "x"));
	CHECK(matches("[a\\", "\\"));
}

TEST(any_byte_is_a_byte)
{
	CHECK(glob_matches(SLICE("a?c"), SLICE("a\0c")));
	CHECK(glob_matches(SLICE("a\0*"), SLICE("a\0b")));
	CHECK(!glob_matches(SLICE("a\0b"), SLICE("a\0c")));
	CHECK(glob_matches(SLICE("?"), SLICE("\xff")));
	CHECK(glob_matches(SLICE("[\xf0-\xff]"), SLICE("\xf7")));
	CHECK(!glob_matches(SLICE("[\x80-\xf0]"), SLICE("\xf7")));
}

TEST(many_stars_cost_no_exponential_time)
{
	char pattern[201], text[20001];
	int64_t before_ms = clock_mono_ms();

	for (int i = 0; i < 200; i += 2)
		memcpy(pattern + i, "a*", 2);
	memcpy(pattern + 198, "*b", 3);
	memset(text, 'a', 20000);
	text[20000] = '\0';
	CHECK(!matches(pattern, text));
	CHECK(clock_mono_ms() - before_ms < 2000);
}

/* The plain meaning of * ? and bytes, tried in every way there is. */
static bool
means(const char *pattern, const char *text)
{
	if (*pattern == '\0')
		return *text == '\0';
	if (*pattern == '*')
		return means(pattern + 1, text) || (*text != '\0' && means(pattern, text + 1));
	return *text != '\0' && (*pattern == '?' || *pattern == *text) &&
	    means(pattern + 1, text + 1);
}

TEST(random_patterns_match_what_they_mean)
{
	unsigned random = 5;

	for (int i = 0; i < 50000; i++) {
		char pattern[9], text[9];
		random = random * 1103515245 + 12345;
		unsigned bits = random >> 8;
		size_t pattern_len = bits % 8, text_len = bits / 8 % 8;
		for (size_t j = 0; j < 8; j++) {
			random = random * 1103515245 + 12345;
			pattern[j] = j < pattern_len ? "ab*?"[random >> 20 & 3] : '\0';
			text[j] = j < text_len ? "ab"[random >> 25 & 1] : '\0';
		}
		pattern[8] = text[8] = '\0';
		if (matches(pattern, text) != means(pattern, text)) {
			printf("%s %s\n", pattern, text);
			test_failures++;
		}
	}
}

static bool
list_matches(const char *list, const char *text)
{
	return glob_list_matches(slice_of(list), slice_of(text));
}

TEST(a_list_matches_when_one_includes_and_none_excludes)
{
	CHECK(list_matches("*", "a"));
	CHECK(list_matches("profile:* session:*", "session:1"));
	CHECK(!list_matches("profile:* session:*", "other:1"));
	CHECK(!list_matches("* !lock:*", "lock:1"));
	CHECK(list_matches("* !lock:*", "a"));
	CHECK(!list_matches("!lock:* *", "lock:1")); /* the order does not matter */
	CHECK(!list_matches("!lock:*", "a"));        /* nothing includes */
	CHECK(!list_matches("profile:* !profile:1*", "profile:12"));
	CHECK(list_matches("profile:* !profile:1*", "profile:2"));
}

TEST(blanks_in_a_list_mean_nothing)
{
	CHECK(!list_matches("", "a"));
	CHECK(!list_matches("", ""));
	CHECK(!list_matches("   ", ""));
	CHECK(list_matches("  a \t b  ", "a"));
	CHECK(list_matches("  a \t b  ", "b"));
	CHECK(!list_matches("! a", "b"));
	CHECK(list_matches("! a", "a"));
}

TEST(a_literal_matches_its_text_alone)
{
	static const char *const texts[] = { "plain:", "*", "a?b", "[x]", "back\\slash", "^-]",
		"" };

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct buf pattern = BUF_EMPTY;
		glob_append_literal(&pattern, slice_of(texts[i]));
		CHECK(glob_matches(buf_slice(&pattern), slice_of(texts[i])));
		CHECK(!glob_matches(buf_slice(&pattern), SLICE("axb")));
		buf_append(&pattern, "*", 1);
		CHECK(glob_matches(buf_slice(&pattern), slice_of(texts[i])));
		buf_free(&pattern);
	}
}

TEST_MAIN
