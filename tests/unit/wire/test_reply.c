#include "wire/reply.h"

#include "../test.h"
#include "base/resp.h"

static struct buf out;

/* What has been appended since the last call, as a text. */
static const char *
written(void)
{
	static char text[1024];

	snprintf(text, sizeof(text), "%.*s", (int)buf_len(&out), buf_slice(&out).at);
	buf_free(&out);
	return text;
}

TEST(simple_replies_are_lines)
{
	reply_simple(&out, "OK");
	CHECK_TEXT(written(), "+OK\r\n");
	reply_error(&out, "ERR unknown command '%s'", "x");
	CHECK_TEXT(written(), "-ERR unknown command 'x'\r\n");
}

TEST(an_error_stays_one_line_whatever_it_quotes)
{
	reply_error(&out, "ERR '%s'", "a\r\n+OK\r\nb");
	CHECK_TEXT(written(), "-ERR 'a  +OK  b'\r\n");
}

TEST(a_long_error_is_cut_and_still_a_line)
{
	char text[2001] = "";
	struct resp_scan scan;

	memset(text, 'x', 2000);
	reply_error(&out, "ERR %s", text);
	CHECK(buf_len(&out) < 1000);
	resp_scan_start(&scan);
	CHECK_INT(resp_scan(&scan, buf_slice(&out)), RESP_WHOLE);
	CHECK_INT(scan.at, buf_len(&out));
	buf_free(&out);
}

TEST(integers_are_written_from_end_to_end)
{
	reply_integer(&out, 0);
	CHECK_TEXT(written(), ":0\r\n");
	reply_integer(&out, -1);
	CHECK_TEXT(written(), ":-1\r\n");
	reply_integer(&out, INT64_MAX);
	CHECK_TEXT(written(), ":9223372036854775807\r\n");
	reply_integer(&out, INT64_MIN);
	CHECK_TEXT(written(), ":-9223372036854775808\r\n");
}

TEST(bulk_strings_hold_any_byte)
{
	reply_bulk(&out, SLICE("a\0\r\nb"));
	CHECK(slice_equal(buf_slice(&out), SLICE("$5\r\na\0\r\nb\r\n")));
	buf_free(&out);
	reply_bulk(&out, SLICE_NONE);
	CHECK_TEXT(written(), "$0\r\n\r\n");
	reply_text(&out, "ten bytes!");
	CHECK_TEXT(written(), "$10\r\nten bytes!\r\n");
}

TEST(null_is_a_bulk_string_in_resp2_and_a_type_in_resp3)
{
	reply_null(&out, 2);
	CHECK_TEXT(written(), "$-1\r\n");
	reply_null(&out, 3);
	CHECK_TEXT(written(), "_\r\n");
}

TEST(a_map_is_a_flat_array_in_resp2)
{
	reply_map(&out, 2, 3);
	CHECK_TEXT(written(), "*6\r\n");
	reply_map(&out, 3, 3);
	CHECK_TEXT(written(), "%3\r\n");
	reply_array(&out, 0);
	CHECK_TEXT(written(), "*0\r\n");
}

TEST(verbatim_text_is_a_bulk_string_in_resp2)
{
	reply_verbatim(&out, 2, SLICE("hi"));
	CHECK_TEXT(written(), "$2\r\nhi\r\n");
	reply_verbatim(&out, 3, SLICE("hi"));
	CHECK_TEXT(written(), "=6\r\ntxt:hi\r\n");
	reply_verbatim(&out, 3, SLICE(""));
	CHECK_TEXT(written(), "=4\r\ntxt:\r\n");
}

TEST_MAIN
