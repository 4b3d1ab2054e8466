/* See status.h. */
#include "front/status.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/settings_units.h"
#include "ladder/keeper.h"
#include "ladder/warm.h"
#include "wire/reply.h"

#define TEXT_SIZE 256

struct status_value {
	bool is_number;
	int64_t number;
	char text[TEXT_SIZE];
};

typedef void (*status_get_fn)(const struct census *census, struct status_value *value);

static void
set_number(struct status_value *value, int64_t number)
{
	value->is_number = true;
	value->number = number;
}

static void
get_version(const struct census *census, struct status_value *value)
{
	(void)census;
	snprintf(value->text, TEXT_SIZE, "%s", SIDECAR_VERSION);
}

static void
get_uptime(const struct census *census, struct status_value *value)
{
	set_number(value, (clock_mono_ms() - census->started_ms) / 1000);
}

static void
backend_text(const struct breaker *breaker, bool is_configured, bool is_met,
    struct status_value *value)
{
	snprintf(value->text, TEXT_SIZE, "%s",
	    !is_configured                 ? "not configured"
		: !breaker_allows(breaker) ? "down"
		: is_met                   ? "up"
					   : "connecting");
}

static void
breaker_text(const struct breaker *breaker, struct status_value *value)
{
	snprintf(value->text, TEXT_SIZE, "%s%s", breaker_state_name(breaker_state(breaker)),
	    breaker_forced(breaker) != BREAKER_AUTO ? " (forced)" : "");
}

static void
get_redis(const struct census *census, struct status_value *value)
{
	backend_text(census->backends->redis, census->backends->redis_target != NULL,
	    keeper_has_met_redis(census->backends->keeper), value);
}

static void
get_redis_breaker(const struct census *census, struct status_value *value)
{
	breaker_text(census->backends->redis, value);
}

static void
get_redis_failure(const struct census *census, struct status_value *value)
{
	breaker_last_failure(census->backends->redis, value->text, TEXT_SIZE);
}

static void
get_postgres(const struct census *census, struct status_value *value)
{
	const struct postgres_metrics *metrics = keeper_postgres_metrics(census->backends->keeper);

	backend_text(census->backends->postgres, census->backends->has_postgres,
	    counter_get(&metrics->pool_size) > 0, value);
}

static void
get_postgres_breaker(const struct census *census, struct status_value *value)
{
	breaker_text(census->backends->postgres, value);
}

static void
get_postgres_failure(const struct census *census, struct status_value *value)
{
	breaker_last_failure(census->backends->postgres, value->text, TEXT_SIZE);
}

static void
get_postgres_listen(const struct census *census, struct status_value *value)
{
	snprintf(value->text, TEXT_SIZE, "%s",
	    !census->backends->has_listen                     ? "not configured"
		: keeper_hears_rows(census->backends->keeper) ? "up"
							      : "down");
}

static void
get_entries(const struct census *census, struct status_value *value)
{
	struct cache_stats stats;

	cache_stats(census->backends->cache, &stats);
	set_number(value, stats.entries);
}

static void
get_bytes(const struct census *census, struct status_value *value)
{
	struct cache_stats stats;

	cache_stats(census->backends->cache, &stats);
	set_number(value, stats.bytes);
}

static void
get_hit_rate(const struct census *census, struct status_value *value)
{
	int64_t hits = CENSUS_SUM(census, ladder.hits);
	int64_t misses = CENSUS_SUM(census, ladder.misses);

	snprintf(value->text, TEXT_SIZE, "%.4f",
	    hits + misses > 0 ? (double)hits / (double)(hits + misses) : 0.0);
}

static void
get_journal(const struct census *census, struct status_value *value)
{
	set_number(value, (int64_t)journal_pending(census->backends->journal));
}

static void
get_coherence(const struct census *census, struct status_value *value)
{
	snprintf(value->text, TEXT_SIZE, "%s",
	    settings_coherence_name((int)keeper_coherence(census->backends->keeper)));
}

static void
get_clients(const struct census *census, struct status_value *value)
{
	set_number(value, census_clients(census));
}

static void
set_rate(const struct census *census, enum limit_scope scope, struct status_value *value)
{
	struct buf text = BUF_EMPTY;

	units_format_rate(limits_rate(census->backends->limits, scope), &text);
	snprintf(value->text, TEXT_SIZE, "%.*s", (int)buf_len(&text), buf_slice(&text).at);
	buf_free(&text);
}

