#include "store/cache.h"

#include <pthread.h>

#include "../dice.h"
#include "../test.h"
#include "base/clock.h"
#include "base/hash.h"

#define PLENTY (INT64_C(1) << 40)
#define REFRESH_AT 904 /* of what is fresh until 1000: so far before that is kept exactly */

static struct cache *
cache_with(enum cache_eviction eviction, int64_t max_entries, int64_t max_memory, int64_t max_value)
{
	struct cache_limits limits = { max_entries, max_memory, max_value, eviction };

	hash_init_with(1, 2);
	return cache_new(&limits);
}

static struct cache *
cache_of(int64_t max_entries, int64_t max_memory, int64_t max_value)
{
	return cache_with(CACHE_EVICT_S3FIFO, max_entries, max_memory, max_value);
}

static struct cache *
lru_of(int64_t max_entries)
{
	return cache_with(CACHE_EVICT_LRU, max_entries, PLENTY, PLENTY);
}

static struct cache *
roomy(void)
{
	return cache_of(1000, PLENTY, PLENTY);
}

/* Fresh until 1000, stale until 5000. */
static struct cache_value
value_of(const char *text)
{
	return (struct cache_value){
		.kind = CACHE_STRING,
		.source = CACHE_FROM_REDIS,
		.bytes = blob_new(slice_of(text)),
		.fresh_until_ms = 1000,
		.stale_until_ms = 5000,
		.valid_until_ms = TIME_NEVER,
		.is_validity_exact = true,
		.refresh_at_ms = TIME_NEVER,
	};
}

/* Fills under a lease and pays the value's own reference back. */
static bool
fill_under(struct cache *cache, const char *key, const struct cache_lease *lease,
    struct cache_value value)
{
	bool is_kept = cache_fill(cache, slice_of(key), lease, &value);

	cache_value_release(&value);
	return is_kept;
}

static bool
fill_value(struct cache *cache, const char *key, struct cache_value value)
{
	struct cache_lease lease = cache_lease(cache, slice_of(key));

	return fill_under(cache, key, &lease, value);
}

static bool
fill(struct cache *cache, const char *key, const char *text)
{
	return fill_value(cache, key, value_of(text));
}

static void
put(struct cache *cache, const char *key, const char *text)
{
	struct cache_value value = value_of(text);

	value.source = CACHE_FROM_WRITE;
	cache_put(cache, slice_of(key), &value);
	cache_value_release(&value);
}

static enum cache_find
find_at(struct cache *cache, const char *key, int64_t now_ms)
{
	struct cache_value value;
	enum cache_find found = cache_find(cache, slice_of(key), now_ms, &value, NULL);

	if (found != CACHE_MISS)
		cache_value_release(&value);
	return found;
}

static bool
has(struct cache *cache, const char *key)
{
	return find_at(cache, key, 0) == CACHE_FRESH;
}

/* The value that memory holds at 0, "-" for none; overwritten by the next call. */
static const char *
text_of(struct cache *cache, const char *key)
{
	static char text[64];
	struct cache_value value;

	if (cache_find(cache, slice_of(key), 0, &value, NULL) == CACHE_MISS)
		return "-";
	snprintf(text, sizeof(text), "%.*s", (int)value.bytes->len, value.bytes->bytes);
	cache_value_release(&value);
	return text;
}

static struct cache_stats
stats_of(const struct cache *cache)
{
	struct cache_stats stats;

	cache_stats(cache, &stats);
	return stats;
}

static void
fill_numbered(struct cache *cache, int number)
{
	char key[32];

	snprintf(key, sizeof(key), "profile:%d", number);
	CHECK(fill(cache, key, "{}"));
}

static bool
has_numbered(struct cache *cache, int number)
{
	char key[32];

	snprintf(key, sizeof(key), "profile:%d", number);
	return has(cache, key);
}

/* ---- time ---- */

TEST(a_value_is_fresh_until_its_moment_and_stale_from_it_on)
{
	struct cache *cache = roomy();
	fill(cache, "k", "v");
	CHECK_INT(find_at(cache, "k", 0), CACHE_FRESH);
	CHECK_INT(find_at(cache, "k", 999), CACHE_FRESH);
	CHECK_INT(find_at(cache, "k", 1000), CACHE_STALE);
	cache_free(cache);
}

TEST(a_value_is_stale_until_its_moment_and_gone_from_it_on)
{
	struct cache *cache = roomy();
	fill(cache, "k", "v");
	CHECK_INT(find_at(cache, "k", 4999), CACHE_STALE);
	CHECK_INT(find_at(cache, "k", 5000), CACHE_MISS);
	CHECK_INT(stats_of(cache).entries, 0); /* who finds it gone clears it away */
	CHECK_INT(find_at(cache, "k", 0), CACHE_MISS);
	cache_free(cache);
}

TEST(past_valid_until_nothing_is_served_not_even_stale)
{
	static const int64_t moments[] = { 500, 3000 }; /* while fresh, while stale */

	for (int i = 0; i < 2; i++) {
		struct cache *cache = roomy();
		struct cache_value value = value_of("v");
		value.valid_until_ms = moments[i];
		fill_value(cache, "k", value);
		CHECK_INT(find_at(cache, "k", moments[i] - 1), i == 0 ? CACHE_FRESH : CACHE_STALE);
		CHECK_INT(find_at(cache, "k", moments[i]), CACHE_MISS);
		cache_free(cache);
	}
}

TEST(what_was_never_filled_is_a_miss)
{
	struct cache *cache = roomy();
	CHECK_INT(find_at(cache, "k", 0), CACHE_MISS);
	fill(cache, "k", "v");
	CHECK_INT(find_at(cache, "K", 0), CACHE_MISS);
	CHECK_INT(find_at(cache, "k ", 0), CACHE_MISS);
	CHECK_INT(find_at(cache, "", 0), CACHE_MISS);
	cache_free(cache);
}

TEST(keys_and_values_may_hold_any_byte)
{
	struct cache *cache = roomy();
	struct slice key = SLICE("a\0b"), other = SLICE("a\0c");
	struct cache_value value = value_of(""), found;
	cache_value_release(&value);
	value.bytes = blob_new(SLICE("\0\r\n\xff"));
	struct cache_lease lease = cache_lease(cache, key);
	CHECK(cache_fill(cache, key, &lease, &value));
	CHECK_INT(cache_find(cache, key, 0, &found, NULL), CACHE_FRESH);
	CHECK(slice_equal(blob_slice(found.bytes), SLICE("\0\r\n\xff")));
	cache_value_release(&found);
	CHECK_INT(cache_find(cache, other, 0, &found, NULL), CACHE_MISS);
	cache_value_release(&value);
	cache_free(cache);
}

TEST(an_absent_key_is_remembered_without_bytes)
{
	struct cache *cache = roomy();
	struct cache_value value = value_of(""), found;
	cache_value_release(&value);
	value.kind = CACHE_ABSENT;
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	CHECK(cache_fill(cache, SLICE("k"), &lease, &value));
	CHECK_INT(cache_find(cache, SLICE("k"), 0, &found, NULL), CACHE_FRESH);
	CHECK_INT(found.kind, CACHE_ABSENT);
	CHECK(found.bytes == NULL);
	cache_free(cache);
}

TEST(a_reader_keeps_its_bytes_though_they_are_replaced_and_dropped)
{
	struct cache *cache = roomy();
	struct cache_value found;
	fill(cache, "k", "old");
	CHECK_INT(cache_find(cache, SLICE("k"), 0, &found, NULL), CACHE_FRESH);
	fill(cache, "k", "new");
	CHECK_TEXT(text_of(cache, "k"), "new");
	cache_free(cache);
	CHECK(slice_equal(blob_slice(found.bytes), SLICE("old")));
	cache_value_release(&found);
}

/* ---- the hit ---- */

/* What a read at that moment appends, "-" for nothing; overwritten by the next call. */
static const char *
read_at(struct cache *cache, const char *key, int64_t now_ms)
{
	static char text[64];
	struct cache_reading reading;
	struct buf out = BUF_EMPTY;
	struct cache_key asked = cache_key(slice_of(key));

	cache_prefetch(cache, asked.hash);
	cache_prefetch_entry(cache, &asked);
	enum cache_read read = cache_read(cache, &asked, now_ms, &out, &reading);
	CHECK(reading.bytes == NULL);
	CHECK_INT(buf_len(&out) > 0, read == CACHE_READ_BULK);
	snprintf(text, sizeof(text), "%.*s", (int)buf_len(&out), buf_len(&out) > 0 ? out.at : "");
	buf_free(&out);
	return read == CACHE_READ_BULK ? text : "-";
}

