/* See settings_units.h. */
#include "base/settings_units.h"

#include <inttypes.h>

struct unit {
	const char *name;
	int64_t factor;
};

/* Each from small to large. */
static const struct unit durations[] = {
	{ "ms", 1 },
	{ "s", 1000 },
	{ "m", 60 * 1000 },
	{ "h", 60 * 60 * 1000 },
	{ "d", 24 * 60 * 60 * 1000 },
	{ NULL, 0 },
};
static const struct unit sizes[] = {
	{ "b", 1 },
	{ "kb", 1024 },
	{ "mb", 1024 * 1024 },
	{ "gb", 1024 * 1024 * 1024 },
	{ NULL, 0 },
};
static const struct unit periods[] = {
	{ "s", 1000 },
	{ "min", 60 * 1000 },
	{ "h", 60 * 60 * 1000 },
	{ "d", 24 * 60 * 60 * 1000 },
	{ NULL, 0 },
};

static struct slice
take_digits(struct slice *text)
{
	size_t len = 0;

	while (len < text->len && text->at[len] >= '0' && text->at[len] <= '9')
		len++;
	struct slice digits = { text->at, len };
	*text = (struct slice){ text->at + len, text->len - len };
	return digits;
}

static const struct unit *
find_unit(const struct unit *units, struct slice name)
{
	for (; units->name != NULL; units++) {
		if (slice_equal_nocase(slice_of(units->name), name))
			return units;
	}
	return NULL;
}

static enum units
to_number(struct slice digits, int64_t factor, int64_t *number)
{
	int64_t n;

	if (digits.len == 0)
		return UNITS_NOT;
	if (!slice_to_int64(digits, &n) || __builtin_mul_overflow(n, factor, &n))
		return UNITS_HUGE;
	*number = n;
	return UNITS_OK;
}

enum units
units_integer(struct slice text, int64_t *number)
{
	struct slice rest = text;
	bool is_negative = text.len > 0 && text.at[0] == '-';

	if (is_negative)
		rest = (struct slice){ text.at + 1, text.len - 1 };
	if (take_digits(&rest).len == 0 || rest.len > 0)
		return UNITS_NOT;
	return slice_to_int64(text, number) ? UNITS_OK : UNITS_HUGE;
}

enum units
units_duration(struct slice text, int64_t *ms)
{
	struct slice unit_name = text, digits = take_digits(&unit_name);
	const struct unit *unit = find_unit(durations, unit_name);

	if (slice_equal(text, SLICE("0")))
		return to_number(digits, 1, ms);
	return unit == NULL ? UNITS_NOT : to_number(digits, unit->factor, ms);
}

enum units
units_size(struct slice text, int64_t *bytes)
{
	struct slice unit_name = text, digits = take_digits(&unit_name);
	const struct unit *unit = find_unit(sizes, unit_name);

	if (unit_name.len == 0)
		return to_number(digits, 1, bytes);
	return unit == NULL ? UNITS_NOT : to_number(digits, unit->factor, bytes);
}

enum units
units_percent(struct slice text, int64_t *percent)
{
	if (text.len > 0 && text.at[text.len - 1] == '%')
		text.len--;
	return units_integer(text, percent);
}

enum units
units_rate(struct slice text, struct rate *rate)
{
	struct slice rest = text, digits = take_digits(&rest);
	int64_t count;

	if (slice_equal(text, SLICE("0"))) {
		*rate = (struct rate){ 0, 0 };
		return UNITS_OK;
	}
	if (rest.len == 0 || rest.at[0] != '/')
		return UNITS_NOT;
	const struct unit *unit = find_unit(periods, slice_make(rest.at + 1, rest.len - 1));
	if (unit == NULL)
		return UNITS_NOT;
	enum units result = to_number(digits, 1, &count);
	if (result == UNITS_OK)
		*rate = count == 0 ? (struct rate){ 0, 0 } : (struct rate){ count, unit->factor };
	return result;
}

/* The largest unit that leaves no remainder. */
static const struct unit *
largest(const struct unit *units, int64_t number)
{
	const struct unit *best = units;

	for (; units->name != NULL; units++) {
		if (number % units->factor == 0)
			best = units;
	}
	return best;
}

void
units_format_duration(int64_t ms, struct buf *out)
{
	const struct unit *unit = largest(durations, ms);

	if (ms == 0)
		buf_append(out, "0", 1);
	else
		buf_printf(out, "%" PRId64 "%s", ms / unit->factor, unit->name);
}

void
units_format_size(int64_t bytes, struct buf *out)
{
	const struct unit *unit = largest(sizes, bytes);

	if (unit->factor == 1 || bytes == 0)
		buf_printf(out, "%" PRId64, bytes);
	else
		buf_printf(out, "%" PRId64 "%s", bytes / unit->factor, unit->name);
}

void
units_format_rate(struct rate rate, struct buf *out)
{
	const struct unit *unit = periods;

	if (rate.count == 0) {
		buf_append(out, "0", 1);
		return;
	}
	while (unit->factor != rate.period_ms)
		unit++;
	buf_printf(out, "%" PRId64 "/%s", rate.count, unit->name);
}
