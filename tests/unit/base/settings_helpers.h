/* Loading settings from a text: what the tests of settings share. */
#ifndef SIDECAR_TESTS_SETTINGS_HELPERS_H
#define SIDECAR_TESTS_SETTINGS_HELPERS_H

#include <unistd.h>

#include "../test.h"
#include "base/settings.h"

/* The file that texts are written to, in a directory of its own, where it is
 * called sidecar.ini in every message. */
static char test_error[SETTINGS_ERROR_SIZE];
static char test_dir[] = "/tmp/sidecar-test-XXXXXX";

__attribute__((constructor)) static void
test_enter_dir(void)
{
	static const char *const ours[] = { "REDIS_URL", "UPSTASH_REDIS_REST_URL",
		"UPSTASH_REDIS_REST_TOKEN", "DATABASE_URL", "SIDECAR_SNAPSHOT_KEY" };

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		unsetenv(ours[i]);
	if (mkdtemp(test_dir) == NULL || chdir(test_dir) != 0)
		abort();
}

__attribute__((destructor)) static void
test_leave_dir(void)
{
	unlink("sidecar.ini");
	unlink("printed.ini");
	rmdir(test_dir);
}

static inline void
test_write(const char *name, const char *text, size_t len)
{
	FILE *file = fopen(name, "w");

	if (file == NULL || fwrite(text, 1, len, file) != len || fclose(file) != 0)
		abort();
}

static inline struct settings *
test_load(const char *text)
{
	test_write("sidecar.ini", text, strlen(text));
	return settings_load("sidecar.ini", NULL, 0, test_error, sizeof(test_error));
}

static inline struct settings *
test_load_option(const char *option)
{
	struct settings_override override = { option };

	return settings_load(NULL, &override, 1, test_error, sizeof(test_error));
}

/* The message that a file with this text, or this -o, gets; "" when it loads. */
static inline const char *
test_refusal(const char *text)
{
	settings_free(test_load(text));
	return test_error;
}

static inline const char *
test_option_refusal(const char *option)
{
	settings_free(test_load_option(option));
	return test_error;
}

/* What settings_print() writes; the caller frees. */
static inline char *
test_printed(const struct settings *settings)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	settings_print(settings, out);
	fclose(out);
	return text;
}

#endif
