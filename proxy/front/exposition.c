/* See exposition.h. */
#include "front/exposition.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>
#include <dirent.h>
#include <unistd.h>

#include "base/clock.h"
#include "ladder/keeper.h"

static void
header(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
one(struct buf *out, const char *name, const char *type, const char *help, int64_t value)
{
	header(out, name, type, help);
	buf_printf(out, "%s %" PRId64 "\n", name, value);
}

static void
labelled(struct buf *out, const char *name, const char *label, const char *of, int64_t value)
{
	buf_printf(out, "%s{%s=\"%s\"} %" PRId64 "\n", name, label, of, value);
}

/* ---- histograms ---- */

struct total {
	int64_t buckets[HISTOGRAM_BUCKETS + 1];
	int64_t sum;
};

static void
add_histogram(struct total *total, const struct histogram *histogram)
{
	for (int i = 0; i <= HISTOGRAM_BUCKETS; i++)
		total->buckets[i] += counter_get(&histogram->buckets[i]);
	total->sum += counter_get(&histogram->sum);
}

static void
write_seconds(struct buf *out, const char *name, const char *label, const char *of,
    const struct total *total)
{
	int64_t count = 0;

	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		count += total->buckets[i];
		buf_printf(out, "%s_bucket{%s=\"%s\",le=\"%g\"} %" PRId64 "\n", name, label, of,
		    (double)histogram_bounds_us[i] / 1e6, count);
	}
	count += total->buckets[HISTOGRAM_BUCKETS];
	buf_printf(out, "%s_bucket{%s=\"%s\",le=\"+Inf\"} %" PRId64 "\n", name, label, of, count);
	buf_printf(out, "%s_sum{%s=\"%s\"} %.6f\n", name, label, of, (double)total->sum / 1e6);
	buf_printf(out, "%s_count{%s=\"%s\"} %" PRId64 "\n", name, label, of, count);
}

/* ---- the request path ---- */

static void
write_answers(const struct census *census, struct buf *out)
{
	static const char *const classes[] = { "read", "write", "session", "local" };

	header(out, "sidecar_answers_total", "counter", "Answers by the rung that gave them.");
	for (size_t rung = 0; rung < RUNGS; rung++)
		labelled(out, "sidecar_answers_total", "rung", rung_name((enum rung)rung),
		    CENSUS_SUM(census, ladder.answers[rung]));
	header(out, "sidecar_requests_total", "counter", "Commands by class.");
	for (size_t class = 0; class < REQUEST_CLASSES; class ++)
		labelled(out, "sidecar_requests_total", "class", classes[class],
		    CENSUS_SUM(census, requests[class]));
	header(out, "sidecar_limited_total", "counter", "Commands refused by a rate limit.");
	for (size_t scope = 0; scope < LIMIT_SCOPES; scope++)
		labelled(out, "sidecar_limited_total", "scope", limit_scope_names[scope],
		    CENSUS_SUM(census, limited[scope]));
	header(out, "sidecar_request_seconds", "histogram",
	    "Time from command to answer, by rung.");
	for (size_t rung = 0; rung < RUNGS; rung++) {
		struct total total = { .sum = 0 };
		for (size_t i = 0; i < census->worker_count; i++)
			add_histogram(&total, &census->workers[i]->ladder.seconds[rung]);
		write_seconds(out, "sidecar_request_seconds", "rung", rung_name((enum rung)rung),
		    &total);
	}
}

/* ---- backends ---- */

static void
write_states(const struct census *census, struct buf *out)
{
	const struct backends *backends = census->backends;
	const struct postgres_metrics *postgres = keeper_postgres_metrics(backends->keeper);
	bool is_redis_up =
	    backends_redis_allows(backends) && keeper_has_met_redis(backends->keeper);
	bool is_postgres_up =
	    backends_postgres_allows(backends) && counter_get(&postgres->pool_size) > 0;

	header(out, "sidecar_backend_up", "gauge", "Whether the backend is answering.");
	labelled(out, "sidecar_backend_up", "backend", "redis", is_redis_up);
	labelled(out, "sidecar_backend_up", "backend", "postgres", is_postgres_up);
	header(out, "sidecar_breaker_state", "gauge", "0 closed, 1 half-open, 2 open.");
	labelled(out, "sidecar_breaker_state", "backend", "redis", breaker_state(backends->redis));
	labelled(out, "sidecar_breaker_state", "backend", "postgres",
	    breaker_state(backends->postgres));
}

