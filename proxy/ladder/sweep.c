/* See sweep.h. */
#include "ladder/sweep.h"

#include "base/resp.h"
#include "wire/request.h"

#define KEYS_A_SCAN "1000" /* about; milliseconds of Redis's time at most */

void
sweep_start(struct sweep *sweep, struct slice pattern)
{
	buf_reset(&sweep->pattern);
	buf_reset(&sweep->cursor);
	buf_reset(&sweep->found);
	buf_append_slice(&sweep->pattern, pattern);
	sweep->found_count = sweep->unlinked = 0;
	sweep->awaits_scan = false;
}

bool
sweep_next(struct sweep *sweep, struct buf *command)
{
	bool has_begun = buf_len(&sweep->cursor) > 0;
	struct slice cursor = has_begun ? buf_slice(&sweep->cursor) : SLICE("0");

	sweep->awaits_scan = sweep->found_count == 0;
	if (sweep->found_count > 0) {
		buf_printf(command, "*%zu\r\n$6\r\nUNLINK\r\n", sweep->found_count + 1);
		buf_append_slice(command, buf_slice(&sweep->found));
		sweep->unlinked += sweep->found_count;
		sweep->found_count = 0;
		return true;
	}
	if (has_begun && slice_equal(cursor, SLICE("0")))
		return false;
	struct slice argv[] = { SLICE("SCAN"), cursor, SLICE("MATCH"), buf_slice(&sweep->pattern),
		SLICE("COUNT"), SLICE(KEYS_A_SCAN) };
	request_append(command, argv, 6);
	return true;
}

/* Takes a header of this type off. */
static bool
take_header(struct slice *rest, char wanted, int64_t *number)
{
	size_t len;
	char type;

	if (!resp_header(*rest, &type, number, &len) || type != wanted || *number < 0)
		return false;
	*rest = slice_make(rest->at + len, rest->len - len);
	return true;
}

bool
sweep_answer(struct sweep *sweep, struct slice reply)
{
	int64_t parts, cursor_len, keys;

	if (!sweep->awaits_scan)
		return true;
	if (!take_header(&reply, '*', &parts) || parts != 2 ||
	    !take_header(&reply, '$', &cursor_len) || cursor_len == 0)
		return false;
	buf_reset(&sweep->cursor);
	buf_append(&sweep->cursor, reply.at, (size_t)cursor_len);
	reply = slice_make(reply.at + cursor_len + 2, reply.len - (size_t)cursor_len - 2);
	if (!take_header(&reply, '*', &keys))
		return false;
	buf_reset(&sweep->found);
	buf_append_slice(&sweep->found, reply);
	sweep->found_count = (size_t)keys;
	return true;
}

void
sweep_free(struct sweep *sweep)
{
	buf_free(&sweep->pattern);
	buf_free(&sweep->cursor);
	buf_free(&sweep->found);
}
