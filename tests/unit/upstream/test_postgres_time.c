/* The timestamps that Postgres writes in ISO style. */
#include "upstream/postgres_time.h"

#include "../test.h"
#include "base/clock.h"

static int64_t
parsed(const char *text)
{
	int64_t wall_ms = -1;

	CHECK(postgres_time_parse(slice_of(text), &wall_ms));
	return wall_ms;
}

static bool
is_refused(const char *text)
{
	int64_t wall_ms;

	return !postgres_time_parse(slice_of(text), &wall_ms);
}

TEST(utc_with_and_without_an_offset)
{
	CHECK_INT(parsed("1970-01-01 00:00:00+00"), 0);
	CHECK_INT(parsed("1970-01-01 00:00:00"), 0);
	CHECK_INT(parsed("2026-11-22 14:00:00+00"), INT64_C(1795356000000));
	CHECK_INT(parsed("2026-11-22T14:00:00Z"), INT64_C(1795356000000));
	CHECK_INT(parsed("2026-11-22"), INT64_C(1795305600000));
}

TEST(fractions_are_rounded_down_to_milliseconds)
{
	CHECK_INT(parsed("1970-01-01 00:00:01.5+00"), 1500);
	CHECK_INT(parsed("1970-01-01 00:00:00.123456+00"), 123);
	CHECK_INT(parsed("1970-01-01 00:00:00.999999+00"), 999);
	CHECK_INT(parsed("1969-12-31 23:59:59.25+00"), -750);
}

TEST(offsets_of_hours_minutes_and_seconds)
{
	CHECK_INT(parsed("1970-01-01 02:00:00+02"), 0);
	CHECK_INT(parsed("1969-12-31 20:30:00-03:30"), 0);
	CHECK_INT(parsed("1970-01-01 05:53:28+05:53:28"), 0);
}

TEST(infinities_are_never_and_before_everything)
{
	CHECK_INT(parsed("infinity"), TIME_NEVER);
	CHECK_INT(parsed("-infinity"), TIME_BEFORE_ALL);
}

TEST(leap_days_far_years_and_years_before_christ)
{
	CHECK_INT(parsed("2024-02-29 00:00:00+00"), INT64_C(1709164800000));
	CHECK_INT(parsed("294276-12-31 23:59:59+00"), INT64_C(9224318015999000));
	CHECK_INT(parsed("0001-01-01 00:00:00+00"), INT64_C(-62135596800000));
	/* 1 BC is a leap year of 366 days. */
	CHECK_INT(parsed("0001-01-01 00:00:00+00 BC"),
	    INT64_C(-62135596800000) - 366 * INT64_C(86400000));
	CHECK_INT(parsed("0044-03-15 BC"), INT64_C(-63517824000000));
}

TEST(what_is_no_time_is_refused)
{
	CHECK(is_refused(""));
	CHECK(is_refused("soon"));
	CHECK(is_refused("22.11.2026 14:00:00 UTC"));
	CHECK(is_refused("Sun Nov 22 14:00:00 2026 UTC"));
	CHECK(is_refused("2026-11-22 14:00"));
	CHECK(is_refused("2026-13-22 14:00:00+00"));
	CHECK(is_refused("2026-11-22 25:00:00+00"));
	CHECK(is_refused("2026-11-22 14:00:00+00 AD"));
	CHECK(is_refused("2026-11-22 14:00:00."));
	CHECK(is_refused("2026-11-22 14:00:00+"));
	CHECK(is_refused("1795356000"));
	CHECK(is_refused("infinity and beyond"));
}

TEST_MAIN
