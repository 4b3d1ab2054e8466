/* The keeper's own connection, before a Redis that the test plays itself. */
#include "ladder/prober.h"

#include "../upstream/redis_world.h"
#include "base/hash.h"

#define GREETING "*2\r\n$2\r\nid\r\n:42\r\n"
#define INFO "$37\r\n# Server\r\nredis_version:7\r\nrun_id:a\r\n\r\n"

static const struct breaker_policy patient = {
	.failures = 1000000,
	.failure_rate = 101,
	.open_ms = 60000,
	.max_open_ms = 60000,
};
static const struct prober_times times = { .connect_ms = 5000, .ping_ms = 5000 };

static struct fake fake;
static struct backends backends;
static struct redis_metrics metrics;
static struct prober *prober;
static bool has_ended;
static char kills[200];              /* "7;8;" */
static int64_t orphan_while_killing; /* 0: none */

static void
on_ended(void *arg)
{
	(void)arg;
	has_ended = true;
}

static void
on_kill(const char *id)
{
	size_t len = strlen(kills);

	snprintf(kills + len, sizeof(kills) - len, "%d;", atoi(id));
	if (orphan_while_killing != 0)
		prober_add_orphan(prober, orphan_while_killing);
	orphan_while_killing = 0;
	fake_say(&fake, ":1\r\n");
}

static void
play_redis(struct fake *redis, const char *bytes, size_t len)
{
	const char *id = memmem(bytes, len, "\r\nID\r\n$", 7);

	if (memmem(bytes, len, "HELLO", 5) != NULL)
		fake_say(redis, GREETING);
	else if (memmem(bytes, len, "INFO", 4) != NULL)
		fake_say(redis, INFO);
	else if (id != NULL)
		on_kill(strchr(id + 7, '\n') + 1);
	else
		fake_say(redis, "+PONG\r\n");
}

/* Runs, as the keeper does, until the prober wishes for no more. */
static void
repair_all(void)
{
	for (int i = 0; i < 10 && prober_repair_at(prober, clock_mono_ms()) != TIME_NEVER; i++) {
		has_ended = false;
		prober_repair(prober);
		CHECK(true_after(&has_ended, 5000));
	}
}

static void
open_world(void)
{
	fake_start(&fake, play_redis);
	kills[0] = '\0';
	backends = (struct backends){
		.journal = journal_new(100),
		.redis = breaker_new("redis", &patient, 1, NULL, NULL),
		.redis_target = target_of(NULL, "redis://127.0.0.1:%d", fake.port),
	};
	prober = prober_new(base, NULL, &backends, &times, &metrics, on_ended, NULL);
	repair_all(); /* now it knows which Redis this is */
}

static void
close_world(void)
{
	prober_free(prober);
	breaker_free(backends.redis);
	redis_target_free(backends.redis_target);
	journal_free(backends.journal);
	fake_stop(&fake);
}

TEST(each_connection_that_was_given_up_is_killed_once)
{
	open_world();
	prober_add_orphan(prober, 7);
	prober_add_orphan(prober, 8);
	repair_all();
	CHECK_TEXT(kills, "8;7;");
	close_world();
}

TEST(one_given_up_while_another_is_being_killed_is_killed_as_well)
{
	open_world();
	prober_add_orphan(prober, 7);
	orphan_while_killing = 8;
	repair_all();
	CHECK_TEXT(kills, "7;8;");
	close_world();
}

int
main(void)
{
	int status;

	hash_init();
	base = event_base_new();
	status = test_run_all();
	event_base_free(base);
	return status;
}
