/* Commands read in pieces end as they do whole, and what is forwarded of one
 * reads back as the same words. The first byte says where it is cut. */
#include "wire/request.h"

#include "fuzz.h"

/* Longer than the longest input, so that no endless line is given up early. */
static const struct request_limits limits = { 5000, 50, false };
/* An inline command is bounded by its line alone. */
static const struct request_limits wide = { 1 << 20, 1 << 16, false };

static void
append_outcome(struct buf *out, const struct request_parser *parser, enum request_parse result)
{
	buf_printf(out, "%d ", (int)result);
	if (result == REQUEST_BROKEN)
		buf_printf(out, "%s", parser->error);
	for (size_t i = 0; i < parser->argc && result == REQUEST_WHOLE; i++) {
		buf_printf(out, "[%zu ", parser->argv[i].len);
		buf_append_slice(out, parser->argv[i]);
	}
}

static enum request_parse
parse_within(struct request_parser *parser, struct request_progress *progress, struct slice bytes,
    struct buf *outcome)
{
	char *block = fuzz_block(bytes);
	enum request_parse result =
	    request_parse(parser, progress, &limits, slice_make(block, bytes.len));

	buf_reset(outcome);
	append_outcome(outcome, parser, result);
	if (result == REQUEST_WHOLE) {
		CLAIM(parser->len > 0 && parser->len <= bytes.len);
		CLAIM(progress->at == 0 && progress->args_left == 0);
	}
	free(block);
	return result;
}

/* What is forwarded must be the command itself. */
static void
check_raw(struct slice bytes)
{
	struct request_parser parser = { 0 }, again = { 0 };
	struct request_progress progress = { 0, 0 };

	if (request_parse(&parser, &progress, &limits, bytes) == REQUEST_WHOLE) {
		CLAIM(request_parse(&again, &progress, &wide, parser.raw) == REQUEST_WHOLE);
		CLAIM(again.len == parser.raw.len && again.argc == parser.argc);
		for (size_t i = 0; i < parser.argc; i++)
			CLAIM(slice_equal(again.argv[i], parser.argv[i]));
	}
	request_parser_free(&parser);
	request_parser_free(&again);
}

/* Who takes the short way reads the same command. */
static void
check_get(struct slice bytes)
{
	struct request_parser parser = { 0 };
	struct request_progress progress = { 0, 0 };
	char *block = fuzz_block(bytes);
	struct slice key;
	size_t len = request_get(slice_make(block, bytes.len), &key);

	if (len > 0) {
		CLAIM(request_parse(&parser, &progress, &limits, slice_make(block, bytes.len)) ==
		    REQUEST_WHOLE);
		CLAIM(parser.len == len && parser.argc == 2);
		CLAIM(slice_equal_nocase(parser.argv[0], SLICE("get")));
		CLAIM(slice_equal(parser.argv[1], key));
	}
	free(block);
	request_parser_free(&parser);
}

FUZZ(text)
{
	struct request_parser parser = { 0 };
	struct request_progress whole = { 0, 0 }, pieces = { 0, 0 };
	struct buf wanted = BUF_EMPTY, got = BUF_EMPTY;

	if (text.len < 2)
		return;
	size_t step = (unsigned char)text.at[0] % 16 + 1;
	text = slice_make(text.at + 1, text.len - 1);
	enum request_parse result = parse_within(&parser, &whole, text, &wanted);
	enum request_parse so_far = REQUEST_PARTIAL;
	for (size_t len = step; so_far == REQUEST_PARTIAL; len += step) {
		so_far = parse_within(&parser, &pieces,
		    slice_make(text.at, len < text.len ? len : text.len), &got);
		if (len >= text.len)
			break;
	}
	CLAIM(so_far == result);
	CLAIM(slice_equal(buf_slice(&got), buf_slice(&wanted)));
	check_raw(text);
	check_get(text);
	buf_free(&wanted);
	buf_free(&got);
	request_parser_free(&parser);
}
