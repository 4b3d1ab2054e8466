/*
 * See settings_entries.h.
 */
#include "base/settings_entries.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/settings_value.h"

bool
settings_is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

struct slice
settings_trim(struct slice text)
{
	while (text.len > 0 && settings_is_blank(text.at[0]))
		text = slice_make(text.at + 1, text.len - 1);
	while (text.len > 0 && settings_is_blank(text.at[text.len - 1]))
		text.len--;
	return text;
}

void
settings_one_line(char *text)
{
	for (; *text != '\0'; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = ' ';
	}
}

struct setting_entry *
settings_entry(struct settings *settings, struct settings_place place, const struct setting *row)
{
	if (place.section != NULL)
		return &settings->entries[row - settings_table];
	return &settings->maps[place.map].entries[row - settings_map_table];
}

void
settings_describe(const struct settings *settings, struct settings_place place, char *text,
    size_t size)
{
	if (place.section != NULL)
		snprintf(text, size, "%s", place.section);
	else
		snprintf(text, size, "map %s", settings->maps[place.map].name);
}

bool
settings_is_map_name(struct slice name)
{
	if (name.len == 0 || name.len > SETTINGS_MAP_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.at[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '_' && c != '-')
			return false;
	}
	return true;
}

size_t
settings_find_map(const struct settings *settings, struct slice name)
{
	for (size_t i = 0; i < settings->map_count; i++) {
		if (slice_equal(slice_of(settings->maps[i].name), name))
			return i;
	}
	return settings->map_count;
}

void
settings_add_map(struct settings *settings, struct slice name, int line)
{
	size_t count = settings->map_count;

	settings->maps = alloc_again(settings->maps, (count + 1) * sizeof(*settings->maps));
	settings->maps[count] = (struct map_settings){
		.name = slice_dup(name),
		.line = line,
		.entries = alloc_zero(settings_map_table_count * sizeof(struct setting_entry)),
	};
	settings->map_count++;
}

/* "map NAME"; *name is then NAME, perhaps empty. */
bool
settings_is_map_section(struct slice section, struct slice *name)
{
	if (!slice_starts(section, SLICE("map")))
		return false;
	if (section.len > 3 && !settings_is_blank(section.at[3]))
		return false;
	*name = settings_trim(slice_make(section.at + 3, section.len - 3));
	return true;
}

bool
settings_refuse_map_name(struct slice name, char *error, size_t error_size)
{
	int shown = (int)(name.len < SETTINGS_SHOWN_BYTES ? name.len : SETTINGS_SHOWN_BYTES);

	if (name.len == 0)
		snprintf(error, error_size, "a map needs a name (for example [map profile])");
	else
		snprintf(error, error_size,
		    "\"%.*s\" is no name for a map (up to %d letters, digits, _ and -)", shown,
		    name.at, SETTINGS_MAP_NAME_MAX);
	return false;
}

/* The row that "section.key" names; a map is made when it is not there. */
static const struct setting *
find_named(struct settings *settings, const char *section, const char *key,
    struct settings_place *place, char *error, size_t error_size)
{
	char hint[SETTING_HINT_SIZE];
	struct slice map_name;
	const struct setting *row;

	*place = (struct settings_place){ setting_find_section(section), 0 };
	if (place->section != NULL) {
		row = setting_find(section, key);
		if (row == NULL)
			snprintf(error, error_size, "unknown key%s",
			    setting_hint_key(section, key, hint));
		return row;
	}
	if (!settings_is_map_section(slice_of(section), &map_name)) {
		snprintf(error, error_size, "unknown section%s",
		    setting_hint_section(section, hint));
		return NULL;
	}
	row = setting_find_map(key);
	if (!settings_is_map_name(map_name))
		return settings_refuse_map_name(map_name, error, error_size), NULL;
	if (row == NULL) {
		snprintf(error, error_size, "unknown key%s", setting_hint_map_key(key, hint));
		return NULL;
	}
	place->map = settings_find_map(settings, map_name);
	if (place->map == settings->map_count)
		settings_add_map(settings, map_name, 0);
	return row;
}

