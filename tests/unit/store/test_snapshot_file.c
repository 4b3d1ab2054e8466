/* The snapshot on disk: written, read back, and not read back when a single
 * byte of it is not what was written. */
#include "store/snapshot_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../test.h"
#include "base/clock.h"
#include "base/disk.h"
#include "base/hash.h"

#define HOUR INT64_C(3600000)
#define DAY (24 * HOUR)

static const unsigned char key[SEAL_KEY_BYTES] = "0123456789abcdef0123456789abcde";
static const unsigned char other_key[SEAL_KEY_BYTES] = "0123456789abcdef0123456789abcdf";

static char directory[64], path[96], new_path[96], refused_path[96];

static struct cache *
cache_of(int64_t max_entries)
{
	struct cache_limits limits = { max_entries, INT64_C(1) << 40, INT64_C(1) << 30,
		CACHE_EVICT_LRU };

	hash_init_with(1, 2);
	return cache_new(&limits);
}

static void
make_directory(void)
{
	snprintf(directory, sizeof(directory), "/tmp/sidecar-snapshot-XXXXXX");
	CHECK(mkdtemp(directory) != NULL);
	snprintf(path, sizeof(path), "%s/memory", directory);
	snprintf(new_path, sizeof(new_path), "%s/memory.new", directory);
	snprintf(refused_path, sizeof(refused_path), "%s/memory.refused", directory);
}

static void
remove_directory(void)
{
	unlink(path);
	unlink(new_path);
	unlink(refused_path);
	CHECK_INT(rmdir(directory), 0); /* nothing else was left there */
}

static void
fill_variant(struct cache *cache, const char *name, struct slice variant, struct slice bytes,
    struct cache_value value)
{
	struct cache_lease lease = cache_lease(cache, slice_of(name));

	value.bytes = blob_new(bytes);
	CHECK(cache_fill_variant(cache, slice_of(name), variant, &lease, &value));
	cache_value_release(&value);
}

/* Filled a second ago, fresh for an hour, stale for a day. */
static struct cache_value
value_now(void)
{
	int64_t now_ms = clock_mono_ms();

	return (struct cache_value){
		.kind = CACHE_STRING,
		.source = CACHE_FROM_POSTGRES,
		.filled_ms = now_ms - 1000,
		.fresh_until_ms = now_ms + HOUR,
		.stale_until_ms = now_ms + DAY,
		.valid_until_ms = TIME_NEVER,
		.is_validity_exact = true,
		.refresh_at_ms = now_ms + HOUR / 2,
	};
}

static void
fill(struct cache *cache, const char *name, const char *text)
{
	fill_variant(cache, name, SLICE_NONE, slice_of(text), value_now());
}

static enum cache_find
find(struct cache *cache, const char *name, struct cache_value *value)
{
	return cache_find(cache, slice_of(name), clock_mono_ms(), value, NULL);
}

static bool
holds(struct cache *cache, const char *name, const char *text)
{
	struct cache_value value;

	if (find(cache, name, &value) == CACHE_MISS)
		return false;
	bool is_same = slice_equal(blob_slice(value.bytes), slice_of(text));
	cache_value_release(&value);
	return is_same;
}

static int
write_with(const unsigned char *with, struct cache *cache)
{
	struct snapshot_file *file = snapshot_file_new(path, with);
	struct snapshot_tally tally;
	int problem = snapshot_file_write(file, cache, &tally);

	snapshot_file_free(file);
	return problem;
}

static char why[128];
static int64_t loaded;

static enum snapshot_outcome
load_file(struct snapshot_file *file, struct cache *cache,
    bool (*wants)(struct slice key, void *arg))
{
	struct snapshot_taker taker = { wants, NULL, DAY };
	struct snapshot_tally tally;
	enum snapshot_outcome outcome =
	    snapshot_file_load(file, cache, &taker, &tally, why, sizeof(why));

	loaded = tally.entries;
	return outcome;
}

