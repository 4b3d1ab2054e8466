/*
 * Large values on their way out: sent from where memory holds them, between
 * the bytes of a buffer, and never copied.
 *
 *   buffer    [$70000\r\n       \r\n$5\r\nhello\r\n$90000\r\n       \r\n]
 *   inserts                ^value                            ^value
 *
 * One thread. Each insert holds one reference to its value until it is sent.
 */
#ifndef SIDECAR_FRONT_INSERTS_H
#define SIDECAR_FRONT_INSERTS_H

#include <sys/types.h>

#include "base/blob.h"
#include "base/buf.h"

struct insert {
	struct blob *blob;
	size_t before; /* bytes of the buffer between the one before and this one */
	size_t sent;
};

struct inserts { /* all zero: none */
	struct insert *list;
	size_t first, count, room;
	size_t bytes;   /* of values, to be sent */
	size_t covered; /* bytes of the buffer, up to the last insert */
};

/* A value comes next behind what `out` holds; takes over the reference. */
void inserts_add(struct inserts *inserts, const struct buf *out, struct blob *blob);
/* What `from` and its buffer hold goes behind what `to` and its buffer do. */
void inserts_move(struct inserts *to, struct buf *to_out, struct inserts *from,
    const struct buf *from_out);
/* As send(): the buffer's bytes and the values between them, as many as go into
 * one call. Takes what has been sent off both. */
MUST_CHECK ssize_t inserts_send(struct inserts *inserts, struct buf *out, int fd);
void inserts_free(struct inserts *inserts);

#endif
