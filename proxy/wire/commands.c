/* See commands.h. Pure; any thread. */
#include "wire/commands.h"

#include <pthread.h>

#define NAME_SIZE 64

#define KEYS_RANGE(keyword, start, last, step, limit) \
	{ \
		KEYS_IN_RANGE, keyword, start, last, step, limit \
	}
#define KEYS_COUNTED(keyword, start, where, first, step) \
	{ \
		KEYS_BY_COUNT, keyword, start, where, first, step \
	}
#define KEYS_ANYWHERE \
	{ \
		KEYS_IN_ANY_PLACE, NULL, 0, 0, 0, 0 \
	}

/* Sorted by name: subcommands stand behind their command. */
static const struct command_info commands[] = {
#include "commands.inc"
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* The table by name: a row is where its name's hash says, or soon after. */
#define PLACES 1024
static struct place {
	const struct command_info *info; /* NULL: free */
	struct slice name;
	bool has_subcommands;
} places[PLACES];
static pthread_once_t places_once = PTHREAD_ONCE_INIT;

_Static_assert(COMMANDS < PLACES / 2, "the places are to be half empty");

static size_t
hash_name(struct slice name)
{
	uint32_t hash = (uint32_t)name.len;

	for (size_t i = 0; i < name.len; i++)
		hash = hash * 33 + ((unsigned char)name.at[i] | 32u); /* in either case */
	return (hash ^ hash >> 10) % PLACES;
}

/* Where the name is, or would be. */
static struct place *
find_place(struct slice name)
{
	size_t at = hash_name(name);

	while (places[at].info != NULL && !slice_equal_nocase(places[at].name, name))
		at = (at + 1) % PLACES;
	return &places[at];
}

/* The table's next line is a subcommand of this one. */
static bool
has_subcommands(size_t row)
{
	struct slice name = slice_of(commands[row].name);

	return row + 1 < COMMANDS && slice_starts(slice_of(commands[row + 1].name), name) &&
	    commands[row + 1].name[name.len] == '|';
}

static void
fill_places(void)
{
	for (size_t row = 0; row < COMMANDS; row++) {
		struct slice name = slice_of(commands[row].name);
		*find_place(name) = (struct place){ &commands[row], name, has_subcommands(row) };
	}
}

const struct command_info *
command_find(const struct slice *argv, size_t argc)
{
	char both[NAME_SIZE];

	pthread_once(&places_once, fill_places);
	const struct place *place = find_place(argv[0]);
	if (place->info == NULL || argc < 2 || !place->has_subcommands ||
	    argv[0].len + argv[1].len + 2 > sizeof(both))
		return place->info;
	memcpy(both, argv[0].at, argv[0].len);
	both[argv[0].len] = '|';
	if (argv[1].len > 0)
		memcpy(both + argv[0].len + 1, argv[1].at, argv[1].len);
	const struct place *sub = find_place(slice_make(both, argv[0].len + 1 + argv[1].len));
	return sub->info != NULL ? sub->info : place->info;
}

/* Where the spec's keys begin, or argc when the keyword is not there. */
static size_t
find_begin(const struct key_spec *spec, const struct slice *argv, size_t argc)
{
	if (spec->keyword == NULL)
		return (size_t)spec->start;
	struct slice keyword = slice_of(spec->keyword);
	if (spec->start >= 0) {
		for (size_t i = (size_t)spec->start; i < argc; i++) {
			if (slice_equal_nocase(argv[i], keyword))
				return i + 1;
		}
	} else {
		for (size_t i = argc - (size_t)-spec->start; i > 0 && i < argc; i--) {
			if (slice_equal_nocase(argv[i], keyword))
				return i + 1;
		}
	}
	return argc;
}

/* last, step, limit: last < 0 counts from the end; limit 2 means that keys
 * are the first half of what is left. */
static void
each_in_range(const struct key_spec *spec, const struct slice *argv, size_t argc, size_t begin,
    void (*on_key)(struct slice key, void *arg), void *arg)
{
	size_t end = spec->a >= 0 ? begin + (size_t)spec->a : argc - (size_t)-spec->a;

	if (spec->a < 0 && spec->c > 1)
		end = begin + (argc - begin) / (size_t)spec->c - 1;
	for (size_t i = begin; i <= end && i < argc; i += (size_t)spec->b)
		on_key(argv[i], arg);
}

static void
each_counted(const struct key_spec *spec, const struct slice *argv, size_t argc, size_t begin,
    void (*on_key)(struct slice key, void *arg), void *arg)
{
	int64_t count;
	size_t where = begin + (size_t)spec->a;

	if (where >= argc || !slice_to_int64(argv[where], &count) || count <= 0)
		return;
	for (size_t i = begin + (size_t)spec->b; i < argc && count > 0; count--) {
		on_key(argv[i], arg);
		i += (size_t)spec->c;
	}
}

void
command_each_written_key(const struct command_info *info, const struct slice *argv, size_t argc,
    void (*on_key)(struct slice key, void *arg), void *arg)
{
	static const struct key_spec anywhere = KEYS_ANYWHERE;
	const struct key_spec *specs = info != NULL ? info->specs : &anywhere;
	size_t count = info != NULL ? COMMAND_MAX_SPECS : 1;

	for (size_t s = 0; s < count; s++) {
		const struct key_spec *spec = &specs[s];
		if (spec->kind == KEYS_NONE)
			continue;
		if (spec->kind == KEYS_IN_ANY_PLACE) {
			for (size_t i = 1; i < argc; i++)
				on_key(argv[i], arg);
			continue;
		}
		size_t begin = find_begin(spec, argv, argc);
		if (begin >= argc)
			continue;
		if (spec->kind == KEYS_IN_RANGE)
			each_in_range(spec, argv, argc, begin, on_key, arg);
		else
			each_counted(spec, argv, argc, begin, on_key, arg);
	}
}
