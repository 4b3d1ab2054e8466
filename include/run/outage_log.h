/*
 * One line when a backend goes, one when it is back, none a probe. Any
 * thread: whoever saw it happen says so.
 */
#ifndef SIDECAR_RUN_OUTAGE_LOG_H
#define SIDECAR_RUN_OUTAGE_LOG_H

#include <pthread.h>

#include "upstream/breaker.h"

struct outage_log {
	pthread_mutex_t lock;
	int64_t redis_down_ms, postgres_down_ms; /* since when; 0: up */
};

void outage_log_init(struct outage_log *log);
void outage_log_end(struct outage_log *log);
void outage_log_change(struct outage_log *log, const struct breaker *breaker, bool is_redis,
    enum breaker_state after, const char *reason);

#endif
