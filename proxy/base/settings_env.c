/* See settings_env.h. */
#include "base/settings_env.h"

#include <stdio.h>
#include <stdlib.h>

#define DEPTH_MAX 16 /* of ${A:-${B:-...}}: each level costs stack */

struct expansion {
	struct buf *out;
	char *variable; /* owned */
	char *error;
	size_t error_size;
};

static bool expand(struct expansion *expansion, struct slice text, int depth);

static bool
is_name_byte(char c, bool is_first)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
	    (!is_first && c >= '0' && c <= '9');
}

/* How many bytes "${...}" has, from its '$' to the '}' that belongs to it; 0
 * when there is none. */
static size_t
reference_len(struct slice text)
{
	size_t depth = 0;

	for (size_t i = 1; i < text.len; i++) {
		if (text.at[i] == '{')
			depth++;
		else if (text.at[i] == '}' && --depth == 0)
			return i + 1;
	}
	return 0;
}

static void
remember(struct expansion *expansion, const char *name)
{
	free(expansion->variable);
	expansion->variable = slice_dup(slice_of(name));
}

/* `inside` is what stands between "${" and "}". */
static bool
put_variable(struct expansion *expansion, struct slice inside, int depth)
{
	size_t len = 0;

	while (len < inside.len && is_name_byte(inside.at[len], len == 0))
		len++;
	struct slice rest = { inside.at + len, inside.len - len };
	bool has_default = slice_starts(rest, SLICE(":-"));
	if (len == 0 || (rest.len > 0 && !has_default)) {
		/* Not what follows the name: that may be a secret. */
		snprintf(expansion->error, expansion->error_size,
		    "\"${%.*s\" goes on as neither ${NAME} nor ${NAME:-default}",
		    (int)(len < 40 ? len : 40), inside.at);
		return false;
	}

	char *name = slice_dup(slice_make(inside.at, len));
	const char *value = getenv(name);
	bool is_fine = true;
	if (value != NULL && (value[0] != '\0' || !has_default)) {
		buf_append_slice(expansion->out, slice_of(value));
		if (value[0] != '\0')
			remember(expansion, name);
	} else if (has_default) {
		is_fine = expand(expansion, slice_make(rest.at + 2, rest.len - 2), depth + 1);
	} else {
		snprintf(expansion->error, expansion->error_size,
		    "the environment variable %s is not set (${%s:-} would allow that)", name,
		    name);
		is_fine = false;
	}
	free(name);
	return is_fine;
}

static bool
expand(struct expansion *expansion, struct slice text, int depth)
{
	while (text.len > 0) {
		const char *start = memmem(text.at, text.len, "${", 2);
		size_t plain = start == NULL ? text.len : (size_t)(start - text.at);
		buf_append(expansion->out, text.at, plain);
		text = slice_make(text.at + plain, text.len - plain);
		if (text.len == 0)
			break;
		size_t len = reference_len(text);
		if (len == 0 || depth == DEPTH_MAX) {
			snprintf(expansion->error, expansion->error_size, "%s",
			    len == 0 ? "\"${\" has no \"}\"" : "too many ${ inside each other");
			return false;
		}
		if (!put_variable(expansion, slice_make(text.at + 2, len - 3), depth))
			return false;
		text = slice_make(text.at + len, text.len - len);
	}
	return true;
}

bool
settings_expand(struct slice text, struct buf *out, char **variable, char *error, size_t error_size)
{
	struct expansion expansion = { out, NULL, error, error_size };
	bool is_fine = expand(&expansion, text, 0);

	if (!is_fine) {
		free(expansion.variable);
		expansion.variable = NULL;
	}
	*variable = expansion.variable;
	return is_fine;
}