static enum snapshot_outcome
load_with(const unsigned char *with, struct cache *cache)
{
	struct snapshot_file *file = snapshot_file_new(path, with);
	enum snapshot_outcome outcome = load_file(file, cache, NULL);

	snapshot_file_free(file);
	return outcome;
}

static size_t
read_bytes(char *bytes, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t len = read(fd, bytes, size);

	close(fd);
	return len < 0 ? 0 : (size_t)len;
}

static void
write_bytes(const char *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	CHECK_INT(disk_write(fd, slice_make(bytes, len)), 0);
	close(fd);
}

/* ---- there and back ---- */

TEST(what_was_kept_comes_back_as_stale_with_its_age)
{
	struct cache *before = cache_of(1000), *after = cache_of(1000);
	struct cache_value value;

	make_directory();
	fill(before, "profile:1", "one");
	CHECK_INT(write_with(key, before), 0);
	CHECK_INT(load_with(key, after), SNAPSHOT_LOADED);
	CHECK_INT(loaded, 1);
	CHECK_INT(find(after, "profile:1", &value), CACHE_STALE);
	CHECK(slice_equal(blob_slice(value.bytes), SLICE("one")));
	int64_t age_ms = clock_mono_ms() - value.filled_ms;
	CHECK(age_ms >= 1000 && age_ms < 61000);
	int64_t left_ms = value.stale_until_ms - clock_mono_ms();
	CHECK(left_ms <= DAY && left_ms > DAY - 60000);
	CHECK_INT(value.source, CACHE_FROM_POSTGRES);
	CHECK_INT(value.valid_until_ms, TIME_NEVER);
	CHECK(value.is_validity_exact);
	cache_value_release(&value);
	cache_free(before);
	cache_free(after);
	remove_directory();
}

TEST(variants_hashes_and_binary_values_come_back)
{
	struct cache *before = cache_of(1000), *after = cache_of(1000);
	struct cache_value reply = value_now(), hash = value_now(), value;
	struct slice words = SLICE("LRANGE l 0 -1"), fields = SLICE("$1\r\na\r\n$0\r\n\r\n");

	make_directory();
	reply.kind = CACHE_REPLY;
	reply.is_validity_exact = false;
	hash.kind = CACHE_HASH;
	fill_variant(before, "l", words, slice_make(":3\r\n\0x", 6), reply);
	fill_variant(before, "l", SLICE_NONE, slice_make("\0\0", 2), value_now());
	fill_variant(before, "h", SLICE_NONE, fields, hash);
	fill_variant(before, "", SLICE_NONE, SLICE_NONE, value_now());
	CHECK_INT(write_with(key, before), 0);
	CHECK_INT(load_with(key, after), SNAPSHOT_LOADED);
	CHECK_INT(loaded, 4);
	CHECK_INT(cache_find_variant(after, SLICE("l"), words, clock_mono_ms(), &value, NULL),
	    CACHE_STALE);
	CHECK_INT(value.kind, CACHE_REPLY);
	CHECK(!value.is_validity_exact);
	CHECK(slice_equal(blob_slice(value.bytes), slice_make(":3\r\n\0x", 6)));
	cache_value_release(&value);
	CHECK_INT(find(after, "h", &value), CACHE_STALE);
	CHECK_INT(value.kind, CACHE_HASH);
	cache_value_release(&value);
	CHECK(holds(after, "", ""));
	cache_free(before);
	cache_free(after);
	remove_directory();
}

TEST(many_chunks_and_values_larger_than_one_come_back)
{
	struct cache *before = cache_of(10000), *after = cache_of(10000);
	char name[24], text[400];
	size_t len = 3 * SEAL_CHUNK_BYTES + 7;
	char *large = malloc(len);

	make_directory();
	memset(large, 'x', len);
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "k:%d", i);
		snprintf(text, sizeof(text), "%0*d", i % 300 + 1, i);
		fill(before, name, text);
	}
	fill_variant(before, "large", SLICE_NONE, slice_make(large, len), value_now());
	CHECK_INT(write_with(key, before), 0);
	CHECK_INT(load_with(key, after), SNAPSHOT_LOADED);
	CHECK_INT(loaded, 2001);
	for (int i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "k:%d", i);
		snprintf(text, sizeof(text), "%0*d", i % 300 + 1, i);
		CHECK(holds(after, name, text));
	}
	free(large);
	cache_free(before);
	cache_free(after);
	remove_directory();
}