TEST(a_read_appends_a_fresh_string_as_a_bulk_string)
{
	struct cache *cache = roomy();
	fill(cache, "k", "hello");
	fill(cache, "empty", "");
	fill(cache, "long", "hello, world!");
	CHECK_TEXT(read_at(cache, "k", 999), "$5\r\nhello\r\n");
	CHECK_TEXT(read_at(cache, "empty", 0), "$0\r\n\r\n");
	CHECK_TEXT(read_at(cache, "long", 0), "$13\r\nhello, world!\r\n");
	CHECK_TEXT(read_at(cache, "nobody", 0), "-");
	cache_free(cache);
}

TEST(a_read_leaves_what_is_not_fresh_to_a_find)
{
	struct cache *cache = roomy();
	fill(cache, "k", "hello");
	CHECK_TEXT(read_at(cache, "k", 1000), "-");
	CHECK_INT(find_at(cache, "k", 1000), CACHE_STALE);
	CHECK_TEXT(read_at(cache, "k", 5000), "-");
	CHECK_INT(stats_of(cache).entries, 1);
	cache_distrust(cache, 500);
	CHECK_TEXT(read_at(cache, "k", 501), "-");
	cache_free(cache);
}

TEST(a_read_leaves_what_is_no_string_to_a_find)
{
	static const enum cache_kind kinds[] = { CACHE_HASH, CACHE_OVER };

	for (int i = 0; i < 2; i++) {
		struct cache *cache = roomy();
		struct cache_value value = value_of("$1\r\nf\r\n$1\r\nv\r\n");
		if (kinds[i] != CACHE_HASH)
			cache_value_release(&value);
		value.kind = kinds[i];
		CHECK(fill_value(cache, "k", value));
		CHECK_TEXT(read_at(cache, "k", 0), "-");
		CHECK_INT(find_at(cache, "k", 0), CACHE_FRESH);
		cache_free(cache);
	}
}

static enum cache_read
read_absence(enum cache_kind kind, int64_t now_ms, enum cache_find *found)
{
	struct cache *cache = roomy();
	struct cache_value value = value_of(""), held;
	struct cache_reading reading;
	struct buf out = BUF_EMPTY;

	cache_value_release(&value);
	value.kind = kind;
	CHECK(fill_value(cache, "k", value));
	struct cache_key k = cache_key(SLICE("k"));
	enum cache_read read = cache_read(cache, &k, now_ms, &out, &reading);
	CHECK_INT(buf_len(&out), 0);
	*found = cache_find(cache, SLICE("k"), now_ms, &held, NULL);
	CHECK_INT(stats_of(cache).entries, 1);
	buf_free(&out);
	cache_free(cache);
	return read;
}

TEST(a_key_that_is_known_not_to_be_there_is_read_as_nil_while_that_is_fresh)
{
	enum cache_find found;

	CHECK_INT(read_absence(CACHE_ABSENT, 0, &found), CACHE_READ_NIL);
	CHECK_INT(found, CACHE_FRESH);
	CHECK_INT(read_absence(CACHE_ABSENT, 1000, &found), CACHE_READ_NONE);
	CHECK_INT(found, CACHE_STALE);
}

TEST(what_mget_said_is_nil_is_told_to_a_read_and_to_nobody_else)
{
	enum cache_find found;

	CHECK_INT(read_absence(CACHE_NO_STRING, 0, &found), CACHE_READ_NO_STRING);
	CHECK_INT(found, CACHE_MISS);
	CHECK_INT(read_absence(CACHE_NO_STRING, 1000, &found), CACHE_READ_NONE);
	CHECK_INT(found, CACHE_MISS);
}

TEST(a_large_value_is_read_by_reference_and_outlives_its_entry)
{
	enum { SIZE = 100000 };
	struct cache *cache = roomy();
	char *text = calloc(1, SIZE + 1);
	struct cache_reading reading;
	struct buf out = BUF_EMPTY;
	memset(text, 'v', SIZE);
	fill(cache, "k", text);
	struct cache_key k = cache_key(SLICE("k"));
	CHECK_INT(cache_read(cache, &k, 0, &out, &reading), CACHE_READ_BLOB);
	CHECK_INT(buf_len(&out), 0);
	cache_free(cache);
	CHECK(slice_equal(blob_slice(reading.bytes), slice_of(text)));
	blob_unref(reading.bytes);
	free(text);
}

/* On each side of every size at which the way of keeping a value changes. */
TEST(values_of_every_size_come_back_whole)
{
	struct cache *cache = cache_of(100000, PLENTY, PLENTY);
	char *text = calloc(1, 70001);
	for (int i = 0; i < 70000; i++)
		text[i] = (char)('a' + i % 23);
	for (size_t len = 0; len <= 70000; len = len < 5000 ? len + 1 : len * 9 / 8) {
		struct slice bytes = slice_make(text, len);
		struct buf out = BUF_EMPTY;
		struct cache_reading reading;
		struct cache_value value = value_of(""), found;
		cache_value_release(&value);
		value.bytes = blob_new(bytes);
		cache_put(cache, SLICE("k"), &value);
		cache_value_release(&value);
		CHECK_INT(cache_find(cache, SLICE("k"), 0, &found, NULL), CACHE_FRESH);
		CHECK(slice_equal(blob_slice(found.bytes), bytes));
		cache_value_release(&found);
		struct cache_key k = cache_key(SLICE("k"));
		if (cache_read(cache, &k, 0, &out, &reading) == CACHE_READ_BULK) {
			char header[32];
			snprintf(header, sizeof(header), "$%zu\r\n", len);
			struct slice all = buf_slice(&out);
			CHECK(slice_starts(all, slice_of(header)));
			all = slice_make(all.at + strlen(header), all.len - strlen(header));
			CHECK(slice_starts(all, bytes));
			CHECK_INT(all.len, len + 2);
		} else {
			CHECK(slice_equal(blob_slice(reading.bytes), bytes));
			blob_unref(reading.bytes);
		}
		buf_free(&out);
	}
	free(text);
	cache_free(cache);
}

TEST(one_reader_in_time_is_told_to_refresh_also_by_a_read)
{
	struct cache *cache = roomy();
	struct cache_value value = value_of("v");
	struct cache_reading reading;
	struct buf out = BUF_EMPTY;
	int told = 0;
	value.refresh_at_ms = REFRESH_AT;
	fill_value(cache, "k", value);
	CHECK_TEXT(read_at(cache, "k", REFRESH_AT - 1), "$1\r\nv\r\n");
	for (int i = 0; i < 5; i++) {
		struct cache_key k = cache_key(SLICE("k"));
		cache_read(cache, &k, REFRESH_AT, &out, &reading);
		told += reading.should_refresh;
	}
	CHECK_INT(told, 1);
	buf_free(&out);
	cache_free(cache);
}

/* What is appended for these keys, in order, with each value's end; "!" behind
 * it where there is something to be said of the next. */
static const char *
row_at(struct cache *cache, const char *const *names, size_t count, size_t most, int64_t now_ms)
{
	static char text[256];
	struct cache_key keys[8];
	struct buf out = BUF_EMPTY;
	struct cache_reader reader = { .out = &out, .most = most, .now_ms = now_ms };
	size_t at = 0;

	for (size_t i = 0; i < count; i++)
		keys[i] = cache_key(slice_of(names[i]));
	size_t read = cache_read_row(cache, keys, count, &reader);
	text[0] = '\0';
	for (size_t i = 0; i < read; at = keys[i++].end)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%.*s|",
		    (int)(keys[i].end - at), out.at + at);
	if (reader.is_there)
		strcat(text, "!");
	CHECK_INT(at, buf_len(&out));
	buf_free(&out);
	return text;
}

