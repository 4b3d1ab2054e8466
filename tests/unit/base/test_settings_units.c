#include "base/settings_units.h"

#include "../test.h"

static int64_t number;
static struct rate rate;

#define OF(text) slice_of(text)

TEST(a_duration_has_one_of_five_units_or_is_zero)
{
	CHECK_INT(units_duration(OF("50ms"), &number), UNITS_OK);
	CHECK_INT(number, 50);
	CHECK_INT(units_duration(OF("30s"), &number), UNITS_OK);
	CHECK_INT(number, 30000);
	CHECK_INT(units_duration(OF("5m"), &number), UNITS_OK);
	CHECK_INT(number, 300000);
	CHECK_INT(units_duration(OF("1h"), &number), UNITS_OK);
	CHECK_INT(number, 3600000);
	CHECK_INT(units_duration(OF("2D"), &number), UNITS_OK);
	CHECK_INT(number, 172800000);
	CHECK_INT(units_duration(OF("0"), &number), UNITS_OK);
	CHECK_INT(number, 0);
}

TEST(what_is_no_duration_is_refused)
{
	static const char *const wrong[] = { "", "30", "-5s", "s", "30 s", "30x", "1.5s", "30ss",
		"s30", "1h30m", "00", "+5s", "0x1s", " 5s", "5s " };

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (units_duration(OF(wrong[i]), &number) != UNITS_NOT) {
			printf("\"%s\" was taken for a duration\n", wrong[i]);
			test_failures++;
		}
	}
}

TEST(a_size_counts_in_1024_and_may_have_no_unit)
{
	CHECK_INT(units_size(OF("512"), &number), UNITS_OK);
	CHECK_INT(number, 512);
	CHECK_INT(units_size(OF("64kb"), &number), UNITS_OK);
	CHECK_INT(number, 65536);
	CHECK_INT(units_size(OF("64MB"), &number), UNITS_OK);
	CHECK_INT(number, 67108864);
	CHECK_INT(units_size(OF("1gb"), &number), UNITS_OK);
	CHECK_INT(number, 1073741824);
	CHECK_INT(units_size(OF("7b"), &number), UNITS_OK);
	CHECK_INT(number, 7);
	CHECK_INT(units_size(OF("64k"), &number), UNITS_NOT);
	CHECK_INT(units_size(OF(""), &number), UNITS_NOT);
	CHECK_INT(units_size(OF("kb"), &number), UNITS_NOT);
	CHECK_INT(units_size(OF("-1"), &number), UNITS_NOT);
}

TEST(a_rate_is_a_count_over_a_period_or_zero)
{
	CHECK_INT(units_rate(OF("1000/min"), &rate), UNITS_OK);
	CHECK_INT(rate.count, 1000);
	CHECK_INT(rate.period_ms, 60000);
	CHECK_INT(units_rate(OF("7/s"), &rate), UNITS_OK);
	CHECK_INT(rate.period_ms, 1000);
	CHECK_INT(units_rate(OF("7/h"), &rate), UNITS_OK);
	CHECK_INT(rate.period_ms, 3600000);
	CHECK_INT(units_rate(OF("7/d"), &rate), UNITS_OK);
	CHECK_INT(rate.period_ms, 86400000);
	CHECK_INT(units_rate(OF("0"), &rate), UNITS_OK);
	CHECK_INT(rate.count, 0);
	CHECK_INT(units_rate(OF("0/min"), &rate), UNITS_OK);
	CHECK_INT(rate.count, 0);
	CHECK_INT(rate.period_ms, 0);
	CHECK_INT(units_rate(OF("1000"), &rate), UNITS_NOT);
	CHECK_INT(units_rate(OF("1000/"), &rate), UNITS_NOT);
	CHECK_INT(units_rate(OF("/min"), &rate), UNITS_NOT);
	CHECK_INT(units_rate(OF("1000/week"), &rate), UNITS_NOT);
	CHECK_INT(units_rate(OF("-1/s"), &rate), UNITS_NOT);
	CHECK_INT(units_rate(OF(""), &rate), UNITS_NOT);
}

TEST(a_percentage_may_carry_its_sign)
{
	CHECK_INT(units_percent(OF("50"), &number), UNITS_OK);
	CHECK_INT(number, 50);
	CHECK_INT(units_percent(OF("51%"), &number), UNITS_OK);
	CHECK_INT(number, 51);
	CHECK_INT(units_percent(OF("%"), &number), UNITS_NOT);
	CHECK_INT(units_percent(OF("50%%"), &number), UNITS_NOT);
}

TEST(an_integer_is_digits_and_at_most_a_minus)
{
	CHECK_INT(units_integer(OF("-12"), &number), UNITS_OK);
	CHECK_INT(number, -12);
	CHECK_INT(units_integer(OF("9223372036854775807"), &number), UNITS_OK);
	CHECK_INT(number, INT64_MAX);
	CHECK_INT(units_integer(OF("9223372036854775808"), &number), UNITS_HUGE);
	CHECK_INT(units_integer(OF("-"), &number), UNITS_NOT);
	CHECK_INT(units_integer(OF("12a"), &number), UNITS_NOT);
	CHECK_INT(units_integer(OF("0x10"), &number), UNITS_NOT);
	CHECK_INT(units_integer(OF(""), &number), UNITS_NOT);
}

TEST(what_overflows_is_huge_rather_than_small)
{
	CHECK_INT(units_duration(OF("106751991168d"), &number), UNITS_HUGE);
	CHECK_INT(units_duration(OF("106751991167d"), &number), UNITS_OK);
	CHECK_INT(units_duration(OF("99999999999999999999ms"), &number), UNITS_HUGE);
	CHECK_INT(units_size(OF("8589934592gb"), &number), UNITS_HUGE);
	CHECK_INT(units_size(OF("8589934591gb"), &number), UNITS_OK);
	CHECK_INT(units_rate(OF("9223372036854775808/s"), &rate), UNITS_HUGE);
}

/* Ends in NUL; valid until the next call. */
static const char *
spelled(void (*format)(int64_t, struct buf *), int64_t n)
{
	static char text[64];
	struct buf out = BUF_EMPTY;

	format(n, &out);
	snprintf(text, sizeof(text), "%.*s", (int)buf_len(&out), buf_slice(&out).at);
	buf_free(&out);
	return text;
}

TEST(a_number_is_spelled_in_its_largest_whole_unit)
{
	CHECK_TEXT(spelled(units_format_duration, 0), "0");
	CHECK_TEXT(spelled(units_format_duration, 1500), "1500ms");
	CHECK_TEXT(spelled(units_format_duration, 60000), "1m");
	CHECK_TEXT(spelled(units_format_duration, 90000), "90s");
	CHECK_TEXT(spelled(units_format_duration, 86400000), "1d");
	CHECK_TEXT(spelled(units_format_size, 0), "0");
	CHECK_TEXT(spelled(units_format_size, 1000), "1000");
	CHECK_TEXT(spelled(units_format_size, 1536), "1536");
	CHECK_TEXT(spelled(units_format_size, 2048), "2kb");
	CHECK_TEXT(spelled(units_format_size, 1073741824), "1gb");
}

TEST_MAIN
