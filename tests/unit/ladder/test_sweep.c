/* SCAN and UNLINK in turn, until the cursor is back at 0. */
#include "ladder/sweep.h"

#include "../test.h"

#define SCAN_FROM(len, cursor) \
	"*6\r\n$4\r\nSCAN\r\n$" #len "\r\n" cursor \
	"\r\n$5\r\nMATCH\r\n$3\r\np:*\r\n$5\r\nCOUNT\r\n$4\r\n1000\r\n"

/* The next command, "" for none; overwritten by the next call. */
static const char *
next(struct sweep *sweep)
{
	static struct buf command;

	buf_reset(&command);
	if (!sweep_next(sweep, &command))
		return "";
	buf_append(&command, "", 1);
	return buf_slice(&command).at;
}

static bool
answer(struct sweep *sweep, const char *reply)
{
	return sweep_answer(sweep, slice_of(reply));
}

TEST(what_a_scan_finds_is_unlinked_before_the_next)
{
	struct sweep sweep = { 0 };
	sweep_start(&sweep, SLICE("p:*"));
	CHECK_TEXT(next(&sweep), SCAN_FROM(1, "0"));
	CHECK(answer(&sweep, "*2\r\n$2\r\n17\r\n*2\r\n$3\r\np:1\r\n$3\r\np:2\r\n"));
	CHECK_TEXT(next(&sweep), "*3\r\n$6\r\nUNLINK\r\n$3\r\np:1\r\n$3\r\np:2\r\n");
	CHECK(answer(&sweep, ":2\r\n"));
	CHECK_TEXT(next(&sweep), SCAN_FROM(2, "17"));
	CHECK(answer(&sweep, "*2\r\n$1\r\n5\r\n*0\r\n"));
	CHECK_TEXT(next(&sweep), SCAN_FROM(1, "5"));
	CHECK(answer(&sweep, "*2\r\n$1\r\n0\r\n*1\r\n$3\r\np:3\r\n"));
	CHECK_TEXT(next(&sweep), "*2\r\n$6\r\nUNLINK\r\n$3\r\np:3\r\n");
	CHECK(answer(&sweep, ":1\r\n"));
	CHECK_TEXT(next(&sweep), "");
	CHECK_INT(sweep.unlinked, 3);
	sweep_start(&sweep, SLICE("p:*"));
	CHECK_TEXT(next(&sweep), SCAN_FROM(1, "0"));
	sweep_free(&sweep);
}

TEST(what_is_no_answer_to_a_scan_is_refused)
{
	static const char *const wrong[] = { "+OK\r\n", ":1\r\n", "*0\r\n", "*2\r\n:0\r\n*0\r\n",
		"*2\r\n$1\r\n0\r\n$-1\r\n", "*2\r\n$0\r\n\r\n*0\r\n", "*-1\r\n" };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct sweep sweep = { 0 };
		sweep_start(&sweep, SLICE("p:*"));
		CHECK_TEXT(next(&sweep), SCAN_FROM(1, "0"));
		CHECK(!answer(&sweep, wrong[i]));
		sweep_free(&sweep);
	}
}

TEST_MAIN
