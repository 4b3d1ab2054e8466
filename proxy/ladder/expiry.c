/* See expiry.h. */
#include "ladder/expiry.h"

struct ttl_option {
	struct slice name;
	int64_t unit_ms;
	bool is_moment; /* since 1970, not from now */
};

/* Commands whose ttl stands at a fixed place. */
static const struct {
	struct slice name;
	size_t place;
	int64_t unit_ms;
	bool is_moment;
} fixed[] = {
	{ SLICE_INIT("expire"), 2, 1000, false },
	{ SLICE_INIT("pexpire"), 2, 1, false },
	{ SLICE_INIT("expireat"), 2, 1000, true },
	{ SLICE_INIT("pexpireat"), 2, 1, true },
	{ SLICE_INIT("setex"), 2, 1000, false },
	{ SLICE_INIT("psetex"), 2, 1, false },
};

/* Options of SET and GETEX. */
static const struct ttl_option options[] = {
	{ SLICE_INIT("EX"), 1000, false },
	{ SLICE_INIT("PX"), 1, false },
	{ SLICE_INIT("EXAT"), 1000, true },
	{ SLICE_INIT("PXAT"), 1, true },
};

static bool
end_of(struct slice text, int64_t unit_ms, bool is_moment, int64_t now_ms, int64_t wall_ms,
    int64_t *at_ms)
{
	int64_t number;

	if (!slice_to_int64(text, &number) || __builtin_mul_overflow(number, unit_ms, &number))
		return false;
	if (is_moment)
		number -= wall_ms;
	return !__builtin_add_overflow(now_ms, number > 0 ? number : 0, at_ms);
}

static bool
option_end(const struct slice *argv, size_t argc, size_t from, int64_t now_ms, int64_t wall_ms,
    int64_t *at_ms)
{
	for (size_t i = from; i + 1 < argc; i++) {
		for (size_t o = 0; o < sizeof(options) / sizeof(options[0]); o++) {
			if (slice_equal_nocase(argv[i], options[o].name))
				return end_of(argv[i + 1], options[o].unit_ms, options[o].is_moment,
				    now_ms, wall_ms, at_ms);
		}
	}
	return false;
}

bool
expiry_of(const struct slice *argv, size_t argc, int64_t now_ms, int64_t wall_ms, int64_t *at_ms)
{
	if (argc < 3)
		return false;
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		if (slice_equal_nocase(argv[0], fixed[i].name))
			return end_of(argv[fixed[i].place], fixed[i].unit_ms, fixed[i].is_moment,
			    now_ms, wall_ms, at_ms);
	}
	if (slice_equal_nocase(argv[0], SLICE("restore")))
		return end_of(argv[2], 1, false, now_ms, wall_ms, at_ms) && *at_ms > now_ms;
	if (slice_equal_nocase(argv[0], SLICE("set")))
		return option_end(argv, argc, 3, now_ms, wall_ms, at_ms);
	if (slice_equal_nocase(argv[0], SLICE("getex")))
		return option_end(argv, argc, 2, now_ms, wall_ms, at_ms);
	return false;
}
