#include "wire/request.h"

#include "../test.h"
#include "base/alloc.h"

static const struct request_limits wide = { 512 * 1024 * 1024, 1024 * 1024, false };
static const struct request_limits stranger = { 512 * 1024 * 1024, 1024 * 1024, true };

static struct request_parser parser;
static struct request_progress progress;

/* In a block of its own without room to spare, so that ASan sees each byte
 * that is read beyond the end. */
static enum request_parse
parse_within(struct slice bytes, const struct request_limits *limits)
{
	static char *block;

	free(block);
	block = malloc(bytes.len > 0 ? bytes.len : 1);
	memcpy(block, bytes.at, bytes.len);
	return request_parse(&parser, &progress, limits, slice_make(block, bytes.len));
}

static void
start_again(void)
{
	progress = (struct request_progress){ 0, 0 };
}

static enum request_parse
parse_new(struct slice bytes, const struct request_limits *limits)
{
	start_again();
	return parse_within(bytes, limits);
}

static void
append_words(struct buf *out)
{
	for (size_t i = 0; i < parser.argc; i++)
		buf_printf(out, "[%.*s]", (int)parser.argv[i].len, parser.argv[i].at);
}

/* "[GET][k]"; or the error; or "partial". */
static const char *
words_within(struct slice bytes, const struct request_limits *limits)
{
	static struct buf text;
	enum request_parse result = parse_new(bytes, limits);

	buf_reset(&text);
	if (result == REQUEST_WHOLE)
		append_words(&text);
	buf_append(&text, "", 1);
	return result == REQUEST_WHOLE  ? buf_slice(&text).at
	    : result == REQUEST_PARTIAL ? "partial"
					: parser.error;
}

static const char *
words(const char *text)
{
	return words_within(slice_of(text), &wide);
}

/* ---- a whole GET ---- */

/* The key that request_get() finds, within a block without room to spare. */
static const char *
key_of(struct slice bytes, size_t *len)
{
	static struct buf text;
	struct slice key = SLICE_NONE;
	char *block = malloc(bytes.len > 0 ? bytes.len : 1);

	memcpy(block, bytes.at, bytes.len);
	buf_reset(&text);
	*len = request_get(slice_make(block, bytes.len), &key);
	buf_append_slice(&text, *len > 0 ? key : SLICE("none"));
	buf_append(&text, "", 1);
	free(block);
	return buf_slice(&text).at;
}

TEST(a_whole_get_is_found_in_either_case)
{
	static const char *const commands[] = {
		"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
		"*2\r\n$3\r\nget\r\n$3\r\nkey\r\n",
		"*2\r\n$3\r\ngEt\r\n$03\r\nkey\r\n*2\r\n$3\r\nGET\r\n",
	};
	size_t len;

	for (int i = 0; i < 3; i++) {
		CHECK_TEXT(key_of(slice_of(commands[i]), &len), "key");
		CHECK_INT(len, i < 2 ? 22 : 23);
	}
}

TEST(part_of_a_get_and_other_commands_are_left_to_the_parser)
{
	static const char whole[] = "*2\r\n$3\r\nGET\r\n$12\r\nkey:12345678\r\n";
	static const char *const others[] = {
		"*2\r\n$3\r\nDEL\r\n$3\r\nkey\r\n",
		"*3\r\n$3\r\nGET\r\n$3\r\nkey\r\n$1\r\na\r\n",
		"*2\r\n$4\r\nGETX\r\n$3\r\nkey\r\n",
		"*2\r\n$3\r\nGET\r\n$-1\r\nkey\r\n",
		"*2\r\n$3\r\nGET\r\n$\r\nkey-and-more\r\n",
		"*2\r\n$3\r\nGET\r\n$3x\r\nkey-and-more\r\n",
		"*2\r\n$3\r\nGET\r\n$1000\r\nkey-and-more\r\n",
		"GET key-that-stands-in-a-line\r\n",
	};
	size_t len;

	for (size_t i = 0; i + 1 < sizeof(whole); i++)
		CHECK_TEXT(key_of(slice_make(whole, i), &len), "none");
	CHECK_TEXT(key_of(slice_of(whole), &len), "key:12345678");
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK_TEXT(key_of(slice_of(others[i]), &len), "none");
}