TEST(a_row_is_read_up_to_the_first_that_is_no_plain_hit)
{
	struct cache *cache = roomy();
	struct cache_value nil = value_of(""), due = value_of("v"), found;
	fill(cache, "a", "1");
	fill(cache, "b", "two");
	cache_value_release(&nil);
	nil.kind = CACHE_ABSENT;
	fill_value(cache, "nil", nil);
	due.refresh_at_ms = REFRESH_AT;
	fill_value(cache, "due", due);
	CHECK_TEXT(row_at(cache, (const char *[]){ "a", "b" }, 2, PLENTY, 0),
	    "$1\r\n1\r\n|$3\r\ntwo\r\n|");
	CHECK_TEXT(row_at(cache, (const char *[]){ "a", "none", "b" }, 3, PLENTY, 0),
	    "$1\r\n1\r\n|");
	CHECK_TEXT(row_at(cache, (const char *[]){ "b", "nil", "a" }, 3, PLENTY, 0),
	    "$3\r\ntwo\r\n|!");
	CHECK_TEXT(row_at(cache, (const char *[]){ "a", "b" }, 2, PLENTY, 1000), "!");
	CHECK_TEXT(row_at(cache, NULL, 0, PLENTY, 0), "");
	/* Two reads make it worth a refresh, of which a row knows nothing. */
	for (int i = 0; i < 2; i++)
		CHECK_TEXT(row_at(cache, (const char *[]){ "due" }, 1, PLENTY, REFRESH_AT - 1),
		    "$1\r\nv\r\n|");
	CHECK_TEXT(row_at(cache, (const char *[]){ "due" }, 1, PLENTY, REFRESH_AT), "!");
	bool should_refresh = false;
	CHECK_INT(cache_find(cache, SLICE("due"), REFRESH_AT, &found, &should_refresh),
	    CACHE_FRESH);
	cache_value_release(&found);
	CHECK(should_refresh);
	cache_free(cache);
}

/* Between the prefetch of a key and its reading, others come, go and are moved. */
TEST(what_has_changed_since_the_prefetch_is_read_as_it_is_now)
{
	enum { KEYS = 200, ROWS = 20000 };
	static const char big[] =
	    "a value of some length, so that segments fill and are emptied again";
	struct cache *cache = cache_of(KEYS, PLENTY, PLENTY);
	int versions[KEYS] = { 0 }; /* 0: it is not there */
	char name[16], value[128], expected[160];
	seed = 1;
	for (int row = 0; row < ROWS; row++) {
		int number = (int)(draw() % KEYS);
		snprintf(name, sizeof(name), "key:%d", number);
		struct cache_key key = cache_key(slice_of(name));
		struct buf out = BUF_EMPTY;
		struct cache_reader reader = { .out = &out, .most = PLENTY };
		cache_prefetch_entry(cache, &key);
		for (uint64_t changes = draw() % 4; changes > 0; changes--) {
			int other = draw() % 3 == 0 ? number : (int)(draw() % KEYS);
			char other_name[16];
			snprintf(other_name, sizeof(other_name), "key:%d", other);
			versions[other] = draw() % 4 == 0 ? 0 : row + 1;
			snprintf(value, sizeof(value), "%d %.*s", versions[other],
			    (int)(draw() % sizeof(big)), big);
			if (versions[other] == 0)
				cache_drop(cache, slice_of(other_name));
			else
				fill(cache, other_name, value);
		}
		size_t read = cache_read_row(cache, &key, 1, &reader);
		CHECK_INT(read, versions[number] != 0);
		CHECK_INT(reader.is_there, false);
		snprintf(expected, sizeof(expected), "\n%d ", versions[number]);
		buf_append(&out, "", 1);
		CHECK((strstr(out.at, expected) != NULL) == (versions[number] != 0));
		buf_free(&out);
	}
	cache_free(cache);
}

TEST(a_row_ends_where_enough_has_been_read)
{
	struct cache *cache = roomy();
	fill(cache, "a", "1");
	fill(cache, "b", "2");
	CHECK_TEXT(row_at(cache, (const char *[]){ "a", "b", "a" }, 3, 7, 0),
	    "$1\r\n1\r\n|$1\r\n2\r\n|");
	CHECK_TEXT(row_at(cache, (const char *[]){ "a", "b", "a" }, 3, 6, 0), "$1\r\n1\r\n|");
	cache_free(cache);
}

TEST(what_is_distrusted_is_no_plain_hit)
{
	struct cache *cache = roomy();
	fill(cache, "a", "1");
	cache_distrust(cache, 1);
	CHECK_TEXT(row_at(cache, (const char *[]){ "a" }, 1, PLENTY, 2), "!");
	cache_free(cache);
}

/* ---- order of use; of s3fifo see test_eviction.c ---- */

TEST(the_least_recently_used_leaves_first)
{
	struct cache *cache = lru_of(3);
	fill(cache, "a", "1");
	fill(cache, "b", "2");
	fill(cache, "c", "3");
	CHECK(has(cache, "a")); /* used: b is the oldest now */
	fill(cache, "d", "4");
	CHECK(!has(cache, "b"));
	CHECK(has(cache, "a") && has(cache, "c") && has(cache, "d"));
	CHECK_INT(stats_of(cache).evictions, 1);
	cache_free(cache);
}

TEST(finding_a_stale_value_is_no_use_of_it)
{
	struct cache *cache = lru_of(2);
	fill(cache, "a", "1");
	fill(cache, "b", "2");
	CHECK_INT(find_at(cache, "a", 1000), CACHE_STALE);
	fill(cache, "c", "3");
	CHECK(!has(cache, "a"));
	CHECK(has(cache, "b"));
	cache_free(cache);
}

TEST(filling_again_counts_as_use_and_evicts_nobody)
{
	struct cache *cache = lru_of(2);
	fill(cache, "a", "1");
	fill(cache, "b", "2");
	fill(cache, "a", "3");
	CHECK_INT(stats_of(cache).evictions, 0);
	fill(cache, "c", "4");
	CHECK(!has(cache, "b"));
	CHECK_TEXT(text_of(cache, "a"), "3");
	cache_free(cache);
}

/* Against a model: a list of keys, newest first. */
TEST(a_long_random_history_leaves_what_an_exact_lru_leaves)
{
	enum { KEYS = 200, HELD = 64 };
	struct cache *cache = lru_of(HELD);
	int order[KEYS], held = 0;
	unsigned random = 7;

	for (int step = 0; step < 20000; step++) {
		random = random * 1103515245 + 12345;
		int key = (int)(random >> 16) % KEYS, at = 0;
		bool is_find = (random >> 10 & 3) != 0;
		while (at < held && order[at] != key)
			at++;
		if (is_find)
			CHECK_INT(has_numbered(cache, key), at < held);
		else
			fill_numbered(cache, key);
		if (is_find && at == held)
			continue;
		if (at == held && held < HELD)
			held++;
		else if (at == held)
			at--;
		memmove(order + 1, order, (size_t)at * sizeof(order[0]));
		order[0] = key;
	}
	CHECK_INT(stats_of(cache).entries, HELD);
	cache_free(cache);
}

/* ---- the table ---- */

/* Whoever the hash puts together: with each key of the hash, tables of every
 * small size, full and with gaps. */
TEST(keys_are_found_and_others_are_not_in_tables_of_every_size)
{
	for (uint64_t hash = 0; hash < 300; hash++) {
		struct cache *cache = cache_of(1000, PLENTY, PLENTY);
		int count = (int)(hash % 100);
		hash_init_with(hash, 2);
		for (int i = 0; i < count; i++)
			fill_numbered(cache, i);
		for (int i = 0; i < count + 50; i++)
			CHECK_INT(has_numbered(cache, i), i < count);
		for (int i = 0; i < count; i += 2) {
			char key[32];
			snprintf(key, sizeof(key), "profile:%d", i);
			CHECK(cache_drop(cache, slice_of(key)));
		}
		for (int i = 0; i < count + 50; i++)
			CHECK_INT(has_numbered(cache, i), i < count && i % 2 == 1);
		cache_free(cache);
	}
}

/* In a small table that is nearly full, somebody has gone past every bucket
 * sooner or later. */
TEST(a_search_ends_however_many_have_come_and_gone)
{
	for (uint64_t hash = 0; hash < 20; hash++) {
		struct cache *cache = lru_of(39);
		hash_init_with(hash, 2);
		for (int i = 0; i < 5000; i++) {
			fill_numbered(cache, i);
			CHECK(has_numbered(cache, i));
			CHECK(!has_numbered(cache, i + 1));
		}
		CHECK_INT(stats_of(cache).entries, 39);
		cache_free(cache);
	}
}

/* ---- the arena ---- */

/* The text of one version of a key, or of a variant of it: as long as its
 * numbers say, so that every size comes and goes. */
static struct slice
text_of_version(int key, int variant, int version)
{
	static char text[40000];
	unsigned mix = (unsigned)(key * 31 + variant * 17 + version) * 2654435761u;
	size_t len = mix % 97 == 0 ? mix / 97 % sizeof(text) : mix / 97 % 700;

	memset(text, 'a' + (int)(mix % 26), len);
	if (len > 0)
		text[len - 1] = (char)version;
	return slice_make(text, len);
}

