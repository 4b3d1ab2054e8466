/*
 * Numbers as people write them. Pure.
 *
 * UNITS_NOT: this is no such thing. UNITS_HUGE: it is one, beyond what an
 * int64_t of the base unit holds, so beyond every range, too.
 */
#ifndef SIDECAR_BASE_SETTINGS_UNITS_H
#define SIDECAR_BASE_SETTINGS_UNITS_H

#include "base/buf.h"
#include "base/settings.h"

enum units { UNITS_OK, UNITS_NOT, UNITS_HUGE };

MUST_CHECK enum units units_integer(struct slice text, int64_t *number); /* may be negative */
MUST_CHECK enum units units_duration(struct slice text, int64_t *ms);    /* 50ms 30s 5m 1h 1d 0 */
MUST_CHECK enum units units_size(struct slice text, int64_t *bytes); /* 512 512b 64kb 64mb 1gb */
MUST_CHECK enum units units_percent(struct slice text, int64_t *percent); /* 50 or 50% */
MUST_CHECK enum units units_rate(struct slice text, struct rate *rate); /* 1000/min, /s /h /d, 0 */

/* The shortest spelling that reads back as the same value. */
void units_format_duration(int64_t ms, struct buf *out);
void units_format_size(int64_t bytes, struct buf *out);
void units_format_rate(struct rate rate, struct buf *out);

#endif
