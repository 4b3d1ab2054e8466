/*
 * See client_inside.h, hits_take_lone(). Clients that each have sent one GET are
 * answered together: when LONE_GETS have come, or the turn of the loop ends.
 *
 *   read c1 c2 ... c16 -> prefetch -> read all keys, in a row -> send each its part
 */
#include "front/hits_inside.h"

#define LONE_ROW_BYTES 16384 /* of values: then it is time to send them */

bool
hits_take_lone(struct client *client, struct slice bytes)
{
	struct front *front = client->front;
	struct lone_get *lone = &front->lone_gets[front->lone_count];
	struct cache_key *key = &front->lone_keys[front->lone_count];

	if (bytes.len > LONE_BYTES || request_get(bytes, &key->key) != bytes.len || bytes.len == 0)
		return false;
	key->hash = cache_hash(key->key);
	key->place = 0;
	cache_prefetch(hit_cache(front), key->hash);
	*lone = (struct lone_get){ client, bytes };
	client->is_lone = true;
	front->lone_bytes += bytes.len;
	if (++front->lone_count == LONE_GETS)
		hits_answer_lone(front);
	return true;
}

static void
note_answered(struct client *client, const struct hit_rules *rules)
{
	client->is_lone = false;
	client->session.active_ds = rules->now_ds;
	client->session.last = client->front->get_info;
}

/* The end of those, from `from` on, that may be answered in one row. */
static size_t
lone_row_end(struct front *front, const struct hit_rules *rules, size_t from)
{
	size_t end = from;

	for (; end < front->lone_count; end++) {
		struct client *client = front->lone_gets[end].client;
		if (client == NULL || client->dirty_place != 0 || hit_is_over(client, rules) ||
		    !hit_may_be_next(client) ||
		    hit_row_len(client, rules, &front->lone_keys[end], 1) == 0)
			break;
	}
	return end;
}

/* What it is sent of what has been read for all: its part, or a refusal. */
static struct slice
lone_reply(struct client *client, const struct hit_rules *rules, const struct cache_key *key,
    size_t at, int64_t *hits)
{
	struct buf *out = &client->front->out;
	size_t end = buf_len(out);

	if (hit_counts(client, rules)) {
		client->front->handling = client;
		bool is_over = hit_is_refused(client, rules, key, true);
		client->front->handling = NULL;
		if (is_over)
			return slice_make(out->at + end, buf_len(out) - end);
	}
	++*hits;
	return slice_make(out->at + at, key->end - at);
}

/* How many of a row of clients memory has answered. */
static size_t
answer_lone_row(struct front *front, const struct hit_rules *rules, size_t from, size_t end,
    int64_t *hits)
{
	struct cache_key *keys = front->lone_keys + from;
	struct cache_reader reader = { .out = &front->out,
		.most = LONE_ROW_BYTES,
		.now_ms = rules->now_ms };
	size_t count = cache_read_row(hit_cache(front), keys, end - from, &reader), at = 0;

	for (size_t i = 0; i < count; at = keys[i++].end) {
		struct client *client = front->lone_gets[from + i].client;
		if (client == NULL)
			continue;
		note_answered(client, rules);
		client_send_fresh(client, lone_reply(client, rules, &keys[i], at, hits));
	}
	front_empty_out(front);
	return count;
}

static bool
refuse_again(struct client *client, const struct hit_rules *rules, const struct cache_key *key)
{
	struct front *front = client->front;

	if (!hit_is_over(client, rules) || client->dirty_place != 0 || !hit_may_be_next(client))
		return false;
	front->handling = client;
	bool is_over = hit_is_refused(client, rules, key, false);
	front->handling = NULL;
	if (!is_over)
		return false;
	limit_gate_done(client);
	note_answered(client, rules);
	client_send_fresh(client, buf_slice(&front->out));
	front_empty_out(front);
	return true;
}

void
hits_answer_lone(struct front *front)
{
	size_t count = front->lone_count, end = 0;
	int64_t hits = 0, answered = 0;

	if (count == 0)
		return;
	struct hit_rules rules = hit_rules_of(front);
	hits_prefetch_entries(hit_cache(front), front->lone_keys, count);
	for (size_t i = 0; i < count; i++) {
		end = end > i ? end : lone_row_end(front, &rules, i);
		size_t in_row = answer_lone_row(front, &rules, i, end, &hits);
		i += in_row;
		answered += (int64_t)in_row;
		struct client *client = i < count ? front->lone_gets[i].client : NULL;
		if (client == NULL)
			continue;
		client->is_lone = false;
		if (refuse_again(client, &rules, &front->lone_keys[i]))
			answered++;
		else
			client_handle_fresh(client, front->lone_gets[i].bytes);
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
