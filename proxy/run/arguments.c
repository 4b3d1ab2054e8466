/* See arguments.h. */
#include "run/arguments.h"

#include <getopt.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"

#define FILE_BY_ITSELF "sidecar.ini"

/* --help and getopt_long() both go by this table. */
static const struct option_row {
	char letter; /* what getopt_long() returns; a digit: long form only */
	const char *name;
	const char *value; /* NULL: takes none */
	const char *help;  /* NULL: not listed */
} options[] = {
	{ 'c', "config", "FILE", "settings; without it ./" FILE_BY_ITSELF ", where there is one" },
	{ 'o', "option", "section.key=value",
	    "one setting, over what the file says; may be repeated" },
	{ '1', "check", NULL, "read the settings, say whether they are good, and end" },
	{ '2', "print-config", NULL,
	    "print every setting with its origin, secrets masked, and end" },
	{ '3', "print-reference", NULL, NULL }, /* the table of settings, for the man page */
	{ 'V', "version", NULL, "print the version and end" },
	{ 'h', "help", NULL, "print this and end" },
};
#define OPTION_COUNT (sizeof(options) / sizeof(options[0]))

static const struct {
	int code;
	const char *help;
} exit_codes[] = {
	{ 0, "stopped by SIGTERM or SIGINT, or nothing was wrong" },
	{ EXIT_CANNOT_START, "cannot start, for example because the port is taken" },
	{ EXIT_BAD_USAGE, "bad usage or bad settings; the reason is on standard error" },
};

static bool
is_letter(const struct option_row *row)
{
	return row->letter > '9';
}

static void
describe_options(char *letters, struct option *longs)
{
	*letters++ = ':'; /* a value that is missing shows as ':', not as '?' */
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &options[i];
		longs[i] = (struct option){ row->name,
			row->value != NULL ? required_argument : no_argument, NULL, row->letter };
		if (!is_letter(row))
			continue;
		*letters++ = row->letter;
		if (row->value != NULL)
			*letters++ = ':';
	}
	*letters = '\0';
	longs[OPTION_COUNT] = (struct option){ NULL, 0, NULL, 0 };
}

static bool
refuse(const char *what, const char *which)
{
	fprintf(stderr, "sidecar: %s: %s (see sidecar --help)\n", which, what);
	return false;
}

static void
add_override(struct arguments *arguments, const char *text)
{
	size_t count = arguments->override_count;

	arguments->overrides =
	    alloc_again(arguments->overrides, (count + 1) * sizeof(*arguments->overrides));
	arguments->overrides[count] = (struct settings_override){ text };
	arguments->override_count++;
}

/* Names the option that getopt_long() stumbled over: by its letter, or, a
 * long one that it doesn't know, by the last word taken. */
static bool
refuse_option(const char *what, const char *word)
{
	char letter[] = { '-', (char)optopt, '\0' };

	return refuse(what, optopt > '9' ? letter : word);
}

static bool
take_option(struct arguments *arguments, int letter, const char *word)
{
	switch (letter) {
	case 'c':
		if (arguments->file != NULL)
			return refuse("given twice", "-c");
		arguments->file = optarg;
		return true;
	case 'o':
		add_override(arguments, optarg);
		return true;
	case '1':
		arguments->wants_check = true;
		return true;
	case '2':
		arguments->wants_print = true;
		return true;
	case '3':
		arguments->wants_reference = true;
		return true;
	case 'V':
		arguments->wants_version = true;
		return true;
	case 'h':
		arguments->wants_help = true;
		return true;
	case ':':
		return refuse_option("needs a value", word);
	default:
		return refuse_option("no such option", word);
	}
}

bool
arguments_parse(struct arguments *arguments, int argc, char **argv)
{
	struct option longs[OPTION_COUNT + 1];
	char letters[2 * OPTION_COUNT + 2];
	int letter;

	*arguments = (struct arguments){ 0 };
	describe_options(letters, longs);
	opterr = 0;
	optind = 0; /* glibc: from the start again, should it have run before */
	while ((letter = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (!take_option(arguments, letter, argv[optind - 1]))
			return false;
	}
	if (optind < argc)
		return refuse("is no option", argv[optind]);
	if (arguments->file == NULL && access(FILE_BY_ITSELF, F_OK) == 0)
		arguments->file = FILE_BY_ITSELF;
	return true;
}

void
arguments_free(struct arguments *arguments)
{
	free(arguments->overrides);
	*arguments = (struct arguments){ 0 };
}

void
arguments_print_help(FILE *out)
{
	fputs("usage: sidecar [-c FILE] [-o section.key=value]... [--check] [--print-config]\n"
	      "               [--version] [--help]\n"
	      "Answers as Redis does, from memory, Redis, Postgres, a stale copy or a default.\n\n",
	    out);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		const struct option_row *row = &options[i];
		char spelled[64];
		if (row->help == NULL)
			continue;
		if (is_letter(row))
			snprintf(spelled, sizeof(spelled), "-%c, --%s", row->letter, row->name);
		else
			snprintf(spelled, sizeof(spelled), "    --%s", row->name);
		if (row->value != NULL)
			fprintf(out, "  %s %s\n  %-20s %s\n", spelled, row->value, "", row->help);
		else
			fprintf(out, "  %-20s %s\n", spelled, row->help);
	}
	fputs("\nexit status:\n", out);
	for (size_t i = 0; i < sizeof(exit_codes) / sizeof(exit_codes[0]); i++)
		fprintf(out, "  %-20d %s\n", exit_codes[i].code, exit_codes[i].help);
	fputs("\nSIGHUP reads the settings again. Every key: sidecar --print-config\n", out);
}