TEST(the_longest_key_of_a_whole_get_is_of_999_bytes)
{
	size_t len;

	for (int size = 999; size <= 1000; size++) {
		struct buf command = BUF_EMPTY;
		buf_printf(&command, "*2\r\n$3\r\nGET\r\n$%d\r\n%0*d\r\n", size, size, 0);
		CHECK_INT(strlen(key_of(buf_slice(&command), &len)), size == 999 ? 999 : 4);
		buf_free(&command);
	}
}

/* ---- RESP arrays ---- */

TEST(an_array_gives_its_words_and_its_length)
{
	CHECK_TEXT(words("*2\r\n$3\r\nGET\r\n$1\r\nk\r\nrest"), "[GET][k]");
	CHECK_INT(parser.len, 20);
	CHECK(slice_equal(parser.raw, SLICE("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")));
}

TEST(words_may_hold_any_byte_and_none)
{
	CHECK_INT(parse_new(SLICE("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$5\r\n\0\r\n\xff \r\n"), &wide),
	    REQUEST_WHOLE);
	CHECK_INT(parser.argc, 3);
	CHECK_INT(parser.argv[1].len, 0);
	CHECK(slice_equal(parser.argv[2], SLICE("\0\r\n\xff ")));
}

TEST(an_empty_array_and_one_of_less_are_empty_commands)
{
	static const char *const empty[] = { "*0\r\n", "*-1\r\n", "*-100\r\n" };

	for (int i = 0; i < 3; i++) {
		CHECK_TEXT(words(empty[i]), "");
		CHECK_INT(parser.argc, 0);
		CHECK_INT(parser.len, strlen(empty[i]));
	}
}

TEST(nothing_is_a_partial_command)
{
	CHECK_TEXT(words(""), "partial");
}

TEST(errors_read_as_redis_7_says_them)
{
	CHECK_TEXT(words("*x\r\n"), "ERR Protocol error: invalid multibulk length");
	CHECK_TEXT(words("*\r\n"), "ERR Protocol error: invalid multibulk length");
	CHECK_TEXT(words("*1 \r\n"), "ERR Protocol error: invalid multibulk length");
	CHECK_TEXT(words("*99999999999999999999\r\n"),
	    "ERR Protocol error: invalid multibulk length");
	CHECK_TEXT(words("*1\r\nGET\r\n"), "ERR Protocol error: expected '$', got 'G'");
	CHECK_TEXT(words("*1\r\n:1\r\n"), "ERR Protocol error: expected '$', got ':'");
	CHECK_TEXT(words("*1\r\n$x\r\n"), "ERR Protocol error: invalid bulk length");
	CHECK_TEXT(words("*1\r\n$-1\r\n"), "ERR Protocol error: invalid bulk length");
	CHECK_TEXT(words("*1\r\n$\r\n"), "ERR Protocol error: invalid bulk length");
	CHECK_TEXT(words("*2\r\n$1\r\na\r\n*1\r\n"), "ERR Protocol error: expected '$', got '*'");
	CHECK_TEXT(words_within(SLICE("*1\r\n\0"), &wide),
	    "ERR Protocol error: expected '$', got ' '");
}

TEST(a_broken_word_is_told_though_others_are_to_come)
{
	CHECK_TEXT(words("*1000\r\n$1\r\na\r\n!"), "ERR Protocol error: expected '$', got '!'");
}

/* ---- limits ---- */

TEST(max_args_words_pass_and_one_more_does_not)
{
	struct request_limits limits = { 1000, 3, false };

	CHECK_TEXT(words_within(SLICE("*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"), &limits),
	    "[a][b][c]");
	CHECK_TEXT(words_within(SLICE("*4\r\n"), &limits),
	    "ERR Protocol error: invalid multibulk length");
}

