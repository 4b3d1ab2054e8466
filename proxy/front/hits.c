/*
 * See hits.h. A pipelined batch, or an MGET, is answered row by row:
 *
 *   read [k1 k2 ... k32] -> hash -> prefetch -> answer, in order
 *
 * so that the memory of one key is on its way while the others are looked at.
 * The cache writes the replies of a row by itself, up to a key that is more than
 * a short, fresh string: that one is read alone, and a GET that is not there
 * ends it. Users are counted behind their row; who was refused last, before.
 *
 * Clients that each have sent a lone GET are such a row together: hits_lone.c.
 */
#include "front/hits.h"

#include "front/hits_inside.h"
#include "front/limit_gate.h"
#include "front/reads.h"
#include "wire/reply.h"

#define ROW 32 /* keys looked up together */

void
hits_prefetch_entries(const struct cache *cache, struct cache_key *keys, size_t count)
{
	for (size_t i = 0; i < count && count > 1; i++)
		cache_prefetch_entry(cache, &keys[i]);
}

/* A lone key is found as fast as it can be prefetched. */
static void
prefetch(const struct cache *cache, struct cache_key *keys, size_t count)
{
	for (size_t i = 0; i < count && count > 1; i++)
		cache_prefetch(cache, keys[i].hash);
	hits_prefetch_entries(cache, keys, count);
}