static int64_t
redis_errors(const struct census *census, size_t kind)
{
	return CENSUS_SUM(census, redis.errors[kind]) +
	    counter_get(&keeper_redis_metrics(census->backends->keeper)->errors[kind]);
}

static void
write_errors(const struct census *census, struct buf *out)
{
	const struct postgres_metrics *postgres = keeper_postgres_metrics(census->backends->keeper);
	static const char *const line =
	    "sidecar_backend_errors_total{backend=\"%s\",kind=\"%s\"} %" PRId64 "\n";

	header(out, "sidecar_backend_errors_total", "counter", "Failures by backend and kind.");
	for (size_t kind = 0; kind < FAILURE_KINDS; kind++) {
		const char *name = failure_kind_name((enum failure_kind)kind);
		buf_printf(out, line, "redis", name, redis_errors(census, kind));
		buf_printf(out, line, "postgres", name, counter_get(&postgres->errors[kind]));
	}
	buf_printf(out, line, "postgres", "query", counter_get(&postgres->query_errors));
}

static void
write_backends(const struct census *census, struct buf *out)
{
	const struct keeper *keeper = census->backends->keeper;
	const struct postgres_metrics *postgres = keeper_postgres_metrics(keeper);
	struct total redis_total = { .sum = 0 }, postgres_total = { .sum = 0 };

	write_states(census, out);
	for (size_t i = 0; i < census->worker_count; i++)
		add_histogram(&redis_total, &census->workers[i]->redis.seconds);
	add_histogram(&postgres_total, &postgres->seconds);
	header(out, "sidecar_backend_seconds", "histogram", "Time a backend took to answer.");
	write_seconds(out, "sidecar_backend_seconds", "backend", "redis", &redis_total);
	write_seconds(out, "sidecar_backend_seconds", "backend", "postgres", &postgres_total);
	header(out, "sidecar_backend_commands_total", "counter",
	    "Commands sent to Redis, handshakes and keepalive included, a script being one; "
	    "queries to Postgres.");
	labelled(out, "sidecar_backend_commands_total", "backend", "redis",
	    CENSUS_SUM(census, redis.commands) +
		counter_get(&keeper_redis_metrics(keeper)->commands));
	labelled(out, "sidecar_backend_commands_total", "backend", "postgres",
	    counter_get(&postgres->queries));
	write_errors(census, out);
	one(out, "sidecar_postgres_pool_size", "gauge", "Connections open.",
	    counter_get(&postgres->pool_size));
	one(out, "sidecar_postgres_pool_in_use", "gauge", "Connections with a query under way.",
	    counter_get(&postgres->pool_in_use));
}

static void
write_batches(const struct census *census, struct buf *out)
{
	const struct sizes *sizes = &keeper_postgres_metrics(census->backends->keeper)->batch_ids;
	static const char *const name = "sidecar_postgres_batch_ids";
	int64_t count = 0;

	header(out, name, "histogram", "Ids asked for in one query.");
	for (int i = 0; i <= SIZES_BUCKETS; i++) {
		count += counter_get(&sizes->buckets[i]);
		if (i < SIZES_BUCKETS)
			buf_printf(out, "%s_bucket{le=\"%d\"} %" PRId64 "\n", name, 1 << i, count);
	}
	buf_printf(out,
	    "%s_bucket{le=\"+Inf\"} %" PRId64 "\n%s_sum %" PRId64 "\n%s_count %" PRId64 "\n", name,
	    count, name, counter_get(&sizes->sum), name, count);
}

/* ---- memory and the process ---- */

