/* See resp.h. Pure. */
#include "base/resp.h"

#define LINE_MAX_BYTES 65536 /* of a header, simple string or error line */
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

/* One value's own part: its line, and for the bulk types its bytes. */
static enum resp_end
scan_one(struct resp_scan *scan, struct slice bytes)
{
	const char *start = bytes.at + scan->at;
	size_t left = bytes.len - scan->at;

	/* Garbage is told by its first byte, not only when a line ends. */
	if (strchr("+-:,#(_$!=*~>%|", *start) == NULL || *start == '\0')
		return RESP_BROKEN;
	const char *cr = memchr(start, '\r', left);
	if (cr == NULL)
		return left > LINE_MAX_BYTES ? RESP_BROKEN : RESP_PARTIAL;
	size_t line_len = (size_t)(cr - start);
	if (line_len + 2 > left)
		return RESP_PARTIAL;
	if (line_len == 0 || cr[1] != '\n')
		return RESP_BROKEN;

	struct slice rest = { start + 1, line_len - 1 };
	size_t end = scan->at + line_len + 2;
	int64_t number;
	/* While an attribute is read the value itself is still owed, too. */
	bool is_value = scan->type == 0 && scan->owed == 1 && *start != '|';
	char type = *start;

	switch (type) {
	case '+':
	case '-':
	case ':':
	case ',':
	case '#':
	case '(':
	case '_':
		scan->owed--;
		break;
	case '$':
	case '!':
	case '=':
		if (!header_number(rest, &number))
			return RESP_BROKEN;
		if (number >= 0) {
			if (bytes.len - end < (size_t)number + 2)
				return RESP_PARTIAL;
			end += (size_t)number + 2;
			if (bytes.at[end - 2] != '\r' || bytes.at[end - 1] != '\n')
				return RESP_BROKEN;
		}
		scan->owed--;
		break;
	case '*':
	case '~':
	case '>':
	case '%':
		if (!header_number(rest, &number))
			return RESP_BROKEN;
		scan->owed--;
		if (number > 0)
			scan->owed += type == '%' ? 2 * number : number;
		break;
	case '|': /* comes before a value and is none itself */
		if (!header_number(rest, &number) || number < 0)
			return RESP_BROKEN;
		scan->owed += 2 * number;
		break;
	default:
		return RESP_BROKEN;
	}
	if (is_value)
		scan->type = type;
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
