/* See request.h. Limits and texts are those of redis 7's networking.c. */
#include "wire/request.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/resp.h"

#define INLINE_MAX_BYTES 65536
#define STRANGER_MAX_ARGS 10
#define STRANGER_MAX_BYTES 16384

__attribute__((format(printf, 2, 3))) static enum request_parse
broken(struct request_parser *parser, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(parser->error, sizeof(parser->error), format, args);
	va_end(args);
	return REQUEST_BROKEN;
}

static void
grow(struct request_parser *parser)
{
	parser->room = parser->room > 0 ? parser->room * 2 : 16;
	parser->argv = alloc_again(parser->argv, parser->room * sizeof(struct slice));
}

static inline void
add_word(struct request_parser *parser, struct slice word)
{
	if (parser->argc == parser->room)
		grow(parser);
	parser->argv[parser->argc++] = word;
}

/* ---- RESP ---- */

/* The digits of a number as clients write it, at `at`: how many, up to 9. */
static inline size_t
read_digits(struct slice bytes, size_t at, int64_t *number)
{
	size_t i = at;

	for (*number = 0; i < bytes.len && i < at + 9; i++) {
		unsigned digit = (unsigned char)bytes.at[i] - (unsigned)'0';
		if (digit > 9)
			break;
		*number = *number * 10 + digit;
	}
	return i - at;
}

/* Whatever else stands there: a sign, many digits, no number at all. */
static enum request_parse
read_odd_number(struct slice bytes, size_t *at, int64_t *number, bool *is_number)
{
	const char *start = bytes.at + *at + 1;
	size_t left = bytes.len - *at - 1;
	const char *cr = memchr(start, '\r', left);

	if (cr == NULL || (size_t)(cr - start) + 2 > left)
		return REQUEST_PARTIAL;
	*is_number = slice_to_int64(slice_make(start, (size_t)(cr - start)), number);
	*at += (size_t)(cr - start) + 3;
	return REQUEST_WHOLE;
}

/* A line "<type><number>\r\n" at *at. */
static inline enum request_parse
read_number(struct slice bytes, size_t *at, int64_t *number, bool *is_number)
{
	size_t digits = read_digits(bytes, *at + 1, number);
	size_t end = *at + 1 + digits;

	if (digits == 0 || end + 2 > bytes.len || bytes.at[end] != '\r')
		return read_odd_number(bytes, at, number, is_number);
	*is_number = true;
	*at = end + 2;
	return REQUEST_WHOLE;
}

static enum request_parse
read_count(struct request_parser *parser, const struct request_limits *limits, struct slice bytes,
    struct request_progress *progress)
{
	int64_t count;
	bool is_number;
	size_t at = 0;

	if (read_number(bytes, &at, &count, &is_number) == REQUEST_PARTIAL) {
		if (bytes.len > INLINE_MAX_BYTES)
			return broken(parser, "ERR Protocol error: too big mbulk count string");
		return REQUEST_PARTIAL;
	}
	if (!is_number || count > limits->max_args)
		return broken(parser, "ERR Protocol error: invalid multibulk length");
	if (limits->is_stranger && count > STRANGER_MAX_ARGS)
		return broken(parser, "ERR Protocol error: unauthenticated multibulk length");
	progress->at = at;
	progress->args_left = count > 0 ? count : 0;
	return REQUEST_WHOLE;
}

static enum request_parse
read_argument(struct request_parser *parser, const struct request_limits *limits,
    struct slice bytes, struct request_progress *progress)
{
	int64_t len;
	bool is_number;
	size_t at = progress->at;

	if (at >= bytes.len)
		return REQUEST_PARTIAL;
	if (bytes.at[at] != '$') {
		return broken(parser, "ERR Protocol error: expected '$', got '%c'",
		    bytes.at[at] == '\0' ? ' ' : bytes.at[at]);
	}
	if (read_number(bytes, &at, &len, &is_number) == REQUEST_PARTIAL) {
		if (bytes.len - at > INLINE_MAX_BYTES)
			return broken(parser, "ERR Protocol error: too big bulk count string");
		return REQUEST_PARTIAL;
	}
	if (!is_number || len < 0 || len > limits->max_bytes)
		return broken(parser, "ERR Protocol error: invalid bulk length");
	if (limits->is_stranger && len > STRANGER_MAX_BYTES)
		return broken(parser, "ERR Protocol error: unauthenticated bulk length");
	if ((int64_t)at + len > limits->max_bytes)
		return broken(parser, "ERR Protocol error: invalid bulk length");
	if (bytes.len - at < (size_t)len + 2)
		return REQUEST_PARTIAL;
	add_word(parser, slice_make(bytes.at + at, (size_t)len));
	progress->at = at + (size_t)len + 2;
	progress->args_left--;
	return REQUEST_WHOLE;
}

