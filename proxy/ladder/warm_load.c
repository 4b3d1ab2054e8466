/* The values of a warm-up, batch by batch. See warm.h. */
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "ladder/ladder.h"
#include "ladder/ladder_hit.h"
#include "ladder/warm_inside.h"

#define REDIS_LOOK_MS 20 /* how often to look whether Redis has answered */
#define REDIS_WAIT_MS 2000
#define LOG_EVERY_MS 1000

/* How many keys may be new to memory before it would have to evict. */
static int64_t
find_room(const struct warm *warm)
{
	const struct settings *settings = warm->rules->settings;
	struct cache_stats stats;

	cache_stats(warm->context->backends->cache, &stats);
	if (stats.evictions != warm->evictions)
		return 0;
	int64_t by_count = settings->cache.max_entries - stats.entries;
	/* By what entries take on average: with none there is nothing to go by. */
	int64_t by_bytes = stats.entries == 0
	    ? by_count
	    : (settings->cache.max_memory - stats.bytes) / (stats.bytes / stats.entries + 1);
	return by_bytes < by_count ? by_bytes : by_count;
}

static void
note_loaded(struct warm *warm, struct answer *answer)
{
	if (answer->rung < RUNG_STALE && answer->kind != ANSWER_ERROR)
		atomic_fetch_add(&warm->done, 1);
	else
		warm->has_failures = true;
	answer_release(answer);
}

static void load_on(struct warm *warm);

static void
on_loaded(void *arg, struct answer *answer)
{
	struct warm *warm = arg;

	note_loaded(warm, answer);
	if (--warm->waiting == 0)
		load_on(warm);
}

static struct question
question_of(struct warm *warm, const char *id)
{
	const struct map *map = warm->map;
	size_t before = map->prefix.len;

	buf_reset(&warm->key);
	buf_append_slice(&warm->key, map->prefix);
	buf_append_slice(&warm->key, slice_of(id));
	buf_append_slice(&warm->key, map->suffix);
	struct slice key = buf_slice(&warm->key);
	return (struct question){
		.key = key,
		.is_hash = map->settings->type == MAP_HASH,
		.is_many = true,
		.map = map,
		.id = slice_make(key.at + before, strlen(id)),
		.link = warm->link,
	};
}

/* Asks for one id, unless memory has it. False: there is no room for it. */
static bool
load_one(struct warm *warm, const char *id)
{
	struct question question = question_of(warm, id);
	struct cache_value value;
	struct answer answer = { 0 };
	enum cache_find found =
	    cache_find(warm->context->backends->cache, question.key, clock_mono_ms(), &value, NULL);

	if (found != CACHE_MISS)
		cache_value_release(&value);
	if (found == CACHE_FRESH) {
		atomic_fetch_add(&warm->done, 1);
		return true;
	}
	if (found == CACHE_MISS && warm->room-- <= 0)
		return false;
	if (ladder_load(warm->context, &question, &answer, on_loaded, warm))
		note_loaded(warm, &answer);
	else
		warm->waiting++;
	return true;
}

/* The first batch is one id: it opens the connection. */
static void
load_batch(struct warm *warm)
{
	size_t max = atomic_load(&warm->done) == 0 && !warm->has_failures
	    ? 1
	    : (size_t)warm->rules->settings->postgres.max_batch;

	warm->room = find_room(warm);
	warm->waiting = 1; /* for ourselves: not done before all are asked */
	ladder_begin_many(warm->context);
	for (size_t i = 0; i < max && warm->left > 0 && !warm->is_full; i++) {
		const char *id = warm->next_id;
		warm->is_full = !load_one(warm, id);
		warm->next_id += strlen(id) + 1;
		warm->left--;
	}
	ladder_end_many(warm->context);
	warm->waiting--;
}

static void
log_progress(struct warm *warm)
{
	struct warm_progress progress;
	char text[72];

	if (!log_throttle(&warm->logged_ms, clock_mono_ms(), LOG_EVERY_MS))
		return;
	warm_progress(warm, &progress);
	warm_text(&progress, text, sizeof(text));
	log_info("warm-up %s", text);
}

/* Batch after batch, until one has to wait for a backend. */
static void
load_on(struct warm *warm)
{
	while (!warm->is_ended) {
		bool is_down =
		    warm->has_failures && !backends_postgres_allows(warm->context->backends);
		if (is_down) {
			warm_wait(warm, "postgres went down");
			return;
		}
		if (warm->left == 0 || warm->is_full) {
			warm_finish(warm);
			return;
		}
		log_progress(warm);
		load_batch(warm);
		if (warm->waiting > 0)
			return;
	}
}

/* A reader has 40 ms for a connection that is just being made; the warm-up has
 * time, and would count as many failures as it asks. */
static bool
waits_for_redis(const struct warm *warm)
{
	const struct backends *backends = warm->context->backends;

	return backends->redis_target != NULL && backends_redis_allows(backends) &&
	    !keeper_has_met_redis(backends->keeper) &&
	    clock_mono_ms() - warm->began_ms < REDIS_WAIT_MS;
}

void
warm_load(struct warm *warm)
{
	struct cache_stats stats;

	if (waits_for_redis(warm)) {
		warm_look_in(warm, REDIS_LOOK_MS);
		return;
	}
	if (warm->left > 0 &&
	    !ladder_may_keep(warm->context, question_of(warm, warm->next_id).key)) {
		warm_give_up(warm, "[cache] keys excludes the keys of its map");
		return;
	}
	cache_stats(warm->context->backends->cache, &stats);
	warm->evictions = stats.evictions;
	warm->logged_ms = clock_mono_ms();
	load_on(warm);
}
