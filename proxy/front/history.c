/* See history.h. */
#include "front/history.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "ladder/keeper.h"

#define INTERVAL_S 1
#define MINUTE_ROWS 60 /* over which percentiles of a minute are taken */
#define BUCKETS (HISTOGRAM_BUCKETS + 1)

/* ---- what a row holds ---- */

/* 0 to 2 as in sidecar_breaker_state; 3: not configured. */
enum { STATE_NOT_CONFIGURED = 3 };

static int64_t
redis_state(const struct census *census)
{
	return census->backends->redis_target == NULL ? STATE_NOT_CONFIGURED
						      : breaker_state(census->backends->redis);
}

static int64_t
postgres_state(const struct census *census)
{
	return !census->backends->has_postgres ? STATE_NOT_CONFIGURED
					       : breaker_state(census->backends->postgres);
}

static int64_t
journal_length(const struct census *census)
{
	return (int64_t)journal_pending(census->backends->journal);
}

#define COUNTED(field) offsetof(struct worker_metrics, field), NULL

/* Counters of the workers as what they grew by within the second, and states
 * as they are at its end. */
static const struct column {
	const char *name;
	size_t counter;
	int64_t (*state)(const struct census *census); /* NULL: a counter */
} columns[] = {
	{ "memory", COUNTED(ladder.answers[RUNG_MEMORY]) },
	{ "redis", COUNTED(ladder.answers[RUNG_REDIS]) },
	{ "postgres", COUNTED(ladder.answers[RUNG_POSTGRES]) },
	{ "stale", COUNTED(ladder.answers[RUNG_STALE]) },
	{ "free", COUNTED(ladder.answers[RUNG_FREE]) },
	{ "error", COUNTED(ladder.answers[RUNG_ERROR]) },
	{ "hits", COUNTED(ladder.hits) },
	{ "misses", COUNTED(ladder.misses) },
	{ "limited_per_user", COUNTED(limited[LIMIT_PER_USER]) },
	{ "limited_per_ip", COUNTED(limited[LIMIT_PER_IP]) },
	{ "limited_throttle", COUNTED(limited[LIMIT_THROTTLE]) },
	{ "redis_state", 0, redis_state },
	{ "postgres_state", 0, postgres_state },
	{ "journal", 0, journal_length },
	{ "clients", 0, census_clients },
};

#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static const int percents[] = { 50, 95, 99 };

#define PERCENTS (sizeof(percents) / sizeof(percents[0]))

struct row {
	int64_t time_s; /* since 1970 */
	int64_t values[COLUMNS];
	int64_t percentiles_us[PERCENTS]; /* -1: no answer within the second */
};

struct history {
	const struct census *census;
	struct event *timer;
	int64_t next; /* the number of the row to come; row n is at n % HISTORY_ROWS */
	struct row rows[HISTORY_ROWS];
	int64_t before[COLUMNS]; /* what the counters stood at */
	/* Answers by time, counted since the start: at the end of each second of a minute. */
	int64_t times[MINUTE_ROWS + 1][BUCKETS];
};

/* ---- taking a row ---- */

static void
read_times(const struct census *census, int64_t totals[BUCKETS])
{
	memset(totals, 0, BUCKETS * sizeof(totals[0]));
	for (size_t i = 0; i < census->worker_count; i++) {
		for (size_t rung = 0; rung < RUNGS; rung++) {
			const struct histogram *h = &census->workers[i]->ladder.seconds[rung];
			for (size_t b = 0; b < BUCKETS; b++)
				totals[b] += counter_get(&h->buckets[b]);
		}
	}
}

/* `seconds` before the newest one; what is older than all that is held is the oldest. */
static const int64_t *
times_before(const struct history *history, int64_t seconds)
{
	int64_t row = history->next - seconds;

	return history->times[(row > 0 ? row : 0) % (MINUTE_ROWS + 1)];
}

