/* See backends.h. */
#include "ladder/backends.h"

#include <stdio.h>

#include "base/clock.h"

#define CONNECT_MAX_MS 3000

int64_t
backends_connect_ms(const struct settings *settings)
{
	return settings->redis.timeout_ms < CONNECT_MAX_MS ? settings->redis.timeout_ms
							   : CONNECT_MAX_MS;
}

bool
backends_redis_allows(const struct backends *backends)
{
	return backends->redis_target != NULL && breaker_allows(backends->redis);
}

bool
backends_may_ask_redis(const struct backends *backends, struct slice key)
{
	return backends_redis_allows(backends) && !journal_has(backends->journal, key);
}

bool
backends_postgres_allows(const struct backends *backends)
{
	return backends->has_postgres && breaker_allows(backends->postgres);
}

void
backends_reply_down(const struct backends *backends, const char *what, struct buf *out)
{
	char reason[200];

	if (backends->redis_target == NULL) {
		buf_printf(out, "-REDISDOWN no Redis is configured ([redis] url)\r\n");
		return;
	}
	breaker_last_failure(backends->redis, reason, sizeof(reason));
	buf_printf(out, "-REDISDOWN %s", what != NULL ? what : "redis is down");
	if (reason[0] != '\0')
		buf_printf(out, ": %s", reason);
	int64_t probe_at_ms = breaker_probe_at(backends->redis);
	int64_t wait_ms = probe_at_ms - clock_mono_ms();
	if (probe_at_ms != TIME_NEVER)
		buf_printf(out, "; next probe in %.1f s",
		    (double)(wait_ms > 0 ? wait_ms : 0) / 1000);
	buf_append(out, "\r\n", 2);
}
