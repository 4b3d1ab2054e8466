/* See buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/held.h"

#define FIRST_BYTES 256

char *
buf_grow(struct buf *buf, size_t room)
{
	size_t len = buf_len(buf);

	/* Moving down is cheaper than growing, but only when at least half of
	 * the block is free: else a slow reader costs a memmove an append. */
	if (buf->start >= buf->size / 2 && buf->size - len >= room) {
		memmove(buf->at, buf->at + buf->start, len);
		buf->start = 0;
		buf->end = len;
		return buf->at + buf->end;
	}

	size_t size = buf->size > 0 ? buf->size : FIRST_BYTES;
	while (size - len < room)
		size *= 2;
	char *at = alloc(size);
	if (len > 0)
		memcpy(at, buf->at + buf->start, len);
	held_add(size);
	held_sub(buf->size);
	free(buf->at);
	*buf = (struct buf){ at, 0, len, size };
	return buf->at + buf->end;
}

void
buf_printf(struct buf *buf, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return;
	char *at = buf_reserve(buf, (size_t)len + 1);
	va_start(args, format);
	vsnprintf(at, (size_t)len + 1, format, args);
	va_end(args);
	buf->end += (size_t)len;
}

void
buf_take(struct buf *buf, size_t len)
{
	buf->start += len;
	if (buf->start == buf->end)
		buf_reset(buf);
}

void
buf_free(struct buf *buf)
{
	held_sub(buf->size);
	free(buf->at);
	*buf = BUF_EMPTY;
}
