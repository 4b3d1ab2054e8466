#include "base/resp.h"

#include "../test.h"
#include "base/buf.h"

/* In a block without a byte to spare, so that ASan sees a read beyond it. */
static enum resp_end
scan_within(struct resp_scan *scan, struct slice bytes)
{
	char *block = malloc(bytes.len > 0 ? bytes.len : 1);

	memcpy(block, bytes.at, bytes.len);
	enum resp_end end = resp_scan(scan, slice_make(block, bytes.len));
	free(block);
	return end;
}

static enum resp_end
scan_whole(struct resp_scan *scan, struct slice bytes)
{
	resp_scan_start(scan);
	return scan_within(scan, bytes);
}

static enum resp_end
scan_text(const char *text)
{
	struct resp_scan scan;

	return scan_whole(&scan, slice_of(text));
}

static const char *const values[] = {
	"+OK\r\n",
	"+\r\n",
	"-ERR no\r\n",
	":1\r\n",
	":-1\r\n",
	"$0\r\n\r\n",
	"$3\r\nabc\r\n",
	"$-1\r\n",
	"$4\r\n\r\n\r\n\r\n",
	"*0\r\n",
	"*-1\r\n",
	"*2\r\n:1\r\n$1\r\na\r\n",
	"*1\r\n*1\r\n*2\r\n+a\r\n*0\r\n",
	"*3\r\n$-1\r\n*-1\r\n$1\r\n*\r\n",
	/* RESP3 */
	"_\r\n",
	"#t\r\n",
	"#f\r\n",
	",1.5\r\n",
	",inf\r\n",
	",nan\r\n",
	"(-123456789012345678901\r\n",
	"!5\r\nERR x\r\n",
	"=7\r\ntxt:abc\r\n",
	"%0\r\n",
	"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n",
	"~2\r\n:1\r\n_\r\n",
	">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n",
	">1\r\n_\r\n",
	/* attributes, before a value and inside of one */
	"|1\r\n+ttl\r\n:3600\r\n:1\r\n",
	"|0\r\n:1\r\n",
	"|1\r\n+a\r\n*2\r\n:1\r\n:2\r\n%1\r\n+b\r\n+c\r\n",
	"*2\r\n:1\r\n|1\r\n+ttl\r\n:1\r\n:2\r\n",
	"|1\r\n|1\r\n+a\r\n+b\r\n+c\r\n+d\r\n:1\r\n",
	"|1\r\n+a\r\n+b\r\n|1\r\n+c\r\n+d\r\n$1\r\nx\r\n",
};

#define VALUES (sizeof(values) / sizeof(values[0]))

TEST(each_kind_of_value_is_found_whole)
{
	for (size_t i = 0; i < VALUES; i++) {
		struct resp_scan scan;
		CHECK_INT(scan_whole(&scan, slice_of(values[i])), RESP_WHOLE);
		CHECK_INT(scan.at, strlen(values[i]));
	}
}

TEST(a_value_ends_before_what_follows_it)
{
	for (size_t i = 0; i < VALUES; i++) {
		struct resp_scan scan;
		struct buf both = BUF_EMPTY;
		buf_printf(&both, "%s%s", values[i], "$1\r\nx\r\n");
		CHECK_INT(scan_whole(&scan, buf_slice(&both)), RESP_WHOLE);
		CHECK_INT(scan.at, strlen(values[i]));
		buf_free(&both);
	}
}

TEST(a_value_cut_anywhere_is_partial_and_then_whole)
{
	for (size_t i = 0; i < VALUES; i++) {
		struct slice whole = slice_of(values[i]);
		for (size_t cut = 0; cut < whole.len; cut++) {
			struct resp_scan scan;
			resp_scan_start(&scan);
			CHECK_INT(scan_within(&scan, slice_make(whole.at, cut)), RESP_PARTIAL);
			CHECK_INT(scan_within(&scan, whole), RESP_WHOLE);
			CHECK_INT(scan.at, whole.len);
		}
	}
}

TEST(a_value_that_comes_byte_by_byte_is_whole_at_its_last)
{
	for (size_t i = 0; i < VALUES; i++) {
		struct resp_scan scan;
		struct slice whole = slice_of(values[i]);
		resp_scan_start(&scan);
		for (size_t len = 0; len < whole.len; len++)
			CHECK_INT(scan_within(&scan, slice_make(whole.at, len)), RESP_PARTIAL);
		CHECK_INT(scan_within(&scan, whole), RESP_WHOLE);
	}
}

static char
type_of(const char *text)
{
	struct resp_scan scan;

	CHECK_INT(scan_whole(&scan, slice_of(text)), RESP_WHOLE);
	return scan.type;
}

