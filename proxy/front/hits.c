/*
 * See hits.h. A pipelined batch, or an MGET, is answered run by run:
 *
 *   read [k1 k2 ... k32] -> hash -> prefetch -> answer, in order
 *
 * so that the memory of one key is on its way while the others are looked at.
 * Clients that each have sent a lone GET are such a run together.
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

/* What is the same for all keys of a turn. */
struct hit_rules {
	const struct maps *maps; /* NULL: there are none */
	bool keeps_all;
	int64_t now_ms;
};

static inline struct hit_rules
rules_of(struct front *front)
{
	const struct rules *rules = front->ladder->rules;

	return (struct hit_rules){
		.maps = rules->settings->map_count > 0 ? rules->maps : NULL,
		.keeps_all = ladder_may_keep_all(front->ladder),
		.now_ms = front_now_ms(front),
	};
}

static inline const struct map *
find_map(const struct hit_rules *rules, struct slice key, struct slice *id)
{
	return rules->maps != NULL ? maps_find(rules->maps, key, id) : NULL;
}

static inline void
put_missing(struct buf *out, int resp, const struct map *map)
{
	if (map != NULL && map->settings->missing == MISSING_FREE)
		reply_bulk(out, blob_slice(map->free));
	else
		reply_null(out, resp);
}

/* Takes over the reference. What is encrypted is copied anyway, and an MGET's
 * reply may have to wait for the rest of it. */
static void
put_large(struct client *client, struct buf *out, bool is_many, struct blob *blob)
{
	if (is_many || client->tls != NULL) {
		reply_bulk(out, blob_slice(blob));
		blob_unref(blob);
		return;
	}
	reply_bulk_header(out, blob->len);
	inserts_add(&client->front->inserts, out, blob);
	buf_append(out, "\r\n", 2);
}

/* What cache_read() has not written itself; false: it is no answer. */
static bool
put_other(struct client *client, const struct map *map, bool is_many, enum cache_read read,
    struct blob *large, struct buf *out)
{
	if (read == CACHE_READ_NONE || (read == CACHE_READ_NO_STRING && !is_many))
		return false;
	if (read == CACHE_READ_BLOB)
		put_large(client, out, is_many, large);
	else
		put_missing(out, client->session.resp, map);
	return true;
}

static inline bool
is_hash(const struct map *map)
{
	return map != NULL && map->settings->type == MAP_HASH;
}

/* False: memory cannot answer, and nothing was written. */
__attribute__((always_inline)) static inline bool
answer(struct client *client, const struct hit_rules *rules, const struct hit *hit,
    const struct map *map, bool is_many, struct buf *out)
{
	struct ladder_context *ladder = client->front->ladder;
	struct cache_reading reading;

	if (is_hash(map) || (!rules->keeps_all && !ladder_may_keep(ladder, hit->key)))
		return false;
	enum cache_read read =
	    ladder_hit(ladder, hit->key, hit->hash, rules->now_ms, out, &reading);
	if (read != CACHE_READ_BULK && !put_other(client, map, is_many, read, reading.bytes, out))
		return false;
	if (reading.should_refresh)
		refresh(client, hit->key);
	return true;
}

/* A GET, which may be one too many. One that memory cannot answer stays
 * counted: request_handle() does not count it again. */
