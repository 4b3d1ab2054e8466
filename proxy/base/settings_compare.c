/* What differs between two loaded settings, and what of it a reload leaves as
 * it is. */
#include <stdio.h>

#include "base/settings_entries.h"
#include "base/settings_value.h"

#define NAME_SIZE (SETTINGS_MAP_NAME_MAX + 32) /* "map NAME.missing" */

struct comparison {
	void (*changed)(const char *name, bool takes_effect, void *arg);
	void *arg;
};

void
settings_keep(struct settings *settings, const struct settings *in_force,
    bool (*stays)(const char *name, bool reloads, void *arg), void *arg)
{
	char name[NAME_SIZE];

	for (size_t i = 0; i < settings_table_count; i++) {
		const struct setting *row = &settings_table[i];
		void *field = setting_field(row, settings);
		const void *kept = setting_field_of(row, in_force);
		if (setting_equal(row, field, kept))
			continue;
		snprintf(name, sizeof(name), "%s.%s", row->section, row->key);
		if (stays(name, (row->flags & SETTING_RELOADS) != 0, arg))
			setting_copy(row, field, kept);
	}
}

static void
compare_rows(const struct comparison *comparison, const char *section, const struct setting *rows,
    size_t count, const void *before, const void *after)
{
	char name[NAME_SIZE];

	for (size_t i = 0; i < count; i++) {
		const struct setting *row = &rows[i];
		if (setting_equal(row, setting_field_of(row, before), setting_field_of(row, after)))
			continue;
		snprintf(name, sizeof(name), "%s.%s", section != NULL ? section : row->section,
		    row->key);
		comparison->changed(name, (row->flags & SETTING_RELOADS) != 0, comparison->arg);
	}
}

/* Maps come and go by name; their order means nothing. */
static void
compare_map(const struct comparison *comparison, const struct map_settings *map,
    const struct settings *after)
{
	char name[NAME_SIZE];
	size_t i = settings_find_map(after, slice_of(map->name));

	snprintf(name, sizeof(name), "map %s", map->name);
	if (i == after->map_count)
		comparison->changed(name, true, comparison->arg);
	else
		compare_rows(comparison, name, settings_map_table, settings_map_table_count, map,
		    &after->maps[i]);
}

void
settings_compare(const struct settings *before, const struct settings *after,
    void (*changed)(const char *name, bool takes_effect, void *arg), void *arg)
{
	struct comparison comparison = { changed, arg };
	char name[NAME_SIZE];

	compare_rows(&comparison, NULL, settings_table, settings_table_count, before, after);
	for (size_t i = 0; i < before->map_count; i++)
		compare_map(&comparison, &before->maps[i], after);
	for (size_t i = 0; i < after->map_count; i++) {
		if (settings_find_map(before, slice_of(after->maps[i].name)) < before->map_count)
			continue;
		snprintf(name, sizeof(name), "map %s", after->maps[i].name);
		changed(name, true, arg);
	}
}
