/* See hash_copy.h. */
#include "ladder/hash_copy.h"

#include "base/resp.h"

/* The bulk string at the front of `rest`, taken off; `whole` with its header. */
static bool
next_bulk(struct slice *rest, struct slice *whole, struct slice *bytes)
{
	char type;
	int64_t len;
	size_t header;

	if (rest->len == 0 || !resp_header(*rest, &type, &len, &header) || len < 0)
		return false;
	size_t end = header + (size_t)len + 2;
	*whole = slice_make(rest->at, end);
	*bytes = slice_make(rest->at + header, (size_t)len);
	*rest = slice_make(rest->at + end, rest->len - end);
	return true;
}

static bool
is_named(struct slice field, const struct slice *words, size_t count, size_t step)
{
	for (size_t i = 0; i < count; i += step) {
		if (slice_equal(field, words[i]))
			return true;
	}
	return false;
}

size_t
hash_copy_without(struct slice hash, const struct slice *words, size_t count, size_t step,
    struct buf *out)
{
	struct slice field, value, name, unused;
	size_t found = 0;

	while (next_bulk(&hash, &field, &name) && next_bulk(&hash, &value, &unused)) {
		if (is_named(name, words, count, step)) {
			found++;
			continue;
		}
		buf_append_slice(out, field);
		buf_append_slice(out, value);
	}
	return found;
}