TEST(a_command_of_max_bytes_passes_and_a_byte_more_does_not)
{
	/* Without the last line break the command has 4 + 4 + 10 bytes. */
	struct request_limits limits = { 4 + 5 + 10, 10, false }, less = { 4 + 5 + 9, 10, false };

	CHECK_TEXT(words_within(SLICE("*1\r\n$10\r\n0123456789\r\n"), &limits), "[0123456789]");
	CHECK_TEXT(words_within(SLICE("*1\r\n$10\r\n0123456789\r\n"), &less),
	    "ERR Protocol error: invalid bulk length");
}

TEST(a_word_beyond_max_bytes_is_refused_by_its_length_alone)
{
	struct request_limits limits = { 1000, 10, false };

	CHECK_TEXT(words_within(SLICE("*1\r\n$1001\r\n"), &limits),
	    "ERR Protocol error: invalid bulk length");
	CHECK_TEXT(words_within(SLICE("*1\r\n$900\r\n"), &limits), "partial");
	CHECK_TEXT(words_within(SLICE("*1\r\n$9223372036854775807\r\n"), &limits),
	    "ERR Protocol error: invalid bulk length");
}

TEST(a_command_of_many_words_is_bounded_as_a_whole)
{
	struct request_limits limits = { 100, 1000, false };
	struct buf bytes = BUF_EMPTY;

	buf_printf(&bytes, "*100\r\n");
	for (int i = 0; i < 20; i++)
		buf_printf(&bytes, "$4\r\nword\r\n");
	CHECK_TEXT(words_within(buf_slice(&bytes), &limits),
	    "ERR Protocol error: invalid bulk length");
	buf_free(&bytes);
}

TEST(a_stranger_may_send_ten_words_and_not_eleven)
{
	CHECK_TEXT(words_within(SLICE("*10\r\n"), &stranger), "partial");
	CHECK_TEXT(words_within(SLICE("*11\r\n"), &stranger),
	    "ERR Protocol error: unauthenticated multibulk length");
	CHECK_TEXT(words_within(SLICE("*11\r\n"), &wide), "partial");
}

TEST(a_stranger_may_send_16384_bytes_and_not_one_more)
{
	CHECK_TEXT(words_within(SLICE("*1\r\n$16384\r\n"), &stranger), "partial");
	CHECK_TEXT(words_within(SLICE("*1\r\n$16385\r\n"), &stranger),
	    "ERR Protocol error: unauthenticated bulk length");
	CHECK_TEXT(words_within(SLICE("*1\r\n$16385\r\n"), &wide), "partial");
}

/* `start`, then digits or letters without a line end, `len` bytes in all. */
static const char *
words_of_endless(const char *start, char filler, size_t len)
{
	char *bytes = malloc(len);

	memset(bytes, filler, len);
	memcpy(bytes, start, strlen(start));
	const char *result = words_within(slice_make(bytes, len), &wide);
	free(bytes);
	return result;
}

TEST(a_line_without_an_end_is_given_up_beyond_64_kb)
{
	CHECK_TEXT(words_of_endless("PING", ' ', 65536), "partial");
	CHECK_TEXT(words_of_endless("PING", ' ', 65537),
	    "ERR Protocol error: too big inline request");
	CHECK_TEXT(words_of_endless("*", '1', 65536), "partial");
	CHECK_TEXT(words_of_endless("*", '1', 65537),
	    "ERR Protocol error: too big mbulk count string");
	CHECK_TEXT(words_of_endless("*1\r\n$", '1', 65536 + 4), "partial");
	CHECK_TEXT(words_of_endless("*1\r\n$", '1', 65537 + 4),
	    "ERR Protocol error: too big bulk count string");
}

/* ---- inline ---- */

