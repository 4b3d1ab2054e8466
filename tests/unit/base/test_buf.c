#include "base/buf.h"

#include "../test.h"

TEST(what_is_appended_is_held_in_order)
{
	struct buf buf = BUF_EMPTY;
	CHECK_INT(buf_len(&buf), 0);
	CHECK_INT(buf_slice(&buf).len, 0);
	buf_append(&buf, "ab", 2);
	buf_append_slice(&buf, SLICE("c\0d"));
	buf_printf(&buf, "%d-%s", 42, "x");
	CHECK(slice_equal(buf_slice(&buf), SLICE("abc\0d42-x")));
	buf_free(&buf);
}

TEST(appending_nothing_changes_nothing)
{
	struct buf buf = BUF_EMPTY;
	buf_append(&buf, NULL, 0);
	buf_append_slice(&buf, SLICE_NONE);
	CHECK_INT(buf_len(&buf), 0);
	CHECK(buf.at == NULL);
	buf_free(&buf);
}

TEST(bytes_are_taken_from_the_front)
{
	struct buf buf = BUF_EMPTY;
	buf_append(&buf, "abcdef", 6);
	buf_take(&buf, 2);
	CHECK(slice_equal(buf_slice(&buf), SLICE("cdef")));
	buf_append(&buf, "gh", 2);
	CHECK(slice_equal(buf_slice(&buf), SLICE("cdefgh")));
	buf_take(&buf, 6);
	CHECK_INT(buf_len(&buf), 0);
	CHECK_INT(buf.start, 0); /* and there is all of the block again */
	buf_free(&buf);
}

TEST(a_formatted_text_of_any_length_is_held_whole)
{
	static const int lengths[] = { 0, 1, 254, 255, 256, 257, 511, 512, 70000 };

	for (int i = 0; i < 9; i++) {
		struct buf buf = BUF_EMPTY;
		buf_append(&buf, "x", 1);
		buf_printf(&buf, "%*s", lengths[i], "");
		CHECK_INT(buf_len(&buf), lengths[i] + 1);
		buf_append(&buf, "y", 1);
		CHECK_INT(buf_slice(&buf).at[lengths[i] + 1], 'y');
		buf_free(&buf);
	}
}

TEST(room_that_was_reserved_may_be_filled_in_part)
{
	struct buf buf = BUF_EMPTY;
	memset(buf_reserve(&buf, 1000), 'a', 1000);
	buf_added(&buf, 10);
	CHECK_INT(buf_len(&buf), 10);
	memset(buf_reserve(&buf, 5000), 'b', 5000);
	buf_added(&buf, 5000);
	CHECK_INT(buf_len(&buf), 5010);
	CHECK_INT(buf_slice(&buf).at[9], 'a');
	CHECK_INT(buf_slice(&buf).at[10], 'b');
	buf_free(&buf);
}

TEST(a_block_half_free_is_used_again_and_not_grown)
{
	struct buf buf = BUF_EMPTY;
	buf_append(&buf, "x", 1);
	size_t size = buf.size;
	for (int i = 0; i < 10000; i++) {
		buf_append(&buf, "0123456789", 10);
		buf_take(&buf, 10);
		CHECK_INT(buf_len(&buf), 1);
	}
	CHECK_INT(buf.size, size);
	CHECK_INT(buf_slice(&buf).at[0], '9');
	buf_free(&buf);
}

TEST(a_large_block_is_given_back_when_empty_and_a_small_one_kept)
{
	struct buf buf = BUF_EMPTY;
	buf_reserve(&buf, BUF_KEEP_BYTES);
	buf_added(&buf, BUF_KEEP_BYTES);
	CHECK_INT(buf.size, BUF_KEEP_BYTES);
	buf_take(&buf, BUF_KEEP_BYTES);
	CHECK_INT(buf.size, BUF_KEEP_BYTES);
	buf_reserve(&buf, BUF_KEEP_BYTES + 1);
	buf_added(&buf, BUF_KEEP_BYTES + 1);
	buf_reset(&buf);
	CHECK_INT(buf.size, 0);
	CHECK(buf.at == NULL);
	buf_append(&buf, "still of use", 12);
	CHECK_INT(buf_len(&buf), 12);
	buf_free(&buf);
	buf_free(&buf);
}

/* Against a plain array that is long enough. */
TEST(a_long_random_history_holds_what_an_array_holds)
{
	static char all[4000000];
	struct buf buf = BUF_EMPTY;
	size_t start = 0, end = 0;
	unsigned random = 11;

	for (int i = 0; i < 5000; i++) {
		random = random * 1103515245 + 12345;
		size_t len = (random >> 16) % 700;
		if (random >> 13 & 1) {
			memset(all + end, (int)(random >> 8), len);
			buf_append(&buf, all + end, len);
			end += len;
		} else {
			len = len < end - start ? len : end - start;
			buf_take(&buf, len);
			start += len;
		}
		CHECK(slice_equal(buf_slice(&buf), slice_make(all + start, end - start)));
	}
	buf_free(&buf);
}

TEST_MAIN