static struct slice
name_of(int key, char text[400])
{
	/* Short names and long ones. */
	int len = snprintf(text, 400, "%0*d", key % 50 == 0 ? 300 : 8, key);

	return slice_make(text, (size_t)len);
}

static struct slice
variant_name(int variant)
{
	return variant == 0 ? SLICE_NONE : variant == 1 ? SLICE("STRLEN") : SLICE("TYPE");
}

static void
fill_version(struct cache *cache, int key, int variant, int version)
{
	char text[400];
	struct slice name = name_of(key, text);
	struct cache_value value = value_of("");

	cache_value_release(&value);
	value.kind = variant == 0 ? CACHE_STRING : CACHE_REPLY;
	value.bytes = blob_new(text_of_version(key, variant, version));
	/* Every form of an entry. */
	value.valid_until_ms = version % 3 == 0 ? 3000 : TIME_NEVER;
	value.stale_until_ms = version % 5 == 0 ? 4321 : 5000;
	struct cache_lease lease = cache_lease(cache, name);
	CHECK(cache_fill_variant(cache, name, variant_name(variant), &lease, &value));
	cache_value_release(&value);
}

static void
check_version(struct cache *cache, int key, int variant, int version)
{
	char text[400];
	struct cache_value value;
	enum cache_find found =
	    cache_find_variant(cache, name_of(key, text), variant_name(variant), 0, &value, NULL);

	if (found == CACHE_MISS)
		return; /* evicted, perhaps */
	CHECK(version > 0);
	CHECK(slice_equal(blob_slice(value.bytes), text_of_version(key, variant, version)));
	CHECK_INT(value.valid_until_ms, version % 3 == 0 ? 3000 : TIME_NEVER);
	cache_value_release(&value);
}

/* Segments fill, empty, and are moved together meanwhile. */
TEST(a_long_random_history_of_all_sizes_gives_no_wrong_byte)
{
	enum { KEYS = 3000, VARIANTS = 3, STEPS = 300000 };
	static int versions[KEYS][VARIANTS]; /* 0: not there */
	struct cache *cache = cache_of(2000, 1 << 20, PLENTY);
	unsigned random = 11;
	char text[400];

	for (int step = 1; step <= STEPS; step++) {
		random = random * 1103515245 + 12345;
		int key = (int)(random >> 12) % KEYS, variant = (int)(random >> 4) % VARIANTS;
		/* For a while only some keys are filled, and others dropped. */
		if (step / 20000 % 2 == 1)
			key = key / 10 * 10 + step / 20000 % 10;
		switch (random >> 25 & 7) {
		case 0:
			cache_drop(cache, name_of(key, text));
			memset(versions[key], 0, sizeof(versions[key]));
			break;
		case 1:
		case 2:
		case 3:
			versions[key][variant] = step % 120 + 1;
			fill_version(cache, key, variant, versions[key][variant]);
			break;
		default:
			check_version(cache, key, variant, versions[key][variant]);
			break;
		}
		CHECK(stats_of(cache).entries <= 2000 && stats_of(cache).bytes <= 1 << 20);
	}
	int64_t entries = stats_of(cache).entries;
	CHECK(entries > 500);
	CHECK_INT(cache_drop_all(cache), entries);
	CHECK_INT(stats_of(cache).bytes, 0);
	cache_free(cache);
}

/* ---- bounds ---- */

static void
check_entry_bound_with(enum cache_eviction eviction, int bound, int filled)
{
	struct cache *cache = cache_with(eviction, bound, PLENTY, PLENTY);
	int held = 0;

	for (int i = 0; i < filled; i++) {
		fill_numbered(cache, i);
		CHECK(has_numbered(cache, i)); /* the newcomer always stays */
		int64_t wanted = i + 1 < bound ? i + 1 : bound;
		if (stats_of(cache).entries != wanted) {
			CHECK_INT(stats_of(cache).entries, wanted);
			break;
		}
	}
	CHECK_INT(stats_of(cache).evictions, filled - bound);
	for (int i = 0; i < filled; i++)
		held += has_numbered(cache, i);
	CHECK_INT(held, bound);
	cache_free(cache);
}

static void
check_entry_bound(int bound, int filled)
{
	check_entry_bound_with(CACHE_EVICT_S3FIFO, bound, filled);
	check_entry_bound_with(CACHE_EVICT_LRU, bound, filled);
}

TEST(one_entry_is_held_when_one_may_be)
{
	check_entry_bound(1, 100);
}

TEST(ten_entries_are_held_when_ten_may_be)
{
	check_entry_bound(10, 1000);
}

TEST(a_thousand_entries_are_held_when_a_thousand_may_be)
{
	check_entry_bound(1000, 10000);
}

TEST(two_thousand_and_one_entries_are_held_in_several_shards)
{
	check_entry_bound(2001, 10000);
}

TEST(fifty_thousand_of_three_hundred_thousand_are_held)
{
	check_entry_bound(50000, 300000);
}

/* The shards are bounded together, so this is not exact: but who was used
 * last stays, and nearly all who stay are of the last used. */
TEST(in_many_shards_nearly_all_that_leave_are_old)
{
	struct cache *cache = lru_of(20000);
	int young = 0;
	for (int i = 0; i < 40000; i++)
		fill_numbered(cache, i);
	for (int i = 20000; i < 40000; i++)
		young += has_numbered(cache, i);
	CHECK(young > 19000);
	for (int i = 39000; i < 40000; i++)
		CHECK(has_numbered(cache, i));
	cache_free(cache);
}

static void
check_byte_bound_with(enum cache_eviction eviction)
{
	enum { BOUND = 200000 };
	struct cache *cache = cache_with(eviction, 1000000, BOUND, PLENTY);
	char text[3000];
	for (int i = 0; i < 3000; i++) {
		char key[32];
		snprintf(key, sizeof(key), "profile:%d", i);
		memset(text, 'x', sizeof(text));
		text[i % 2990] = '\0';
		CHECK(fill(cache, key, text));
		CHECK(stats_of(cache).bytes <= BOUND);
		CHECK(has(cache, key));
	}
	CHECK(stats_of(cache).evictions > 0);
	/* It is used, too: all but what one more value would take. */
	CHECK(stats_of(cache).bytes > BOUND - 4000);
	cache_free(cache);
}

TEST(the_bound_on_bytes_holds_after_every_fill)
{
	check_byte_bound_with(CACHE_EVICT_S3FIFO);
	check_byte_bound_with(CACHE_EVICT_LRU);
}

TEST(bytes_count_keys_values_and_overhead)
{
	struct cache *cache = roomy();
	struct cache_stats before = stats_of(cache);
	CHECK_INT(before.bytes, 0);
	char long_key[5001] = "", long_text[7001] = "";
	memset(long_key, 'k', 5000);
	memset(long_text, 'v', 7000);
	fill(cache, "k", "v");
	int64_t small = stats_of(cache).bytes;
	CHECK(small >= 2 + 30 && small < 400);
	fill(cache, long_key, "v");
	CHECK(stats_of(cache).bytes - small >= 5000);
	cache_drop(cache, slice_of(long_key));
	CHECK_INT(stats_of(cache).bytes, small);
	fill(cache, "l", long_text);
	CHECK(stats_of(cache).bytes - small >= 7000);
	cache_drop_all(cache);
	CHECK_INT(stats_of(cache).bytes, 0);
	cache_free(cache);
}

TEST(a_value_larger_than_all_memory_leaves_at_once)
{
	struct cache *cache = cache_of(50000, 5000, PLENTY);
	char text[6001] = "";
	memset(text, 'v', 6000);
	for (int i = 0; i < 10; i++)
		fill_numbered(cache, i);
	fill(cache, "large", text);
	CHECK(!has(cache, "large"));
	CHECK(stats_of(cache).bytes <= 5000);
	put(cache, "large", text);
	CHECK(!has(cache, "large"));
	CHECK(stats_of(cache).bytes <= 5000);
	cache_free(cache);
}

TEST(a_value_of_max_value_is_kept_and_one_byte_more_is_not)
{
	struct cache *cache = cache_of(100, PLENTY, 10);
	CHECK(fill(cache, "k", "0123456789"));
	CHECK(!fill(cache, "k", "0123456789a"));
	CHECK_TEXT(text_of(cache, "k"), "-"); /* what was there is older */
	put(cache, "k", "0123456789");
	CHECK_TEXT(text_of(cache, "k"), "0123456789");
	/* A write is newer: the old one must not stay. */
	put(cache, "k", "0123456789a");
	CHECK_TEXT(text_of(cache, "k"), "-");
	cache_free(cache);
}