static void
get_per_user(const struct census *census, struct status_value *value)
{
	set_rate(census, LIMIT_PER_USER, value);
}

static void
get_per_ip(const struct census *census, struct status_value *value)
{
	set_rate(census, LIMIT_PER_IP, value);
}

static void
get_limited_per_user(const struct census *census, struct status_value *value)
{
	set_number(value, CENSUS_SUM(census, limited[LIMIT_PER_USER]));
}

static void
get_limited_per_ip(const struct census *census, struct status_value *value)
{
	set_number(value, CENSUS_SUM(census, limited[LIMIT_PER_IP]));
}

static void
get_limited_throttle(const struct census *census, struct status_value *value)
{
	set_number(value, CENSUS_SUM(census, limited[LIMIT_THROTTLE]));
}

static void
get_warm(const struct census *census, struct status_value *value)
{
	struct warm_progress progress;

	warm_progress(census->backends->warm, &progress);
	warm_text(&progress, value->text, TEXT_SIZE);
}

static void
get_warm_state(const struct census *census, struct status_value *value)
{
	struct warm_progress progress;

	warm_progress(census->backends->warm, &progress);
	snprintf(value->text, TEXT_SIZE, "%s", warm_state_name(progress.state));
}

static const struct status_line {
	const char *name;
	status_get_fn get;
} status_lines[] = {
	{ "version", get_version },
	{ "uptime_seconds", get_uptime },
	{ "redis", get_redis },
	{ "redis_breaker", get_redis_breaker },
	{ "redis_last_failure", get_redis_failure },
	{ "postgres", get_postgres },
	{ "postgres_breaker", get_postgres_breaker },
	{ "postgres_last_failure", get_postgres_failure },
	{ "postgres_listen", get_postgres_listen },
	{ "entries", get_entries },
	{ "bytes", get_bytes },
	{ "hit_rate", get_hit_rate },
	{ "journal", get_journal },
	{ "coherence", get_coherence },
	{ "clients", get_clients },
	{ "per_user", get_per_user },
	{ "per_ip", get_per_ip },
	{ "limited_per_user", get_limited_per_user },
	{ "limited_per_ip", get_limited_per_ip },
	{ "limited_throttle", get_limited_throttle },
	{ "warm", get_warm },
	{ "warm_state", get_warm_state },
};

#define STATUS_LINES (sizeof(status_lines) / sizeof(status_lines[0]))

void
status_reply(const struct census *census, int resp, struct buf *out)
{
	reply_map(out, resp, STATUS_LINES);
	for (size_t i = 0; i < STATUS_LINES; i++) {
		struct status_value value = { .is_number = false };
		status_lines[i].get(census, &value);
		reply_text(out, status_lines[i].name);
		if (value.is_number)
			reply_integer(out, value.number);
		else
			reply_text(out, value.text);
	}
}

static void
json_text(struct buf *out, const char *text)
{
	buf_append(out, "\"", 1);
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			buf_printf(out, "\\%c", *c);
		else if (*c < ' ')
			buf_printf(out, "\\u%04x", *c);
		else
			buf_append(out, c, 1);
	}
	buf_append(out, "\"", 1);
}

void
status_json(const struct census *census, struct buf *out)
{
	for (size_t i = 0; i < STATUS_LINES; i++) {
		struct status_value value = { .is_number = false };
		status_lines[i].get(census, &value);
		buf_printf(out, "%s\"%s\": ", i == 0 ? "{\n  " : ",\n  ", status_lines[i].name);
		if (value.is_number)
			buf_printf(out, "%" PRId64, value.number);
		else
			json_text(out, value.text);
	}
	buf_append_slice(out, SLICE("\n}\n"));
}

void
status_info(const struct census *census, struct buf *out)
{
	buf_append_slice(out, SLICE("# Sidecar\r\n"));
	for (size_t i = 0; i < STATUS_LINES; i++) {
		struct status_value value = { .is_number = false };
		status_lines[i].get(census, &value);
		if (value.is_number)
			buf_printf(out, "sidecar_%s:%" PRId64 "\r\n", status_lines[i].name,
			    value.number);
		else
			buf_printf(out, "sidecar_%s:%s\r\n", status_lines[i].name, value.text);
	}
}
