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

/* "<type><number>\r\n", without printf: it is on the path of every request. */
void resp_append_header(struct buf *out, char type, uint64_t number);
/* "$5\r\nhello\r\n" */
void resp_append_bulk(struct buf *out, struct slice bytes);

#endif
