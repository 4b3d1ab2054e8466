/* See redis_tally.h. Part of a link, run by its thread. */
#include "upstream/redis_tally.h"

#include "base/clock.h"
#include "base/log.h"

#define LOG_EVERY_MS 1000

int64_t
redis_tally_now_us(struct redis_tally *tally)
{
	if (tally->now_us == 0)
		tally->now_us = clock_mono_us();
	return tally->now_us;
}

static void
enter_same(struct redis_tally *tally)
{
	if (tally->same_count > 0)
		histogram_add_many(&tally->metrics->seconds, tally->now_us - tally->same_sent_us,
		    tally->same_count);
	tally->same_count = 0;
}

void
redis_tally_answer(struct redis_tally *tally, int64_t sent_us)
{
	if (tally->same_sent_us != sent_us)
		enter_same(tally);
	tally->same_sent_us = sent_us;
	tally->same_count++;
}

void
redis_tally_success(struct redis_tally *tally)
{
	tally->successes++;
}

void
redis_tally_end(struct redis_tally *tally)
{
	int64_t now_ms = tally->now_us / 1000;

	enter_same(tally);
	tally->now_us = 0;
	if (tally->successes > 0)
		breaker_succeeded_often(tally->breaker, now_ms, tally->successes);
	tally->successes = 0;
}

void
redis_tally_failures(struct redis_tally *tally, int64_t times, enum failure_kind kind,
    const char *reason)
{
	counter_add(&tally->metrics->errors[kind], times);
	for (; times > 0; times--)
		breaker_failed(tally->breaker, clock_mono_ms(), kind, reason);
}

void
redis_tally_log(const struct redis_target *target, const char *event, enum failure_kind kind,
    const char *reason)
{
	static int64_t last_ms;
	char name[300];

	if (!log_throttle(&last_ms, clock_mono_ms(), LOG_EVERY_MS))
		return;
	redis_target_name(target, name, sizeof(name));
	log_debug("backend=redis server=%s event=%s kind=%s reason=\"%s\"", name, event,
	    failure_kind_name(kind), reason);
}
