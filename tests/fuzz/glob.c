/* A pattern, a line break, a text: no byte beyond them is read, and a text
 * with every sign escaped matches itself. */
#include "base/glob.h"

#include "fuzz.h"

FUZZ(text)
{
	const char *newline = text.len > 0 ? memchr(text.at, '\n', text.len) : NULL;
	struct buf escaped = BUF_EMPTY;

	if (newline == NULL || text.len > 1000)
		return;
	struct slice pattern = { text.at, (size_t)(newline - text.at) };
	struct slice rest = { newline + 1, text.len - pattern.len - 1 };
	char *p = fuzz_block(pattern), *t = fuzz_block(rest);
	pattern.at = p;
	rest.at = t;

	bool it_matches = glob_matches(pattern, rest);
	bool in_list = glob_list_matches(pattern, rest);
	bool is_one = pattern.len > 0 && p[0] != '!' && memchr(p, ' ', pattern.len) == NULL &&
	    memchr(p, '\t', pattern.len) == NULL;
	if (is_one)
		CLAIM(in_list == it_matches);
	for (size_t i = 0; i < rest.len; i++) {
		buf_append(&escaped, "\\", 1);
		buf_append(&escaped, &t[i], 1);
	}
	CLAIM(glob_matches(buf_slice(&escaped), rest));
	buf_append(&escaped, "*", 1);
	CLAIM(glob_matches(buf_slice(&escaped), rest));
	buf_append(&escaped, "?", 1);
	CLAIM(!glob_matches(buf_slice(&escaped), rest));
	buf_free(&escaped);
	free(p);
	free(t);
}
