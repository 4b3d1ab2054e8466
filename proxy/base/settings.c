/*
 * See settings.h. Loading goes in steps, each over the whole table:
 *
 *   what was written        settings_file.c, settings_entries.c
 *   ${NAME}, then values    here, with settings_env.c and settings_value.c
 *   what follows from them  here
 *   what must hold between  settings_check.c
 */
#include "base/settings.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/settings_check.h"
#include "base/settings_entries.h"
#include "base/settings_env.h"
#include "base/settings_file.h"
#include "base/settings_value.h"

#define THREADS_BY_ITSELF 4 /* more rarely pay beside an app */
#define UPSTASH_URL "UPSTASH_REDIS_REST_URL"

static struct settings *
new_settings(const char *file)
{
	struct settings *settings = alloc_zero(sizeof(*settings));

	settings->file = file != NULL ? alloc_text(file) : NULL;
	settings->entries = alloc_zero(settings_table_count * sizeof(struct setting_entry));
	return settings;
}

static bool
read_overrides(struct settings *settings, const struct settings_override *overrides,
    size_t override_count, char *error, size_t error_size)
{
	for (size_t i = 0; i < override_count; i++) {
		if (!settings_read_override(settings, overrides[i].text, error, error_size))
			return false;
	}
	return true;
}

/* Reads VALUE into the row's field, and says whose fault it is when it can't. */
static bool
take_value(const struct settings *settings, const struct map_settings *map,
    const struct setting *row, void *owner, struct slice value, char *error, size_t error_size)
{
	char phrase[SETTINGS_ERROR_SIZE / 2];
	char *text = slice_dup(value);
	bool is_fine = setting_parse(row, text, setting_field(row, owner), phrase, sizeof(phrase));

	if (!is_fine)
		settings_blame(settings, map, row, error, error_size, "%s", phrase);
	else if ((row->flags & SETTING_READABLE) != 0 && text[0] != '\0' && access(text, R_OK) != 0)
		is_fine = settings_blame(settings, map, row, error, error_size,
		    "cannot read \"%s\": %s", text, strerror(errno));
	free(text);
	return is_fine;
}

/* `owner` is the struct settings or map_settings that the row lies in. */
static bool
take_row(const struct settings *settings, const struct map_settings *map, const struct setting *row,
    struct setting_entry *entry, void *owner, char *error, size_t error_size)
{
	char phrase[SETTINGS_ERROR_SIZE / 2];
	struct buf value = BUF_EMPTY;
	const char *written = entry->written != NULL ? entry->written : row->fallback;
	bool is_fine =
	    settings_expand(slice_of(written), &value, &entry->variable, phrase, sizeof(phrase));

	if (!is_fine)
		settings_blame(settings, map, row, error, error_size, "%s", phrase);
	else
		/* Secrets out of files like to end in a newline. */
		is_fine = take_value(settings, map, row, owner,
		    buf_len(&value) > 0 ? settings_trim(buf_slice(&value)) : SLICE_NONE, error,
		    error_size);
	buf_free(&value);
	return is_fine;
}

/* An Upstash customer has this variable and no REDIS_URL. An empty url in the
 * file means what it says: no Redis. */
static bool
take_upstash_url(struct settings *settings, char *error, size_t error_size)
{
	const struct setting *row = setting_find("redis", "url");
	struct setting_entry *entry = &settings->entries[row - settings_table];
	const char *written = entry->written != NULL ? entry->written : row->fallback;
	const char *value = getenv(UPSTASH_URL);

	if (settings->redis.url[0] != '\0' || strstr(written, "${") == NULL || value == NULL ||
	    value[0] == '\0')
		return true;
	free(entry->variable);
	entry->variable = alloc_text(UPSTASH_URL);
	return take_value(settings, NULL, row, settings, settings_trim(slice_of(value)), error,
	    error_size);
}

static bool
take_maps(struct settings *settings, char *error, size_t error_size)
{
	for (size_t i = 0; i < settings->map_count; i++) {
		struct map_settings *map = &settings->maps[i];
		for (size_t j = 0; j < settings_map_table_count; j++) {
			if (!take_row(settings, map, &settings_map_table[j], &map->entries[j], map,
				error, error_size))
				return false;
		}
	}
	return true;
}

static bool
take_values(struct settings *settings, char *error, size_t error_size)
{
	for (size_t i = 0; i < settings_table_count; i++) {
		if (!take_row(settings, NULL, &settings_table[i], &settings->entries[i], settings,
			error, error_size))
			return false;
	}
	return take_upstash_url(settings, error, error_size) &&
	    take_maps(settings, error, error_size);
}

static int64_t
cores(void)
{
	cpu_set_t set;

	/* Fails where there are more cores than the set has room for. */
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return sysconf(_SC_NPROCESSORS_ONLN);
	return CPU_COUNT(&set);
}

static int64_t
threads_for(int64_t cores)
{
	if (cores < 1)
		return 1;
	return cores < THREADS_BY_ITSELF ? cores : THREADS_BY_ITSELF;
}

static void
say_address(char **address)
{
	if (!slice_equal_nocase(slice_of(*address), SLICE("localhost")))
		return;
	free(*address);
	*address = alloc_text("127.0.0.1");
}

/* What the user left to us. */
static void
resolve(struct settings *settings)
{
	settings->server.thread_count =
	    settings->server.threads != 0 ? settings->server.threads : threads_for(cores());
	say_address(&settings->listen.address);
	say_address(&settings->admin.address);
}

static bool
load(struct settings *settings, const struct settings_override *overrides, size_t override_count,
    char *error, size_t error_size)
{
	if (settings->file != NULL &&
	    !settings_read_file(settings, settings->file, error, error_size))
		return false;
	if (!read_overrides(settings, overrides, override_count, error, error_size) ||
	    !take_values(settings, error, error_size))
		return false;
	resolve(settings);
	if (!settings_check_maps(settings, error, error_size) ||
	    !settings_check(settings, error, error_size))
		return false;
	settings_warn(settings);
	return true;
}

struct settings *
settings_load(const char *file, const struct settings_override *overrides, size_t override_count,
    char *error, size_t error_size)
{
	struct settings *settings = new_settings(file);

	error[0] = '\0';
	if (load(settings, overrides, override_count, error, error_size))
		return settings;
	settings_free(settings);
	return NULL;
}

static void
free_entries(struct setting_entry *entries, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(entries[i].written);
		free(entries[i].variable);
	}
	free(entries);
}

static void
free_map(struct map_settings *map)
{
	for (size_t i = 0; i < settings_map_table_count; i++)
		setting_release(&settings_map_table[i], setting_field(&settings_map_table[i], map));
	free_entries(map->entries, settings_map_table_count);
	free(map->name);
}

void
settings_free(struct settings *settings)
{
	if (settings == NULL)
		return;
	for (size_t i = 0; i < settings_table_count; i++)
		setting_release(&settings_table[i], setting_field(&settings_table[i], settings));
	for (size_t i = 0; i < settings->map_count; i++)
		free_map(&settings->maps[i]);
	free(settings->maps);
	free_entries(settings->entries, settings_table_count);
	free(settings->file);
	free(settings);
}