/*
 * What nearly all commands are: up to nine words of less than 1000 bytes, all
 * there. False: parse_array() has to look at it, from the start.
 */
static bool
parse_short(struct request_parser *parser, const struct request_limits *limits, struct slice bytes)
{
	const char *at = bytes.at, *end = bytes.at + bytes.len;

	if (bytes.len < 4 || at[1] < '1' || at[1] > '9' || at[2] != '\r')
		return false;
	size_t count = (size_t)(at[1] - '0');
	while (parser->room < count)
		grow(parser);
	at += 4;
	for (size_t i = 0; i < count; i++) {
		if (end - at < 6 || at[0] != '$') /* "$", three digits, a line's end */
			return false;
		size_t len = 0, digits = 0;
		for (at++; digits < 3 && *at >= '0' && *at <= '9'; digits++)
			len = len * 10 + (size_t)(*at++ - '0');
		if (digits == 0 || *at != '\r' || (size_t)(end - at) < len + 4)
			return false;
		parser->argv[i] = slice_make(at + 2, len);
		at += len + 4;
	}
	parser->len = (size_t)(at - bytes.at);
	if ((int64_t)count > limits->max_args || (int64_t)parser->len > limits->max_bytes)
		return false;
	parser->argc = count;
	parser->raw = slice_make(bytes.at, parser->len);
	return true;
}

static enum request_parse
parse_array(struct request_parser *parser, struct request_progress *progress,
    const struct request_limits *limits, struct slice bytes)
{
	bool is_resumed = progress->at > 0;
	enum request_parse result = REQUEST_WHOLE;

	if (!is_resumed)
		result = read_count(parser, limits, bytes, progress);
	while (result == REQUEST_WHOLE && progress->args_left > 0)
		result = read_argument(parser, limits, bytes, progress);
	if (result != REQUEST_WHOLE)
		return result;
	if (is_resumed) {
		/* It is whole now, but the first words were seen in bytes that have
		 * moved since: once more, from the start, which cannot fail. */
		*progress = (struct request_progress){ 0, 0 };
		parser->argc = 0;
		return parse_array(parser, progress, limits, bytes);
	}
	parser->len = progress->at;
	parser->raw = slice_make(bytes.at, progress->at);
	*progress = (struct request_progress){ 0, 0 };
	return REQUEST_WHOLE;
}

/* ---- inline ---- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One character of a double-quoted word, escapes read. */
static size_t
unescape(struct slice line, size_t i, char *c)
{
	static const char letters[] = "nrtba", meanings[] = "\n\r\t\b\a";
	const char *at = line.at + i;
	size_t left = line.len - i;

	*c = at[0];
	if (at[0] != '\\' || left < 2)
		return 1;
	if (at[1] == 'x' && left >= 4 && hex_digit(at[2]) >= 0 && hex_digit(at[3]) >= 0) {
		*c = (char)(hex_digit(at[2]) * 16 + hex_digit(at[3]));
		return 4;
	}
	const char *letter = at[1] != '\0' ? strchr(letters, at[1]) : NULL;
	*c = letter != NULL ? meanings[letter - letters] : at[1];
	return 2;
}

/* A quoted part from *i on; false when the quote never ends, or something
 * other than a space follows it. */
static bool
read_quoted(struct slice line, size_t *i, struct buf *words)
{
	char quote = line.at[(*i)++];

	while (*i < line.len && line.at[*i] != quote) {
		char c = line.at[*i];
		if (quote == '"') {
			*i += unescape(line, *i, &c);
		} else if (c == '\\' && *i + 1 < line.len && line.at[*i + 1] == '\'') {
			c = '\'';
			*i += 2;
		} else {
			(*i)++;
		}
		buf_append(words, &c, 1);
	}
	if (*i >= line.len)
		return false;
	(*i)++;
	return *i >= line.len || isspace((unsigned char)line.at[*i]);
}

