/* See commands.h. Pure; any thread. */
#include "wire/commands.h"

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

/* Sorted by name. */
static const struct command_info commands[] = {
#include "commands.inc"
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* How `word` (any case), of which `name` may be a longer text, compares. */
static int
compare(struct slice word, const char *name)
{
	for (size_t i = 0; i < word.len; i++) {
		unsigned char w = (unsigned char)word.at[i], n = (unsigned char)name[i];
		if (w >= 'A' && w <= 'Z')
			w = (unsigned char)(w + 32);
		if (n == '\0') /* the name ends here; a NUL in the word is no end */
			return 1;
		if (w != n)
			return w < n ? -1 : 1;
	}
	return name[word.len] == '\0' ? 0 : -1;
}

static const struct command_info *
find_name(struct slice name)
{
	size_t low = 0, high = COMMANDS;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = compare(name, commands[middle].name);
		if (order == 0)
			return &commands[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* Whether the table's next line is a subcommand of this one. */
static bool
has_subcommands(const struct command_info *info)
{
	size_t len = strlen(info->name);

	return info + 1 < commands + COMMANDS && strncmp(info[1].name, info->name, len) == 0 &&
	    info[1].name[len] == '|';
}

const struct command_info *
command_find(const struct slice *argv, size_t argc)
{
	const struct command_info *info = find_name(argv[0]);
	char both[NAME_SIZE];

	if (info == NULL || argc < 2 || !has_subcommands(info) ||
	    argv[0].len + argv[1].len + 2 > sizeof(both))
		return info;
	memcpy(both, argv[0].at, argv[0].len);
	both[argv[0].len] = '|';
	memcpy(both + argv[0].len + 1, argv[1].at, argv[1].len);
	const struct command_info *sub = find_name(slice_make(both, argv[0].len + 1 + argv[1].len));
	return sub != NULL ? sub : info;
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