/* ---- leases ---- */

TEST(a_drop_during_a_fetch_refuses_the_fill)
{
	struct cache *cache = roomy();
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	CHECK(cache_lease_holds(cache, SLICE("k"), &lease));
	CHECK(!cache_drop(cache, SLICE("k"))); /* nothing there, and yet it voids */
	CHECK(!cache_lease_holds(cache, SLICE("k"), &lease));
	CHECK(!fill_under(cache, "k", &lease, value_of("old")));
	CHECK_TEXT(text_of(cache, "k"), "-");
	cache_free(cache);
}

TEST(a_refused_fill_leaves_the_newer_value)
{
	struct cache *cache = roomy();
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	put(cache, "k", "new");
	CHECK(!fill_under(cache, "k", &lease, value_of("old")));
	CHECK_TEXT(text_of(cache, "k"), "new");
	cache_free(cache);
}

TEST(a_lease_taken_after_a_drop_may_fill)
{
	struct cache *cache = roomy();
	fill(cache, "k", "old");
	CHECK(cache_drop(cache, SLICE("k")));
	CHECK(fill(cache, "k", "new"));
	CHECK_TEXT(text_of(cache, "k"), "new");
	cache_free(cache);
}

TEST(a_fill_does_not_void_the_lease_of_another_fetch)
{
	struct cache *cache = roomy();
	struct cache_lease first = cache_lease(cache, SLICE("k"));
	struct cache_lease second = cache_lease(cache, SLICE("k"));
	CHECK(fill_under(cache, "k", &second, value_of("v")));
	CHECK(fill_under(cache, "k", &first, value_of("v")));
	cache_free(cache);
}

TEST(a_drop_of_another_key_leaves_the_lease)
{
	struct cache *cache = roomy();
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	cache_drop(cache, SLICE("l"));
	CHECK(cache_lease_holds(cache, SLICE("k"), &lease));
	cache_free(cache);
}

TEST(no_fill_is_kept_while_a_write_is_under_way)
{
	struct cache *cache = roomy();
	struct cache_lease before = cache_lease(cache, SLICE("k"));
	fill(cache, "k", "old");
	cache_write_begin(cache, SLICE("k"), cache_hash(SLICE("k")));
	CHECK_TEXT(text_of(cache, "k"), "-");
	struct cache_lease during = cache_lease(cache, SLICE("k"));
	CHECK(during.is_void);
	CHECK(!cache_lease_holds(cache, SLICE("k"), &during));
	CHECK(!fill_under(cache, "k", &before, value_of("old")));
	CHECK(!fill_under(cache, "k", &during, value_of("old")));
	cache_write_end(cache, SLICE("k"), cache_hash(SLICE("k")));
	/* Asked during the write: it may still be the old value. */
	CHECK(!fill_under(cache, "k", &before, value_of("old")));
	CHECK(!fill_under(cache, "k", &during, value_of("old")));
	CHECK_TEXT(text_of(cache, "k"), "-");
	CHECK(fill(cache, "k", "new"));
	cache_free(cache);
}

TEST(two_writes_at_once_need_both_their_ends)
{
	struct cache *cache = roomy();
	cache_write_begin(cache, SLICE("k"), cache_hash(SLICE("k")));
	cache_write_begin(cache, SLICE("k"), cache_hash(SLICE("k")));
	cache_write_end(cache, SLICE("k"), cache_hash(SLICE("k")));
	CHECK(!fill(cache, "k", "old"));
	cache_write_end(cache, SLICE("k"), cache_hash(SLICE("k")));
	CHECK(fill(cache, "k", "new"));
	cache_free(cache);
}

TEST(a_late_end_of_a_write_keeps_what_was_put_since)
{
	struct cache *cache = roomy();
	cache_write_begin(cache, SLICE("k"), cache_hash(SLICE("k")));
	put(cache, "k", "acknowledged");
	struct cache_lease during = cache_lease(cache, SLICE("k"));
	cache_write_end_late(cache, cache_hash(SLICE("k")));
	CHECK_TEXT(text_of(cache, "k"), "acknowledged");
	CHECK(!fill_under(cache, "k", &during, value_of("old")));
	CHECK(fill(cache, "k", "new"));
	cache_free(cache);
}

TEST(a_late_end_voids_a_lease_from_before_the_write)
{
	struct cache *cache = roomy();
	struct cache_lease before = cache_lease(cache, SLICE("k"));
	cache_write_begin(cache, SLICE("k"), cache_hash(SLICE("k")));
	cache_write_end_late(cache, cache_hash(SLICE("k")));
	CHECK(!fill_under(cache, "k", &before, value_of("old")));
	cache_free(cache);
}

TEST(a_put_during_a_write_is_kept_until_its_end)
{
	struct cache *cache = roomy();
	cache_write_begin(cache, SLICE("k"), cache_hash(SLICE("k")));
	put(cache, "k", "mine");
	CHECK_TEXT(text_of(cache, "k"), "mine");
	cache_write_end(cache, SLICE("k"), cache_hash(SLICE("k")));
	CHECK_TEXT(text_of(cache, "k"), "-");
	cache_free(cache);
}

/* With 50,000 entries there are several shards: all of them are told. */
TEST(dropping_all_voids_every_lease)
{
	struct cache *cache = cache_of(50000, PLENTY, PLENTY);
	struct cache_lease leases[200];
	char key[16];
	for (int i = 0; i < 200; i++) {
		fill_numbered(cache, i);
		snprintf(key, sizeof(key), "other:%d", i);
		leases[i] = cache_lease(cache, slice_of(key));
	}
	CHECK_INT(cache_drop_all(cache), 200);
	CHECK_INT(stats_of(cache).entries, 0);
	CHECK_INT(stats_of(cache).evictions, 0);
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof(key), "other:%d", i);
		CHECK(!fill_under(cache, key, &leases[i], value_of("old")));
	}
	cache_free(cache);
}

TEST(dropping_what_matches_leaves_the_rest_and_voids_every_lease)
{
	struct cache *cache = roomy();
	fill(cache, "profile:1", "a");
	fill(cache, "profile:2", "b");
	fill(cache, "session:1", "c");
	struct cache_lease lease = cache_lease(cache, SLICE("session:2"));
	CHECK_INT(cache_drop_matching(cache, SLICE("profile:*")), 2);
	CHECK(!has(cache, "profile:1") && !has(cache, "profile:2"));
	CHECK_TEXT(text_of(cache, "session:1"), "c");
	CHECK(!fill_under(cache, "session:2", &lease, value_of("d")));
	CHECK_INT(cache_drop_matching(cache, SLICE("nobody*")), 0);
	cache_free(cache);
}

TEST(a_drop_under_a_void_lease_leaves_what_is_newer)
{
	struct cache *cache = roomy();
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	put(cache, "k", "new");
	cache_drop_under(cache, SLICE("k"), &lease);
	CHECK_TEXT(text_of(cache, "k"), "new");
	lease = cache_lease(cache, SLICE("k"));
	cache_drop_under(cache, SLICE("k"), &lease);
	CHECK_TEXT(text_of(cache, "k"), "-");
	CHECK(!cache_lease_holds(cache, SLICE("k"), &lease));
	cache_free(cache);
}

/* ---- distrust ---- */

static bool
fill_at(struct cache *cache, const char *key, const char *text, int64_t filled_ms)
{
	struct cache_value value = value_of(text);

	value.filled_ms = filled_ms;
	return fill_value(cache, key, value);
}

TEST(what_was_filled_before_a_distrust_is_stale_and_what_comes_after_is_fresh)
{
	struct cache *cache = cache_of(50000, PLENTY, PLENTY);
	char key[16];
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		fill_at(cache, key, "v", 500);
	}
	cache_distrust(cache, 500);
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		CHECK_INT(find_at(cache, key, 501), CACHE_STALE);
	}
	CHECK_INT(stats_of(cache).entries, 100);
	CHECK(fill_at(cache, "k1", "w", 501));
	CHECK_INT(find_at(cache, "k1", 501), CACHE_FRESH);
	cache_free(cache);
}

TEST(a_distrust_voids_every_lease)
{
	struct cache *cache = cache_of(50000, PLENTY, PLENTY);
	struct cache_lease leases[100];
	char key[16];
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		leases[i] = cache_lease(cache, slice_of(key));
	}
	cache_distrust(cache, 500);
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		CHECK(!fill_under(cache, key, &leases[i], value_of("old")));
	}
	cache_free(cache);
}

