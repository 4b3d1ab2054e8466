/*
 * A growable run of bytes with one owner. Bytes are added at the end and
 * taken from the front; what is taken is given back to the allocator once
 * the buffer is empty and has grown past BUF_KEEP_BYTES.
 *
 * Running out of memory ends the process (see alloc.h), so nothing here fails.
 * Not for use by two threads at a time.
 */
#ifndef SIDECAR_BASE_BUF_H
#define SIDECAR_BASE_BUF_H

#include "base/slice.h"

#define BUF_KEEP_BYTES 16384

struct buf {
	char *at; /* the block; the bytes held are at[start..end) */
	size_t start;
	size_t end;
	size_t size; /* of the block */
};

#define BUF_EMPTY ((struct buf){ NULL, 0, 0, 0 })

static inline size_t
buf_len(const struct buf *buf)
{
	return buf->end - buf->start;
}

static inline struct slice
buf_slice(const struct buf *buf)
{
	/* Not `NULL + 0`, which C does not allow. */
	return (struct slice){ buf->at != NULL ? buf->at + buf->start : NULL,
		buf->end - buf->start };
}

/* buf_reserve() where there is no room yet. */
char *buf_grow(struct buf *buf, size_t room);

/* Makes room for at least `room` more bytes and returns where they go;
 * call buf_added() with how many were written. */
static inline char *
buf_reserve(struct buf *buf, size_t room)
{
	return buf->size - buf->end >= room ? buf->at + buf->end : buf_grow(buf, room);
}

static inline void
buf_added(struct buf *buf, size_t len)
{
	buf->end += len;
}

static inline void
buf_append(struct buf *buf, const void *at, size_t len)
{
	if (len == 0)
		return;
	memcpy(buf_reserve(buf, len), at, len);
	buf->end += len;
}

static inline void
buf_append_slice(struct buf *buf, struct slice bytes)
{
	buf_append(buf, bytes.at, bytes.len);
}

__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *buf, const char *format, ...);

/* Takes `len` bytes from the front. */
void buf_take(struct buf *buf, size_t len);

/* Gives everything back; the buffer may be used again. */
void buf_free(struct buf *buf);

/* Empties it; keeps a small block for the next use. */
static inline void
buf_reset(struct buf *buf)
{
	if (buf->size > BUF_KEEP_BYTES)
		buf_free(buf);
	buf->start = buf->end = 0;
}

#endif
