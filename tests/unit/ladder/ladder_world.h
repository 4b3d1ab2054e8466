/*
 * One worker's part of the ladder in the test's own event loop, before a
 * Redis that the test plays itself: it writes down what it is asked, and
 * answers when the test says so. There is no Postgres.
 */
#ifndef SIDECAR_TESTS_LADDER_WORLD_H
#define SIDECAR_TESTS_LADDER_WORLD_H

#include <netinet/tcp.h>

#include "../base/settings_helpers.h"
#include "../upstream/redis_world.h"
#include "base/hash.h"
#include "base/log.h"
#include "ladder/flight.h"
#include "ladder/keeper.h"
#include "ladder/ladder.h"
#include "wire/request.h"

#define WORLD_INI \
	"[cache]\nttl = 30s\nnegative_ttl = 3s\nstale = 1h\nkeys = * !private:*\n" \
	"[redis]\nbudget = 400ms\ntimeout = 2s\n[ladder]\ndeadline = 1s\n" \
	"[map profile]\nkey = profile:{id}\n" \
	"query = SELECT id, v FROM t WHERE id = ANY($1)\nfree = {\"tier\":\"free\"}\n" \
	"[map vip]\nkey = vip:{id}\n" \
	"query = SELECT id, v, valid_until FROM t WHERE id = ANY($1)\n" \
	"[map row]\nkey = row:{id:int}\nquery = SELECT id, v FROM t WHERE id = ANY($1)\n" \
	"[map user]\nkey = user:{id}\ntype = hash\n" \
	"query = SELECT id, v FROM t WHERE id = ANY($1)\nfree = {\"tier\":\"free\"}\n"

/* A breaker that stays closed whatever happens, but when it is forced. */
static const struct breaker_policy world_policy = {
	.failures = 1000000,
	.failure_rate = 101,
	.open_ms = 60000,
	.max_open_ms = 60000,
};

static struct world {
	struct fake fake;
	struct buf unread; /* of the fake */
	char asked[4000];  /* "GET a;MGET b c;" */
	struct settings *settings;
	struct rules rules;
	struct backends backends;
	struct redis_metrics redis_metrics;
	struct ladder_metrics metrics;
	struct ladder_context context;
} world;

static MAYBE_UNUSED void
world_note(const struct request_parser *parser)
{
	size_t len = strlen(world.asked);

	for (size_t i = 0; i < parser->argc; i++)
		len += (size_t)snprintf(world.asked + len, sizeof(world.asked) - len, "%s%.*s",
		    i > 0 ? " " : "", (int)parser->argv[i].len, parser->argv[i].at);
	snprintf(world.asked + len, sizeof(world.asked) - len, ";");
}

