/* See maps.h. */
#include "store/maps.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/resp.h"

struct maps {
	bool have_hashes, have_limits;
	size_t count;
	struct map maps[];
};

static const struct {
	const char *text;
	enum id_type type;
} placeholders[] = {
	{ "{id}", ID_ANY },
	{ "{id:int}", ID_INT },
	{ "{id:uuid}", ID_UUID },
};

static void
split_pattern(struct map *map)
{
	const char *key = map->settings->key;

	for (size_t i = 0; i < sizeof(placeholders) / sizeof(placeholders[0]); i++) {
		const char *at = strstr(key, placeholders[i].text);
		if (at == NULL)
			continue;
		map->prefix = slice_make(key, (size_t)(at - key));
		map->suffix = slice_of(at + strlen(placeholders[i].text));
		map->id_type = placeholders[i].type;
		return;
	}
}

/* As a column that is NULL: the field is not there. */
static void
append_field(struct slice name, enum json_kind kind, struct slice value, void *arg)
{
	if (kind == JSON_NULL)
		return;
	resp_append_bulk(arg, name);
	resp_append_bulk(arg, value);
}

static struct blob *
free_answer(const struct map_settings *settings)
{
	struct slice text = slice_of(settings->free);
	struct buf fields = BUF_EMPTY;

	if (settings->type != MAP_HASH)
		return blob_new(text);
	/* Settings have checked that it is an object. */
	bool is_object = text.len == 0 || json_object_each(text, append_field, &fields);
	struct blob *blob = blob_new(is_object ? buf_slice(&fields) : SLICE_NONE);
	buf_free(&fields);
	return blob;
}

static void
mark_only_limited(struct maps *maps)
{
	struct map *limited = NULL;
	size_t count = 0;

	for (size_t i = 0; i < maps->count; i++) {
		if (maps->maps[i].settings->limit) {
			limited = &maps->maps[i];
			count++;
		}
	}
	if (count == 1)
		limited->is_user_by_key = limited->id_type != ID_UUID;
}

struct maps *
maps_new(const struct settings *settings)
{
	struct maps *maps = alloc_zero(sizeof(*maps) + settings->map_count * sizeof(struct map));

	maps->count = settings->map_count;
	for (size_t i = 0; i < maps->count; i++) {
		struct map *map = &maps->maps[i];
		map->settings = &settings->maps[i];
		split_pattern(map);
		map->free = free_answer(map->settings);
		map->has_valid_until = strcasestr(map->settings->query, "valid_until") != NULL;
		maps->have_hashes |= map->settings->type == MAP_HASH;
		maps->have_limits |= map->settings->limit;
	}
	mark_only_limited(maps);
	return maps;
}

void
maps_free(struct maps *maps)
{
	if (maps == NULL)
		return;
	for (size_t i = 0; i < maps->count; i++)
		blob_unref(maps->maps[i].free);
	free(maps);
}

/* Most keys differ in the first byte already. */
static inline bool
may_fit(const struct map *map, struct slice key)
{
	return key.len > 0 && (map->prefix.len == 0 || key.at[0] == map->prefix.at[0]);
}

static bool
fits(const struct map *map, struct slice key, struct slice *id)
{
	size_t around = map->prefix.len + map->suffix.len;

	if (key.len <= around || !slice_starts(key, map->prefix))
		return false;
	if (memcmp(key.at + key.len - map->suffix.len, map->suffix.at, map->suffix.len) != 0)
		return false;
	*id = slice_make(key.at + map->prefix.len, key.len - around);
	return true;
}

/* Apart, so that a key of no map costs no more than the loop below. */
__attribute__((noinline)) static const struct map *
find_from(const struct maps *maps, size_t first, struct slice key, struct slice *id)
{
	for (size_t i = first; i < maps->count; i++) {
		if (fits(&maps->maps[i], key, id))
			return &maps->maps[i];
	}
	return NULL;
}

const struct map *
maps_find(const struct maps *maps, struct slice key, struct slice *id)
{
	for (size_t i = 0; i < maps->count; i++) {
		if (may_fit(&maps->maps[i], key))
			return find_from(maps, i, key, id);
	}
	return NULL;
}

/* ---- ids ---- */

/* As Postgres prints a bigint: no leading zero, no '+', no "-0". */
static bool
is_int(struct slice id)
{
	int64_t number;

	if (!slice_to_int64(id, &number))
		return false;
	size_t first = id.at[0] == '-' ? 1 : 0;
	return id.at[first] != '0' || id.len == 1;
}

/* 8-4-4-4-12, in either case: who asks Postgres makes it lower case. */
static bool
is_uuid(struct slice id)
{
	if (id.len != 36)
		return false;
	for (size_t i = 0; i < id.len; i++) {
		char c = id.at[i];
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		bool is_hex =
		    (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
		if (is_dash ? c != '-' : !is_hex)
			return false;
	}
	return true;
}

/* Bytes of the UTF-8 sequence at `at` (RFC 3629: no overlong forms, no
 * surrogates), 0 when it is none, or is NUL. */
static size_t
utf8_length(const unsigned char *at, size_t left)
{
	unsigned char c = at[0];
	size_t len = c < 0x80       ? 1
	    : c >= 0xc2 && c < 0xe0 ? 2
	    : c >= 0xe0 && c < 0xf0 ? 3
	    : c >= 0xf0 && c < 0xf5 ? 4
				    : 0;

	if (c == 0 || len == 0 || len > left)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((c == 0xe0 && at[1] < 0xa0) || (c == 0xed && at[1] > 0x9f) ||
	    (c == 0xf0 && at[1] < 0x90) || (c == 0xf4 && at[1] > 0x8f))
		return 0;
	return len;
}

static bool
is_utf8(struct slice text)
{
	for (size_t i = 0; i < text.len;) {
		size_t len = utf8_length((const unsigned char *)text.at + i, text.len - i);
		if (len == 0)
			return false;
		i += len;
	}
	return true;
}

bool
map_accepts_id(const struct map *map, struct slice id)
{
	switch (map->id_type) {
	case ID_INT:
		return is_int(id);
	case ID_UUID:
		return is_uuid(id);
	case ID_ANY:
		return is_utf8(id);
	}
	return false;
}

bool
maps_have_hashes(const struct maps *maps)
{
	return maps->have_hashes;
}

bool
maps_have_limits(const struct maps *maps)
{
	return maps->have_limits;
}

size_t
maps_count(const struct maps *maps)
{
	return maps->count;
}

const struct map *
maps_at(const struct maps *maps, size_t index)
{
	return &maps->maps[index];
}
