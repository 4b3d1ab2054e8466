/* See expiry.h. */
#include "ladder/expiry.h"

struct ttl_option {
	struct slice name;
	int64_t unit_ms;
	bool is_moment; /* since 1970, not from now */
};

/* What may say when a key ends, if there is a word at `place`. */
static const struct ttl_command {
	struct slice name;
	enum { TTL_OPTIONS, TTL_THERE, TTL_RESTORE, TTL_COPIED } how;
	size_t place; /* of the ttl, the first option, the key that gets it */
	int64_t unit_ms;
	bool is_moment;
} commands[] = {
	{ SLICE_INIT("set"), TTL_OPTIONS, 3, 0, false },
	{ SLICE_INIT("getex"), TTL_OPTIONS, 2, 0, false },
	{ SLICE_INIT("expire"), TTL_THERE, 2, 1000, false },
	{ SLICE_INIT("pexpire"), TTL_THERE, 2, 1, false },
	{ SLICE_INIT("expireat"), TTL_THERE, 2, 1000, true },
	{ SLICE_INIT("pexpireat"), TTL_THERE, 2, 1, true },
	{ SLICE_INIT("setex"), TTL_THERE, 2, 1000, false },
	{ SLICE_INIT("psetex"), TTL_THERE, 2, 1, false },
	{ SLICE_INIT("restore"), TTL_RESTORE, 2, 1, false },
	{ SLICE_INIT("rename"), TTL_COPIED, 2, 0, false },
	{ SLICE_INIT("renamenx"), TTL_COPIED, 2, 0, false },
	{ SLICE_INIT("copy"), TTL_COPIED, 2, 0, false },
};

/* Options of SET and GETEX. */
static const struct ttl_option options[] = {
	{ SLICE_INIT("EX"), 1000, false },
	{ SLICE_INIT("PX"), 1, false },
	{ SLICE_INIT("EXAT"), 1000, true },
	{ SLICE_INIT("PXAT"), 1, true },
};

/* What is behind us ends the key at once. */
static struct key_expiry
end_of(struct slice key, struct slice text, int64_t unit_ms, bool is_moment, int64_t now_ms,
    int64_t wall_ms)
{
	struct key_expiry expiry = { is_moment ? EXPIRY_AT : EXPIRY_AFTER, 0, key, SLICE_NONE };
	int64_t number;

	if (!slice_to_int64(text, &number) || __builtin_mul_overflow(number, unit_ms, &number))
		return (struct key_expiry){ .kind = EXPIRY_NONE };
	if (is_moment)
		number -= wall_ms;
	number = number > 0 ? number : 0;
	if (__builtin_add_overflow(now_ms, number, &expiry.ms)) /* Redis refuses it as well */
		return (struct key_expiry){ .kind = EXPIRY_NONE };
	if (!is_moment)
		expiry.ms = number;
	return expiry;
}

static struct key_expiry
option_end(const struct slice *argv, size_t argc, size_t first, int64_t now_ms, int64_t wall_ms)
{
	for (size_t i = first; i + 1 < argc; i++) {
		for (size_t o = 0; o < sizeof(options) / sizeof(options[0]); o++) {
			if (slice_equal_nocase(argv[i], options[o].name))
				return end_of(argv[1], argv[i + 1], options[o].unit_ms,
				    options[o].is_moment, now_ms, wall_ms);
		}
	}
	return (struct key_expiry){ .kind = EXPIRY_NONE };
}

/* RESTORE key ttl value [ABSTTL ...]; a ttl of 0 is none. */
static struct key_expiry
restore_end(const struct slice *argv, size_t argc, int64_t now_ms, int64_t wall_ms)
{
	bool is_moment = false;

	if (slice_equal(argv[2], SLICE("0")))
		return (struct key_expiry){ .kind = EXPIRY_NONE };
	for (size_t i = 4; i < argc; i++)
		is_moment |= slice_equal_nocase(argv[i], SLICE("ABSTTL"));
	return end_of(argv[1], argv[2], 1, is_moment, now_ms, wall_ms);
}

static const struct ttl_command *
find_command(const struct slice *argv, size_t argc)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (slice_equal_nocase(argv[0], commands[i].name))
			return argc > commands[i].place ? &commands[i] : NULL;
	}
	return NULL;
}

bool
expiry_is_set(const struct slice *argv, size_t argc)
{
	return argc > 2 && find_command(argv, argc) != NULL;
}

struct key_expiry
expiry_of(const struct slice *argv, size_t argc, int64_t now_ms, int64_t wall_ms)
{
	const struct ttl_command *command = find_command(argv, argc);

	if (command == NULL)
		return (struct key_expiry){ .kind = EXPIRY_NONE };
	switch (command->how) {
	case TTL_OPTIONS:
		return option_end(argv, argc, command->place, now_ms, wall_ms);
	case TTL_THERE:
		return end_of(argv[1], argv[command->place], command->unit_ms, command->is_moment,
		    now_ms, wall_ms);
	case TTL_RESTORE:
		return restore_end(argv, argc, now_ms, wall_ms);
	case TTL_COPIED:
		break;
	}
	return (struct key_expiry){ EXPIRY_COPIED, 0, argv[command->place], argv[1] };
}

/* Rather late than early: a question asked before the key has gone is
 * answered with what is about to go, and then nothing is known of its end. */
#define LATE_MS 2

void
expiry_note(struct cache *cache, const struct key_expiry *expiry, int64_t now_ms)
{
	int64_t known_ms[CACHE_EXPIRIES];
	size_t count;

	switch (expiry->kind) {
	case EXPIRY_NONE:
		break;
	case EXPIRY_AFTER:
		cache_note_expiry(cache, expiry->key, now_ms, now_ms + expiry->ms + LATE_MS);
		break;
	case EXPIRY_AT:
		cache_note_expiry(cache, expiry->key, now_ms, expiry->ms + LATE_MS);
		break;
	case EXPIRY_COPIED:
		count = cache_known_expiries(cache, expiry->from, now_ms, known_ms);
		for (size_t i = 0; i < count; i++)
			cache_note_expiry(cache, expiry->key, now_ms, known_ms[i]);
		break;
	}
}