TEST(a_file_that_ends_with_a_full_chunk_is_whole)
{
	/* A record of one chunk's bytes exactly: its own head takes 40. */
	size_t len = SEAL_CHUNK_BYTES - 40 - 1;
	struct cache *before = cache_of(10), *after = cache_of(10);
	char *text = malloc(len);
	struct stat about;

	make_directory();
	memset(text, 'y', len);
	fill_variant(before, "k", SLICE_NONE, slice_make(text, len), value_now());
	CHECK_INT(write_with(key, before), 0);
	CHECK_INT(stat(path, &about), 0);
	CHECK_INT(about.st_size, (int64_t)seal_head_bytes() + SEAL_CHUNK_BYTES + SEAL_TAG_BYTES);
	CHECK_INT(load_with(key, after), SNAPSHOT_LOADED);
	CHECK_INT(loaded, 1);
	free(text);
	cache_free(before);
	cache_free(after);
	remove_directory();
}

TEST(an_empty_memory_is_a_good_snapshot)
{
	struct cache *cache = cache_of(10);

	make_directory();
	CHECK_INT(load_with(key, cache), SNAPSHOT_NONE);
	CHECK_INT(write_with(key, cache), 0);
	CHECK_INT(load_with(key, cache), SNAPSHOT_LOADED);
	CHECK_INT(loaded, 0);
	cache_free(cache);
	remove_directory();
}

/* ---- what is not written, what is not taken ---- */

TEST(what_is_of_no_use_later_is_not_written)
{
	struct cache *before = cache_of(1000), *after = cache_of(1000);
	struct cache_value over = value_now(), old = value_now(), absent = value_now();
	struct cache_lease lease;

	make_directory();
	over.valid_until_ms = clock_mono_ms() - 1;
	old.stale_until_ms = clock_mono_ms() - 1;
	absent.kind = CACHE_ABSENT;
	fill_variant(before, "over", SLICE_NONE, SLICE("v"), over);
	fill_variant(before, "old", SLICE_NONE, SLICE("v"), old);
	lease = cache_lease(before, SLICE("absent"));
	CHECK(cache_fill(before, SLICE("absent"), &lease, &absent));
	fill(before, "good", "v");
	CHECK_INT(write_with(key, before), 0);
	CHECK_INT(load_with(key, after), SNAPSHOT_LOADED);
	CHECK_INT(loaded, 1);
	CHECK(holds(after, "good", "v"));
	cache_free(before);
	cache_free(after);
	remove_directory();
}

TEST(what_has_ended_since_is_not_taken)
{
	struct cache *before = cache_of(1000), *after = cache_of(1000);
	struct cache_value short_lived = value_now(), value;

	make_directory();
	short_lived.valid_until_ms = clock_mono_ms() + 150;
	fill_variant(before, "a", SLICE_NONE, SLICE("v"), short_lived);
	CHECK_INT(write_with(key, before), 0);
	CHECK_INT(load_with(key, after), SNAPSHOT_LOADED);
	/* On a busy machine the 150 ms may be over by now: then it is not there. */
	if (find(after, "a", &value) != CACHE_MISS)
		cache_value_release(&value);
	usleep(160 * 1000);
	CHECK_INT(find(after, "a", &value), CACHE_MISS);
	cache_drop_all(after);
	CHECK_INT(load_with(key, after), SNAPSHOT_LOADED);
	CHECK_INT(loaded, 0);
	cache_free(before);
	cache_free(after);
	remove_directory();
}

static bool
wants_all_but_b(struct slice name, void *arg)
{
	(void)arg;
	return !slice_equal(name, SLICE("b"));
}