/* ---- variants ---- */

static bool
fill_variant(struct cache *cache, const char *key, const char *variant, const char *text)
{
	struct cache_lease lease = cache_lease(cache, slice_of(key));
	struct cache_value value = value_of(text);
	bool is_kept = cache_fill_variant(cache, slice_of(key), slice_of(variant), &lease, &value);

	cache_value_release(&value);
	return is_kept;
}

static const char *
variant_of(struct cache *cache, const char *key, const char *variant)
{
	static char text[64];
	struct cache_value value;

	if (cache_find_variant(cache, slice_of(key), slice_of(variant), 0, &value, NULL) ==
	    CACHE_MISS)
		return "-";
	snprintf(text, sizeof(text), "%.*s", (int)value.bytes->len, value.bytes->bytes);
	cache_value_release(&value);
	return text;
}

TEST(each_variant_of_a_key_is_an_entry_of_its_own)
{
	struct cache *cache = roomy();
	fill(cache, "k", "value");
	CHECK(fill_variant(cache, "k", "STRLEN k", "5"));
	CHECK(fill_variant(cache, "k", "TYPE k", "string"));
	CHECK_TEXT(text_of(cache, "k"), "value");
	CHECK_TEXT(variant_of(cache, "k", "STRLEN k"), "5");
	CHECK_TEXT(variant_of(cache, "k", "TYPE k"), "string");
	CHECK_TEXT(variant_of(cache, "k", "TYPE"), "-");
	CHECK_TEXT(variant_of(cache, "l", "TYPE k"), "-");
	/* Where the key ends and the variant begins counts, too. */
	CHECK_TEXT(variant_of(cache, "kT", "YPE k"), "-");
	CHECK_INT(stats_of(cache).entries, 3);
	cache_free(cache);
}

TEST(one_drop_removes_a_key_with_all_its_variants_and_no_other)
{
	struct cache *cache = roomy();
	fill(cache, "k", "value");
	fill(cache, "l", "other");
	for (char name = 'a'; name <= 'z'; name++)
		CHECK(fill_variant(cache, "k", (char[]){ name, '\0' }, "x"));
	CHECK_INT(stats_of(cache).entries, 28);
	CHECK(cache_drop(cache, SLICE("k")));
	CHECK_INT(stats_of(cache).entries, 1);
	CHECK_TEXT(variant_of(cache, "k", "q"), "-");
	CHECK_TEXT(text_of(cache, "l"), "other");
	/* Also where there is no value, only variants. */
	CHECK(fill_variant(cache, "k", "a", "x"));
	CHECK(cache_drop(cache, SLICE("k")));
	CHECK(!cache_drop(cache, SLICE("k")));
	CHECK_TEXT(variant_of(cache, "k", "a"), "-");
	cache_free(cache);
}

TEST(a_lease_of_a_key_is_that_of_its_variants)
{
	struct cache *cache = roomy();
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	struct cache_value value = value_of("5");
	cache_write_begin(cache, SLICE("k"), cache_hash(SLICE("k")));
	cache_write_end(cache, SLICE("k"), cache_hash(SLICE("k")));
	CHECK(!cache_fill_variant(cache, SLICE("k"), SLICE("STRLEN k"), &lease, &value));
	cache_value_release(&value);
	CHECK_TEXT(variant_of(cache, "k", "STRLEN k"), "-");
	cache_free(cache);
}

TEST(an_expired_key_is_stale_with_all_its_variants)
{
	struct cache *cache = roomy();
	struct cache_value value;
	fill(cache, "k", "value");
	CHECK(fill_variant(cache, "k", "STRLEN k", "5"));
	fill(cache, "l", "other");
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	cache_expire(cache, SLICE("k"));
	CHECK_INT(find_at(cache, "k", 0), CACHE_STALE);
	CHECK_INT(find_at(cache, "l", 0), CACHE_FRESH);
	CHECK(!fill_under(cache, "k", &lease, value_of("value")));
	/* It was said of the key, so it holds for all that is known of it. */
	CHECK_INT(cache_find_variant(cache, SLICE("k"), SLICE("STRLEN k"), 0, &value, NULL),
	    CACHE_STALE);
	cache_value_release(&value);
	CHECK(fill(cache, "k", "new"));
	CHECK_INT(find_at(cache, "k", 0), CACHE_FRESH);
	cache_free(cache);
}

TEST(expiring_an_unknown_key_voids_its_lease)
{
	struct cache *cache = roomy();
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	cache_expire(cache, SLICE("k"));
	CHECK(!fill_under(cache, "k", &lease, value_of("old")));
	cache_free(cache);
}

/* ---- expiry ---- */

TEST(nothing_filled_after_an_expiry_was_noted_is_good_for_longer)
{
	struct cache *cache = roomy();
	cache_note_expiry(cache, SLICE("k"), 0, 700);
	fill(cache, "k", "v");
	CHECK(fill_variant(cache, "k", "STRLEN k", "1"));
	fill(cache, "l", "v");
	CHECK_INT(find_at(cache, "k", 699), CACHE_FRESH);
	CHECK_INT(find_at(cache, "k", 700), CACHE_MISS);
	CHECK_INT(find_at(cache, "l", 700), CACHE_FRESH);
	struct cache_value value;
	CHECK_INT(cache_find_variant(cache, SLICE("k"), SLICE("STRLEN k"), 700, &value, NULL),
	    CACHE_MISS);
	cache_free(cache);
}

TEST(what_is_filled_after_the_moment_is_not_bound_by_it)
{
	struct cache *cache = roomy();
	cache_note_expiry(cache, SLICE("k"), 0, 700);
	fill_at(cache, "k", "v", 700);
	CHECK_INT(find_at(cache, "k", 999), CACHE_FRESH);
	cache_free(cache);
}

TEST(of_two_moments_the_nearer_one_counts)
{
	struct cache *cache = roomy();
	cache_note_expiry(cache, SLICE("k"), 0, 700);
	cache_note_expiry(cache, SLICE("k"), 0, 900);
	fill(cache, "k", "v");
	CHECK_INT(find_at(cache, "k", 700), CACHE_MISS);
	cache_note_expiry(cache, SLICE("k"), 0, 300);
	fill(cache, "k", "v");
	CHECK_INT(find_at(cache, "k", 300), CACHE_MISS);
	/* It is over: another may follow. */
	cache_note_expiry(cache, SLICE("k"), 300, 800);
	fill_at(cache, "k", "v", 301);
	CHECK_INT(find_at(cache, "k", 699), CACHE_FRESH);
	CHECK_INT(find_at(cache, "k", 700), CACHE_MISS);
	/* The later one is not forgotten for the sake of the nearer. */
	fill_at(cache, "k", "v", 701);
	CHECK_INT(find_at(cache, "k", 799), CACHE_FRESH);
	CHECK_INT(find_at(cache, "k", 800), CACHE_MISS);
	cache_free(cache);
}

TEST(a_thousand_keys_that_expire_are_all_remembered)
{
	struct cache *cache = cache_of(50000, PLENTY, PLENTY);
	char key[32];
	int late = 0;
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		cache_note_expiry(cache, slice_of(key), 0, 500);
		fill(cache, key, "v");
	}
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		late += find_at(cache, key, 500) != CACHE_MISS;
	}
	CHECK_INT(late, 0);
	cache_free(cache);
}

/* ---- validity ---- */

static struct cache_value
valid_until(const char *text, int64_t valid_until_ms, bool is_exact)
{
	struct cache_value value = value_of(text);

	value.valid_until_ms = valid_until_ms;
	value.is_validity_exact = is_exact;
	return value;
}

TEST(an_exact_validity_is_kept_over_a_guess_for_the_same_bytes)
{
	struct cache *cache = roomy();
	fill_value(cache, "k", valid_until("v", 700, true));
	fill_value(cache, "k", valid_until("v", TIME_NEVER, false));
	CHECK_INT(find_at(cache, "k", 699), CACHE_FRESH);
	/* And again: what was kept counts as exact. */
	fill_value(cache, "k", valid_until("v", TIME_NEVER, false));
	CHECK_INT(find_at(cache, "k", 700), CACHE_MISS);
	cache_free(cache);
}

