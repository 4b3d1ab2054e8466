/* See row_changes.h. */
#include "ladder/row_changes.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "ladder/keeper.h"
#include "upstream/postgres_listen.h"

#define LOG_EVERY_MS 60000

struct row_changes {
	struct backends *backends;
	const struct rules *rules;
	struct postgres_listen *listen;
	_Atomic int64_t count;
	int64_t unknown_logged_ms, full_logged_ms;
};

/* ---- reading a message ---- */

static const struct map *
find_map(const struct maps *maps, struct slice name)
{
	for (size_t i = 0; i < maps_count(maps); i++) {
		const struct map *map = maps_at(maps, i);
		if (slice_equal(slice_of(map->settings->name), name))
			return map;
	}
	return NULL;
}

/* Up to the separator, which is taken, too. */
static struct slice
take_word(struct slice *rest, char separator)
{
	const char *end = memchr(rest->at, separator, rest->len);
	struct slice word = { rest->at, end != NULL ? (size_t)(end - rest->at) : rest->len };
	size_t taken = word.len + (end != NULL ? 1 : 0);

	*rest = slice_make(rest->at + taken, rest->len - taken);
	return word;
}

bool
row_changes_read(const struct maps *maps, struct slice payload,
    void (*on_key)(struct slice key, void *arg), void *arg, bool *is_all)
{
	size_t name_len = 0;
	struct buf key = BUF_EMPTY;

	while (name_len < payload.len && payload.at[name_len] != ' ' &&
	    payload.at[name_len] != '\n')
		name_len++;
	const struct map *map = find_map(maps, slice_make(payload.at, name_len));
	*is_all = name_len == payload.len;
	if (map == NULL || *is_all)
		return map != NULL;
	char separator = payload.at[name_len];
	struct slice rest = slice_make(payload.at + name_len + 1, payload.len - name_len - 1);
	while (rest.len > 0) {
		struct slice id = take_word(&rest, separator);
		if (id.len == 0)
			continue;
		buf_reset(&key);
		buf_append_slice(&key, map->prefix);
		buf_append_slice(&key, id);
		buf_append_slice(&key, map->suffix);
		on_key(buf_slice(&key), arg);
	}
	buf_free(&key);
	return true;
}

/* ---- acting on it ---- */

/* Into the journal first: from then on nobody here reads it from Redis, and
 * the keeper unlinks it there as soon as it can. The same order as a write. */
static void
on_changed_key(struct slice key, void *arg)
{
	struct row_changes *changes = arg;
	struct backends *backends = changes->backends;

	if (backends->redis_target != NULL && !journal_add(backends->journal, key) &&
	    log_throttle(&changes->full_logged_ms, clock_mono_ms(), LOG_EVERY_MS))
		log_error("postgres listen: the journal refuses changed keys: their copies in "
			  "redis live out their time");
	cache_drop(backends->cache, key);
	keeper_publish(backends->keeper, key);
	changes->count++;
}

static void
on_notified(struct slice payload, void *arg)
{
	struct row_changes *changes = arg;
	bool is_all;

	if (!row_changes_read(changes->rules->maps, payload, on_changed_key, changes, &is_all)) {
		if (log_throttle(&changes->unknown_logged_ms, clock_mono_ms(), LOG_EVERY_MS))
			log_warn("postgres listen: a change of a map that is not configured here");
		return;
	}
	if (is_all)
		cache_distrust(changes->backends->cache, clock_mono_ms());
	else
		keeper_journal_changed(changes->backends->keeper);
}

static void
on_up(void *arg)
{
	struct row_changes *changes = arg;

	cache_distrust(changes->backends->cache, clock_mono_ms());
}

/* ---- life ---- */

struct row_changes *
row_changes_new(struct event_base *base, struct evdns_base *dns, struct backends *backends,
    const struct rules *rules)
{
	struct row_changes *changes = alloc_zero(sizeof(*changes));
	struct postgres_listen_events events = { on_up, on_notified, changes };

	changes->backends = backends;
	changes->rules = rules;
	changes->listen = postgres_listen_new(base, dns, rules->settings->postgres.listen_url,
	    ROW_CHANGES_CHANNEL, &events);
	backends->has_listen = changes->listen != NULL;
	if (changes->listen != NULL)
		return changes;
	free(changes);
	return NULL;
}

void
row_changes_free(struct row_changes *changes)
{
	if (changes == NULL)
		return;
	postgres_listen_free(changes->listen);
	free(changes);
}

void
row_changes_set_rules(struct row_changes *changes, const struct rules *rules)
{
	if (changes != NULL)
		changes->rules = rules;
}

bool
row_changes_is_heard(const struct row_changes *changes)
{
	return changes != NULL && postgres_listen_is_up(changes->listen);
}

int64_t
row_changes_count(const struct row_changes *changes)
{
	return changes != NULL ? atomic_load(&((struct row_changes *)changes)->count) : 0;
}
