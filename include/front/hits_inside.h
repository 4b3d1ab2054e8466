/*
 * What the files of the hit path share; nobody else includes it.
 *
 *   hits.c       a client's GETs in a row, and MGET
 *   hits_lone.c  one GET each of many clients
 */
#ifndef SIDECAR_FRONT_HITS_INSIDE_H
#define SIDECAR_FRONT_HITS_INSIDE_H

#include "front/client_inside.h"
#include "front/limit_gate.h"
#include "ladder/ladder_hit.h"
#include "ladder/limits.h"

/* What is the same for all keys of a turn. */
struct hit_rules {
	const struct maps *maps; /* NULL: there are none */
	bool keeps_all;
	bool has_hashes;
	bool limits_users;
	int64_t now_ms;
	uint32_t now_ds; /* the same, for CLIENT LIST */
};

static inline struct cache *
hit_cache(const struct front *front)
{
	return front->ladder->backends->cache;
}

static inline struct hit_rules
hit_rules_of(struct front *front)
{
	const struct rules *rules = front->ladder->rules;
	int64_t now_ms = front_now_ms(front);

	return (struct hit_rules){
		.maps = rules->settings->map_count > 0 ? rules->maps : NULL,
		.keeps_all = ladder_may_keep_all(front->ladder),
		.has_hashes = maps_have_hashes(rules->maps),
		.limits_users = maps_have_limits(rules->maps) &&
		    limits_is_on(front->ladder->backends->limits, LIMIT_PER_USER),
		.now_ms = now_ms,
		.now_ds = (uint32_t)(now_ms / 100),
	};
}

static inline const struct map *
hit_map(const struct hit_rules *rules, struct slice key, struct slice *id)
{
	return rules->maps != NULL ? maps_find(rules->maps, key, id) : NULL;
}

static inline bool
hit_is_hash(const struct map *map)
{
	return map != NULL && map->settings->type == MAP_HASH;
}

static inline bool
hit_may_be(const struct client *client, const struct hit_rules *rules, const struct map *map,
    struct slice key)
{
	return !hit_is_hash(map) &&
	    (rules->keeps_all || ladder_may_keep(client->front->ladder, key));
}

/* How many of these keys memory may have. */
static inline size_t
hit_row_len(const struct client *client, const struct hit_rules *rules,
    const struct cache_key *keys, size_t count)
{
	struct slice id;
	size_t i;

	if (rules->keeps_all && !rules->has_hashes)
		return count;
	for (i = 0; i < count; i++) {
		if (!hit_may_be(client, rules, hit_map(rules, keys[i].key, &id), keys[i].key))
			break;
	}
	return i;
}

/* Whether somebody may have to be counted for a GET. */
static inline bool
hit_counts(const struct client *client, const struct hit_rules *rules)
{
	return !client->peer.is_local || rules->limits_users;
}

/* Whether its last GET that counted was one too many: it is counted before
 * anything is read for it. */
static inline bool
hit_is_over(const struct client *client, const struct hit_rules *rules)
{
	return client->is_over && hit_counts(client, rules);
}

/* Counts a GET, and says so when it is one too many. One that has not been read
 * yet stays counted until limit_gate_done(). */
static inline bool
hit_is_refused(struct client *client, const struct hit_rules *rules, const struct cache_key *key,
    bool is_read)
{
	struct slice id = SLICE_NONE;
	const struct map *map = hit_map(rules, key->key, &id);

	if (client->peer.is_local && (map == NULL || !map->settings->limit))
		return false;
	client->is_over = client->peer.is_local
	    ? limit_gate_refuses_key(client, map, id, key->hash)
	    : limit_gate_refuses_get(client, map, id, key->hash);
	if (is_read)
		limit_gate_done(client);
	return client->is_over;
}

/* Whether a GET may be answered before it has been looked at more closely:
 * then its reply is the next one, and wanted. */
static inline bool
hit_may_be_next(struct client *client)
{
	struct front *front = client->front;
	const struct client_session *session = &client->session;

	if (front->deny_of != client_settings(client)->commands.deny)
		front_deny(front);
	return session->is_authenticated && session->replies == REPLIES_ON &&
	    client->redis == NULL && client->last == NULL && !front->denies_get;
}

/* ---- hits.c ---- */

void hits_prefetch_entries(const struct cache *cache, struct cache_key *keys, size_t count);

#endif
