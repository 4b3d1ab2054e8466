/*
 * The command line. Parsed once, before any thread starts.
 */
#ifndef SIDECAR_RUN_ARGUMENTS_H
#define SIDECAR_RUN_ARGUMENTS_H

#include <stdio.h>

#include "base/settings.h"

#define EXIT_CANNOT_START 1
#define EXIT_BAD_USAGE 2 /* or bad configuration */

struct arguments {
	/* For settings_load(). NULL: no -c, and no ./sidecar.ini either. Points
	 * into argv or is constant. */
	const char *file;
	struct settings_override *overrides; /* owned; the texts point into argv */
	size_t override_count;
	bool wants_check;
	bool wants_print;
	bool wants_reference;
	bool wants_version;
	bool wants_help;
};

/*
 * False on wrong usage, with the reason on standard error: exit with
 * EXIT_BAD_USAGE. Either way arguments_free() is due. --help and --version
 * count wherever they stand among valid options; whoever calls acts on them
 * before loading anything.
 */
MUST_CHECK bool arguments_parse(struct arguments *arguments, int argc, char **argv);
void arguments_free(struct arguments *arguments);

/* Usage, options, exit codes. */
void arguments_print_help(FILE *out);

#endif
