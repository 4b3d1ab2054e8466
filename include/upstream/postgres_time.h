/* timestamptz as Postgres writes it in ISO style. Pure. */
#ifndef SIDECAR_UPSTREAM_POSTGRES_TIME_H
#define SIDECAR_UPSTREAM_POSTGRES_TIME_H

#include "base/slice.h"

#define TIME_BEFORE_ALL (INT64_MIN / 2) /* -infinity; leaves room for arithmetic */

/*
 * "2026-11-22 14:00:00.123456+01", "... BC", "infinity" (TIME_NEVER),
 * "-infinity" (TIME_BEFORE_ALL), "2026-11-22" (midnight). Without an offset it
 * is UTC. Milliseconds since 1970, rounded down. False: not such a time.
 */
MUST_CHECK bool postgres_time_parse(struct slice text, int64_t *wall_ms);

#endif
