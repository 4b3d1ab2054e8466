/* See resp.h. Pure. */
#include "base/resp.h"

#define LINE_MAX_BYTES (32 << 20) /* of a status or an error: a script may give long ones */
#define HEADER_MAX_BYTES 64       /* of a line that is only a number */
#define COUNT_MAX (INT64_C(1) << 40)

void
resp_scan_start(struct resp_scan *scan)
{
	*scan = (struct resp_scan){ .owed = 1 };
}

/* The number in a header line, the types that carry a value included. */
static bool
header_number(struct slice line, int64_t *number)
{
	return slice_to_int64(line, number) && *number >= -1 && *number <= COUNT_MAX;
}

/* What a type's first byte stands for. */
enum shape {
	SHAPE_NONE,
	SHAPE_LINE,      /* all there is stands in its line */
	SHAPE_BULK,      /* the line's number is its length */
	SHAPE_AGGREGATE, /* ... or how many values follow */
	SHAPE_MAP,       /* ... or how many pairs */
	SHAPE_ATTRIBUTE, /* pairs that come before a value, and are none themselves */
};

static enum shape
shape_of(char type)
{
	static const struct {
		const char *types;
		enum shape shape;
	} shapes[] = {
		{ "+-:,#(_", SHAPE_LINE },
		{ "$!=", SHAPE_BULK },
		{ "*~>", SHAPE_AGGREGATE },
		{ "%", SHAPE_MAP },
		{ "|", SHAPE_ATTRIBUTE },
	};

	for (size_t i = 0; type != '\0' && i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		if (strchr(shapes[i].types, type) != NULL)
			return shapes[i].shape;
	}
	return SHAPE_NONE;
}

/* The bytes of a bulk string behind its line; *end moves past them. */
static enum resp_end
scan_bulk(struct slice bytes, int64_t len, size_t *end)
{
	if (len < 0)
		return RESP_WHOLE;
	if (bytes.len - *end < (size_t)len + 2)
		return RESP_PARTIAL;
	*end += (size_t)len + 2;
	return bytes.at[*end - 2] == '\r' && bytes.at[*end - 1] == '\n' ? RESP_WHOLE : RESP_BROKEN;
}

/* How many values are owed more once this one has been read. */
static int64_t
owed_by(enum shape shape, int64_t number)
{
	int64_t count = number > 0 ? number : 0;

	switch (shape) {
	case SHAPE_AGGREGATE:
		return count - 1;
	case SHAPE_MAP:
		return 2 * count - 1;
	case SHAPE_ATTRIBUTE:
		return 2 * count;
	default:
		return -1;
	}
}

static size_t
longest_line(enum shape shape)
{
	return shape == SHAPE_LINE ? LINE_MAX_BYTES : HEADER_MAX_BYTES;
}

/* One value's own part: its line, and for the bulk types its bytes. */
static enum resp_end
scan_one(struct resp_scan *scan, struct slice bytes)
{
	const char *start = bytes.at + scan->at;
	size_t left = bytes.len - scan->at;
	enum shape shape = shape_of(*start);
	int64_t number = 0;

	/* Garbage is told by its first byte, not only when a line ends. */
	if (shape == SHAPE_NONE)
		return RESP_BROKEN;
	const char *cr = memchr(start, '\r', left);
	if (cr == NULL)
		return left > longest_line(shape) ? RESP_BROKEN : RESP_PARTIAL;
	size_t line_len = (size_t)(cr - start);
	if (line_len + 2 > left)
		return RESP_PARTIAL;
	if (cr[1] != '\n')
		return RESP_BROKEN;
	if (shape != SHAPE_LINE &&
	    !header_number((struct slice){ start + 1, line_len - 1 }, &number))
		return RESP_BROKEN;
	if (shape == SHAPE_ATTRIBUTE && number < 0)
		return RESP_BROKEN;

	size_t end = scan->at + line_len + 2;
	if (shape == SHAPE_BULK) {
		enum resp_end bulk = scan_bulk(bytes, number, &end);
		if (bulk != RESP_WHOLE)
			return bulk;
	}
	/* While an attribute is read the value itself is still owed, too. */
	if (scan->type == 0 && scan->owed == 1 && shape != SHAPE_ATTRIBUTE)
		scan->type = *start;
	scan->owed += owed_by(shape, number);
	scan->at = end;
	return RESP_WHOLE;
}

enum resp_end
resp_scan(struct resp_scan *scan, struct slice bytes)
{
	while (scan->owed > 0) {
		if (scan->at >= bytes.len)
			return RESP_PARTIAL;
		enum resp_end end = scan_one(scan, bytes);
		if (end != RESP_WHOLE)
			return end;
	}
	return RESP_WHOLE;
}

bool
resp_header(struct slice bytes, char *type, int64_t *number, size_t *header_len)
{
	const char *cr = bytes.len > 0 ? memchr(bytes.at, '\r', bytes.len) : NULL;

	if (cr == NULL || cr == bytes.at)
		return false;
	*type = bytes.at[0];
	*header_len = (size_t)(cr - bytes.at) + 2;
	if (*type == '_') {
		*number = -1;
		return true;
	}
	return slice_to_int64((struct slice){ bytes.at + 1, *header_len - 3 }, number);
}

const char resp_two_digits[] = "00010203040506070809101112131415161718192021222324"
			       "25262728293031323334353637383940414243444546474849"
			       "50515253545556575859606162636465666768697071727374"
			       "75767778798081828384858687888990919293949596979899";

void
resp_append_header(struct buf *out, char type, uint64_t number)
{
	char *start = buf_reserve(out, RESP_FRAME_BYTES), *at = start;

	*at = type;
	at = resp_put_number(at + 1, number);
	memcpy(at, "\r\n", 2);
	buf_added(out, (size_t)(at + 2 - start));
}

void
resp_append_bulk(struct buf *out, struct slice bytes)
{
	buf_reserve(out, bytes.len + RESP_FRAME_BYTES);
	resp_append_header(out, '$', bytes.len);
	buf_append_slice(out, bytes);
	buf_append(out, "\r\n", 2);
}
