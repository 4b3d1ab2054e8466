#include "base/slice.h"

#include "../test.h"
#include "base/blob.h"

static bool
is_number(const char *text, int64_t wanted)
{
	int64_t number;

	return slice_to_int64(slice_of(text), &number) && number == wanted;
}

static bool
is_none(const char *text)
{
	int64_t number = 7;

	return !slice_to_int64(slice_of(text), &number) && number == 7;
}

TEST(numbers_are_read_from_end_to_end)
{
	CHECK(is_number("0", 0));
	CHECK(is_number("42", 42));
	CHECK(is_number("-42", -42));
	CHECK(is_number("9223372036854775807", INT64_MAX));
	CHECK(is_number("-9223372036854775808", INT64_MIN));
	CHECK(is_number("000000000000000000000000000000000001", 1));
}

TEST(what_is_no_number_or_does_not_fit_is_refused)
{
	static const char *const wrong[] = { "", "-", "+1", " 1", "1 ", "1x", "x", "--1", "1-",
		"0x10", "1.0", "9223372036854775808", "-9223372036854775809",
		"99999999999999999999999999" };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK(is_none(wrong[i]));
	int64_t number;
	CHECK(!slice_to_int64(SLICE("1\0"), &number));
	CHECK(!slice_to_int64(SLICE_NONE, &number));
}

TEST(slices_are_equal_by_their_bytes)
{
	CHECK(slice_equal(SLICE("a\0b"), SLICE("a\0b")));
	CHECK(!slice_equal(SLICE("a\0b"), SLICE("a\0c")));
	CHECK(!slice_equal(SLICE("a"), SLICE("ab")));
	CHECK(slice_equal(SLICE(""), SLICE_NONE));
	CHECK(!slice_equal(SLICE("a"), SLICE("A")));
}

TEST(case_is_ignored_for_ascii_letters_only)
{
	CHECK(slice_equal_nocase(SLICE("GeT"), SLICE("gEt")));
	CHECK(!slice_equal_nocase(SLICE("get"), SLICE("gets")));
	CHECK(!slice_equal_nocase(SLICE("@[`{"), SLICE("`{@[")));
	CHECK(!slice_equal_nocase(SLICE("\xc9"), SLICE("\xe9")));
	CHECK(slice_equal_nocase(SLICE("AZaz09_"), SLICE("azAZ09_")));
}

TEST(a_word_is_itself_in_either_case_and_nothing_else)
{
	CHECK(slice_is_word(SLICE("blpop"), "blpop"));
	CHECK(slice_is_word(SLICE("BLPop"), "blpop"));
	CHECK(slice_is_word(SLICE("block"), "BLOCK"));
	CHECK(!slice_is_word(SLICE("blpo"), "blpop"));
	CHECK(!slice_is_word(SLICE("blpopp"), "blpop"));
	CHECK(!slice_is_word(SLICE("clpop"), "blpop"));
	CHECK(!slice_is_word(SLICE_NONE, "blpop"));
}

TEST(a_slice_starts_with_what_it_starts_with)
{
	CHECK(slice_starts(SLICE("profile:1"), SLICE("profile:")));
	CHECK(slice_starts(SLICE("a"), SLICE("")));
	CHECK(slice_starts(SLICE("a"), SLICE("a")));
	CHECK(!slice_starts(SLICE("a"), SLICE("ab")));
	CHECK(!slice_starts(SLICE("ba"), SLICE("a")));
}

TEST(a_copy_ends_in_nul)
{
	char *copy = slice_dup(slice_make("abcdef", 3));
	CHECK_TEXT(copy, "abc");
	free(copy);
	copy = slice_dup(SLICE_NONE);
	CHECK_TEXT(copy, "");
	free(copy);
}

TEST(no_text_is_an_empty_slice)
{
	CHECK_INT(slice_of(NULL).len, 0);
	CHECK_INT(slice_of("abc").len, 3);
}

TEST(a_blob_lives_until_its_last_reference_is_paid_back)
{
	struct blob *blob = blob_new(SLICE("a\0b"));
	struct blob *again = blob_ref(blob);
	CHECK(again == blob);
	blob_unref(blob);
	CHECK(slice_equal(blob_slice(again), SLICE("a\0b")));
	blob_unref(again);
	blob_unref(NULL);
	blob = blob_new(SLICE_NONE);
	CHECK_INT(blob_slice(blob).len, 0);
	blob_unref(blob);
}

TEST_MAIN