static MAYBE_UNUSED void
world_on_bytes(struct fake *fake, const char *bytes, size_t len)
{
	struct request_limits limits = { 1 << 20, 1000, false };
	struct request_progress progress = { 0, 0 };
	struct request_parser parser = { 0 };

	buf_append(&world.unread, bytes, len);
	while (request_parse(&parser, &progress, &limits, buf_slice(&world.unread)) ==
	    REQUEST_WHOLE) {
		/* Two answers in a row must not wait for each other (Nagle). */
		setsockopt(fake->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		if (slice_equal(parser.argv[0], SLICE("HELLO")))
			fake_say(fake,
			    parser.argv[1].at[0] == '3' ? "%1\r\n$2\r\nid\r\n:42\r\n"
							: "*2\r\n$2\r\nid\r\n:42\r\n");
		else
			world_note(&parser);
		buf_take(&world.unread, parser.len);
		progress = (struct request_progress){ 0, 0 };
	}
	request_parser_free(&parser);
}

static MAYBE_UNUSED void
world_start(void)
{
	memset(&world, 0, sizeof(world));
	hash_init_with(1, 2);
	log_setup(LOG_ERROR, LOG_TEXT);
	base = event_base_new();
	fake_start(&world.fake, world_on_bytes);
	world.settings = test_load(WORLD_INI);
	if (world.settings == NULL) {
		printf("%s\n", test_error);
		abort();
	}
	world.rules = (struct rules){ world.settings, maps_new(world.settings) };
	struct cache_limits limits = { 1000, 1 << 20, 1 << 16, CACHE_EVICT_S3FIFO };
	world.backends = (struct backends){
		.cache = cache_new(&limits),
		.journal = journal_new(100),
		.redis = breaker_new("redis", &world_policy, 1, NULL, NULL),
		.postgres = breaker_new("postgres", &world_policy, 1, NULL, NULL),
		.redis_target = target_of(NULL, "redis://127.0.0.1:%d", world.fake.port),
	};
	keeper_new(&world.backends, &world.rules); /* never run */
	world.context = (struct ladder_context){
		.mailbox = mailbox_new(base),
		.backends = &world.backends,
		.rules = &world.rules,
		.deadlines = deadlines_new(base),
		.metrics = &world.metrics,
		.pool = pool_new(POOL_BLOCK_BYTES, POOL_KEEPS),
		.random = 1,
	};
	world.context.flights = flights_new(&world.context);
	world.context.links = links_new(base, NULL, world.backends.redis_target, 1, 300,
	    world.backends.redis, &world.redis_metrics, NULL, NULL);
}

static MAYBE_UNUSED void
world_turn(void)
{
	struct timeval tick = { 0, 2000 };

	links_flush(world.context.links);
	event_base_loopexit(base, &tick);
	event_base_loop(base, EVLOOP_ONCE);
}

static MAYBE_UNUSED void
world_run_for(int64_t wait_ms)
{
	for (int64_t until = clock_mono_ms() + wait_ms; clock_mono_ms() < until;)
		world_turn();
}

/* Runs the loop until the claim is true. */
#define AWAIT(claim) \
	do { \
		int64_t until_ = clock_mono_ms() + 10000; \
		while (!(claim) && clock_mono_ms() < until_) \
			world_turn(); \
		CHECK(claim); \
	} while (0)

/* Waits until the fake was asked exactly this, and nothing else follows. */
static MAYBE_UNUSED void
world_await_asked(const char *wanted)
{
	int64_t until = clock_mono_ms() + 10000;

	while (strlen(world.asked) < strlen(wanted) && clock_mono_ms() < until)
		world_turn();
	world_run_for(5);
	CHECK_TEXT(world.asked, wanted);
}

static MAYBE_UNUSED void
world_stop(void)
{
	links_shut(world.context.links);
	world_run_for(5);
	links_free(world.context.links);
	flights_free(world.context.flights);
	deadlines_free(world.context.deadlines);
	pool_free(world.context.pool);
	mailbox_free(world.context.mailbox);
	keeper_free(world.backends.keeper);
	breaker_free(world.backends.redis);
	breaker_free(world.backends.postgres);
	redis_target_free(world.backends.redis_target);
	journal_free(world.backends.journal);
	cache_free(world.backends.cache);
	maps_free(world.rules.maps);
	settings_free(world.settings);
	fake_stop(&world.fake);
	buf_free(&world.unread);
	event_base_free(base);
}

/* What memory holds in so many ms: the bytes, "absent", "over", "stale ..."
 * or "-"; overwritten by the next call. */
static MAYBE_UNUSED const char *
world_memory_in(const char *key, int64_t in_ms)
{
	static char text[200];
	struct cache_value value;
	enum cache_find found =
	    cache_find(world.backends.cache, slice_of(key), clock_mono_ms() + in_ms, &value, NULL);

	if (found == CACHE_MISS)
		return "-";
	struct slice bytes = value.bytes != NULL ? blob_slice(value.bytes)
	    : value.kind == CACHE_OVER           ? SLICE("over")
						 : SLICE("absent");
	snprintf(text, sizeof(text), "%s%.*s", found == CACHE_STALE ? "stale " : "", (int)bytes.len,
	    bytes.at);
	cache_value_release(&value);
	return text;
}

static MAYBE_UNUSED const char *
world_memory(const char *key)
{
	return world_memory_in(key, 0);
}

#endif
