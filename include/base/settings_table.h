/*
 * The one table of settings: everything that walks the keys (reading, range
 * checks, --print-config, reload, the reference) walks these rows.
 */
#ifndef SIDECAR_BASE_SETTINGS_TABLE_H
#define SIDECAR_BASE_SETTINGS_TABLE_H

#include "base/settings.h"

/* What a value is, and the type of the field it is kept in. */
enum setting_kind {
	SETTING_TEXT,     /* char *, never NULL */
	SETTING_LIST,     /* char *, words with one space between them */
	SETTING_INTEGER,  /* int64_t */
	SETTING_DURATION, /* int64_t, milliseconds: 50ms 30s 5m 1h 1d, or 0 */
	SETTING_SIZE,     /* int64_t, bytes: 512, 64kb, 64mb, 1gb */
	SETTING_PERCENT,  /* int64_t: 50 or 50% */
	SETTING_RATE,     /* struct rate: 1000/min, /s, /h, /d, or 0 for off */
	SETTING_YESNO,    /* bool */
	SETTING_CHOICE,   /* int, the index into choices */
};

enum setting_flag {
	SETTING_RELOADS = 1,   /* SIGHUP makes a new value count without a restart */
	SETTING_SECRET = 2,    /* shown as ******** */
	SETTING_URL = 4,       /* the password inside is shown as ******** */
	SETTING_LINES = 8,     /* may go on in indented lines */
	SETTING_READABLE = 16, /* names a file that must be there when it is set */
	SETTING_REQUIRED = 32, /* may not be left empty */
};

struct setting {
	const char *section; /* NULL in the table of a [map NAME] */
	const char *key;
	enum setting_kind kind;
	size_t offset;              /* into struct settings or struct map_settings */
	const char *fallback;       /* the default, as the file would say it */
	int64_t min, max;           /* both allowed; for numbers, a rate's count */
	unsigned flags;             /* enum setting_flag */
	const char *example;        /* for messages */
	const char *help;           /* one line; no value is explained elsewhere */
	const char *const *choices; /* NULL-terminated, for SETTING_CHOICE */
};

/* Rows of a section stand together. */
extern const struct setting settings_table[];
extern const size_t settings_table_count;

/* The keys of a [map NAME] section. */
extern const struct setting settings_map_table[];
extern const size_t settings_map_table_count;

/* NULL when there is no such key. */
const struct setting *setting_find(const char *section, const char *key);
const struct setting *setting_find_map(const char *key);
/* The table's own copy of a section's name; NULL when there is none. */
const char *setting_find_section(const char *section);

/*
 * What a user who wrote an unknown name most likely meant, as the end of a
 * message: " (did you mean ttl?)", or "" when nothing comes near.
 */
#define SETTING_HINT_SIZE 80
const char *setting_hint_key(const char *section, const char *key, char hint[SETTING_HINT_SIZE]);
const char *setting_hint_map_key(const char *key, char hint[SETTING_HINT_SIZE]);
const char *setting_hint_section(const char *section, char hint[SETTING_HINT_SIZE]);

#endif