static inline bool
answer_get(struct client *client, const struct hit_rules *rules, const struct hit *hit,
    int64_t *hits)
{
	struct front *front = client->front;
	struct slice id = SLICE_NONE;
	const struct map *map = find_map(rules, hit->key, &id);
	bool counts = !client->peer.is_local || (map != NULL && map->settings->limit);

	if (!counts || !limit_gate_refuses_get(client, map, id, hit->hash)) {
		if (!answer(client, rules, hit, map, false, &front->out))
			return false;
		++*hits;
	}
	if (counts)
		limit_gate_done(client);
	return true;
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
static inline bool
is_plain(struct client *client)
{
	struct front *front = client->front;
	const struct client_session *session = &client->session;

	if (front->deny_of != client_settings(client)->commands.deny)
		front_deny(front);
	return session->is_authenticated && session->replies == REPLIES_ON &&
	    client->redis == NULL && client->last == NULL && !front->denies_get;
}

size_t
hits_take(struct client *client, struct slice bytes)
{
	struct front *front = client->front;
	size_t output_limit = (size_t)client_settings(client)->listen.output_limit;
	struct hit_rules rules = rules_of(front);
	struct hit run[RUN];
	size_t at = 0, answered = 0, count, i;
	int64_t hits = 0;

	if (!is_plain(client))
		return 0;
	do {
		count = read_run(bytes, at, run);
		prefetch(front->ladder->backends->cache, run, count);
		for (i = 0; i < count && front_out_len(front) <= output_limit; i++) {
			if (!answer_get(client, &rules, &run[i], &hits))
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

/* ---- one GET of each of many clients ---- */

bool
hits_take_lone(struct client *client, struct slice bytes)
{
	struct front *front = client->front;
	struct lone_get *lone = &front->lone_gets[front->lone_count];

	if (bytes.len > LONE_BYTES || request_get(bytes, &lone->key) != bytes.len || bytes.len == 0)
		return false;
	lone->client = client;
	lone->bytes = bytes;
	lone->hash = cache_hash(lone->key);
	cache_prefetch(front->ladder->backends->cache, lone->hash);
	client->is_lone = true;
	front->lone_bytes += bytes.len;
	if (++front->lone_count == LONE_GETS)
		hits_answer_lone(front);
	return true;
}

/* True when memory has answered, or the client was refused. */
static inline bool
answer_lone(const struct lone_get *lone, const struct hit_rules *rules, int64_t *hits)
{
	struct client *client = lone->client;
	struct hit hit = { lone->key, lone->hash, 0 };

	client->is_lone = false;
	if (!is_plain(client))
		return false;
	client->front->handling = client;
	bool is_answered = answer_get(client, rules, &hit, hits);
	client->front->handling = NULL;
	if (!is_answered)
		return false;
	client->session.active_ds = (uint32_t)(rules->now_ms / 100);
	client->session.last = client->front->get_info;
	if (client_send_shared(client) && client->unfinished != NULL)
		client_settle(client);
	return true;
}

void
hits_answer_lone(struct front *front)
{
	size_t count = front->lone_count;
	int64_t hits = 0, answered = 0;

	if (count == 0)
		return;
	struct hit_rules rules = rules_of(front);
	for (size_t i = 0; i < count && count > 1; i++)
		cache_prefetch_entry(front->ladder->backends->cache, front->lone_gets[i].hash);
	for (size_t i = 0; i < count; i++) {
		struct lone_get *lone = &front->lone_gets[i];
		if (lone->client != NULL && answer_lone(lone, &rules, &hits))
			answered++;
		else if (lone->client != NULL)
			client_handle_fresh(lone->client, lone->bytes);
	}
	front->lone_count = front->lone_bytes = 0;
	ladder_count_hits(front->ladder, hits);
	counter_add(&front->metrics->requests[REQUEST_READ], answered);
	front_count_batches(front, answered, hits);
}

void
hits_forget_lone(struct client *client)
{
	struct front *front = client->front;

	for (size_t i = 0; i < front->lone_count && client->is_lone; i++) {
		if (front->lone_gets[i].client == client)
			front->lone_gets[i].client = NULL;
	}
}

/* ---- MGET ---- */

static void
hash_run(const struct front *front, const struct slice *keys, size_t count, struct hit *run)
{
	for (size_t i = 0; i < count; i++) {
		run[i].key = keys[i];
		run[i].hash = cache_hash(keys[i]);
	}
	prefetch(front->ladder->backends->cache, run, count);
}

size_t
hits_take_many(struct client *client, const struct slice *keys, size_t count, struct buf *out,
    struct buf *gaps)
{
	struct front *front = client->front;
	struct hit_rules rules = rules_of(front);
	size_t start = buf_len(out), missing = 0;
	int64_t hits = 0;
	struct hit run[RUN];

	reply_array(out, count);
	for (size_t index = 0; index < count; index++) {
		const struct hit *hit = &run[index % RUN];
		struct slice id = SLICE_NONE;
		if (hit == run)
			hash_run(front, keys + index, count - index < RUN ? count - index : RUN,
			    run);
		const struct map *map = find_map(&rules, hit->key, &id);
		if (is_hash(map)) {
			reply_null(out, client->session.resp); /* as a hash in Redis is to MGET */
		} else if (answer(client, &rules, hit, map, true, out)) {
			hits++;
		} else {
			struct hits_gap gap = { index, buf_len(out) - start };
			buf_append(gaps, &gap, sizeof(gap));
			missing++;
		}
	}
	ladder_count_hits(front->ladder, hits);
	return missing;
}
