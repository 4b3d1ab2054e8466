/*
 * See hits.h. A pipelined batch, or an MGET, is answered run by run:
 *
 *   read [k1 k2 ... k32] -> hash -> prefetch -> answer, in order
 *
 * so that the memory of one key is on its way while the others are looked at.
 */
#include "front/hits.h"

#include "front/client_inside.h"
#include "front/deny.h"
#include "front/reads.h"
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

/* False: memory cannot answer, and nothing was written. */
static bool
answer(struct client *client, const struct hit *hit, int64_t now_ms, struct buf *out)
{
	struct question question;

	reads_question(client, hit->key, &question);
	return ladder_hit(client->front->ladder, &question, hit->hash, now_ms, out);
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
	const struct client_session *session = &client->session;
	struct slice get = SLICE("GET"), word;

	return session->is_authenticated && session->replies == REPLIES_ON &&
	    client->redis == NULL && client->first == NULL && client->progress.at == 0 &&
	    !deny_has(front_deny(client->front), &get, 1, &word);
}

size_t
hits_take(struct client *client, struct slice bytes, int64_t now_ms)
{
	struct front *front = client->front;
	size_t output_limit = (size_t)client_settings(client)->listen.output_limit;
	struct hit run[RUN];
	size_t at = 0, hits = 0, count, i;

	if (!is_plain(client))
		return 0;
	do {
		count = read_run(bytes, at, run);
		prefetch(front->ladder->backends->cache, run, count);
		for (i = 0; i < count && buf_len(&front->out) <= output_limit; i++) {
			if (!answer(client, &run[i], now_ms, &front->out))
				break;
			at = run[i].end;
		}
		hits += i;
	} while (i == RUN);
	ladder_count_hits(front->ladder, (int64_t)hits);
	counter_add(&front->metrics->requests[REQUEST_READ], (int64_t)hits);
	return at;
}

/* ---- MGET ---- */

bool
hits_take_many(struct client *client, const struct slice *keys, size_t count, int64_t now_ms)
{
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
			if (answer(client, &run[i], now_ms, out))
				continue;
			out->end = out->start + before; /* as if nothing had been */
			return false;
		}
	}
	ladder_count_hits(client->front->ladder, (int64_t)count);
	return true;
}
