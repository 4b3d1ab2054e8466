/* See glob.h. Backtracks to the last star only, which is enough. */
#include "base/glob.h"

/* One element of the pattern at *p against c; moves *p past it. */
static bool
class_matches(struct slice pattern, size_t *p, unsigned char c)
{
	size_t i = *p + 1;
	bool is_negated = i < pattern.len && pattern.at[i] == '^';
	bool is_in = false;

	if (is_negated)
		i++;
	for (; i < pattern.len && pattern.at[i] != ']'; i++) {
		if (pattern.at[i] == '\\' && i + 1 < pattern.len)
			i++;
		unsigned char low = (unsigned char)pattern.at[i], high = low;
		if (i + 2 < pattern.len && pattern.at[i + 1] == '-' && pattern.at[i + 2] != ']') {
			high = (unsigned char)pattern.at[i + 2];
			i += 2;
		}
		if (low > high) {
			unsigned char swap = low;
			low = high;
			high = swap;
		}
		is_in |= c >= low && c <= high;
	}
	*p = i < pattern.len ? i + 1 : i;
	return is_in != is_negated;
}

static bool
one_matches(struct slice pattern, size_t *p, char c)
{
	switch (pattern.at[*p]) {
	case '?':
		(*p)++;
		return true;
	case '[':
		return class_matches(pattern, p, (unsigned char)c);
	case '\\':
		if (*p + 1 < pattern.len)
			(*p)++;
		/* fall through */
	default:
		return pattern.at[(*p)++] == c;
	}
}

bool
glob_matches(struct slice pattern, struct slice text)
{
	size_t p = 0, t = 0;
	size_t star = SIZE_MAX, star_text = 0;

	while (t < text.len) {
		size_t next = p;
		if (p < pattern.len && pattern.at[p] == '*') {
			star = ++p;
			star_text = t;
		} else if (p < pattern.len && one_matches(pattern, &next, text.at[t])) {
			p = next;
			t++;
		} else if (star != SIZE_MAX) {
			p = star;
			t = ++star_text;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.at[p] == '*')
		p++;
	return p == pattern.len;
}

bool
glob_list_matches(struct slice list, struct slice text)
{
	bool is_in = false;

	for (size_t i = 0; i < list.len;) {
		size_t end = i;
		while (end < list.len && list.at[end] != ' ' && list.at[end] != '\t')
			end++;
		struct slice item = { list.at + i, end - i };
		bool excludes = item.len > 0 && item.at[0] == '!';
		if (excludes)
			item = (struct slice){ item.at + 1, item.len - 1 };
		if (item.len > 0 && glob_matches(item, text)) {
			if (excludes)
				return false;
			is_in = true;
		}
		i = end + 1;
	}
	return is_in;
}

void
glob_append_literal(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (memchr("*?[]\\^-", text.at[i], 7) != NULL)
			buf_append(out, "\\", 1);
		buf_append(out, text.at + i, 1);
	}
}
