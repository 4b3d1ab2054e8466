/* See reply_read.h. */
#include "ladder/reply_read.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ladder/fill.h"
#include "ladder/forward.h"
#include "ladder/ladder.h"
#include "ladder/ladder_hit.h"

struct reply_read {
	struct forward forward;
	struct ladder_context *context;
	struct cache_lease lease;
	bool may_keep;
	int64_t started_us;
	ladder_replied_fn replied;
	void *arg;
	size_t key_len, variant_len;
	char bytes[]; /* key, variant */
};

static struct slice
key_of(const struct reply_read *read)
{
	return slice_make(read->bytes, read->key_len);
}

static struct slice
variant_of(const struct reply_read *read)
{
	return slice_make(read->bytes + read->key_len, read->variant_len);
}

static void
count(struct ladder_context *context, enum rung rung, int64_t took_us)
{
	counter_add(&context->metrics->answers[rung], 1);
	histogram_add(&context->metrics->seconds[rung], took_us);
}

/* A copy past its freshness; true: appended to `out`. */
static bool
append_stale(const struct reply_read *read, struct buf *out)
{
	struct cache_value value;

	if (!read->may_keep ||
	    cache_find_variant(read->context->backends->cache, key_of(read), variant_of(read),
		clock_mono_ms(), &value, NULL) == CACHE_MISS)
		return false;
	buf_append_slice(out, blob_slice(value.bytes));
	cache_value_release(&value);
	return true;
}

static bool
has_stale(const struct reply_read *read)
{
	struct cache_value value;
	bool has = read->may_keep &&
	    cache_find_variant(read->context->backends->cache, key_of(read), variant_of(read),
		clock_mono_ms(), &value, NULL) != CACHE_MISS;

	if (has)
		cache_value_release(&value);
	return has;
}

static enum rung
reply_without_redis(const struct reply_read *read, const char *what, struct buf *out)
{
	if (append_stale(read, out))
		return RUNG_STALE;
	backends_reply_down(read->context->backends, what, out);
	return RUNG_ERROR;
}

static void
keep(struct reply_read *read, struct slice reply)
{
	struct fetched fetched = {
		.outcome = FETCH_VALUE,
		.kind = CACHE_REPLY,
		.source = CACHE_FROM_REDIS,
		.valid_until_ms = TIME_NEVER,
		.is_validity_exact = true,
		.took_ms = (clock_mono_us() - read->started_us) / 1000,
	};

	if (!read->may_keep || reply.at[0] == '-')
		return;
	fetched.bytes = blob_new(reply);
	fill_memory_variant(read->context, key_of(read), variant_of(read), &read->lease, &fetched);
	blob_unref(fetched.bytes);
}

static void
on_event(struct forward *forward, enum forward_event event, struct slice reply)
{
	struct reply_read *read =
	    (struct reply_read *)((char *)forward - offsetof(struct reply_read, forward));
	struct buf out = BUF_EMPTY;
	enum rung rung = RUNG_REDIS;

	if (event == FORWARD_ANSWERED)
		keep(read, reply);
	if (event == FORWARD_SETTLED) { /* answered long ago */
		if (reply.len > 0)
			keep(read, reply);
		free(read);
		return;
	}
	if (event != FORWARD_ANSWERED && (event != FORWARD_SICK || has_stale(read))) {
		rung = reply_without_redis(read,
		    event == FORWARD_OVERDUE    ? "no answer from redis in time"
			: event == FORWARD_LOST ? "the connection broke before the answer came"
						: NULL,
		    &out);
		reply = buf_slice(&out);
	}
	count(read->context, rung, clock_mono_us() - read->started_us);
	read->replied(read->arg, rung, reply);
	buf_free(&out);
	if (event != FORWARD_OVERDUE)
		free(read);
}

/* The words, and the protocol version that the reply is in. */
static struct reply_read *
reply_read_new(struct ladder_context *context, const struct write_command *command)
{
	struct slice key = command->argv[1], words = command->raw;
	struct reply_read *read = alloc_zero(sizeof(*read) + key.len + words.len + 1);

	read->context = context;
	read->may_keep = ladder_may_keep(context, key);
	read->started_us = clock_mono_us();
	read->key_len = key.len;
	read->variant_len = words.len + 1;
	memcpy(read->bytes, key.at, key.len);
	read->bytes[key.len] = (char)('0' + command->link.resp);
	memcpy(read->bytes + key.len + 1, words.at, words.len);
	read->lease = cache_lease(context->backends->cache, key);
	return read;
}

static bool
append_fresh(struct reply_read *read, struct buf *out)
{
	struct cache_value value;
	enum cache_find found;

	if (!read->may_keep)
		return false;
	found = cache_find_variant(read->context->backends->cache, key_of(read), variant_of(read),
	    clock_mono_ms(), &value, NULL);
	if (found == CACHE_FRESH)
		buf_append_slice(out, blob_slice(value.bytes));
	if (found != CACHE_MISS)
		cache_value_release(&value);
	counter_add(found == CACHE_FRESH ? &read->context->metrics->hits
					 : &read->context->metrics->misses,
	    1);
	return found == CACHE_FRESH;
}

bool
reply_read(struct ladder_context *context, const struct write_command *command, struct buf *out,
    enum rung *rung, ladder_replied_fn replied, void *arg)
{
	const struct settings *settings = context->rules->settings;
	struct reply_read *read = reply_read_new(context, command);

	read->replied = replied;
	read->arg = arg;
	read->forward.on_event = on_event;
	if (append_fresh(read, out)) {
		*rung = RUNG_MEMORY;
		counter_add(&context->metrics->answers[RUNG_MEMORY], 1);
		free(read);
		return true;
	}
	int64_t wait_ms = has_stale(read) ? settings->redis.budget_ms : settings->redis.timeout_ms;
	bool may_ask = !journal_has(context->backends->journal, key_of(read));
	if (may_ask && forward_send(context, &read->forward, command->link, command->raw, wait_ms))
		return false;
	*rung = reply_without_redis(read,
	    may_ask ? NULL : "the copy in redis is older than a write here", out);
	count(context, *rung, clock_mono_us() - read->started_us);
	free(read);
	return true;
}
