/*
 * Writes replies, in RESP2 or RESP3 where the two differ (`resp` 2 or 3).
 * Pure: everything is appended to the buffer.
 */
#ifndef SIDECAR_WIRE_REPLY_H
#define SIDECAR_WIRE_REPLY_H

#include "base/buf.h"

void reply_simple(struct buf *out, const char *text);
/* `text` with its class, without '-': "ERR syntax error". Line breaks in it
 * become spaces. */
__attribute__((format(printf, 2, 3))) void reply_error(struct buf *out, const char *format, ...);
void reply_integer(struct buf *out, int64_t number);
void reply_bulk(struct buf *out, struct slice bytes);
/* Its start alone: the bytes and "\r\n" follow. */
void reply_bulk_header(struct buf *out, size_t len);
void reply_text(struct buf *out, const char *text); /* a bulk string */
void reply_null(struct buf *out, int resp);
void reply_array(struct buf *out, size_t count);
/* Followed by `pairs` keys and values in turn. */
void reply_map(struct buf *out, int resp, size_t pairs);
/* RESP3's verbatim text, RESP2's bulk string. */
void reply_verbatim(struct buf *out, int resp, struct slice text);

#endif
