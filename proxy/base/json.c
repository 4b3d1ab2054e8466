/*
 * See json.h. A cursor walks the text once; each read_ function leaves it
 * behind what it read, or returns false.
 */
#include "base/json.h"

#include "base/buf.h"

struct cursor {
	const char *at;
	const char *end;
	int depth;
};

static bool read_value(struct cursor *c, enum json_kind *kind);

static void
skip_blanks(struct cursor *c)
{
	while (c->at < c->end &&
	    (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
		c->at++;
}

static bool
read_byte(struct cursor *c, char byte)
{
	if (c->at == c->end || *c->at != byte)
		return false;
	c->at++;
	return true;
}

static bool
read_word(struct cursor *c, struct slice word)
{
	if (!slice_starts(slice_make(c->at, (size_t)(c->end - c->at)), word))
		return false;
	c->at += word.len;
	return true;
}

static bool
read_digits(struct cursor *c)
{
	const char *start = c->at;

	while (c->at < c->end && *c->at >= '0' && *c->at <= '9')
		c->at++;
	return c->at > start;
}

/* -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static bool
read_number(struct cursor *c)
{
	read_byte(c, '-');
	if (!read_byte(c, '0') && !read_digits(c))
		return false;
	if (read_byte(c, '.') && !read_digits(c))
		return false;
	if (!read_byte(c, 'e') && !read_byte(c, 'E'))
		return true;
	if (!read_byte(c, '+'))
		read_byte(c, '-');
	return read_digits(c);
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool
read_hex4(struct cursor *c, unsigned *code)
{
	if (c->end - c->at < 4)
		return false;
	*code = 0;
	for (int i = 0; i < 4; i++) {
		int digit = hex_value(*c->at++);
		if (digit < 0)
			return false;
		*code = *code * 16 + (unsigned)digit;
	}
	return true;
}

/* What follows "\u"; a surrogate must have its other half. */
static bool
read_code_point(struct cursor *c, unsigned *code)
{
	unsigned low;

	if (!read_hex4(c, code) || (*code >= 0xdc00 && *code <= 0xdfff))
		return false;
	if (*code < 0xd800 || *code > 0xdfff)
		return true;
	if (!read_word(c, SLICE("\\u")) || !read_hex4(c, &low) || low < 0xdc00 || low > 0xdfff)
		return false;
	*code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
	return true;
}

static void
put_utf8(struct buf *out, unsigned code)
{
	char bytes[4];
	size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
	static const unsigned first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = len; i > 1; i--) {
		bytes[i - 1] = (char)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	bytes[0] = (char)(first[len] | code);
	buf_append(out, bytes, len);
}

static bool
read_escape(struct cursor *c, struct buf *out)
{
	static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	unsigned code;

	if (c->at == c->end)
		return false;
	char letter = *c->at++;
	if (letter == 'u') {
		if (!read_code_point(c, &code))
			return false;
		if (out != NULL)
			put_utf8(out, code);
		return true;
	}
	const char *known = letter != '\0' ? strchr(letters, letter) : NULL;
	if (known == NULL)
		return false;
	if (out != NULL)
		buf_append(out, &bytes[known - letters], 1);
	return true;
}

/* Appends what it stands for to `out`, when there is one. */
static bool
read_string(struct cursor *c, struct buf *out)
{
	if (!read_byte(c, '"'))
		return false;
	while (c->at < c->end) {
		char byte = *c->at++;
		if (byte == '"')
			return true;
		if ((unsigned char)byte < 0x20)
			return false;
		if (byte == '\\' && !read_escape(c, out))
			return false;
		if (byte != '\\' && out != NULL)
			buf_append(out, &byte, 1);
	}
	return false;
}

/* Items up to `close`, each an optional member name and a value. */
static bool
read_nested(struct cursor *c, char close)
{
	enum json_kind ignored;

	c->at++;
	if (++c->depth > JSON_DEPTH_MAX)
		return false;
	skip_blanks(c);
	if (read_byte(c, close))
		return c->depth-- > 0;
	do {
		skip_blanks(c);
		if (close == '}') {
			if (!read_string(c, NULL))
				return false;
			skip_blanks(c);
			if (!read_byte(c, ':'))
				return false;
		}
		if (!read_value(c, &ignored))
			return false;
		skip_blanks(c);
	} while (read_byte(c, ','));
	c->depth--;
	return read_byte(c, close);
}

static bool
read_value(struct cursor *c, enum json_kind *kind)
{
	skip_blanks(c);
	switch (c->at < c->end ? *c->at : '\0') {
	case '"':
		*kind = JSON_STRING;
		return read_string(c, NULL);
	case '{':
		*kind = JSON_NESTED;
		return read_nested(c, '}');
	case '[':
		*kind = JSON_NESTED;
		return read_nested(c, ']');
	case 't':
		*kind = JSON_TRUE;
		return read_word(c, SLICE("true"));
	case 'f':
		*kind = JSON_FALSE;
		return read_word(c, SLICE("false"));
	case 'n':
		*kind = JSON_NULL;
		return read_word(c, SLICE("null"));
	default:
		*kind = JSON_NUMBER;
		return read_number(c);
	}
}

static bool
read_member(struct cursor *c, struct buf *key, struct buf *value, json_member_fn member, void *arg)
{
	enum json_kind kind;

	buf_reset(key);
	buf_reset(value);
	skip_blanks(c);
	if (!read_string(c, key))
		return false;
	skip_blanks(c);
	if (!read_byte(c, ':'))
		return false;
	skip_blanks(c);
	struct cursor again = *c;
	if (!read_value(c, &kind))
		return false;
	struct slice text = { again.at, (size_t)(c->at - again.at) };
	if (kind == JSON_STRING) {
		/* The second reading of a string that was found fine. */
		bool is_fine = read_string(&again, value);
		text = is_fine ? buf_slice(value) : text;
	}
	if (member != NULL)
		member(buf_slice(key), kind, text, arg);
	return true;
}

static bool
read_members(struct cursor *c, json_member_fn member, void *arg)
{
	struct buf key = BUF_EMPTY, value = BUF_EMPTY;
	bool is_fine;

	/* So that there is an address even for "". */
	buf_reserve(&key, 1);
	buf_reserve(&value, 1);
	do {
		is_fine = read_member(c, &key, &value, member, arg);
		skip_blanks(c);
	} while (is_fine && read_byte(c, ','));
	buf_free(&key);
	buf_free(&value);
	return is_fine && read_byte(c, '}');
}

bool
json_object_each(struct slice text, json_member_fn member, void *arg)
{
	if (text.len == 0)
		return false;
	struct cursor c = { text.at, text.at + text.len, 1 };
	skip_blanks(&c);
	if (!read_byte(&c, '{'))
		return false;
	skip_blanks(&c);
	if (!read_byte(&c, '}') && !read_members(&c, member, arg))
		return false;
	skip_blanks(&c);
	return c.at == c.end;
}