TEST(an_inline_command_is_split_at_blanks)
{
	CHECK_TEXT(words("PING\r\n"), "[PING]");
	CHECK_TEXT(words("  SET\tk   v \r\n"), "[SET][k][v]");
	CHECK_TEXT(words("GET k\nrest"), "[GET][k]");
	CHECK_INT(parser.len, 6);
	CHECK(slice_equal(parser.raw, SLICE("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")));
	CHECK_TEXT(words("GET k"), "partial");
	CHECK_TEXT(words("GET k\r"), "partial");
}

TEST(an_empty_line_is_an_empty_command)
{
	static const char *const empty[] = { "\n", "\r\n", "   \r\n", "\t \n" };

	for (int i = 0; i < 4; i++) {
		CHECK_TEXT(words(empty[i]), "");
		CHECK_INT(parser.len, strlen(empty[i]));
	}
}

TEST(double_quotes_keep_blanks_and_read_escapes)
{
	CHECK_TEXT(words("SET k \"a b\"\r\n"), "[SET][k][a b]");
	CHECK_TEXT(words("SET \"\" \"\\x41\\x4a\\x6F\\n\\t\\\"\\\\\\q\"\r\n"),
	    "[SET][][AJo\n\t\"\\q]");
	CHECK_TEXT(words("ECHO \"\\xZZ\\x4\"\r\n"), "[ECHO][xZZx4]");
	CHECK_TEXT(words("ECHO \"\\a\\b\\r\"\r\n"), "[ECHO][\a\b\r]");
	CHECK_TEXT(words("ECHO a\"b c\"\r\n"), "[ECHO][ab c]");
	CHECK_TEXT(words("ECHO \"it's\"\r\n"), "[ECHO][it's]");
	CHECK_INT(parse_new(SLICE("ECHO \"\\x00\"\r\n"), &wide), REQUEST_WHOLE);
	CHECK(slice_equal(parser.argv[1], SLICE("\0")));
}

TEST(single_quotes_keep_all_but_an_escaped_quote)
{
	CHECK_TEXT(words("ECHO 'a \"b\" \\n'\r\n"), "[ECHO][a \"b\" \\n]");
	CHECK_TEXT(words("ECHO 'it\\'s'\r\n"), "[ECHO][it's]");
	CHECK_TEXT(words("ECHO ''\r\n"), "[ECHO][]");
}

TEST(quotes_that_do_not_end_or_are_followed_by_a_word_are_refused)
{
	static const char *const wrong[] = { "ECHO \"a\r\n", "ECHO 'a\r\n", "ECHO \"a\"b\r\n",
		"ECHO 'a'b\r\n", "\"\r\n", "ECHO \"a\\\"\r\n", "ECHO 'a\\'\r\n", "ECHO \"\\\r\n",
		"ECHO \"a\"'b'\r\n" };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_TEXT(words(wrong[i]), "ERR Protocol error: unbalanced quotes in request");
}

TEST(an_inline_command_has_the_limits_of_an_array)
{
	struct request_limits small = { .max_bytes = 16, .max_args = 3 };

	CHECK_TEXT(words_within(SLICE("SET k 45678901\r\n"), &small), "[SET][k][45678901]");
	CHECK_TEXT(words_within(SLICE("SET k 456789012\r\n"), &small),
	    "ERR Protocol error: too big inline request");
	CHECK_TEXT(words_within(SLICE("DEL a b\r\n"), &small), "[DEL][a][b]");
	CHECK_TEXT(words_within(SLICE("DEL a b c\r\n"), &small),
	    "ERR Protocol error: invalid multibulk length");
}

TEST(an_inline_command_is_forwarded_as_an_array)
{
	CHECK_INT(parse_new(SLICE("SET k \"a\\r\\n\\x00b\"\r\n"), &wide), REQUEST_WHOLE);
	CHECK(slice_equal(parser.raw, SLICE("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\na\r\n\0b\r\n")));
}

