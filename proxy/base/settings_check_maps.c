/* The part of settings_check.h that is about [map NAME] sections. */
#include "base/json.h"
#include "base/settings_check.h"
#include "base/settings_entries.h"

/* A map's key, cut at its {id}. */
struct pattern {
	struct slice before;
	struct slice after;
};

enum pattern_fault { PATTERN_FINE, PATTERN_NO_ID, PATTERN_TWO_IDS, PATTERN_BAD_TYPE };

/* The length of an {id} in any of its spellings, or 0. Other braces are part
 * of the key: Redis Cluster uses them. */
static size_t
id_len(const char *at)
{
	static const char *const spellings[] = { "{id}", "{id:int}", "{id:uuid}" };

	for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		if (strncmp(at, spellings[i], strlen(spellings[i])) == 0)
			return strlen(spellings[i]);
	}
	return 0;
}

static enum pattern_fault
find_pattern(const char *key, struct pattern *pattern)
{
	int found = 0;

	for (const char *at = key; *at != '\0'; at++) {
		size_t len = id_len(at);
		if (len == 0 && strncmp(at, "{id:", 4) == 0)
			return PATTERN_BAD_TYPE;
		if (len == 0)
			continue;
		found++;
		pattern->before = slice_make(key, (size_t)(at - key));
		pattern->after = slice_of(at + len);
	}
	return found == 1 ? PATTERN_FINE : found == 0 ? PATTERN_NO_ID : PATTERN_TWO_IDS;
}

static bool
check_key(const struct settings *settings, const struct map_settings *map, char *error,
    size_t error_size)
{
	static const char *const faults[] = {
		[PATTERN_NO_ID] = "has no {id}",
		[PATTERN_TWO_IDS] = "has more than one {id}",
		[PATTERN_BAD_TYPE] = "has an {id} of a type that is neither int nor uuid",
	};
	struct pattern pattern = { SLICE_NONE, SLICE_NONE };
	enum pattern_fault fault = find_pattern(map->key, &pattern);

	if (fault == PATTERN_FINE)
		return true;
	return settings_blame(settings, map, setting_find_map("key"), error, error_size,
	    "\"%.*s\" %s (for example profile:{id} or profile:{id:int})", SETTINGS_SHOWN_BYTES,
	    map->key, faults[fault]);
}

/* The types don't tell them apart: an id that isn't of a map's type is
 * answered by it as missing. */
static bool
check_against_earlier(const struct settings *settings, const struct map_settings *map, char *error,
    size_t error_size)
{
	struct pattern mine, theirs;

	if (find_pattern(map->key, &mine) != PATTERN_FINE)
		return true;
	for (const struct map_settings *other = settings->maps; other < map; other++) {
		if (find_pattern(other->key, &theirs) == PATTERN_FINE &&
		    slice_equal(mine.before, theirs.before) &&
		    slice_equal(mine.after, theirs.after))
			return settings_blame(settings, map, setting_find_map("key"), error,
			    error_size, "[map %s] has the same keys", other->name);
	}
	return true;
}

static bool
check_free(const struct settings *settings, const struct map_settings *map, char *error,
    size_t error_size)
{
	if (map->type != MAP_HASH || json_object_each(slice_of(map->free), NULL, NULL))
		return true;
	return settings_blame(settings, map, setting_find_map("free"), error, error_size,
	    "with type = hash it must be a JSON object (for example %s)",
	    setting_find_map("free")->example);
}

bool
settings_check_maps(const struct settings *settings, char *error, size_t error_size)
{
	for (size_t i = 0; i < settings->map_count; i++) {
		const struct map_settings *map = &settings->maps[i];
		if (!check_key(settings, map, error, error_size) ||
		    !check_against_earlier(settings, map, error, error_size) ||
		    !check_free(settings, map, error, error_size))
			return false;
	}
	return true;
}