TEST(a_key_that_is_not_wanted_stays_away)
{
	struct cache *before = cache_of(1000), *after = cache_of(1000);
	struct snapshot_file *file;

	make_directory();
	fill(before, "a", "v");
	fill(before, "b", "v");
	CHECK_INT(write_with(key, before), 0);
	file = snapshot_file_new(path, key);
	CHECK_INT(load_file(file, after, wants_all_but_b), SNAPSHOT_LOADED);
	CHECK(holds(after, "a", "v"));
	CHECK(!holds(after, "b", "v"));
	snapshot_file_free(file);
	cache_free(before);
	cache_free(after);
	remove_directory();
}

/* ---- times, on clocks of our own ---- */

static void
through_a_record(const struct cache_value *in, const struct snapshot_now *then,
    const struct snapshot_now *now, struct cache_value *out)
{
	struct cache_entry entry = { SLICE("k"), SLICE_NONE, *in }, read;
	struct buf bytes = BUF_EMPTY;
	struct slice rest, value;

	entry.value.bytes = blob_new(SLICE("v"));
	snapshot_record_append(&bytes, &entry, then);
	rest = buf_slice(&bytes);
	CHECK_INT(snapshot_record_read(&rest, now, DAY, &read, &value), SNAPSHOT_READ);
	CHECK_INT(rest.len, 0);
	for (size_t len = 0; len < buf_len(&bytes); len++) {
		struct slice part = slice_make(buf_slice(&bytes).at, len);
		CHECK_INT(snapshot_record_read(&part, now, DAY, &read, &value), SNAPSHOT_PARTIAL);
	}
	*out = read.value;
	cache_value_release(&entry.value);
	buf_free(&bytes);
}

TEST(times_are_those_of_the_wall_across_a_reboot)
{
	/* The machine had run for 50 s then, for 7 s now; an hour has passed. */
	struct snapshot_now then = { 50000, 10 * DAY }, now = { 7000, 10 * DAY + HOUR };
	struct cache_value in = {
		.kind = CACHE_STRING,
		.filled_ms = 40000,
		.stale_until_ms = 50000 + 2 * HOUR,
		.valid_until_ms = 50000 + 3 * HOUR,
	}, out;

	through_a_record(&in, &then, &now, &out);
	CHECK_INT(out.filled_ms, 7000 - HOUR - 10000);
	CHECK_INT(out.fresh_until_ms, 7000);
	CHECK_INT(out.stale_until_ms, 7000 + HOUR);
	CHECK_INT(out.valid_until_ms, 7000 + 2 * HOUR);
}

TEST(a_clock_that_was_set_back_makes_nothing_live_longer_than_stale_allows)
{
	struct snapshot_now then = { 50000, 10 * DAY }, now = { 60000, 2 * DAY };
	struct cache_value in = {
		.kind = CACHE_STRING,
		.filled_ms = 40000,
		.stale_until_ms = 50000 + DAY,
		.valid_until_ms = TIME_NEVER,
	}, out;

	through_a_record(&in, &then, &now, &out);
	CHECK_INT(out.filled_ms, 60000);
	CHECK_INT(out.stale_until_ms, 60000 + DAY);
	CHECK_INT(out.valid_until_ms, TIME_NEVER);
}

/* ---- what is not to be trusted ---- */

/* Refused, and nothing of it taken. */
static void
check_refused(const unsigned char *with, const char *reason)
{
	struct cache *cache = cache_of(100);
	struct cache_stats stats;

	CHECK_INT(load_with(with, cache), SNAPSHOT_REFUSED);
	if (reason != NULL)
		CHECK_TEXT(why, reason);
	CHECK(strlen(why) > 5);
	cache_stats(cache, &stats);
	CHECK_INT(stats.entries, 0);
	cache_free(cache);
}

static void
write_small(void)
{
	struct cache *cache = cache_of(100);

	fill(cache, "profile:1", "one");
	fill(cache, "profile:2", "two");
	CHECK_INT(write_with(key, cache), 0);
	cache_free(cache);
}

TEST(another_key_is_told_from_damage)
{
	make_directory();
	write_small();
	check_refused(other_key, "it was written with another key, or its start is damaged");
	remove_directory();
}