TEST(a_guess_counts_where_the_bytes_are_others)
{
	struct cache *cache = roomy();
	fill_value(cache, "k", valid_until("v", 700, true));
	fill_value(cache, "k", valid_until("w", 800, false));
	CHECK_INT(find_at(cache, "k", 799), CACHE_FRESH);
	CHECK_INT(find_at(cache, "k", 800), CACHE_MISS);
	cache_free(cache);
}

TEST(an_exact_validity_replaces_an_exact_one_and_a_guess_a_guess)
{
	struct cache *cache = roomy();
	fill_value(cache, "k", valid_until("v", 700, true));
	fill_value(cache, "k", valid_until("v", 800, true));
	CHECK_INT(find_at(cache, "k", 799), CACHE_FRESH);
	fill_value(cache, "l", valid_until("v", 700, false));
	fill_value(cache, "l", valid_until("v", 800, false));
	CHECK_INT(find_at(cache, "l", 799), CACHE_FRESH);
	cache_free(cache);
}

TEST(a_write_takes_its_own_validity)
{
	struct cache *cache = roomy();
	fill_value(cache, "k", valid_until("v", 700, true));
	struct cache_value value = valid_until("v", TIME_NEVER, false);
	cache_put(cache, SLICE("k"), &value);
	cache_value_release(&value);
	CHECK_INT(find_at(cache, "k", 999), CACHE_FRESH);
	cache_free(cache);
}

/* ---- early refresh ---- */

static bool
is_told_to_refresh(struct cache *cache, const char *key, int64_t now_ms)
{
	struct cache_value value;
	bool should_refresh = true;

	if (cache_find(cache, slice_of(key), now_ms, &value, &should_refresh) != CACHE_MISS)
		cache_value_release(&value);
	return should_refresh;
}

TEST(exactly_one_reader_is_told_to_refresh)
{
	struct cache *cache = roomy();
	struct cache_value value = value_of("v");
	value.refresh_at_ms = REFRESH_AT;
	fill_value(cache, "k", value);
	for (int i = 0; i < 5; i++)
		CHECK(!is_told_to_refresh(cache, "k", REFRESH_AT - 1));
	CHECK(is_told_to_refresh(cache, "k", REFRESH_AT));
	for (int i = 0; i < 5; i++)
		CHECK(!is_told_to_refresh(cache, "k", 999));
	/* Until the next fill. */
	value = value_of("w");
	value.refresh_at_ms = 950;
	fill_value(cache, "k", value);
	CHECK(is_told_to_refresh(cache, "k", 960));
	CHECK(!is_told_to_refresh(cache, "k", 960));
	cache_free(cache);
}

TEST(a_key_that_is_read_once_is_not_kept_warm)
{
	struct cache *cache = roomy();
	struct cache_value value = value_of("v");
	value.refresh_at_ms = REFRESH_AT;
	fill_value(cache, "k", value);
	CHECK(!is_told_to_refresh(cache, "k", 950));
	CHECK(is_told_to_refresh(cache, "k", 950));
	cache_free(cache);
}

TEST(a_stale_value_and_a_miss_ask_for_no_early_refresh)
{
	struct cache *cache = roomy();
	struct cache_value value = value_of("v");
	value.refresh_at_ms = REFRESH_AT;
	fill_value(cache, "k", value);
	CHECK(!is_told_to_refresh(cache, "k", 1000));
	CHECK(!is_told_to_refresh(cache, "k", 1001));
	CHECK(!is_told_to_refresh(cache, "nobody", 950));
	cache_free(cache);
}

/* ---- hottest ---- */

static void
use(struct cache *cache, const char *key, int times)
{
	for (int i = 0; i < times; i++)
		CHECK(has(cache, key));
}

TEST(the_hottest_keys_come_first_with_their_hits_and_bytes)
{
	struct cache *cache = cache_of(50000, PLENTY, PLENTY);
	struct cache_hot_key hot[3];
	for (int i = 0; i < 300; i++)
		fill_numbered(cache, i);
	use(cache, "profile:7", 9);
	use(cache, "profile:250", 12);
	use(cache, "profile:31", 5);
	use(cache, "profile:32", 4);
	CHECK_INT(cache_hottest(cache, hot, 3), 3);
	static const char *const wanted[] = { "profile:250", "profile:7", "profile:31" };
	static const int hits[] = { 12, 9, 5 };
	for (int i = 0; i < 3; i++) {
		CHECK(slice_equal(slice_make(hot[i].key, hot[i].key_len), slice_of(wanted[i])));
		CHECK_INT(hot[i].hits, hits[i]);
		CHECK(hot[i].bytes > 0);
		free(hot[i].key);
	}
	cache_free(cache);
}

TEST(fewer_keys_than_asked_for_are_all_there_are)
{
	struct cache *cache = roomy();
	struct cache_hot_key hot[4];
	CHECK_INT(cache_hottest(cache, hot, 4), 0);
	fill(cache, "k", "v");
	CHECK_INT(cache_hottest(cache, hot, 0), 0);
	CHECK_INT(cache_hottest(cache, hot, 4), 1);
	CHECK_INT(hot[0].hits, 0);
	free(hot[0].key);
	cache_free(cache);
}

TEST(a_key_keeps_its_hits_when_it_is_filled_again)
{
	struct cache *cache = roomy();
	struct cache_hot_key hot[1];
	fill(cache, "k", "v");
	use(cache, "k", 3);
	fill(cache, "k", "w");
	use(cache, "k", 1);
	CHECK_INT(cache_hottest(cache, hot, 1), 1);
	CHECK_INT(hot[0].hits, 4);
	free(hot[0].key);
	cache_free(cache);
}

/* ---- many threads ---- */

#define CROWD 8
#define CROWD_KEYS 400
#define CROWD_STEPS 20000
#define CROWD_ENTRIES 2100

static struct cache *shared;
/* The number that a backend would give for each key; a writer raises it
 * between write_begin and write_end. */
static _Atomic int truth[CROWD_KEYS];
static _Atomic int wrong, over_bounds;

static int
number_in(const struct blob *bytes)
{
	char text[16];

	snprintf(text, sizeof(text), "%.*s", (int)bytes->len, bytes->bytes);
	return atoi(text);
}

/* Whatever memory gives may be no older than what was true when we asked. */
static void
read_one(int which, struct slice key, bool may_refresh)
{
	struct cache_value value;
	bool should_refresh;
	int known = truth[which];

	if (cache_find(shared, key, 0, &value, may_refresh ? &should_refresh : NULL) == CACHE_MISS)
		return;
	if (number_in(value.bytes) < known)
		wrong++;
	cache_value_release(&value);
}

static void
fetch_one(int which, struct slice key)
{
	char text[16];
	struct cache_lease lease = cache_lease(shared, key);

	snprintf(text, sizeof(text), "%d", (int)truth[which]); /* the backend's answer */
	struct cache_value value = value_of(text);
	cache_fill(shared, key, &lease, &value);
	cache_value_release(&value);
}

static void
write_one(int which, struct slice key)
{
	cache_write_begin(shared, key, cache_hash(key));
	truth[which]++;
	cache_write_end(shared, key, cache_hash(key));
}

static void *
one_of_the_crowd(void *arg)
{
	uint64_t random = (uint64_t)(uintptr_t)arg * 7919 + 1;

	for (int i = 0; i < CROWD_STEPS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		unsigned draw = (unsigned)(random >> 33);
		int which = (int)(draw % CROWD_KEYS);
		char text[16];
		snprintf(text, sizeof(text), "key:%d", which);
		struct slice key = slice_of(text);
		switch (draw / CROWD_KEYS % 16) {
		case 0:
			write_one(which, key);
			break;
		case 1:
			cache_drop(shared, key);
			break;
		case 2:
		case 3:
		case 4:
		case 5:
			fetch_one(which, key);
			break;
		case 6:
			if (i % 100 == 0)
				cache_drop_matching(shared, SLICE("key:1*"));
			break;
		case 7:
			if (i % 400 == 0)
				cache_drop_all(shared);
			break;
		default:
			read_one(which, key, draw % 2 == 0);
			break;
		}
	}
	return NULL;
}

