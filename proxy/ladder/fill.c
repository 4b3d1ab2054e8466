/* See fill.h. */
#include "ladder/fill.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/resp.h"
#include "ladder/keeper.h"
#include "wire/request.h"

#define JITTER 0.1       /* off the ttl, so that what came together does not go together */
#define REFRESH_SHARE 50 /* the least time an early refresh is given: ttl / 50 */

static int64_t
earliest(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/*
 * When a reader should ask again before the value expires: XFetch (Vattani,
 * Chierichetti and Lowenstein, "Optimal Probabilistic Cache Stampede
 * Prevention", VLDB 2015) with beta 1. The random draw is made once a fill
 * and not once a read: the first reader past it is the one that refreshes.
 */
static int64_t
early_refresh_at(struct ladder_context *context, int64_t fresh_until_ms, int64_t ttl_ms,
    int64_t took_ms)
{
	int64_t cost_ms = took_ms > ttl_ms / REFRESH_SHARE ? took_ms : ttl_ms / REFRESH_SHARE;

	return fresh_until_ms + (int64_t)((double)cost_ms * log(1 - random_unit(&context->random)));
}

/* A reply that says "nothing there": nil, 0, an empty list. */
static bool
says_nothing(const struct fetched *fetched)
{
	static const struct slice nothings[] = {
		SLICE_INIT("$-1\r\n"),
		SLICE_INIT("_\r\n"),
		SLICE_INIT(":0\r\n"),
		SLICE_INIT("*0\r\n"),
		SLICE_INIT("*-1\r\n"),
		SLICE_INIT("%0\r\n"),
		SLICE_INIT("~0\r\n"),
		SLICE_INIT("+none\r\n"),
	};

	for (size_t i = 0; i < sizeof(nothings) / sizeof(nothings[0]); i++) {
		if (slice_equal(blob_slice(fetched->bytes), nothings[i]))
			return true;
	}
	return false;
}

void
fill_memory(struct ladder_context *context, struct slice key, const struct cache_lease *lease,
    const struct fetched *fetched)
{
	fill_memory_variant(context, key, SLICE_NONE, lease, fetched);
}

void
fill_memory_variant(struct ladder_context *context, struct slice key, struct slice variant,
    const struct cache_lease *lease, const struct fetched *fetched)
{
	const struct settings *settings = context->rules->settings;
	bool is_value = fetched->outcome == FETCH_VALUE;
	bool is_short = !is_value || (fetched->kind == CACHE_REPLY && says_nothing(fetched));

	bool is_of_many = fetched->outcome == FETCH_NIL && fetched->kind == CACHE_NO_STRING;

	if (fetched->outcome == FETCH_ERROR || fetched->outcome == FETCH_FAILED)
		return;
	int64_t now_ms = clock_mono_ms();
	int64_t ttl_ms = is_short ? settings->cache.negative_ttl_ms : settings->cache.ttl_ms;
	ttl_ms -= (int64_t)((double)ttl_ms * JITTER * random_unit(&context->random));
	int64_t valid_until_ms = is_value ? fetched->valid_until_ms : TIME_NEVER;
	/* It is as old as the question: a slow answer may have been overtaken. */
	int64_t good_until_ms = now_ms - fetched->took_ms + ttl_ms;
	int64_t fresh_until_ms = earliest(good_until_ms, valid_until_ms);
	struct cache_value value = {
		.kind = is_value                     ? fetched->kind
		    : fetched->outcome == FETCH_OVER ? CACHE_OVER
		    : is_of_many                     ? CACHE_NO_STRING
						     : CACHE_ABSENT,
		.source = fetched->source,
		.bytes = is_value ? fetched->bytes : NULL,
		.filled_ms = now_ms,
		.fresh_until_ms = fresh_until_ms,
		/* "Was not there" is no answer for a day without backends. */
		.stale_until_ms =
		    is_value ? good_until_ms + settings->cache.stale_ms : fresh_until_ms,
		.valid_until_ms = valid_until_ms,
		.is_validity_exact = !is_value || fetched->is_validity_exact,
		.refresh_at_ms = is_value
		    ? early_refresh_at(context, fresh_until_ms, ttl_ms, fetched->took_ms)
		    : TIME_NEVER,
	};
	if (ttl_ms > 0)
		cache_fill_variant(context->backends->cache, key, variant, lease, &value);
	else if (!is_value && variant.len == 0) /* not to be remembered; what says otherwise goes */
		cache_drop_under(context->backends->cache, key, lease);
}

/* ---- Redis ---- */

struct redis_fill {
	struct redis_call call;
	struct backends *backends;
	size_t key_len;
	char key[];
};

/* SET NX says nil, the script 0. */
static bool
was_not_kept(struct slice reply)
{
	return slice_starts(reply, SLICE("$-1")) || slice_starts(reply, SLICE("_")) ||
	    slice_starts(reply, SLICE(":0"));
}

static void
on_filled(struct redis_call *call, enum call_result result, struct slice reply)
{
	struct redis_fill *fill = (struct redis_fill *)call;

	struct slice key = { fill->key, fill->key_len };

	/* Somebody has put another value there meanwhile, which is newer than
	 * ours: memory is to ask for it. What else went wrong the link counts. */
	if (result == CALL_ANSWERED && was_not_kept(reply)) {
		keeper_forget_fill(fill->backends->keeper, key);
		cache_expire(fill->backends->cache, key);
	}
	journal_release(fill->backends->journal, key);
	keeper_journal_changed(fill->backends->keeper); /* it may have waited for this */
	free(fill);
}

/* NX: what somebody else has put there since Redis said nil is newer. */
static void
append_string_fill(struct buf *out, struct slice key, struct slice value, struct slice ttl)
{
	/* A moment, not a span: a Redis that hangs may run this much later. */
	struct slice argv[] = { SLICE("SET"), key, value, SLICE("PXAT"), ttl, SLICE("NX") };

	request_append(out, argv, 6);
}

/* One script, so that a hash without its ttl cannot stay behind. Who bills counts
 * what is in it: HSET takes 500 fields at a time, which Lua's stack has room for. */
static void
append_hash_fill(struct buf *out, struct slice key, struct slice fields, struct slice ttl)
{
	static const struct slice script =
	    SLICE_INIT("if redis.call('EXISTS',KEYS[1])==1 then return 0 end "
		       "for i=2,#ARGV,1000 do redis.call('HSET',KEYS[1],"
		       "unpack(ARGV,i,math.min(i+999,#ARGV))) end "
		       "redis.call('PEXPIREAT',KEYS[1],ARGV[1]) return 1");
	struct slice head[] = { SLICE("EVAL"), script, SLICE("1"), key, ttl };
	size_t words = 0;

	/* Fields are bulk strings already: count them, and append them as they are. */
	for (size_t at = 0; at < fields.len; words++) {
		char type;
		int64_t len;
		size_t header;
		if (!resp_header(slice_make(fields.at + at, fields.len - at), &type, &len, &header))
			return;
		at += header + (size_t)len + 2;
	}
	if (words == 0)
		return;
	struct buf start = BUF_EMPTY;
	request_append(&start, head, 5);
	buf_take(&start, 4); /* "*5\r\n" */
	buf_printf(out, "*%zu\r\n", 5 + words);
	buf_append_slice(out, buf_slice(&start));
	buf_append_slice(out, fields);
	buf_free(&start);
}

void
fill_redis(struct ladder_context *context, struct slice key, const struct cache_lease *lease,
    const struct fetched *fetched, struct link_choice link)
{
	struct journal *journal = context->backends->journal;
	int64_t ttl_ms = context->rules->settings->redis.ttl_ms;
	char digits[24];
	struct buf command = BUF_EMPTY;

	/* A copy in Redis must be gone when the value is over. */
	if (fetched->valid_until_ms != TIME_NEVER)
		ttl_ms = earliest(ttl_ms, fetched->valid_until_ms - clock_mono_ms());
	/* In the very end the keeper goes before the last rows are read. */
	if (ttl_ms <= 0 || !backends_redis_allows(context->backends) ||
	    links_are_shut(context->links))
		return;
	struct slice ttl = slice_make(digits,
	    (size_t)snprintf(digits, sizeof(digits), "%" PRId64, clock_wall_ms() + ttl_ms));

	/* Held first, checked second: a write that comes in between sees the
	 * hold, and one that came before has voided the lease. */
	journal_hold(journal, key, links_way(context->links, link));
	if (!cache_lease_holds(context->backends->cache, key, lease) || journal_has(journal, key)) {
		journal_release(journal, key);
		return;
	}
	if (fetched->kind == CACHE_HASH)
		append_hash_fill(&command, key, blob_slice(fetched->bytes), ttl);
	else
		append_string_fill(&command, key, blob_slice(fetched->bytes), ttl);

	keeper_note_fill(context->backends->keeper, key);
	struct redis_fill *fill = alloc_zero(sizeof(*fill) + key.len);
	fill->call.done = on_filled;
	fill->backends = context->backends;
	fill->key_len = key.len;
	memcpy(fill->key, key.at, key.len);
	if (buf_len(&command) == 0 ||
	    !links_send(context->links, link, buf_slice(&command), &fill->call)) {
		journal_release(journal, key);
		free(fill);
	}
	buf_free(&command);
}
