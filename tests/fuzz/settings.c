/* A sidecar.ini is refused with one line, or loads; and what loads prints as
 * a sidecar.ini that loads, too. */
#include "base/settings.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "fuzz.h"

static char path[32];
static int fd;

__attribute__((constructor)) static void
open_file(void)
{
	static const char *const ours[] = { "REDIS_URL", "UPSTASH_REDIS_REST_URL",
		"UPSTASH_REDIS_REST_TOKEN", "DATABASE_URL", "SIDECAR_SNAPSHOT_KEY" };

	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		unsetenv(ours[i]);
	fd = memfd_create("sidecar.ini", 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	log_setup(LOG_ERROR, LOG_TEXT);
}

static struct settings *
load(struct slice text, char error[SETTINGS_ERROR_SIZE])
{
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text.at, text.len, 0) != (ssize_t)text.len)
		abort();
	return settings_load(path, NULL, 0, error, SETTINGS_ERROR_SIZE);
}

/* Masked secrets need not load: a snapshot's key is 64 digits, and of a
 * conninfo that is no URL nothing is shown. */
static bool
has_secret_form(const struct settings *settings)
{
	return settings->snapshot.key[0] != '\0' || strchr(settings->postgres.url, '=') != NULL;
}

FUZZ(text)
{
	char error[SETTINGS_ERROR_SIZE] = "";
	char *printed = NULL;
	size_t size = 0;

	if (text.len > 4000)
		return;
	struct settings *settings = load(text, error);
	if (settings == NULL) {
		CLAIM(error[0] != '\0' && strchr(error, '\n') == NULL);
		return;
	}
	FILE *out = open_memstream(&printed, &size);
	settings_print(settings, out);
	fclose(out);
	struct settings *again = load(slice_make(printed, size), error);
	if (again == NULL && !has_secret_form(settings)) {
		printf("%s\n%s\n", error, printed);
		CLAIM(again != NULL);
	}
	free(printed);
	settings_free(settings);
	settings_free(again);
}