static bool
read_words(struct request_parser *parser, struct slice line)
{
	/* Slices are made last: the buffer may move while it grows. */
	size_t i = 0;

	/* Never longer than the line, so that the words stay where they are. */
	buf_reserve(&parser->words, line.len + 1);
	while (true) {
		while (i < line.len && isspace((unsigned char)line.at[i]))
			i++;
		if (i >= line.len)
			return true;
		size_t start = parser->words.end;
		while (i < line.len && !isspace((unsigned char)line.at[i])) {
			if (line.at[i] == '"' || line.at[i] == '\'') {
				if (!read_quoted(line, &i, &parser->words))
					return false;
			} else {
				buf_append(&parser->words, &line.at[i++], 1);
			}
		}
		add_word(parser, slice_make(parser->words.at + start, parser->words.end - start));
	}
}

static enum request_parse
parse_inline(struct request_parser *parser, const struct request_limits *limits, struct slice bytes)
{
	const char *newline = memchr(bytes.at, '\n', bytes.len);

	if (newline == NULL) {
		if (bytes.len > INLINE_MAX_BYTES)
			return broken(parser, "ERR Protocol error: too big inline request");
		return REQUEST_PARTIAL;
	}
	size_t len = (size_t)(newline - bytes.at);
	parser->len = len + 1;
	if ((int64_t)parser->len > limits->max_bytes)
		return broken(parser, "ERR Protocol error: too big inline request");
	if (len > 0 && bytes.at[len - 1] == '\r')
		len--;
	len = strnlen(bytes.at, len); /* Redis reads a line as C does: up to a NUL */
	buf_reset(&parser->words);
	if (!read_words(parser, slice_make(bytes.at, len)))
		return broken(parser, "ERR Protocol error: unbalanced quotes in request");
	if ((int64_t)parser->argc > limits->max_args)
		return broken(parser, "ERR Protocol error: invalid multibulk length");
	buf_reset(&parser->inline_raw);
	request_append(&parser->inline_raw, parser->argv, parser->argc);
	parser->raw = buf_slice(&parser->inline_raw);
	return REQUEST_WHOLE;
}

enum request_parse
request_parse(struct request_parser *parser, struct request_progress *progress,
    const struct request_limits *limits, struct slice bytes)
{
	parser->argc = 0;
	if (bytes.len == 0)
		return REQUEST_PARTIAL;
	if (bytes.at[0] == '*' && progress->at == 0 && parse_short(parser, limits, bytes))
		return REQUEST_WHOLE;
	if (bytes.at[0] == '*')
		return parse_array(parser, progress, limits, bytes);
	return parse_inline(parser, limits, bytes);
}

static inline uint64_t
eight_bytes(const char *at)
{
	uint64_t word;

	memcpy(&word, at, 8);
	return word;
}

/* Above 9: it is none. */
static inline unsigned
digit_at(const char *at)
{
	return (unsigned char)*at - (unsigned)'0';
}

size_t
request_get(struct slice bytes, struct slice *key)
{
	/* The letters' case, and the first two digits or what else is there. */
	static const char lower[8] = "   \0\0\0\0", all[8] = "\xff\xff\xff\xff\xff\xff\0";
	const char *at = bytes.at + 14;
	size_t len;

	/* "*2 $3 GET $1 k", each with its line break, is the shortest, and holds
	 * all that is looked at before the key's length is known. */
	if (bytes.len < 20 || eight_bytes(bytes.at) != eight_bytes("*2\r\n$3\r\n") ||
	    ((eight_bytes(bytes.at + 8) | eight_bytes(lower)) & eight_bytes(all)) !=
		eight_bytes("get\r\n$\0"))
		return 0;
	unsigned first = digit_at(at), second = digit_at(at + 1), third = digit_at(at + 2);
	if (first <= 9 && second <= 9 && at[2] == '\r') {
		len = first * 10 + second;
		at += 4;
	} else if (first <= 9 && at[1] == '\r') {
		len = first;
		at += 3;
	} else if (first <= 9 && second <= 9 && third <= 9 && at[3] == '\r') {
		len = first * 100 + second * 10 + third;
		at += 5;
	} else {
		return 0;
	}
	*key = slice_make(at, len);
	size_t whole = (size_t)(at - bytes.at) + len + 2;
	return whole <= bytes.len ? whole : 0;
}

void
request_parser_free(struct request_parser *parser)
{
	free(parser->argv);
	buf_free(&parser->words);
	buf_free(&parser->inline_raw);
}

void
request_append(struct buf *out, const struct slice *argv, size_t argc)
{
	resp_append_header(out, '*', argc);
	for (size_t i = 0; i < argc; i++)
		resp_append_bulk(out, argv[i]);
}
