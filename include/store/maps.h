/*
 * Which keys are somebody's rows: the [map ...] sections, made ready to
 * match. Immutable after maps_new(); any thread may read.
 */
#ifndef SIDECAR_STORE_MAPS_H
#define SIDECAR_STORE_MAPS_H

#include "base/blob.h"
#include "base/buf.h"
#include "base/settings.h"

struct maps;

enum id_type { ID_ANY, ID_INT, ID_UUID };

struct map {
	const struct map_settings *settings;
	struct slice prefix, suffix; /* around {id} */
	enum id_type id_type;
	/* The free answer as the cache holds values: the text, or for a hash its
	 * fields and values as bulk strings. */
	struct blob *free;
	/* The query may give valid_until, so a copy in Redis says nothing about
	 * how long it is valid but for its ttl. Learnt by the query's text. */
	bool has_valid_until;
	/* The only map that counts against per_user, and each id has one spelling:
	 * the key says who it is as well as the id does. */
	bool is_user_by_key;
};

/* `settings` must outlive it. */
struct maps *maps_new(const struct settings *settings);
void maps_free(struct maps *maps);

/* The first map whose pattern the key fits, with the id in it; NULL: none. */
const struct map *maps_find(const struct maps *maps, struct slice key, struct slice *id);

/* Whether Postgres may be asked for this id: it fits the map's type, in the
 * form that Postgres itself prints (a uuid also in upper case), and is UTF-8
 * without NUL. */
bool map_accepts_id(const struct map *map, struct slice id);

/* Whether a key's map matters to who reads it, though memory has its value. */
bool maps_have_hashes(const struct maps *maps);
bool maps_have_limits(const struct maps *maps);

size_t maps_count(const struct maps *maps);
const struct map *maps_at(const struct maps *maps, size_t index);

#endif