static void
percentiles_of(const struct history *history, int64_t seconds, int64_t result_us[PERCENTS])
{
	const int64_t *now = times_before(history, 0), *then = times_before(history, seconds);
	int64_t counts[BUCKETS];

	for (size_t b = 0; b < BUCKETS; b++)
		counts[b] = now[b] - then[b];
	for (size_t i = 0; i < PERCENTS; i++)
		result_us[i] = histogram_percentile_us(counts, percents[i]);
}

static int64_t
read_column(const struct history *history, const struct column *column)
{
	return column->state != NULL ? column->state(history->census)
				     : census_sum(history->census, column->counter);
}

static void
take_row(struct history *history)
{
	struct row *row = &history->rows[history->next % HISTORY_ROWS];

	history->next++;
	row->time_s = clock_wall_ms() / 1000;
	for (size_t i = 0; i < COLUMNS; i++) {
		int64_t now = read_column(history, &columns[i]);
		row->values[i] = columns[i].state != NULL ? now : now - history->before[i];
		history->before[i] = now;
	}
	read_times(history->census, history->times[history->next % (MINUTE_ROWS + 1)]);
	percentiles_of(history, 1, row->percentiles_us);
}

static void
on_second(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	take_row(arg);
}

struct history *
history_new(struct event_base *base, const struct census *census)
{
	struct history *history = alloc_zero(sizeof(*history));
	struct timeval interval = { .tv_sec = INTERVAL_S };

	history->census = census;
	history->timer = event_new(base, -1, EV_PERSIST, on_second, history);
	event_add(history->timer, &interval);
	return history;
}

void
history_free(struct history *history)
{
	if (history == NULL)
		return;
	event_free(history->timer);
	free(history);
}

/* ---- JSON ---- */

static void
write_time(struct buf *out, int64_t us)
{
	if (us < 0)
		buf_append_slice(out, SLICE("null"));
	else
		buf_printf(out, "%" PRId64, us);
}

static void
write_row(struct buf *out, const struct row *row)
{
	buf_printf(out, "[%" PRId64, row->time_s);
	for (size_t i = 0; i < COLUMNS; i++)
		buf_printf(out, ",%" PRId64, row->values[i]);
	for (size_t i = 0; i < PERCENTS; i++) {
		buf_append(out, ",", 1);
		write_time(out, row->percentiles_us[i]);
	}
	buf_append(out, "]", 1);
}

static void
write_head(const struct history *history, struct buf *out)
{
	int64_t minute_us[PERCENTS];

	percentiles_of(history, MINUTE_ROWS, minute_us);
	buf_printf(out, "{\"next\":%" PRId64 ",\"interval_ms\":%d,\"minute\":{", history->next,
	    INTERVAL_S * 1000);
	for (size_t i = 0; i < PERCENTS; i++) {
		buf_printf(out, "%s\"p%d_us\":", i > 0 ? "," : "", percents[i]);
		write_time(out, minute_us[i]);
	}
	buf_append_slice(out, SLICE("},\"columns\":[\"time\""));
	for (size_t i = 0; i < COLUMNS; i++)
		buf_printf(out, ",\"%s\"", columns[i].name);
	for (size_t i = 0; i < PERCENTS; i++)
		buf_printf(out, ",\"p%d_us\"", percents[i]);
}

void
history_json(const struct history *history, int64_t since, struct buf *out)
{
	int64_t oldest = history->next > HISTORY_ROWS ? history->next - HISTORY_ROWS : 0;

	if (since < oldest || since > history->next)
		since = oldest;
	write_head(history, out);
	buf_append_slice(out, SLICE("],\"rows\":["));
	for (int64_t i = since; i < history->next; i++) {
		if (i > since)
			buf_append_slice(out, SLICE(",\n"));
		write_row(out, &history->rows[i % HISTORY_ROWS]);
	}
	buf_append_slice(out, SLICE("]}\n"));
}