TEST(one_flipped_bit_anywhere_refuses_the_file)
{
	char good[2048], bad[2048];

	make_directory();
	write_small();
	size_t len = read_bytes(good, sizeof(good));
	CHECK(len > 100 && len < sizeof(good));
	for (size_t i = 0; i < len; i++) {
		memcpy(bad, good, len);
		bad[i] ^= (char)(1 << i % 8);
		write_bytes(bad, len);
		check_refused(key, NULL);
	}
	remove_directory();
}

TEST(a_file_cut_anywhere_is_refused)
{
	char good[2048];

	make_directory();
	write_small();
	size_t len = read_bytes(good, sizeof(good));
	for (size_t cut = 0; cut < len; cut++) {
		write_bytes(good, cut);
		check_refused(key, cut == 0 ? "it is empty" : NULL);
	}
	good[len] = '\0';
	write_bytes(good, len + 1); /* and one that has grown */
	check_refused(key, "it is damaged or cut short");
	remove_directory();
}

TEST(a_file_cut_between_two_chunks_is_refused)
{
	struct cache *cache = cache_of(1000);
	char *text = malloc(SEAL_CHUNK_BYTES);

	make_directory();
	memset(text, 'z', SEAL_CHUNK_BYTES);
	for (int i = 0; i < 4; i++) {
		char name[8];
		snprintf(name, sizeof(name), "k%d", i);
		fill_variant(cache, name, SLICE_NONE, slice_make(text, SEAL_CHUNK_BYTES),
		    value_now());
	}
	CHECK_INT(write_with(key, cache), 0);
	for (size_t chunks = 4; chunks-- > 1;) {
		size_t len = seal_head_bytes() + chunks * (SEAL_CHUNK_BYTES + SEAL_TAG_BYTES);
		CHECK_INT(truncate(path, (off_t)len), 0);
		check_refused(key, "it is damaged or cut short");
	}
	CHECK_INT(truncate(path, (off_t)seal_head_bytes()), 0);
	check_refused(key, "it is damaged or cut short");
	free(text);
	cache_free(cache);
	remove_directory();
}

TEST(what_is_no_snapshot_of_this_version_is_refused_by_name)
{
	char good[2048];

	make_directory();
	write_bytes("somebody's letters\n", 19);
	check_refused(key, "it is not a snapshot");
	write_small();
	size_t len = read_bytes(good, sizeof(good));
	good[strlen("sidecar snapshot ")] = '2';
	write_bytes(good, len);
	check_refused(key, "it is of another version");
	unlink(path);
	CHECK_INT(mkdir(path, 0700), 0);
	check_refused(key, "it is not a regular file");
	rmdir(path);
	remove_directory();
}

/* ---- taking its place ---- */

static char
first_byte(const char *name)
{
	char byte = '\0';
	int fd = open(name, O_RDONLY);

	CHECK(fd >= 0);
	CHECK_INT(read(fd, &byte, 1), 1);
	close(fd);
	return byte;
}

TEST(the_first_refused_file_is_moved_aside_and_a_later_one_is_not)
{
	struct snapshot_file *file;
	struct snapshot_tally tally;
	struct cache *cache = cache_of(10);

	make_directory();
	for (char byte = '1'; byte <= '2'; byte++) {
		write_bytes(&byte, 1);
		file = snapshot_file_new(path, key);
		CHECK_INT(load_file(file, cache, NULL), SNAPSHOT_REFUSED);
		CHECK_INT(first_byte(path), byte);
		CHECK_INT(snapshot_file_write(file, cache, &tally), 0);
		CHECK_INT(snapshot_file_write(file, cache, &tally), 0);
		CHECK_INT(first_byte(path), 's');
		CHECK_INT(first_byte(refused_path), '1');
		snapshot_file_free(file);
	}
	cache_free(cache);
	remove_directory();
}