TEST(the_type_is_that_of_the_value_not_of_its_attribute_or_parts)
{
	CHECK_INT(type_of("*1\r\n:1\r\n"), '*');
	CHECK_INT(type_of("%1\r\n+a\r\n:1\r\n"), '%');
	CHECK_INT(type_of(">1\r\n+a\r\n"), '>');
	CHECK_INT(type_of("|1\r\n+a\r\n*1\r\n+x\r\n$1\r\nx\r\n"), '$');
	CHECK_INT(type_of("|0\r\n-ERR\r\n"), '-');
	CHECK_INT(type_of("|1\r\n+c\r\n+d\r\n|1\r\n+a\r\n+b\r\n:1\r\n"), ':');
}

TEST(the_type_is_known_when_the_value_comes_in_pieces)
{
	static const struct slice whole = SLICE_INIT("|1\r\n+a\r\n+b\r\n*1\r\n$2\r\nab\r\n");

	for (size_t cut = 0; cut < whole.len; cut++) {
		struct resp_scan scan;
		resp_scan_start(&scan);
		CHECK_INT(scan_within(&scan, slice_make(whole.at, cut)), RESP_PARTIAL);
		CHECK_INT(scan_within(&scan, whole), RESP_WHOLE);
		CHECK_INT(scan.type, '*');
	}
}

TEST(what_is_not_resp_is_broken)
{
	static const char *const garbage[] = {
		"HTTP/1.1 400\r\n",
		"x",
		"\r\n",
		" +OK\r\n",
		"$x\r\n",
		"$\r\n",
		"$-2\r\n",
		"$1x\r\n",
		"$+1\r\na\r\n",
		"$99999999999999999999\r\n",
		"*x\r\n",
		"*-2\r\n",
		"*9999999999999999\r\n",
		"$1\r\nabc\r\n",
		"$3\r\nabcd\r\n",
		"$3\r\nabc\n\n",
		"$3\r\nabc\rx",
		"+OK\rx",
		"*1\r\nx",
		"*2\r\n:1\r\n!x\r\n",
		"|-1\r\n",
		"|x\r\n",
		"$?\r\n",
		".\r\n",
		"%1\r\n+a\r\nb\r\n",
	};

	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		if (scan_text(garbage[i]) != RESP_BROKEN) {
			printf("%s was not told to be broken\n", garbage[i]);
			test_failures++;
		}
	}
	struct resp_scan scan;
	CHECK_INT(scan_whole(&scan, SLICE("\0")), RESP_BROKEN);
}

TEST(garbage_is_told_by_its_first_byte)
{
	CHECK_INT(scan_text("H"), RESP_BROKEN);
	CHECK_INT(scan_text("*2\r\n:1\r\nH"), RESP_BROKEN);
	CHECK_INT(scan_text("$"), RESP_PARTIAL);
}

/* The header of anything longer than itself is short. */
TEST(a_header_without_an_end_is_given_up)
{
	static const char types[] = "$*%~>|=!";
	char *line = malloc(70000);

	for (const char *type = types; *type != '\0'; type++) {
		struct resp_scan scan;
		memset(line, '1', 70000);
		line[0] = *type;
		CHECK_INT(scan_whole(&scan, slice_make(line, 20)), RESP_PARTIAL);
		CHECK_INT(scan_whole(&scan, slice_make(line, 70000)), RESP_BROKEN);
	}
	free(line);
}

/* A script may answer so: redis.status_reply(string.rep('x', 1000000)). */
TEST(a_line_of_a_megabyte_in_pieces_is_a_line)
{
	size_t len = 1000000;
	char *line = malloc(len);
	struct resp_scan scan;

	memset(line, 'x', len);
	line[0] = '+';
	memcpy(line + len - 2, "\r\n", 2);
	CHECK_INT(scan_whole(&scan, slice_make(line, len)), RESP_WHOLE);
	resp_scan_start(&scan);
	for (size_t part = 16384; part < len; part += 16384)
		CHECK_INT(scan_within(&scan, slice_make(line, part)), RESP_PARTIAL);
	CHECK_INT(scan_within(&scan, slice_make(line, len)), RESP_WHOLE);
	CHECK_INT(scan.at, len);
	free(line);
}

TEST(a_large_reply_in_small_pieces_is_not_read_from_its_start_each_time)
{
	struct buf reply = BUF_EMPTY;
	struct resp_scan scan;

	buf_printf(&reply, "*20000\r\n");
	for (int i = 0; i < 20000; i++)
		buf_printf(&reply, "$3\r\nabc\r\n");
	resp_scan_start(&scan);
	CHECK_INT(resp_scan(&scan, slice_make(reply.at, buf_len(&reply) - 1)), RESP_PARTIAL);
	CHECK_INT(scan.at, buf_len(&reply) - 9);
	CHECK_INT(scan.owed, 1);
	memset(reply.at, '?', scan.at); /* nobody looks there again */
	CHECK_INT(resp_scan(&scan, buf_slice(&reply)), RESP_WHOLE);
	buf_free(&reply);
}