TEST(among_many_threads_nothing_older_than_the_truth_is_served)
{
	pthread_t crowd[CROWD];
	shared = cache_of(CROWD_ENTRIES, PLENTY, PLENTY);
	for (int i = 0; i < CROWD; i++)
		pthread_create(&crowd[i], NULL, one_of_the_crowd, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < CROWD; i++)
		pthread_join(crowd[i], NULL);
	CHECK_INT(wrong, 0);
	/* Every write has ended: each key can be filled again. */
	for (int i = 0; i < CROWD_KEYS; i++) {
		char key[16];
		snprintf(key, sizeof(key), "key:%d", i);
		CHECK(fill(shared, key, "v"));
	}
	CHECK_INT(stats_of(shared).entries, CROWD_KEYS);
	CHECK_INT(cache_drop_all(shared), CROWD_KEYS);
	CHECK_INT(stats_of(shared).entries, 0);
	CHECK_INT(stats_of(shared).bytes, 0);
	cache_free(shared);
}

static void *
one_that_fills(void *arg)
{
	int from = (int)(uintptr_t)arg * 5000;

	for (int i = from; i < from + 5000; i++) {
		fill_numbered(shared, i);
		/* Each thread may be over by the one that it brings. */
		if (stats_of(shared).entries > CROWD_ENTRIES + CROWD)
			over_bounds++;
	}
	return NULL;
}

TEST(among_many_threads_the_bound_holds)
{
	pthread_t crowd[CROWD];
	shared = cache_of(CROWD_ENTRIES, PLENTY, PLENTY);
	for (int i = 0; i < CROWD; i++)
		pthread_create(&crowd[i], NULL, one_that_fills, (void *)(uintptr_t)i);
	for (int i = 0; i < CROWD; i++)
		pthread_join(crowd[i], NULL);
	CHECK_INT(over_bounds, 0);
	CHECK(stats_of(shared).entries <= CROWD_ENTRIES);
	CHECK(stats_of(shared).entries > CROWD_ENTRIES - CROWD);
	CHECK_INT(cache_drop_all(shared) + stats_of(shared).evictions, CROWD * 5000);
	CHECK_INT(stats_of(shared).bytes, 0);
	cache_free(shared);
}

/* ---- the walk over all entries ---- */

#define WALK_KEYS 3000

struct seen {
	int times[WALK_KEYS], variants, others;
};

static void
see(const struct cache_entry *entry, void *arg)
{
	struct seen *seen = arg;
	int64_t number = -1;

	if (entry->variant.len > 0)
		seen->variants++;
	else if (slice_to_int64(slice_make(entry->key.at + 4, entry->key.len - 4), &number) &&
	    number >= 0 && number < WALK_KEYS)
		seen->times[number]++;
	else
		seen->others++;
}

static void
fill_walked(struct cache *cache, int number)
{
	char key[16];

	snprintf(key, sizeof(key), "key:%d", number);
	fill(cache, key, "v");
}

TEST(a_walk_sees_each_entry_once_however_the_table_grows_meanwhile)
{
	struct cache *cache = cache_of(100000, PLENTY, PLENTY);
	struct seen seen = { .others = 0 };
	size_t place = 0, calls = 0;

	for (int i = 0; i < WALK_KEYS; i++)
		fill_walked(cache, i);
	while (cache_each_some(cache, &place, see, &seen)) {
		for (int i = 0; i < 20; i++, calls++)
			fill_walked(cache, (int)(WALK_KEYS + calls));
	}
	for (int i = 0; i < WALK_KEYS; i++)
		CHECK_INT(seen.times[i], 1);
	CHECK(seen.others > 0);
	cache_free(cache);
}

TEST(a_walk_sees_variants_and_ends_in_an_empty_cache)
{
	struct cache *cache = roomy();
	struct seen seen = { .others = 0 };
	struct cache_value value = value_of(":3\r\n");
	struct cache_lease lease = cache_lease(cache, SLICE("key:1"));
	size_t place = 0;

	while (cache_each_some(cache, &place, see, &seen))
		continue;
	CHECK_INT(seen.times[1], 0);
	fill_walked(cache, 1);
	CHECK(cache_fill_variant(cache, SLICE("key:1"), SLICE("STRLEN key:1"), &lease, &value));
	place = 0;
	while (cache_each_some(cache, &place, see, &seen))
		continue;
	CHECK_INT(seen.times[1], 1);
	CHECK_INT(seen.variants, 1);
	cache_value_release(&value);
	cache_free(cache);
}

/* Two ask at the same time, say on two links, and are told different things. */
TEST(of_two_answers_to_questions_that_overlap_none_is_kept)
{
	struct cache *cache = roomy();
	struct cache_lease first = cache_lease(cache, SLICE("k"));
	struct cache_lease second = cache_lease(cache, SLICE("k"));

	CHECK(fill_under(cache, "k", &second, value_of("new")));
	CHECK(!cache_lease_is_latest(cache, SLICE("k"), &first));
	CHECK(!fill_under(cache, "k", &first, value_of("old")));
	CHECK_TEXT(text_of(cache, "k"), "-");
	CHECK(fill_value(cache, "k", value_of("new")));
	CHECK_TEXT(text_of(cache, "k"), "new");
	cache_free(cache);
}

/* The one that came first had been asked long ago, too: it is stale already. */
TEST(nor_is_one_that_comes_when_the_other_has_grown_stale)
{
	struct cache *cache = roomy();
	struct cache_lease first = cache_lease(cache, SLICE("k"));
	struct cache_lease second = cache_lease(cache, SLICE("k"));
	struct cache_value newer = value_of("new"), late = value_of("old");

	newer.fresh_until_ms = 1000;
	late.filled_ms = 2000;
	late.fresh_until_ms = 3000;
	CHECK(fill_under(cache, "k", &second, newer));
	CHECK(!fill_under(cache, "k", &first, late));
	CHECK_TEXT(text_of(cache, "k"), "-");
	cache_free(cache);
}

TEST(a_stale_copy_that_a_refused_answer_contradicts_goes)
{
	struct cache *cache = roomy();

	CHECK(fill_value(cache, "k", value_of("old")));
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	cache_expire(cache, SLICE("k"));
	CHECK(!fill_under(cache, "k", &lease, value_of("old")));
	CHECK_INT(find_at(cache, "k", 0), CACHE_STALE);
	CHECK_TEXT(text_of(cache, "k"), "old");
	CHECK(!fill_under(cache, "k", &lease, value_of("new")));
	CHECK_TEXT(text_of(cache, "k"), "-");
	cache_free(cache);
}

/* Its question was under way, on a slow link, when the other one's was asked. */
TEST(nor_a_fresh_one_that_a_refused_answer_contradicts)
{
	struct cache *cache = roomy();
	struct cache_lease slow = cache_lease(cache, SLICE("k"));

	cache_drop(cache, SLICE("k")); /* say, where listening began */
	CHECK(fill_value(cache, "k", value_of("old")));
	CHECK(!fill_under(cache, "k", &slow, value_of("old")));
	CHECK_TEXT(text_of(cache, "k"), "old");
	CHECK(!fill_under(cache, "k", &slow, value_of("new")));
	CHECK_TEXT(text_of(cache, "k"), "-");
	cache_free(cache);
}

TEST(a_write_of_our_own_is_newer_than_a_refused_answer_also_when_it_is_stale)
{
	struct cache *cache = roomy();
	struct cache_lease lease = cache_lease(cache, SLICE("k"));
	struct cache_value written = value_of("mine"), late = value_of("old");

	written.source = CACHE_FROM_WRITE;
	late.filled_ms = 2000;
	late.fresh_until_ms = 3000;
	cache_put(cache, SLICE("k"), &written);
	cache_value_release(&written);
	CHECK(!fill_under(cache, "k", &lease, late));
	CHECK_TEXT(text_of(cache, "k"), "mine");
	CHECK_INT(find_at(cache, "k", 2000), CACHE_STALE);
	cache_free(cache);
}

TEST(narrower_bounds_count_at_once_and_the_newest_stay)
{
	struct cache *cache = cache_of(2000, PLENTY, PLENTY);
	struct cache_limits narrow = { 500, PLENTY, 3, CACHE_EVICT_LRU };
	char key[16];

	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		CHECK(fill_value(cache, key, value_of("v")));
	}
	cache_set_limits(cache, &narrow);
	CHECK_INT(stats_of(cache).entries, 500);
	struct cache_value found;
	CHECK_INT(cache_find(cache, SLICE("k1999"), 0, &found, NULL), CACHE_FRESH);
	cache_value_release(&found);
	CHECK_INT(cache_find(cache, SLICE("k0"), 0, &found, NULL), CACHE_MISS);
	CHECK(!fill_value(cache, "large", value_of("four")));
	narrow.max_memory_bytes = 0;
	cache_set_limits(cache, &narrow);
	CHECK_INT(stats_of(cache).entries, 0);
	cache_free(cache);
}

TEST_MAIN
