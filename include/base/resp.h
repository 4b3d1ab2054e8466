/*
 * The grammar of RESP2 and RESP3, as far as finding where a value ends: what
 * a reply means is nobody's business who only forwards it.
 *
 * https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
 */
#ifndef SIDECAR_BASE_RESP_H
#define SIDECAR_BASE_RESP_H

#include "base/buf.h"

enum resp_end {
	RESP_WHOLE,   /* the value ends at scan->at */
	RESP_PARTIAL, /* call again with more bytes */
	RESP_BROKEN,  /* this is not RESP */
};

struct resp_scan {
	size_t at;    /* bytes looked at so far */
	int64_t owed; /* values still to come */
	char type;    /* first byte of the value, an attribute skipped */
};

void resp_scan_start(struct resp_scan *scan);

/*
 * Goes on from where the last call stopped; `bytes` starts at the value's
 * first byte, in every call. Costs O(new bytes), allocates nothing.
 */
enum resp_end resp_scan(struct resp_scan *scan, struct slice bytes);

/*
 * Reads one header line: type, its number (length or count; -1 for nil) and
 * how many bytes it has. False when partial or broken. Only for values that
 * were found whole.
 */
MUST_CHECK bool resp_header(struct slice bytes, char *type, int64_t *number, size_t *header_len);

/* What a number of any length takes with its type and line end, and a bulk string
 * beside its bytes. */
#define RESP_FRAME_BYTES 32
extern const char resp_two_digits[]; /* "000102...99" */

static inline char *
resp_put_long_number(char *at, uint64_t number)
{
	char digits[20];
	size_t count = 0;

	for (; number > 0; number /= 10)
		digits[count++] = (char)('0' + number % 10);
	while (count > 0)
		*at++ = digits[--count];
	return at;
}

/* In decimal, as most lengths are written: without a loop. Returns its end. */
static inline char *
resp_put_number(char *at, uint64_t number)
{
	if (number >= 1000)
		return resp_put_long_number(at, number);
	if (number >= 100)
		*at++ = (char)('0' + number / 100);
	if (number < 10) {
		*at = (char)('0' + number);
		return at + 1;
	}
	memcpy(at, resp_two_digits + number % 100 * 2, 2);
	return at + 2;
}

/* "<type><number>\r\n", without printf: it is on the path of every request. */
void resp_append_header(struct buf *out, char type, uint64_t number);
/* "$5\r\nhello\r\n" */
void resp_append_bulk(struct buf *out, struct slice bytes);

#endif