TEST(deep_nesting_costs_no_stack)
{
	struct buf reply = BUF_EMPTY;
	struct resp_scan scan;

	for (int i = 0; i < 200000; i++)
		buf_printf(&reply, "*1\r\n");
	CHECK_INT(scan_whole(&scan, buf_slice(&reply)), RESP_PARTIAL);
	buf_printf(&reply, ":1\r\n");
	CHECK_INT(scan_whole(&scan, buf_slice(&reply)), RESP_WHOLE);
	buf_free(&reply);
}

/* ---- headers ---- */

static bool
header_is(const char *text, char wanted_type, int64_t wanted_number, size_t wanted_len)
{
	char type;
	int64_t number;
	size_t len;

	return resp_header(slice_of(text), &type, &number, &len) && type == wanted_type &&
	    number == wanted_number && len == wanted_len;
}

TEST(a_header_tells_type_number_and_length)
{
	CHECK(header_is("$3\r\nabc\r\n", '$', 3, 4));
	CHECK(header_is("$-1\r\n", '$', -1, 5));
	CHECK(header_is("*12\r\n", '*', 12, 5));
	CHECK(header_is(":-42\r\n", ':', -42, 6));
	CHECK(header_is("_\r\n", '_', -1, 3));
	CHECK(header_is("%2\r\n", '%', 2, 4));
}

TEST(a_header_without_a_number_or_an_end_is_none)
{
	static const char *const wrong[] = { "", "$3", "$x\r\n", "+OK\r\n", "\r\n", "#t\r\n" };
	char type;
	int64_t number;
	size_t len;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK(!resp_header(slice_of(wrong[i]), &type, &number, &len));
}

TEST(a_header_is_what_printf_would_write)
{
	static const uint64_t numbers[] = { 0, 7, 9, 10, 11, 99, 100, 101, 110, 999, 1000, 1001,
		4096, 99999, UINT32_MAX, INT64_MAX, UINT64_MAX };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		struct buf out = BUF_EMPTY;
		char wanted[32];
		int len = snprintf(wanted, sizeof(wanted), "*%" PRIu64 "\r\n", numbers[i]);
		CHECK(len <= RESP_FRAME_BYTES);
		resp_append_header(&out, '*', numbers[i]);
		CHECK(slice_equal(buf_slice(&out), slice_of(wanted)));
		buf_free(&out);
	}
}

TEST(a_bulk_string_is_its_length_and_its_bytes)
{
	struct buf out = BUF_EMPTY;

	resp_append_bulk(&out, SLICE("hello"));
	resp_append_bulk(&out, SLICE_NONE);
	CHECK(slice_equal(buf_slice(&out), SLICE("$5\r\nhello\r\n$0\r\n\r\n")));
	buf_free(&out);
}

/* ---- at random ---- */

static unsigned
draw(unsigned below)
{
	static unsigned random = 3;

	random = random * 1103515245 + 12345;
	return (random >> 12) % below;
}

static void
append_value(struct buf *out, int depth)
{
	static const char *const lines[] = { "+x\r\n", "-ERR\r\n", ":7\r\n", "_\r\n", "#t\r\n",
		",1.5\r\n", "(1\r\n", "$-1\r\n", "*-1\r\n" };
	static const char many[] = "*~>%", bulk[] = "$!=";
	unsigned kind = draw(depth > 3 ? 2 : 4);

	if (draw(8) == 0) {
		buf_printf(out, "|1\r\n");
		append_value(out, depth + 1);
		append_value(out, depth + 1);
	}
	if (kind == 0) {
		buf_printf(out, "%s", lines[draw(9)]);
	} else if (kind == 1) {
		unsigned len = draw(20);
		buf_printf(out, "%c%u\r\n%.*s\r\n", bulk[draw(3)], len, (int)len,
		    "\r\n*1\r\n$5\r\n:xyz+_\r\n\r\n");
	} else {
		char type = many[draw(4)];
		unsigned count = draw(4);
		buf_printf(out, "%c%u\r\n", type, count);
		for (unsigned i = 0; i < count * (type == '%' ? 2 : 1); i++)
			append_value(out, depth + 1);
	}
}

TEST(two_thousand_random_values_end_where_they_were_made_to_end)
{
	for (int i = 0; i < 2000; i++) {
		struct buf value = BUF_EMPTY;
		struct resp_scan scan;
		append_value(&value, 0);
		size_t len = buf_len(&value), cut = draw((unsigned)len);
		buf_append(&value, "+next\r\n", 7);
		resp_scan_start(&scan);
		CHECK_INT(scan_within(&scan, slice_make(value.at, cut)), RESP_PARTIAL);
		CHECK_INT(scan_within(&scan, buf_slice(&value)), RESP_WHOLE);
		CHECK_INT(scan.at, len);
		buf_free(&value);
	}
}

TEST_MAIN
