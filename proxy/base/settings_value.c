/* See settings_value.h. */
#include "base/settings_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/settings_units.h"

#define MASK "********"
#define SHOWN_BYTES 60 /* of a wrong value in a message */

/* What kind of thing was expected, as in `"abc" is not a duration`. */
static const char *const kind_names[] = {
	[SETTING_INTEGER] = "a number",
	[SETTING_DURATION] = "a duration",
	[SETTING_SIZE] = "a size",
	[SETTING_PERCENT] = "a percentage",
	[SETTING_RATE] = "a rate",
};

static int
shown_len(const char *text)
{
	size_t len = strlen(text);

	return len < SHOWN_BYTES ? (int)len : SHOWN_BYTES;
}

/* Every kind that is one int64_t. */
static enum units
read_number(enum setting_kind kind, struct slice text, int64_t *number)
{
	switch (kind) {
	case SETTING_DURATION:
		return units_duration(text, number);
	case SETTING_SIZE:
		return units_size(text, number);
	case SETTING_PERCENT:
		return units_percent(text, number);
	default:
		return units_integer(text, number);
	}
}

static void
format_number(enum setting_kind kind, int64_t number, struct buf *out)
{
	if (kind == SETTING_DURATION)
		units_format_duration(number, out);
	else if (kind == SETTING_SIZE)
		units_format_size(number, out);
	else
		buf_printf(out, "%" PRId64, number);
}

static bool
refuse_kind(const struct setting *row, const char *text, char *error, size_t error_size)
{
	snprintf(error, error_size, "\"%.*s\" is not %s (for example %s)", shown_len(text), text,
	    kind_names[row->kind], row->example);
	return false;
}

static bool
refuse_range(const struct setting *row, const char *text, char *error, size_t error_size)
{
	struct buf range = BUF_EMPTY;
	/* A rate's bounds are of its count, and 0 is off. */
	enum setting_kind kind = row->kind == SETTING_RATE ? SETTING_INTEGER : row->kind;

	format_number(kind, row->min, &range);
	buf_append(&range, " to ", 4);
	format_number(kind, row->max, &range);
	snprintf(error, error_size, "%.*s is out of range (%.*s)", shown_len(text), text,
	    (int)buf_len(&range), buf_slice(&range).at);
	buf_free(&range);
	return false;
}

static bool
parse_number(const struct setting *row, const char *text, int64_t *field, char *error,
    size_t error_size)
{
	int64_t number = 0;
	enum units result = read_number(row->kind, slice_of(text), &number);

	if (result == UNITS_NOT)
		return refuse_kind(row, text, error, error_size);
	if (result == UNITS_HUGE || number < row->min || number > row->max)
		return refuse_range(row, text, error, error_size);
	*field = number;
	return true;
}

static bool
parse_rate(const struct setting *row, const char *text, struct rate *field, char *error,
    size_t error_size)
{
	struct rate rate = { 0, 0 };
	enum units result = units_rate(slice_of(text), &rate);

	if (result == UNITS_NOT)
		return refuse_kind(row, text, error, error_size);
	if (result == UNITS_HUGE ||
	    (rate.count != 0 && (rate.count < row->min || rate.count > row->max)))
		return refuse_range(row, text, error, error_size);
	*field = rate;
	return true;
}

static bool
parse_yesno(const char *text, bool *field, char *error, size_t error_size)
{
	static const struct {
		const char *word;
		bool means;
	} words[] = {
		{ "yes", true },
		{ "true", true },
		{ "on", true },
		{ "no", false },
		{ "false", false },
		{ "off", false },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (slice_equal_nocase(slice_of(text), slice_of(words[i].word))) {
			*field = words[i].means;
			return true;
		}
	}
	snprintf(error, error_size, "\"%.*s\" is neither yes nor no", shown_len(text), text);
	return false;
}

static bool
parse_choice(const struct setting *row, const char *text, int *field, char *error,
    size_t error_size)
{
	size_t len = 0;

	for (int i = 0; row->choices[i] != NULL; i++) {
		if (slice_equal_nocase(slice_of(text), slice_of(row->choices[i]))) {
			*field = i;
			return true;
		}
	}
	len += (size_t)snprintf(error, error_size, "\"%.*s\" is none of", shown_len(text), text);
	for (int i = 0; row->choices[i] != NULL && len < error_size; i++)
		len += (size_t)snprintf(error + len, error_size - len, "%s %s", i > 0 ? "," : "",
		    row->choices[i]);
	return false;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

/* Words with one space between them, in a copy. */
static char *
tidy_list(const char *text)
{
	char *copy = alloc(strlen(text) + 1);
	size_t len = 0;

	for (; *text != '\0'; text++) {
		if (!is_blank(*text))
			copy[len++] = *text;
		else if (len > 0 && copy[len - 1] != ' ')
			copy[len++] = ' ';
	}
	if (len > 0 && copy[len - 1] == ' ')
		len--;
	copy[len] = '\0';
	return copy;
}

static bool
parse_text(const struct setting *row, const char *text, char **field, char *error,
    size_t error_size)
{
	if (text[0] == '\0' && (row->flags & SETTING_REQUIRED) != 0) {
		snprintf(error, error_size, "is missing (for example %s)", row->example);
		return false;
	}
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
		bool is_line = *c == '\n' && (row->flags & SETTING_LINES) != 0;
		if ((*c < ' ' && *c != '\t' && !is_line) || *c == 0x7f) {
			snprintf(error, error_size,
			    *c == '\n' ? "must be one line" : "contains a control character");
			return false;
		}
	}
	char *copy = row->kind == SETTING_LIST ? tidy_list(text) : alloc_text(text);
	free(*field);
	*field = copy;
	return true;
}

