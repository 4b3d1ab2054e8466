/*
 * Who leaves when the cache is full: hit ratios on traces of reads, beside
 * exact plain LRU and S3-FIFO as published on the very same trace, and what
 * s3fifo promises of one key.
 *
 * 50,000 of 300,000 users, each trace drawn from a fixed seed; figures are of
 * reads past the first 40 %, when the caches have filled. What was seen:
 *
 *                          plain LRU   S3-FIFO   this cache
 *   Zipf 0.99                   79.9      83.4         83.9
 *   Zipf 0.8                    56.5      63.3         64.6
 *   Zipf 0.99, 20 % scans       63.2      68.5         69.1
 *   hot set replaced            78.7      77.5         78.8
 *
 * Under a sanitizer a tenth of everything has to do: the ratios are lower,
 * their order is the same.
 */
#include <math.h>

#include "../dice.h"
#include "../test.h"
#include "base/clock.h"
#include "base/hash.h"
#include "store/cache.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SCALE 10
#endif
#endif
#ifndef SCALE
#define SCALE 1
#endif

#define USERS (300000 / SCALE)
#define HELD (50000 / SCALE)

/* ---- traces ---- */

static double
draw_unit(void)
{
	return (double)(draw() >> 11) / 9007199254740992.0;
}

struct trace {
	double exponent;
	int reads, warm_up;
	int scanned;        /* percent of reads that go through all users in turn */
	int replaced_every; /* after so many reads, others are in demand; 0: never */
};

static double up_to[USERS]; /* the probability of a rank, or a smaller one */
static uint32_t user_of_rank[USERS];

static void
make_ranks(double exponent)
{
	double sum = 0;

	for (int i = 0; i < USERS; i++)
		up_to[i] = sum += pow(i + 1, -exponent);
	for (int i = 0; i < USERS; i++)
		up_to[i] /= sum;
}

