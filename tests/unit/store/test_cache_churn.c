/*
 * What the cache takes from the machine, beside what it counts as its own,
 * after a day of churn: 64 MB through which values of 16 bytes to 64 KB pass,
 * the mix another every "hour". Resident memory must stay within 1.15 of what
 * is counted: max_memory is a promise.
 *
 * CHURN=100000000 replaces as many values as a busy day; by default so many
 * that it takes a second or two. CHURN_SHOW=1 tells how each hour ends.
 */
#include <unistd.h>

#include "../dice.h"
#include "../test.h"
#include "base/clock.h"
#include "store/cache.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

#define MEMORY_BYTES (INT64_C(64) << 20)
#define KEYS 400000
#define HOURS 24
#define REPLACEMENTS (IS_SANITIZED ? 100000 : 1500000)
#define MOST_RATIO 1.15

static int64_t
resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = 0, resident = 0;

	if (file != NULL && fscanf(file, "%ld %ld", &pages, &resident) != 2)
		resident = 0;
	if (file != NULL)
		fclose(file);
	return resident * sysconf(_SC_PAGESIZE);
}

/* Which sizes are in fashion, as powers of two; most are small at any hour. */
static const struct mix {
	int small_from, small_to, large_from, large_to;
	unsigned large_percent;
} mixes[] = {
	{ 4, 7, 10, 12, 20 },
	{ 7, 9, 12, 16, 5 },
	{ 4, 9, 9, 13, 50 },
	{ 5, 6, 14, 16, 10 },
	{ 6, 10, 10, 11, 60 },
	{ 4, 8, 13, 15, 8 },
	{ 8, 10, 11, 13, 30 },
};

static size_t
draw_size(const struct mix *mix)
{
	bool is_large = draw() % 100 < mix->large_percent;
	int from = is_large ? mix->large_from : mix->small_from;
	int to = is_large ? mix->large_to : mix->small_to;
	size_t least = (size_t)1 << (from + (int)(draw() % (unsigned)(to - from)));

	return least + draw() % least;
}

static void
replace_one(struct cache *cache, const struct mix *mix, int64_t now_ms)
{
	static const char bytes[65536];
	char name[32];
	struct slice key = slice_make(name,
	    (size_t)snprintf(name, sizeof(name), "profile:%d", (int)(draw() % KEYS)));
	struct cache_lease lease = cache_lease(cache, key);
	struct cache_value value = {
		.kind = CACHE_STRING,
		.bytes = blob_new(slice_make(bytes, draw_size(mix))),
		.filled_ms = now_ms,
		.fresh_until_ms = now_ms + 30000,
		.stale_until_ms = now_ms + 86430000,
		.valid_until_ms = TIME_NEVER,
		.refresh_at_ms = TIME_NEVER,
	};

	CHECK(cache_fill(cache, key, &lease, &value));
	blob_unref(value.bytes);
}

TEST(after_a_day_of_shifting_sizes_memory_takes_what_it_counts)
{
	struct cache_limits limits = { 100000, MEMORY_BYTES, 1 << 20, CACHE_EVICT_S3FIFO };
	int64_t before = resident_bytes();
	struct cache *cache = cache_new(&limits);
	const char *wanted = getenv("CHURN");
	int64_t count = wanted != NULL ? atoll(wanted) : REPLACEMENTS;
	double worst = 0, ratio = 0;
	struct cache_stats stats;

	seed = 88172645463325252u;
	for (int hour = 0; hour < HOURS; hour++) {
		const struct mix *mix = &mixes[hour % (int)(sizeof(mixes) / sizeof(mixes[0]))];
		for (int64_t i = 0; i < count / HOURS; i++)
			replace_one(cache, mix, 1000 + hour * 3600000);
		cache_stats(cache, &stats);
		ratio = (double)(resident_bytes() - before) / (double)stats.bytes;
		worst = ratio > worst ? ratio : worst;
		if (getenv("CHURN_SHOW") != NULL)
			printf("hour %2d: %" PRId64 " entries, %.1f MB counted, resident %.3f\n",
			    hour, stats.entries, (double)stats.bytes / 1048576, ratio);
		CHECK(stats.bytes <= MEMORY_BYTES);
	}
	CHECK(stats.bytes > MEMORY_BYTES / 10 * 9);
	printf("resident / counted: %.3f at the end, %.3f at worst\n", ratio, worst);
	/* A sanitizer's own memory is resident, too. */
	CHECK(IS_SANITIZED || ratio <= MOST_RATIO);
	cache_free(cache);
}

TEST_MAIN