TEST(an_inline_command_of_many_words_keeps_each)
{
	struct buf line = BUF_EMPTY, wanted = BUF_EMPTY;

	for (int i = 0; i < 5000; i++) {
		buf_printf(&line, "%s%d", i > 0 ? " " : "", i);
		buf_printf(&wanted, "[%d]", i);
	}
	buf_append(&line, "\r\n", 2);
	buf_append(&wanted, "", 1);
	CHECK_TEXT(words_within(buf_slice(&line), &wide), buf_slice(&wanted).at);
	CHECK_INT(parser.argc, 5000);
	buf_free(&line);
	buf_free(&wanted);
}

/* ---- piece by piece ---- */

/* The end of feeding: how it went, and the words, or the error. */
static void
append_outcome(struct buf *out, enum request_parse result)
{
	buf_printf(out, "%d ", (int)result);
	if (result == REQUEST_WHOLE) {
		buf_printf(out, "%zu ", parser.len);
		append_words(out);
		buf_append_slice(out, parser.raw);
	} else if (result == REQUEST_BROKEN) {
		buf_printf(out, "%s", parser.error);
	}
	buf_append(out, "\n", 1);
}

static void
feed_whole(struct slice bytes, const struct request_limits *limits, struct buf *out)
{
	append_outcome(out, parse_new(bytes, limits));
}

/* First the bytes before `split`, then all. */
static void
feed_in_two(struct slice bytes, size_t split, const struct request_limits *limits, struct buf *out)
{
	enum request_parse result = parse_new(slice_make(bytes.at, split), limits);

	if (result == REQUEST_PARTIAL)
		result = parse_within(bytes, limits);
	append_outcome(out, result);
}

static void
feed_byte_by_byte(struct slice bytes, const struct request_limits *limits, struct buf *out)
{
	enum request_parse result = REQUEST_PARTIAL;

	start_again();
	for (size_t len = 0; len <= bytes.len && result == REQUEST_PARTIAL; len++)
		result = parse_within(slice_make(bytes.at, len), limits);
	append_outcome(out, result);
}

/* One command cut anywhere, and fed byte by byte, ends as it does whole. */
static void
check_all_splits(struct slice bytes, const struct request_limits *limits)
{
	struct buf whole = BUF_EMPTY, pieces = BUF_EMPTY;

	feed_whole(bytes, limits, &whole);
	for (size_t split = 0; split <= bytes.len + 1; split++) {
		buf_reset(&pieces);
		if (split <= bytes.len)
			feed_in_two(bytes, split, limits, &pieces);
		else
			feed_byte_by_byte(bytes, limits, &pieces);
		if (!slice_equal(buf_slice(&whole), buf_slice(&pieces))) {
			printf("split at %zu: %.*s whole: %.*s pieces: %.*s", split, (int)bytes.len,
			    bytes.at, (int)buf_len(&whole), whole.at, (int)buf_len(&pieces),
			    pieces.at);
			test_failures++;
			break;
		}
	}
	buf_free(&whole);
	buf_free(&pieces);
}

TEST(a_command_cut_anywhere_reads_as_it_does_whole)
{
	static const char *const commands[] = {
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
		"*0\r\n",
		"*-1\r\n",
		"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$12\r\n\r\n\r\n*1\r\n$1\r\n\r\n",
		"PING\r\n",
		"SET k \"a b\\x41\" 'it\\'s'\r\n",
		"\r\n",
		"*x\r\n",
		"*2\r\n$3\r\nGET\r\n$x\r\n",
		"*2\r\n$3\r\nGET\r\nk\r\n",
		"ECHO \"a\"b\r\n",
	};

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		check_all_splits(slice_of(commands[i]), &wide);
}

static unsigned
draw(unsigned below)
{
	static unsigned random = 1;

	random = random * 1103515245 + 12345;
	return (random >> 12) % below;
}

