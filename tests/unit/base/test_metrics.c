#include "base/metrics.h"

#include <pthread.h>

#include "../test.h"

static int64_t
all_in(const counter *buckets, int count)
{
	int64_t all = 0;

	for (int i = 0; i < count; i++)
		all += counter_get(&buckets[i]);
	return all;
}

TEST(a_counter_counts)
{
	counter c = 0;
	counter_add(&c, 1);
	counter_add(&c, 41);
	CHECK_INT(counter_get(&c), 42);
	counter_add(&c, -2);
	CHECK_INT(counter_get(&c), 40);
	counter_set(&c, 7);
	CHECK_INT(counter_get(&c), 7);
}

TEST(the_bounds_of_latencies_grow_from_a_microsecond_to_ten_seconds)
{
	CHECK_INT(histogram_bounds_us[0], 1);
	CHECK_INT(histogram_bounds_us[HISTOGRAM_BUCKETS - 1], 10000000);
	for (int i = 1; i < HISTOGRAM_BUCKETS; i++)
		CHECK(histogram_bounds_us[i] > histogram_bounds_us[i - 1]);
}

TEST(a_latency_falls_into_the_first_bucket_that_holds_it)
{
	for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
		struct histogram h = { 0 };
		histogram_add(&h, histogram_bounds_us[i]);
		CHECK_INT(counter_get(&h.buckets[i]), 1);
		histogram_add(&h, histogram_bounds_us[i] + 1);
		CHECK_INT(counter_get(&h.buckets[i + 1]), 1);
		CHECK_INT(counter_get(&h.sum), 2 * histogram_bounds_us[i] + 1);
		CHECK_INT(all_in(h.buckets, HISTOGRAM_BUCKETS + 1), 2);
	}
	struct histogram h = { 0 };
	histogram_add(&h, 0);
	CHECK_INT(counter_get(&h.buckets[0]), 1);
	histogram_add(&h, INT64_MAX);
	CHECK_INT(counter_get(&h.buckets[HISTOGRAM_BUCKETS]), 1);
}

TEST(a_percentile_lies_within_the_bucket_that_holds_it)
{
	int64_t counts[HISTOGRAM_BUCKETS + 1] = { 0 };

	CHECK_INT(histogram_percentile_us(counts, 50), -1);
	counts[0] = 1;
	CHECK_INT(histogram_percentile_us(counts, 50), 1);
	counts[0] = 0;
	counts[6] = 90; /* 51 to 100 us */
	counts[9] = 10; /* 501 to 1000 us */
	CHECK_INT(histogram_percentile_us(counts, 45), 75);
	CHECK_INT(histogram_percentile_us(counts, 90), 100);
	CHECK_INT(histogram_percentile_us(counts, 95), 750);
	CHECK_INT(histogram_percentile_us(counts, 100), 1000);
	counts[HISTOGRAM_BUCKETS] = 900;
	CHECK_INT(histogram_percentile_us(counts, 50), 10000000);
}

TEST(many_of_one_latency_count_as_many)
{
	struct histogram h = { 0 };
	histogram_add_many(&h, 3, 1000);
	CHECK_INT(counter_get(&h.buckets[2]), 1000);
	CHECK_INT(counter_get(&h.sum), 3000);
}

TEST(a_size_falls_into_the_power_of_two_that_holds_it)
{
	struct sizes s = { 0 };
	static const struct {
		int64_t size;
		int bucket;
	} cases[] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 5, 3 }, { 256, 8 }, { 257, 9 },
		{ 65536, 16 }, { 65537, 17 }, { 10000000, 17 }, { 0, 0 } };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t before = counter_get(&s.buckets[cases[i].bucket]);
		sizes_add(&s, cases[i].size);
		CHECK_INT(counter_get(&s.buckets[cases[i].bucket]), before + 1);
	}
	CHECK_INT(all_in(s.buckets, SIZES_BUCKETS + 1), sizeof(cases) / sizeof(cases[0]));
}

static struct histogram shared;

static void *
one_writer(void *arg)
{
	(void)arg;
	for (int i = 0; i < 200000; i++)
		histogram_add(&shared, i % 100);
	return NULL;
}

/* For TSan: one writes, another reads. */
TEST(another_thread_reads_no_more_than_was_counted)
{
	pthread_t writer;
	int64_t seen = 0;
	pthread_create(&writer, NULL, one_writer, NULL);
	for (int i = 0; i < 1000; i++) {
		int64_t all = all_in(shared.buckets, HISTOGRAM_BUCKETS + 1);
		CHECK(all >= seen);
		seen = all;
	}
	pthread_join(writer, NULL);
	CHECK_INT(all_in(shared.buckets, HISTOGRAM_BUCKETS + 1), 200000);
}

TEST_MAIN