bool
setting_parse(const struct setting *row, const char *text, void *field, char *error,
    size_t error_size)
{
	switch (row->kind) {
	case SETTING_TEXT:
	case SETTING_LIST:
		return parse_text(row, text, field, error, error_size);
	case SETTING_RATE:
		return parse_rate(row, text, field, error, error_size);
	case SETTING_YESNO:
		return parse_yesno(text, field, error, error_size);
	case SETTING_CHOICE:
		return parse_choice(row, text, field, error, error_size);
	default:
		return parse_number(row, text, field, error, error_size);
	}
}

void
setting_format(const struct setting *row, const void *field, struct buf *out)
{
	switch (row->kind) {
	case SETTING_TEXT:
	case SETTING_LIST:
		buf_append_slice(out, slice_of(*(char *const *)field));
		break;
	case SETTING_RATE:
		units_format_rate(*(const struct rate *)field, out);
		break;
	case SETTING_YESNO:
		buf_append_slice(out, slice_of(*(const bool *)field ? "yes" : "no"));
		break;
	case SETTING_CHOICE:
		buf_append_slice(out, slice_of(row->choices[*(const int *)field]));
		break;
	default:
		format_number(row->kind, *(const int64_t *)field, out);
	}
}

void
setting_format_masked(const struct setting *row, const void *field, struct buf *out)
{
	if ((row->flags & SETTING_URL) != 0)
		setting_mask_url(*(char *const *)field, out);
	else if ((row->flags & SETTING_SECRET) == 0)
		setting_format(row, field, out);
	else if ((*(char *const *)field)[0] != '\0')
		buf_append_slice(out, SLICE(MASK));
}

bool
setting_equal(const struct setting *row, const void *a, const void *b)
{
	const struct rate *x = a, *y = b;

	switch (row->kind) {
	case SETTING_TEXT:
	case SETTING_LIST:
		return strcmp(*(char *const *)a, *(char *const *)b) == 0;
	case SETTING_RATE:
		return x->count == y->count && x->period_ms == y->period_ms;
	case SETTING_YESNO:
		return *(const bool *)a == *(const bool *)b;
	case SETTING_CHOICE:
		return *(const int *)a == *(const int *)b;
	default:
		return *(const int64_t *)a == *(const int64_t *)b;
	}
}

void
setting_copy(const struct setting *row, void *field, const void *other)
{
	switch (row->kind) {
	case SETTING_TEXT:
	case SETTING_LIST:
		setting_release(row, field);
		*(char **)field = alloc_text(*(char *const *)other);
		break;
	case SETTING_RATE:
		*(struct rate *)field = *(const struct rate *)other;
		break;
	case SETTING_YESNO:
		*(bool *)field = *(const bool *)other;
		break;
	case SETTING_CHOICE:
		*(int *)field = *(const int *)other;
		break;
	default:
		*(int64_t *)field = *(const int64_t *)other;
	}
}

void
setting_release(const struct setting *row, void *field)
{
	if (row->kind != SETTING_TEXT && row->kind != SETTING_LIST)
		return;
	free(*(char **)field);
	*(char **)field = NULL;
}

static const char *
last_at(const char *text)
{
	const char *at = strrchr(text, '@');

	return at != NULL ? at : text;
}

/* Copies up to `end`, with the value of every parameter that ends in
 * "password" masked: ?password= and sslpassword=, or in a conninfo. */
static void
mask_parameters(const char *text, struct buf *out)
{
	static const char name[] = "password";
	const char *found;

	while ((found = strcasestr(text, name)) != NULL) {
		const char *value = found + sizeof(name) - 1;
		value += strspn(value, " \t");
		if (*value != '=') {
			buf_append(out, text, (size_t)(value - text));
			text = value;
			continue;
		}
		value++;
		value += strspn(value, " \t");
		buf_append(out, text, (size_t)(value - text));
		buf_append_slice(out, SLICE(MASK));
		/* A quoted value may hold blanks; then nothing after it is shown. */
		text = *value == '\'' ? value + strlen(value) : value + strcspn(value, "& \t");
	}
	buf_append_slice(out, slice_of(text));
}

void
setting_mask_url(const char *url, struct buf *out)
{
	const char *host = strstr(url, "://");
	const char *start = host != NULL ? host + 3 : url;
	const char *at = last_at(start);

	if (*at == '@') {
		/* The first ':' and the last '@', whatever stands between them: a
		 * password may hold either, and is better masked too far. */
		const char *colon = memchr(start, ':', (size_t)(at - start));
		buf_append(out, url, (size_t)((colon != NULL ? colon + 1 : start) - url));
		buf_append_slice(out, SLICE(MASK));
		start = at;
		url = start;
	}
	mask_parameters(url, out);
}