static bool
read_named(struct settings *settings, const char *section, const char *key, struct slice value,
    char *error, size_t error_size)
{
	char phrase[200];
	struct settings_place place;
	const struct setting *row =
	    find_named(settings, section, key, &place, phrase, sizeof(phrase));

	if (row == NULL) {
		/* Not the value: it may be a secret whose name was mistyped. */
		snprintf(error, error_size, "-o %.*s.%.*s: %s", SETTINGS_SHOWN_BYTES, section,
		    SETTINGS_SHOWN_BYTES, key, phrase);
		settings_one_line(error);
		return false;
	}
	struct setting_entry *entry = settings_entry(settings, place, row);
	free(entry->written);
	entry->written = slice_dup(value);
	entry->line = 0;
	entry->is_override = true;
	return true;
}

bool
settings_read_override(struct settings *settings, const char *text, char *error, size_t error_size)
{
	const char *equals = strchr(text, '=');
	const char *dot = equals != NULL ? memrchr(text, '.', (size_t)(equals - text)) : NULL;

	if (dot == NULL) {
		int shown = (int)strcspn(text, "=");
		snprintf(error, error_size,
		    "-o %.*s: is not section.key=value (for example "
		    "cache.ttl=30s)",
		    shown < SETTINGS_SHOWN_BYTES ? shown : SETTINGS_SHOWN_BYTES, text);
		settings_one_line(error);
		return false;
	}
	char *section = slice_dup(settings_trim(slice_make(text, (size_t)(dot - text))));
	char *key = slice_dup(settings_trim(slice_make(dot + 1, (size_t)(equals - dot - 1))));
	bool is_fine = read_named(settings, section, key, settings_trim(slice_of(equals + 1)),
	    error, error_size);
	free(section);
	free(key);
	return is_fine;
}

/* "-o section.key=value", with what is secret masked. */
static void
put_override(const struct setting *row, const char *where, const char *written, struct buf *out)
{
	struct buf value = BUF_EMPTY;

	if ((row->flags & SETTING_SECRET) != 0)
		buf_append_slice(&value, SLICE("********"));
	else if ((row->flags & SETTING_URL) != 0)
		setting_mask_url(written, &value);
	else
		buf_append_slice(&value, slice_of(written));
	int shown =
	    (int)(buf_len(&value) < SETTINGS_SHOWN_BYTES ? buf_len(&value) : SETTINGS_SHOWN_BYTES);
	buf_printf(out, "-o %s.%s=%.*s: ", where, row->key, shown,
	    shown > 0 ? buf_slice(&value).at : "");
	buf_free(&value);
}

static void
put_origin(const struct settings *settings, const struct map_settings *map,
    const struct setting *row, struct buf *out)
{
	const struct setting_entry *entry = map != NULL ? &map->entries[row - settings_map_table]
							: &settings->entries[row - settings_table];
	int line = entry->written == NULL && map != NULL ? map->line : entry->line;
	char where[SETTING_HINT_SIZE];

	snprintf(where, sizeof(where), "%s%s", map != NULL ? "map " : "",
	    map != NULL ? map->name : row->section);
	if (entry->is_override) {
		put_override(row, where, entry->written, out);
		return;
	}
	if (line > 0)
		buf_printf(out, "%s:%d: ", settings->file, line);
	else if (entry->variable != NULL)
		buf_printf(out, "%s in the environment: ", entry->variable);
	else if (map == NULL && settings->file != NULL)
		buf_printf(out, "%s: ", settings->file);
	buf_printf(out, "[%s] %s: ", where, row->key);
}

bool
settings_blame(const struct settings *settings, const struct map_settings *map,
    const struct setting *row, char *error, size_t error_size, const char *format, ...)
{
	struct buf text = BUF_EMPTY;
	va_list args;

	put_origin(settings, map, row, &text);
	int len = snprintf(error, error_size, "%.*s", (int)buf_len(&text), buf_slice(&text).at);
	buf_free(&text);
	if (len > 0 && (size_t)len < error_size) {
		va_start(args, format);
		vsnprintf(error + len, error_size - (size_t)len, format, args);
		va_end(args);
	}
	settings_one_line(error);
	return false;
}