/* Mostly right, sometimes with one byte changed. */
static void
make_command(struct buf *out)
{
	static const char bytes[] = "a\r\n$*0\"' \\x-\xff";
	unsigned count = draw(5);
	char word[40];

	buf_reset(out);
	if (draw(4) == 0) {
		for (unsigned i = 0, len = draw(30); i < len; i++)
			buf_append(out, &bytes[draw(sizeof(bytes) - 1)], 1);
		buf_append(out, "\r\n", 2);
		return;
	}
	buf_printf(out, "*%u\r\n", count);
	for (unsigned i = 0; i < count; i++) {
		unsigned len = draw(sizeof(word));
		for (unsigned j = 0; j < len; j++)
			word[j] = bytes[draw(sizeof(bytes) - 1)];
		buf_printf(out, "$%u\r\n", len);
		buf_append(out, word, len);
		buf_append(out, "\r\n", 2);
	}
	if (draw(3) == 0)
		out->at[out->start + draw((unsigned)buf_len(out))] = bytes[draw(sizeof(bytes) - 1)];
}

TEST(three_thousand_random_commands_cut_anywhere_read_as_they_do_whole)
{
	struct request_limits narrow = { 70, 3, false };
	struct buf command = BUF_EMPTY;

	for (int i = 0; i < 3000; i++) {
		make_command(&command);
		check_all_splits(buf_slice(&command), i % 3 == 0 ? &narrow : &wide);
	}
	buf_free(&command);
}

TEST(a_long_command_is_not_read_from_its_start_at_each_piece)
{
	struct buf bytes = BUF_EMPTY;

	buf_printf(&bytes, "*2000\r\n");
	for (int i = 0; i < 2000; i++)
		buf_printf(&bytes, "$3\r\nabc\r\n");
	start_again();
	size_t len = buf_len(&bytes);
	CHECK_INT(request_parse(&parser, &progress, &wide, slice_make(bytes.at, len - 5)),
	    REQUEST_PARTIAL);
	CHECK_INT(progress.args_left, 1);
	CHECK_INT(progress.at, len - 9);
	/* Where it has been already, it does not look again: until it is whole. */
	bytes.at[8] = 'x';
	CHECK_INT(request_parse(&parser, &progress, &wide, slice_make(bytes.at, len - 1)),
	    REQUEST_PARTIAL);
	bytes.at[8] = '3';
	CHECK_INT(request_parse(&parser, &progress, &wide, slice_make(bytes.at, len)),
	    REQUEST_WHOLE);
	CHECK_INT(parser.argc, 2000);
	CHECK_INT(progress.at, 0);
	buf_free(&bytes);
}

TEST(commands_behind_each_other_are_read_one_by_one)
{
	struct slice bytes = SLICE("*1\r\n$4\r\nPING\r\nGET a\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
	struct buf seen = BUF_EMPTY;

	while (bytes.len > 0 && parse_new(bytes, &wide) == REQUEST_WHOLE) {
		append_words(&seen);
		bytes = slice_make(bytes.at + parser.len, bytes.len - parser.len);
	}
	buf_append(&seen, "", 1);
	CHECK_TEXT(buf_slice(&seen).at, "[PING][GET][a][GET][b]");
	buf_free(&seen);
}

TEST(words_appended_read_back_the_same)
{
	struct slice argv[] = { SLICE("SET"), SLICE(""), SLICE("a\r\n\0b") };
	struct buf out = BUF_EMPTY;

	request_append(&out, argv, 3);
	CHECK(slice_equal(buf_slice(&out),
	    SLICE("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$5\r\na\r\n\0b\r\n")));
	CHECK_INT(parse_new(buf_slice(&out), &wide), REQUEST_WHOLE);
	CHECK_INT(parser.argc, 3);
	for (size_t i = 0; i < 3; i++)
		CHECK(slice_equal(parser.argv[i], argv[i]));
	buf_free(&out);
	request_parser_free(&parser);
	parser = (struct request_parser){ 0 };
}

TEST_MAIN
