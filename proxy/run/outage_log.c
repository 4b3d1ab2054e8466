/* See outage_log.h. */
#include "run/outage_log.h"

#include "base/clock.h"
#include "base/log.h"

void
outage_log_init(struct outage_log *log)
{
	*log = (struct outage_log){ .redis_down_ms = 0 };
	pthread_mutex_init(&log->lock, NULL);
}

void
outage_log_end(struct outage_log *log)
{
	pthread_mutex_destroy(&log->lock);
}

static void
log_down(const struct breaker *breaker, const char *reason)
{
	int64_t probe_at_ms = breaker_probe_at(breaker);

	if (probe_at_ms == TIME_NEVER)
		log_warn("%s down: %s", breaker_name(breaker), reason);
	else
		log_warn("%s down: %s; next probe in %.1f s", breaker_name(breaker), reason,
		    (double)(probe_at_ms - clock_mono_ms()) / 1000);
}

/* One line when it goes, one when it is back; not one a probe. */
void
outage_log_change(struct outage_log *log, const struct breaker *breaker, bool is_redis,
    enum breaker_state after, const char *reason)
{
	int64_t *down_ms = is_redis ? &log->redis_down_ms : &log->postgres_down_ms;
	int64_t now_ms = clock_mono_ms();

	pthread_mutex_lock(&log->lock);
	int64_t since_ms = *down_ms;
	if (after == BREAKER_OPEN && since_ms == 0)
		*down_ms = now_ms;
	else if (after == BREAKER_CLOSED)
		*down_ms = 0;
	pthread_mutex_unlock(&log->lock);

	if (after == BREAKER_OPEN && since_ms == 0)
		log_down(breaker, reason);
	else if (after == BREAKER_OPEN)
		log_debug("%s still down: %s", breaker_name(breaker), reason);
	else if (after == BREAKER_CLOSED && since_ms != 0)
		log_info("%s up again after %.1f s", breaker_name(breaker),
		    (double)(now_ms - since_ms) / 1000);
}
