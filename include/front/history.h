/*
 * The last minutes, a row a second, for the status page: a page that is
 * opened in the middle of a night shows at once what has happened. A ring of
 * fixed size; nothing in it is about a key or a user.
 *
 * The main thread only: a timer on `base` takes the rows.
 */
#ifndef SIDECAR_FRONT_HISTORY_H
#define SIDECAR_FRONT_HISTORY_H

#include "base/buf.h"
#include "front/metrics.h"

struct event_base;
struct history;

#define HISTORY_ROWS 600

struct history *history_new(struct event_base *base, const struct census *census);
void history_free(struct history *history);

/*
 * {"next": 1234, "interval_ms": 1000, "minute": {"p50_us": ...},
 *  "columns": ["time", ...], "rows": [[1763830800, ...], ...]}
 *
 * Rows from number `since` on; `next` is the number to ask for the next time.
 * Since 0, or a number of another life: all that are held. Times without an
 * answer are null.
 */
void history_json(const struct history *history, int64_t since, struct buf *out);

#endif
