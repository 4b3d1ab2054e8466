/* A value that comes in pieces ends where it does whole. The first byte says
 * where it is cut. */
#include "base/resp.h"

#include "fuzz.h"

static enum resp_end
scan_within(struct resp_scan *scan, struct slice bytes)
{
	char *block = fuzz_block(bytes);
	enum resp_end end = resp_scan(scan, slice_make(block, bytes.len));

	CLAIM(scan->at <= bytes.len);
	CLAIM(scan->owed >= 0);
	CLAIM((end == RESP_WHOLE) == (scan->owed == 0));
	if (end == RESP_WHOLE) {
		char type;
		int64_t number;
		size_t header;
		CLAIM(scan->type != 0 && scan->type != '|');
		if (resp_header(slice_make(block, scan->at), &type, &number, &header))
			CLAIM(header <= scan->at);
	}
	free(block);
	return end;
}

/* A header that comes in pieces is given up sooner than one that is there. */
static bool
has_long_line(struct slice text)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len && len <= 24; i++)
		len = text.at[i] == '\r' ? 0 : len + 1;
	return len > 24;
}

FUZZ(text)
{
	struct resp_scan whole, pieces;
	enum resp_end so_far = RESP_PARTIAL;

	if (text.len < 2)
		return;
	size_t step = (unsigned char)text.at[0] % 16 + 1;
	text = slice_make(text.at + 1, text.len - 1);
	resp_scan_start(&whole);
	resp_scan_start(&pieces);
	enum resp_end end = scan_within(&whole, text);
	for (size_t len = step; so_far == RESP_PARTIAL; len += step) {
		so_far = scan_within(&pieces, slice_make(text.at, len < text.len ? len : text.len));
		if (len >= text.len)
			break;
	}
	CLAIM(so_far == end || has_long_line(text));
	if (end == RESP_WHOLE && so_far == RESP_WHOLE)
		CLAIM(pieces.at == whole.at && pieces.type == whole.type);
}
