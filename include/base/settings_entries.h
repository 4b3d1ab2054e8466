/*
 * What was written for each key, in the file or by -o, before anything is
 * expanded or understood; where it came from; and how messages say so.
 */
#ifndef SIDECAR_BASE_SETTINGS_ENTRIES_H
#define SIDECAR_BASE_SETTINGS_ENTRIES_H

#include "base/settings_table.h"

#define SETTINGS_MAP_NAME_MAX 64
#define SETTINGS_SHOWN_BYTES 60 /* of what the user wrote, in a message */

/* One per row of the table. */
struct setting_entry {
	char *written;    /* NULL: nothing, the default counts */
	int line;         /* in the file; 0: default or -o */
	bool is_override; /* from -o */
	char *variable;   /* the environment variable that its value came from, or NULL */
};

/* A section: the table's own name of it, or a map. */
struct settings_place {
	const char *section; /* NULL: a map */
	size_t map;          /* then, its index */
};

/* The entry of a row that belongs to the place's section. */
struct setting_entry *settings_entry(struct settings *settings, struct settings_place place,
    const struct setting *row);
/* "cache" or "map profile". */
void settings_describe(const struct settings *settings, struct settings_place place, char *text,
    size_t size);

/* Whether a section is "map NAME"; *name is then NAME, perhaps empty. */
MUST_CHECK bool settings_is_map_section(struct slice section, struct slice *name);
MUST_CHECK bool settings_is_map_name(struct slice name);
/* Says what is wrong with a name; false, always. */
bool settings_refuse_map_name(struct slice name, char *error, size_t error_size);
/* map_count when there is none. */
size_t settings_find_map(const struct settings *settings, struct slice name);
void settings_add_map(struct settings *settings, struct slice name, int line);

/* Reads one "section.key=value" of the command line; it replaces what the
 * file says. False with a message in `error`. */
MUST_CHECK bool settings_read_override(struct settings *settings, const char *text, char *error,
    size_t error_size);

/*
 * Writes a message about one key into `error`, led by where its value came
 * from: FILE:LINE, -o, or an environment variable. `map` is NULL for a row of
 * settings_table. Returns false, always.
 */
__attribute__((format(printf, 6, 7))) bool settings_blame(const struct settings *settings,
    const struct map_settings *map, const struct setting *row, char *error, size_t error_size,
    const char *format, ...);

/* Control bytes become spaces. */
void settings_one_line(char *text);

/* What inih takes for blanks: isspace() in the C locale. */
MUST_CHECK bool settings_is_blank(char c);
struct slice settings_trim(struct slice text);

#endif
