/*
 * See hits.h. A pipelined batch, or an MGET, is answered run by run:
 *
 *   read [k1 k2 ... k32] -> hash -> prefetch -> answer, in order
 *
 * so that the memory of one key is on its way while the others are looked at.
 */
#include "front/hits.h"

#include "front/client_inside.h"
#include "front/limit_gate.h"
#include "front/reads.h"
#include "ladder/ladder_hit.h"
#include "wire/reply.h"

#define RUN 32 /* keys looked up together */

struct hit {
	struct slice key;
	uint64_t hash;
	size_t end; /* of its command, in what the client has sent */
};

/* A lone key is found as fast as it can be prefetched. */
static void
prefetch(const struct cache *cache, const struct hit *run, size_t count)
{
	for (size_t i = 0; i < count && count > 1; i++)
		cache_prefetch(cache, run[i].hash);
	for (size_t i = 0; i < count && count > 1; i++)
		cache_prefetch_entry(cache, run[i].hash);
}

static void
refresh(struct client *client, struct slice key)
{
	struct question question;

	reads_question(client, key, &question);
	ladder_refresh(client->front->ladder, &question);
}

static inline const struct map *
find_map(const struct front *front, struct slice key, struct slice *id)
{
	const struct rules *rules = front->ladder->rules;

	return rules->settings->map_count > 0 ? maps_find(rules->maps, key, id) : NULL;
}

/* False: memory cannot answer, and nothing was written. */
static inline bool
answer(struct client *client, const struct hit *hit, const struct map *map, int64_t now_ms,
    struct buf *out)
{
	bool should_refresh;

	if (map != NULL && map->settings->type == MAP_HASH)
		return false;
	if (!ladder_hit(client->front->ladder, hit->key, hit->hash, now_ms, out, &should_refresh))
		return false;
	if (should_refresh)
		refresh(client, hit->key);
	return true;
}

/* A GET, which may be one too many. One that memory cannot answer stays
 * counted: request_handle() does not count it again. */
static inline bool
answer_get(struct client *client, const struct hit *hit, int64_t now_ms, int64_t *hits)
{
	struct front *front = client->front;
	struct slice id = SLICE_NONE;
	const struct map *map = find_map(front, hit->key, &id);
	bool counts = !client->peer.is_local || (map != NULL && map->settings->limit);

	if (!counts || !limit_gate_refuses_get(client, map, id, hit->hash)) {
		if (!answer(client, hit, map, now_ms, &front->out))
			return false;
		++*hits;
	}
	if (counts)
		limit_gate_done(client);
	return true;
}

/* One of several keys, which are counted already. */
static inline bool
answer_one_of_many(struct client *client, const struct hit *hit, int64_t now_ms, struct buf *out)
{
	struct slice id = SLICE_NONE;
	const struct map *map = find_map(client->front, hit->key, &id);

	return answer(client, hit, map, now_ms, out);
}

/* ---- GET, GET, GET ... ---- */

static size_t
read_run(struct slice bytes, size_t at, struct hit *run)
{
	size_t count = 0;

	for (; count < RUN; count++) {
		struct hit *hit = &run[count];
		size_t len = request_get(slice_make(bytes.at + at, bytes.len - at), &hit->key);
		if (len == 0)
			break;
		hit->hash = cache_hash(hit->key);
		hit->end = at += len;
	}
	return count;
}

/* Whether a GET may be answered before it has been looked at more closely:
 * then its reply is the next one, and wanted. */
static bool
is_plain(struct client *client)
{
	struct front *front = client->front;
	const struct client_session *session = &client->session;

	front_deny(front);
	return session->is_authenticated && session->replies == REPLIES_ON &&
	    client->redis == NULL && client->last == NULL && !front->denies_get;
}

size_t
hits_take(struct client *client, struct slice bytes)
{
	struct front *front = client->front;
	size_t output_limit = (size_t)client_settings(client)->listen.output_limit;
	int64_t now_ms = front_now_ms(front);
	struct hit run[RUN];
	size_t at = 0, answered = 0, count, i;
	int64_t hits = 0;

	if (!is_plain(client))
		return 0;
	do {
		count = read_run(bytes, at, run);
		prefetch(front->ladder->backends->cache, run, count);
		for (i = 0; i < count && buf_len(&front->out) <= output_limit; i++) {
			if (!answer_get(client, &run[i], now_ms, &hits))
				break;
			at = run[i].end;
		}
		answered += i;
	} while (i == RUN);
	if (answered > 0) {
		ladder_count_hits(front->ladder, hits);
		counter_add(&front->metrics->requests[REQUEST_READ], (int64_t)answered);
		client->session.last = front->get_info;
	}
	return at;
}

/* ---- MGET ---- */

bool
hits_take_many(struct client *client, const struct slice *keys, size_t count)
{
	int64_t now_ms = front_now_ms(client->front);
	struct buf *out = client_reply(client);
	size_t before = buf_len(out);
	struct hit run[RUN];

	reply_array(out, count);
	for (size_t at = 0; at < count; at += RUN) {
		size_t here = count - at < RUN ? count - at : RUN;
		for (size_t i = 0; i < here; i++) {
			run[i].key = keys[at + i];
			run[i].hash = cache_hash(keys[at + i]);
		}
		prefetch(client->front->ladder->backends->cache, run, here);
		for (size_t i = 0; i < here; i++) {
			if (answer_one_of_many(client, &run[i], now_ms, out))
				continue;
			out->end = out->start + before; /* as if nothing had been */
			return false;
		}
	}
	ladder_count_hits(client->front->ladder, (int64_t)count);
	return true;
}
