/* See postgres_time.h. */
#include "upstream/postgres_time.h"

#include <ctype.h>

#include "base/clock.h"

struct reader {
	const char *at, *end;
};

static bool
take(struct reader *in, char c)
{
	if (in->at == in->end || *in->at != c)
		return false;
	in->at++;
	return true;
}

/* A number of `min` to `max` digits. */
static bool
take_digits(struct reader *in, int min, int max, int64_t *number)
{
	int digits = 0;

	*number = 0;
	for (; in->at < in->end && isdigit((unsigned char)*in->at) && digits < max; digits++)
		*number = *number * 10 + (*in->at++ - '0');
	return digits >= min;
}

/* Days since 1970-01-01, proleptic Gregorian; year 0 is 1 BC. After Howard
 * Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
static int64_t
days_from_civil(int64_t year, int64_t month, int64_t day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * 146097 + day_of_era - 719468;
}

static bool
take_date(struct reader *in, int64_t *year, int64_t *month, int64_t *day)
{
	return take_digits(in, 4, 6, year) && take(in, '-') && take_digits(in, 2, 2, month) &&
	    take(in, '-') && take_digits(in, 2, 2, day) && *month >= 1 && *month <= 12 &&
	    *day >= 1 && *day <= 31;
}

static bool
take_clock(struct reader *in, int64_t *ms)
{
	int64_t hour, minute, second, digit, unit = 100;

	if (!take_digits(in, 2, 2, &hour) || !take(in, ':') || !take_digits(in, 2, 2, &minute) ||
	    !take(in, ':') || !take_digits(in, 2, 2, &second) || hour > 24 || minute > 59 ||
	    second > 60)
		return false;
	*ms = ((hour * 60 + minute) * 60 + second) * 1000;
	if (!take(in, '.'))
		return true;
	if (!take_digits(in, 1, 1, &digit))
		return false;
	do {
		*ms += digit * unit;
		unit /= 10;
	} while (take_digits(in, 1, 1, &digit));
	return true;
}

/* "+02", "-03:30", "+05:53:28" (local mean time, long ago), "Z" or nothing. */
static bool
take_offset(struct reader *in, int64_t *ms)
{
	int64_t hours, minutes = 0, seconds = 0;
	bool is_west = in->at < in->end && *in->at == '-';

	*ms = 0;
	if (take(in, 'Z') || (!take(in, '+') && !take(in, '-')))
		return true;
	if (!take_digits(in, 2, 2, &hours) || (take(in, ':') && !take_digits(in, 2, 2, &minutes)) ||
	    (take(in, ':') && !take_digits(in, 2, 2, &seconds)))
		return false;
	*ms = ((hours * 60 + minutes) * 60 + seconds) * 1000;
	if (is_west)
		*ms = -*ms;
	return true;
}

bool
postgres_time_parse(struct slice text, int64_t *wall_ms)
{
	struct reader in = { text.at, text.at + text.len };
	int64_t year, month, day, clock_ms = 0, offset_ms = 0;

	if (slice_equal(text, SLICE("infinity"))) {
		*wall_ms = TIME_NEVER;
		return true;
	}
	if (slice_equal(text, SLICE("-infinity"))) {
		*wall_ms = TIME_BEFORE_ALL;
		return true;
	}
	if (!take_date(&in, &year, &month, &day))
		return false;
	bool has_clock = in.end - in.at > 1 && (*in.at == ' ' || *in.at == 'T') &&
	    isdigit((unsigned char)in.at[1]);
	if (has_clock) {
		in.at++;
		if (!take_clock(&in, &clock_ms) || !take_offset(&in, &offset_ms))
			return false;
	}
	if (in.end - in.at == 3 && memcmp(in.at, " BC", 3) == 0) {
		year = 1 - year;
		in.at = in.end;
	}
	*wall_ms = days_from_civil(year, month, day) * 86400000 + clock_ms - offset_ms;
	return in.at == in.end;
}
