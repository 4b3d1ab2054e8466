/* sidecar: a Redis proxy beside an app that answers when its backends do not. */
#include <stdio.h>

#include "run/arguments.h"
#include "run/preflight.h"
#include "run/server.h"

/* Also what the settings name: certificates, keys, URLs. Silent behind --print-config,
 * whose output is a file of settings. */
static int
check(const struct settings *settings, bool is_silent)
{
	char error[SETTINGS_ERROR_SIZE];
	struct preflight preflight;

	if (!preflight_make(settings, &preflight, error, sizeof(error))) {
		fprintf(stderr, "%s\n", error);
		return EXIT_BAD_USAGE;
	}
	preflight_drop(&preflight);
	if (!is_silent)
		puts("sidecar: the settings are good");
	return 0;
}

/* What --check and --print-config say, or the whole run. */
static int
act(const struct arguments *arguments)
{
	char error[SETTINGS_ERROR_SIZE];
	struct settings *settings = settings_load(arguments->file, arguments->overrides,
	    arguments->override_count, error, sizeof(error));

	if (settings == NULL) {
		fprintf(stderr, "%s\n", error);
		return EXIT_BAD_USAGE;
	}
	if (!arguments->wants_print && !arguments->wants_check)
		return server_run(settings, arguments);
	if (arguments->wants_print)
		settings_print(settings, stdout);
	int code = arguments->wants_check ? check(settings, arguments->wants_print) : 0;
	settings_free(settings);
	return code;
}

int
main(int argc, char **argv)
{
	struct arguments arguments;
	int code = EXIT_BAD_USAGE;

	if (arguments_parse(&arguments, argc, argv)) {
		code = 0;
		if (arguments.wants_help)
			arguments_print_help(stdout);
		else if (arguments.wants_version)
			printf("sidecar %s\n", SIDECAR_VERSION);
		else if (arguments.wants_reference)
			settings_print_reference(stdout);
		else
			code = act(&arguments);
	}
	arguments_free(&arguments);
	return code;
}
