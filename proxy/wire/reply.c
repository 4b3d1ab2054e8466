/* See reply.h. */
#include "wire/reply.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/resp.h"

void
reply_simple(struct buf *out, const char *text)
{
	buf_append(out, "+", 1);
	buf_append_slice(out, slice_of(text));
	buf_append(out, "\r\n", 2);
}

void
reply_error(struct buf *out, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *c = text; *c != '\0'; c++) {
		if (*c == '\r' || *c == '\n')
			*c = ' ';
	}
	buf_append(out, "-", 1);
	buf_append_slice(out, slice_of(text));
	buf_append(out, "\r\n", 2);
}

void
reply_integer(struct buf *out, int64_t number)
{
	if (number >= 0)
		resp_append_header(out, ':', (uint64_t)number);
	else
		buf_printf(out, ":%" PRId64 "\r\n", number);
}

void
reply_bulk(struct buf *out, struct slice bytes)
{
	resp_append_bulk(out, bytes);
}

void
reply_bulk_header(struct buf *out, size_t len)
{
	resp_append_header(out, '$', len);
}

void
reply_text(struct buf *out, const char *text)
{
	reply_bulk(out, slice_of(text));
}

void
reply_null(struct buf *out, int resp)
{
	buf_append_slice(out, resp == 3 ? SLICE("_\r\n") : SLICE("$-1\r\n"));
}

void
reply_array(struct buf *out, size_t count)
{
	resp_append_header(out, '*', count);
}

void
reply_map(struct buf *out, int resp, size_t pairs)
{
	resp_append_header(out, resp == 3 ? '%' : '*', resp == 3 ? pairs : pairs * 2);
}

void
reply_verbatim(struct buf *out, int resp, struct slice text)
{
	if (resp != 3) {
		reply_bulk(out, text);
		return;
	}
	resp_append_header(out, '=', text.len + 4);
	buf_append(out, "txt:", 4);
	buf_append_slice(out, text);
	buf_append(out, "\r\n", 2);
}