static int
draw_rank(void)
{
	double unit = draw_unit();
	int low = 0, high = USERS - 1;

	while (low < high) {
		int middle = (low + high) / 2;
		if (up_to[middle] < unit)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
shuffle_users(void)
{
	for (uint32_t i = 0; i < USERS; i++)
		user_of_rank[i] = i;
	for (uint32_t i = USERS - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(draw() % (i + 1)), user = user_of_rank[i];
		user_of_rank[i] = user_of_rank[j];
		user_of_rank[j] = user;
	}
}

static uint32_t *
make_reads(const struct trace *trace)
{
	uint32_t *reads = malloc((size_t)trace->reads * sizeof(*reads)), scan = 0;

	seed = 88172645463325252u;
	make_ranks(trace->exponent);
	shuffle_users();
	for (int i = 0; i < trace->reads; i++) {
		if (trace->replaced_every > 0 && i > 0 && i % trace->replaced_every == 0)
			shuffle_users();
		bool is_scan = trace->scanned > 0 && draw() % 100 < (uint64_t)trace->scanned;
		reads[i] = is_scan ? scan++ % USERS : user_of_rank[draw_rank()];
	}
	return reads;
}

/* ---- models: exact plain LRU, and S3-FIFO as published ---- */

struct model {
	int newer[USERS], older[USERS];
	char where[USERS]; /* 0: out, 1: probation, 2: main */
	char uses[USERS];
	uint32_t left_at[USERS];
	struct {
		int newest, oldest, count;
	} queues[3];
};

static void
model_take(struct model *m, int user)
{
	int from = m->where[user], newer = m->newer[user], older = m->older[user];

	*(newer >= 0 ? &m->older[newer] : &m->queues[from].newest) = older;
	*(older >= 0 ? &m->newer[older] : &m->queues[from].oldest) = newer;
	m->queues[from].count--;
	m->where[user] = 0;
}

static void
model_push(struct model *m, int user, int to)
{
	int second = m->queues[to].newest;

	m->newer[user] = -1;
	m->older[user] = second;
	*(second >= 0 ? &m->newer[second] : &m->queues[to].oldest) = user;
	m->queues[to].newest = user;
	m->queues[to].count++;
	m->where[user] = (char)to;
}

static struct model *
model_new(void)
{
	struct model *m = calloc(1, sizeof(*m));

	for (int i = 0; i < 3; i++)
		m->queues[i].newest = m->queues[i].oldest = -1;
	return m;
}

static double
percent(int64_t hits, const struct trace *trace)
{
	return 100.0 * (double)hits / (trace->reads - trace->warm_up);
}

static double
ratio_of_lru(const struct trace *trace, const uint32_t *reads)
{
	struct model *m = model_new();
	int64_t hits = 0;

	for (int i = 0; i < trace->reads; i++) {
		int user = (int)reads[i];
		hits += m->where[user] != 0 && i >= trace->warm_up;
		if (m->where[user] != 0)
			model_take(m, user);
		else if (m->queues[2].count == HELD)
			model_take(m, m->queues[2].oldest);
		model_push(m, user, 2);
	}
	free(m);
	return percent(hits, trace);
}

/* Probation of 10 %, ghosts of 90 %, uses counted up to 3. */
static double
ratio_of_s3fifo(const struct trace *trace, const uint32_t *reads)
{
	struct model *m = model_new();
	int64_t hits = 0;
	uint32_t left = 1;

	for (int i = 0; i < trace->reads; i++) {
		int user = (int)reads[i];
		if (m->where[user] != 0) {
			hits += i >= trace->warm_up;
			m->uses[user] = (char)(m->uses[user] < 3 ? m->uses[user] + 1 : 3);
			continue;
		}
		bool is_ghost = m->left_at[user] > 0 && left - m->left_at[user] <= HELD * 9 / 10;
		while (m->queues[1].count + m->queues[2].count >= HELD) {
			bool is_long = m->queues[1].count >= HELD / 10;
			int last = m->queues[is_long ? 1 : 2].oldest;
			model_take(m, last);
			if (m->uses[last] > 0) {
				m->uses[last] = is_long ? 0 : (char)(m->uses[last] - 1);
				model_push(m, last, 2);
			} else if (is_long) {
				m->left_at[last] = left++;
			}
		}
		m->uses[user] = 0;
		model_push(m, user, is_ghost ? 2 : 1);
	}
	free(m);
	return percent(hits, trace);
}

/* ---- the cache itself ---- */

static struct cache *
cache_of(enum cache_eviction eviction, int64_t max_entries)
{
	struct cache_limits limits = { max_entries, INT64_C(1) << 40, 1000, eviction };

	hash_init_with(1, 2);
	return cache_new(&limits);
}

static void
fill(struct cache *cache, struct slice key)
{
	struct cache_lease lease = cache_lease(cache, key);
	struct cache_value value = {
		.kind = CACHE_ABSENT,
		.fresh_until_ms = 1000,
		.stale_until_ms = 1000,
		.valid_until_ms = TIME_NEVER,
		.refresh_at_ms = TIME_NEVER,
	};

	CHECK(cache_fill(cache, key, &lease, &value));
}

static bool
has(struct cache *cache, struct slice key)
{
	struct cache_value value;

	return cache_find(cache, key, 0, &value, NULL) == CACHE_FRESH;
}

static struct slice
key_of(uint32_t user)
{
	static char text[16];

	return slice_make(text, (size_t)snprintf(text, sizeof(text), "u:%u", user));
}

static double
ratio_of_cache(enum cache_eviction eviction, const struct trace *trace, const uint32_t *reads)
{
	struct cache *cache = cache_of(eviction, HELD);
	int64_t hits = 0;

	for (int i = 0; i < trace->reads; i++) {
		struct slice key = key_of(reads[i]);
		bool is_hit = has(cache, key);
		if (!is_hit)
			fill(cache, key);
		hits += is_hit && i >= trace->warm_up;
	}
	cache_free(cache);
	return percent(hits, trace);
}

/* `wanted` is of the full size; at every size it is not behind the others. */
static void
check_ratio(struct trace trace, double wanted)
{
	trace.reads /= SCALE;
	trace.warm_up /= SCALE;
	trace.replaced_every /= SCALE;
	uint32_t *reads = make_reads(&trace);
	double lru = ratio_of_lru(&trace, reads), s3fifo = ratio_of_s3fifo(&trace, reads);
	double ours = ratio_of_cache(CACHE_EVICT_S3FIFO, &trace, reads);

	printf("plain LRU %.2f, S3-FIFO %.2f, this cache %.2f\n", lru, s3fifo, ours);
	CHECK(SCALE > 1 || ours >= wanted);
	CHECK(ours >= lru);
	CHECK(ours >= s3fifo);
	free(reads);
}

TEST(users_that_stay_in_demand_hit_as_often_as_with_the_best)
{
	check_ratio((struct trace){ .exponent = 0.99, .reads = 3000000, .warm_up = 1200000 }, 83.5);
}

TEST(users_in_weaker_demand_hit_as_often_as_with_the_best)
{
	check_ratio((struct trace){ .exponent = 0.8, .reads = 3000000, .warm_up = 1200000 }, 63.5);
}

TEST(scans_through_all_users_cost_others_no_more_than_with_the_best)
{
	check_ratio((struct trace){ 0.99, 3000000, 1200000, .scanned = 20 }, 68.2);
}

TEST(where_others_come_into_demand_they_hit_as_soon_as_with_plain_lru)
{
	check_ratio((struct trace){ 0.99, 1500000, 600000, .replaced_every = 500000 }, 78.7);
}

TEST(plain_lru_hits_as_the_exact_one_does)
{
	struct trace trace = { 0.99, 600000 / SCALE, 200000 / SCALE, .scanned = 20 };
	uint32_t *reads = make_reads(&trace);
	double exact = ratio_of_lru(&trace, reads);
	double ours = ratio_of_cache(CACHE_EVICT_LRU, &trace, reads);

	CHECK(fabs(ours - exact) < 1);
	free(reads);
}

/* ---- one key ---- */

static bool
read_through(struct cache *cache, struct slice key)
{
	bool is_hit = has(cache, key);

	if (!is_hit)
		fill(cache, key);
	return is_hit;
}

/* Reads that many users, each once, none of them read before. */
static void
scan(struct cache *cache, int count)
{
	static uint32_t next = 1000000;

	for (int i = 0; i < count; i++)
		CHECK(!read_through(cache, key_of(next++)));
}

TEST(a_scan_evicts_what_was_read_once_and_leaves_what_was_read_again)
{
	struct cache *cache = cache_of(CACHE_EVICT_S3FIFO, 500);
	for (uint32_t i = 0; i < 200; i++)
		read_through(cache, key_of(i));
	for (uint32_t i = 0; i < 100; i++)
		CHECK(has(cache, key_of(i)));
	scan(cache, 5000);
	for (uint32_t i = 0; i < 200; i++)
		CHECK_INT(has(cache, key_of(i)), i < 100);
	cache_free(cache);
}

TEST(a_scan_evicts_everything_from_plain_lru)
{
	struct cache *cache = cache_of(CACHE_EVICT_LRU, 500);
	for (uint32_t i = 0; i < 200; i++)
		read_through(cache, key_of(i % 100));
	scan(cache, 5000);
	for (uint32_t i = 0; i < 100; i++)
		CHECK(!has(cache, key_of(i)));
	cache_free(cache);
}

/* Full: 490 users in main, most of them in demand, and 10 places for those on
 * probation. */
static struct cache *
settled(void)
{
	struct cache *cache = cache_of(CACHE_EVICT_S3FIFO, 500);

	for (uint32_t i = 0; i < 980; i++)
		CHECK_INT(read_through(cache, key_of(i % 490)), i >= 490);
	scan(cache, 600);
	for (uint32_t i = 0; i < 390; i++)
		CHECK(has(cache, key_of(i)));
	return cache;
}

TEST(a_key_that_comes_back_soon_after_it_left_is_kept)
{
	struct cache *cache = settled();
	read_through(cache, SLICE("k"));
	scan(cache, 20);
	CHECK(!read_through(cache, SLICE("k"))); /* left, and remembered */
	scan(cache, 400);
	CHECK(has(cache, SLICE("k")));
	cache_free(cache);
}

TEST(a_key_that_comes_back_late_starts_again)
{
	struct cache *cache = settled();
	read_through(cache, SLICE("k"));
	scan(cache, 1000);
	CHECK(!read_through(cache, SLICE("k")));
	scan(cache, 400);
	CHECK(!has(cache, SLICE("k")));
	cache_free(cache);
}

TEST(a_key_in_demand_that_is_written_is_kept_when_it_is_read_again)
{
	struct cache *cache = settled();
	for (int i = 0; i < 2; i++) {
		read_through(cache, i == 0 ? SLICE("hot") : SLICE("cold"));
		CHECK(i == 1 || has(cache, SLICE("hot")));
		CHECK(cache_drop(cache, i == 0 ? SLICE("hot") : SLICE("cold")));
	}
	read_through(cache, SLICE("hot"));
	read_through(cache, SLICE("cold"));
	scan(cache, 400);
	CHECK(has(cache, SLICE("hot")));
	CHECK(!has(cache, SLICE("cold")));
	cache_free(cache);
}

TEST(a_value_that_is_filled_again_keeps_its_place)
{
	struct cache *cache = settled();
	read_through(cache, SLICE("k"));
	CHECK(has(cache, SLICE("k")));
	scan(cache, 100); /* now it is in main */
	fill(cache, SLICE("k"));
	scan(cache, 450);
	CHECK(has(cache, SLICE("k")));
	cache_free(cache);
}

TEST_MAIN