TEST(what_a_killed_writer_left_is_written_over_and_its_mode_is_ours)
{
	struct cache *cache = cache_of(10);
	struct stat about;

	make_directory();
	int fd = open(new_path, O_WRONLY | O_CREAT, 0666);
	CHECK_INT(fchmod(fd, 0666), 0);
	char rubbish[10000] = { 0 };
	CHECK_INT(disk_write(fd, slice_make(rubbish, sizeof(rubbish))), 0);
	close(fd);
	fill(cache, "a", "v");
	CHECK_INT(write_with(key, cache), 0);
	CHECK_INT(stat(path, &about), 0);
	CHECK_INT(about.st_mode & 0777, 0600);
	cache_drop_all(cache);
	CHECK_INT(load_with(key, cache), SNAPSHOT_LOADED);
	CHECK_INT(loaded, 1);
	cache_free(cache);
	remove_directory();
}

TEST(while_another_one_writes_it_is_left_to_that_one)
{
	struct cache *cache = cache_of(10);

	make_directory();
	int fd = open(new_path, O_WRONLY | O_CREAT, 0600);
	CHECK_INT(flock(fd, LOCK_EX), 0);
	CHECK_INT(write_with(key, cache), EWOULDBLOCK);
	CHECK(access(path, F_OK) != 0);
	close(fd);
	CHECK_INT(write_with(key, cache), 0);
	cache_free(cache);
	remove_directory();
}

TEST(where_it_cannot_be_written_the_last_good_one_stays)
{
	struct cache *cache = cache_of(10);
	struct snapshot_file *file = NULL;
	struct snapshot_tally tally;

	make_directory();
	fill(cache, "a", "v");
	CHECK_INT(write_with(key, cache), 0);
	/* Nowhere to write: FILE.new is a directory. */
	CHECK_INT(mkdir(new_path, 0700), 0);
	file = snapshot_file_new(path, key);
	CHECK_INT(snapshot_file_write(file, cache, &tally), EISDIR);
	snapshot_file_free(file);
	CHECK_INT(rmdir(new_path), 0);
	cache_drop_all(cache);
	CHECK_INT(load_with(key, cache), SNAPSHOT_LOADED);
	CHECK_INT(loaded, 1);
	cache_free(cache);
	remove_directory();
}

TEST(a_symbolic_link_stays_one)
{
	struct cache *cache = cache_of(10);
	char target[112];
	struct stat about;

	make_directory();
	snprintf(target, sizeof(target), "%s/target", directory);
	int fd = open(target, O_WRONLY | O_CREAT, 0600);
	close(fd);
	CHECK_INT(symlink(target, path), 0);
	CHECK_INT(write_with(key, cache), 0);
	CHECK_INT(lstat(path, &about), 0);
	CHECK(S_ISLNK(about.st_mode));
	CHECK_INT(load_with(key, cache), SNAPSHOT_LOADED);
	unlink(target);
	cache_free(cache);
	remove_directory();
}

/* ---- while others work ---- */

static _Atomic bool is_over;

static void *
fill_and_drop(void *arg)
{
	struct cache *cache = arg;

	for (int i = 0; !is_over; i = (i + 1) % 5000) {
		char name[24];
		snprintf(name, sizeof(name), "k:%d", i);
		fill(cache, name, name);
		if (i % 7 == 0)
			cache_drop(cache, slice_of(name));
	}
	return NULL;
}

TEST(a_snapshot_of_a_busy_memory_is_a_good_one)
{
	struct cache *cache = cache_of(2000), *after = cache_of(10000);
	pthread_t worker;

	make_directory();
	is_over = false;
	pthread_create(&worker, NULL, fill_and_drop, cache);
	for (int i = 0; i < 10; i++) {
		CHECK_INT(write_with(key, cache), 0);
		CHECK_INT(load_with(key, after), SNAPSHOT_LOADED);
	}
	is_over = true;
	pthread_join(worker, NULL);
	for (int i = 0; i < 5000; i++) {
		char name[24];
		struct cache_value value;
		snprintf(name, sizeof(name), "k:%d", i);
		if (find(after, name, &value) == CACHE_MISS)
			continue;
		CHECK(slice_equal(blob_slice(value.bytes), slice_of(name)));
		cache_value_release(&value);
	}
	cache_free(cache);
	cache_free(after);
	remove_directory();
}

TEST_MAIN