static void
write_cache(const struct census *census, struct buf *out)
{
	struct cache_stats stats;

	cache_stats(census->backends->cache, &stats);
	one(out, "sidecar_cache_entries", "gauge", "Keys in memory.", stats.entries);
	one(out, "sidecar_cache_bytes", "gauge", "Bytes of keys, values and overhead.",
	    stats.bytes);
	one(out, "sidecar_cache_evictions_total", "counter", "Keys evicted for a newer one.",
	    stats.evictions);
	one(out, "sidecar_cache_hits_total", "counter", "Cacheable reads answered from memory.",
	    CENSUS_SUM(census, ladder.hits));
	one(out, "sidecar_cache_misses_total", "counter", "Cacheable reads that were not.",
	    CENSUS_SUM(census, ladder.misses));
	header(out, "sidecar_invalidations_total", "counter", "Keys dropped, by reason.");
	labelled(out, "sidecar_invalidations_total", "source", "write",
	    CENSUS_SUM(census, ladder.invalidated_write));
	labelled(out, "sidecar_invalidations_total", "source", "flush",
	    CENSUS_SUM(census, ladder.invalidated_flush));
	labelled(out, "sidecar_invalidations_total", "source", "redis",
	    keeper_invalidations(census->backends->keeper));
	labelled(out, "sidecar_invalidations_total", "source", "postgres",
	    keeper_changed_rows(census->backends->keeper));
}

/* Where there is none the names are said and no figure. */
static void
write_snapshot(const struct census *census, struct buf *out)
{
	static const char *const age = "sidecar_snapshot_age_seconds";
	static const char *const interval = "sidecar_snapshot_interval_seconds";
	struct snapshot_facts facts;
	bool is_kept = snapshot_tell(census->snapshot, clock_mono_ms(), &facts);

	header(out, age, "gauge", "Age of the snapshot on disk; missing where there is none.");
	if (is_kept && facts.age_ms >= 0)
		buf_printf(out, "%s %.3f\n", age, (double)facts.age_ms / 1000);
	header(out, interval, "gauge", "How often it is to be written ([snapshot] every).");
	if (is_kept)
		buf_printf(out, "%s %.3f\n", interval, (double)facts.every_ms / 1000);
}

/* 0 where /proc cannot be read: then the figure is missing, not wrong. */
static int64_t
resident_bytes(void)
{
	long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (file == NULL)
		return 0;
	if (fscanf(file, "%*d %ld", &pages) != 1)
		pages = 0;
	fclose(file);
	return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static int64_t
open_descriptors(void)
{
	DIR *directory = opendir("/proc/self/fd");
	int64_t count = 0;

	if (directory == NULL)
		return 0;
	while (readdir(directory) != NULL)
		count++;
	closedir(directory);
	return count - 3; /* ".", "..", and the directory's own */
}

static void
write_process(const struct census *census, struct buf *out)
{
	struct rusage usage;
	struct rlimit limit;

	getrusage(RUSAGE_SELF, &usage);
	header(out, "process_cpu_seconds_total", "counter", "User and system time.");
	buf_printf(out, "process_cpu_seconds_total %.6f\n",
	    (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	one(out, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
	one(out, "process_open_fds", "gauge", "Open descriptors.", open_descriptors());
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		one(out, "process_max_fds", "gauge", "Most descriptors.", (int64_t)limit.rlim_cur);
	header(out, "process_start_time_seconds", "gauge", "Start, since 1970.");
	buf_printf(out, "process_start_time_seconds %.3f\n",
	    (double)(clock_wall_ms() - (clock_mono_ms() - census->started_ms)) / 1000);
}

void
exposition_write(const struct census *census, struct buf *out)
{
	write_answers(census, out);
	write_backends(census, out);
	write_batches(census, out);
	write_cache(census, out);
	one(out, "sidecar_clients", "gauge", "Connected clients.", census_clients(census));
	one(out, "sidecar_connections_total", "counter", "Clients that have been let in.",
	    census_clients_ever(census));
	one(out, "sidecar_connections_refused_total", "counter",
	    "Clients refused because max_clients were there.",
	    counter_get(&census->clients_refused));
	one(out, "sidecar_journal_pending", "gauge", "Keys to be unlinked in Redis.",
	    (int64_t)journal_pending(census->backends->journal));
	write_snapshot(census, out);
	header(out, "sidecar_build_info", "gauge", "Always 1.");
	buf_printf(out, "sidecar_build_info{version=\"%s\"} 1\n", SIDECAR_VERSION);
	write_process(census, out);
}