static void
refresh(struct client *client, struct slice key)
{
	struct question question;

	reads_question(client, key, &question);
	ladder_refresh(client->front->ladder, &question);
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

/* A key that ended a row. False: memory cannot answer, and nothing was written. */
static bool
answer_odd(struct client *client, const struct hit_rules *rules, const struct cache_key *key,
    bool is_many, struct buf *out)
{
	struct slice id = SLICE_NONE;
	struct cache_reading reading;
	enum cache_read read =
	    cache_read(hit_cache(client->front), key, rules->now_ms, out, &reading);

	if (read == CACHE_READ_NONE || (read == CACHE_READ_NO_STRING && !is_many))
		return false;
	if (read == CACHE_READ_BLOB)
		put_large(client, out, is_many, reading.bytes);
	else if (read != CACHE_READ_BULK)
		put_missing(out, client->session.resp, hit_map(rules, key->key, &id));
	if (reading.should_refresh)
		refresh(client, key->key);
	return true;
}

/*
 * Counts those that have just been read, in one row: who is refused costs more
 * then, all others less. Returns how many may have their answers; behind them
 * there is the refusal of the next, if they are not all.
 */
static size_t
count_row(struct client *client, const struct hit_rules *rules, const struct cache_key *keys,
    size_t count, size_t start)
{
	struct buf *out = &client->front->out;
	size_t end = buf_len(out), i;

	for (i = 0; i < count; i++) {
		if (!hit_is_refused(client, rules, &keys[i], true))
			continue;
		char *at = out->at + out->start;
		size_t refusal = buf_len(out) - end;
		start = i > 0 ? keys[i - 1].end : start;
		memmove(at + start, at + end, refusal);
		out->end = out->start + start + refusal;
		break;
	}
	return i;
}

/* One GET, counted first. One that memory cannot answer stays counted:
 * request_handle() does not count it again. */
static bool
answer_one(struct client *client, const struct hit_rules *rules, struct cache_key *key,
    int64_t *hits)
{
	struct cache_reader reader = { .out = &client->front->out,
		.most = SIZE_MAX,
		.now_ms = rules->now_ms };

	if (!hit_counts(client, rules) || !hit_is_refused(client, rules, key, false)) {
		if (hit_row_len(client, rules, key, 1) == 0 ||
		    (cache_read_row(hit_cache(client->front), key, 1, &reader) == 0 &&
			!answer_odd(client, rules, key, false, &client->front->out)))
			return false;
		++*hits;
	}
	limit_gate_done(client);
	return true;
}

/* How many GETs have been answered: up to the first that memory cannot, or
 * until the client is owed too much. `hits` are those that were no refusals. */
static size_t
answer_gets(struct client *client, const struct hit_rules *rules, struct cache_key *keys,
    size_t count, int64_t *hits)
{
	struct front *front = client->front;
	struct cache_reader reader = { .out = &front->out, .now_ms = rules->now_ms };
	size_t most = (size_t)client_settings(client)->listen.output_limit;
	size_t i = 0, row_end = 0;

	while (i < count && front_out_len(front) <= most) {
		if (hit_is_over(client, rules)) {
			if (!answer_one(client, rules, &keys[i], hits))
				break;
			i++;
			continue;
		}
		size_t start = buf_len(&front->out);
		if (row_end <= i)
			row_end = i + hit_row_len(client, rules, &keys[i], count - i);
		reader.most = most - front->inserts.bytes;
		size_t read = cache_read_row(hit_cache(front), &keys[i], row_end - i, &reader);
		size_t passed = hit_counts(client, rules)
		    ? count_row(client, rules, &keys[i], read, start)
		    : read;
		*hits += (int64_t)passed;
		i += passed;
		if (passed == read &&
		    (!reader.is_there || !answer_one(client, rules, &keys[i], hits)))
			break;
		i++; /* refused, or answered by itself */
	}
	return i;
}

/* ---- GET, GET, GET ... ---- */

/* GETs at the start of `bytes`, and where each ends; up to ROW. */
static size_t
read_gets(struct slice bytes, size_t at, struct cache_key *keys, size_t *ends)
{
	size_t count = 0;

	for (; count < ROW; count++) {
		struct cache_key *key = &keys[count];
		size_t len = request_get(slice_make(bytes.at + at, bytes.len - at), &key->key);
		if (len == 0)
			break;
		key->hash = cache_hash(key->key);
		key->place = 0;
		ends[count] = at += len;
	}
	return count;
}

size_t
hits_take(struct client *client, struct slice bytes)
{
	struct front *front = client->front;
	struct hit_rules rules = hit_rules_of(front);
	struct cache_key keys[ROW];
	size_t ends[ROW], at = 0, answered = 0, count, i;
	int64_t hits = 0;

	if (!hit_may_be_next(client))
		return 0;
	do {
		count = read_gets(bytes, at, keys, ends);
		prefetch(hit_cache(front), keys, count);
		i = answer_gets(client, &rules, keys, count, &hits);
		at = i > 0 ? ends[i - 1] : at;
		answered += i;
	} while (i == ROW);
	if (answered > 0) {
		ladder_count_hits(front->ladder, hits);
		counter_add(&front->metrics->requests[REQUEST_READ], (int64_t)answered);
		client->session.last = front->get_info;
	}
	return at;
}

/* ---- MGET ---- */

static void
hash_keys(const struct front *front, const struct slice *words, size_t count,
    struct cache_key *keys)
{
	for (size_t i = 0; i < count; i++)
		keys[i] = cache_key(words[i]);
	prefetch(hit_cache(front), keys, count);
}

/* To MGET a hash is nil, as one in Redis is. False: memory cannot answer. */
static bool
answer_hash(struct client *client, const struct hit_rules *rules, const struct cache_key *key,
    struct buf *out)
{
	struct slice id;

	if (!hit_is_hash(hit_map(rules, key->key, &id)))
		return false;
	reply_null(out, client->session.resp);
	return true;
}

/* How many of an MGET's keys memory has answered, up to the first that it cannot. */
static size_t
answer_some(struct client *client, const struct hit_rules *rules, struct cache_key *keys,
    size_t count, struct buf *out)
{
	struct cache_reader reader = { .out = out, .most = SIZE_MAX, .now_ms = rules->now_ms };
	size_t read = cache_read_row(hit_cache(client->front), keys, count, &reader);

	return reader.is_there && answer_odd(client, rules, &keys[read], true, out) ? read + 1
										    : read;
}

size_t
hits_take_many(struct client *client, const struct slice *words, size_t count, struct buf *out,
    struct buf *gaps)
{
	struct front *front = client->front;
	struct hit_rules rules = hit_rules_of(front);
	size_t start = buf_len(out), missing = 0, hits = 0, row, row_end, done;
	struct cache_key keys[ROW];

	reply_array(out, count);
	for (size_t at = 0; at < count; at += row) {
		row = count - at < ROW ? count - at : ROW;
		hash_keys(front, words + at, row, keys);
		row_end = 0;
		for (size_t i = 0; i < row; i += done) {
			if (row_end <= i)
				row_end = i + hit_row_len(client, &rules, &keys[i], row - i);
			done = answer_some(client, &rules, &keys[i], row_end - i, out);
			hits += done;
			if (done > 0)
				continue;
			done = 1;
			if (row_end == i && answer_hash(client, &rules, &keys[i], out))
				continue;
			struct hits_gap gap = { at + i, buf_len(out) - start };
			buf_append(gaps, &gap, sizeof(gap));
			missing++;
		}
	}
	ladder_count_hits(front->ladder, (int64_t)hits);
	return missing;
}
