/*
 * The journal with its file, by what a crash, a full disk, another process
 * and a careless hand may do to it.
 */
#include "ladder/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../test.h"
#include "base/hash.h"
#include "base/log.h"
#include "ladder/journal_record.h"

#define PATIENCE_MS 10000 /* for what the journal's thread does */

static char directory[64], path[80];
static char error[512];

/* ---- a file to play with ---- */

static void
fresh_path(void)
{
	snprintf(directory, sizeof(directory), "/tmp/sidecar-journal-XXXXXX");
	if (mkdtemp(directory) == NULL)
		abort();
	snprintf(path, sizeof(path), "%s/journal", directory);
	log_setup(LOG_ERROR, LOG_TEXT);
}

static void
remove_path(void)
{
	char other[96];

	unlink(path);
	snprintf(other, sizeof(other), "%s.new", path);
	unlink(other);
	rmdir(directory);
}

static void
write_file(struct slice bytes)
{
	FILE *file = fopen(path, "wb");
	if (file == NULL || fwrite(bytes.at, 1, bytes.len, file) != bytes.len)
		abort();
	fclose(file);
}

/* Overwritten by the next call. */
static struct slice
read_file(void)
{
	static struct buf bytes;
	FILE *file = fopen(path, "rb");

	buf_reset(&bytes);
	if (file == NULL)
		return SLICE_NONE;
	for (;;) {
		size_t count = fread(buf_reserve(&bytes, 65536), 1, 65536, file);
		if (count == 0)
			break;
		buf_added(&bytes, count);
	}
	fclose(file);
	return buf_slice(&bytes);
}

static size_t
file_bytes(void)
{
	struct stat about;

	return stat(path, &about) == 0 ? (size_t)about.st_size : 0;
}

/* Whether the file says now that the key is stale in Redis. */
static bool
file_has(const char *wanted)
{
	struct slice rest = read_file(), key;
	enum journal_kind kind;
	bool is_there = false;

	rest = slice_make(rest.at + journal_file_start.len, rest.len - journal_file_start.len);
	while (journal_record_read(&rest, &kind, &key) == RECORD_READ) {
		if (slice_equal(key, slice_of(wanted)))
			is_there = kind == JOURNAL_ADD;
	}
	return is_there;
}

static bool
comes_true(bool (*claim)(void))
{
	for (int i = 0; i < PATIENCE_MS / 5 && !claim(); i++)
		usleep(5000);
	return claim();
}

/* ---- a journal on it ---- */

static struct journal *
try_open(size_t max_keys)
{
	hash_init_with(1, 2);
	struct journal *journal = journal_new(max_keys);

	error[0] = '\0';
	if (journal_open(journal, path, error, sizeof(error)))
		return journal;
	journal_free(journal);
	return NULL;
}

static struct journal *
reopen(struct journal *journal)
{
	journal_free(journal);
	journal = try_open(1000000);
	if (journal == NULL) {
		printf("%s\n", error);
		abort();
	}
	return journal;
}

static bool
add(struct journal *journal, const char *key)
{
	return journal_add(journal, slice_of(key));
}

static bool
has(struct journal *journal, const char *key)
{
	return journal_has(journal, slice_of(key));
}

static size_t
unlink_all(struct journal *journal)
{
	struct buf keys = BUF_EMPTY;
	size_t count = journal_take(journal, 1000000, &keys);

	journal_settle(journal, true);
	buf_free(&keys);
	return count;
}

/* ---- the bytes ---- */

TEST(a_record_is_what_its_header_says)
{
	struct buf out = BUF_EMPTY;

	journal_record_append(&out, JOURNAL_ADD, SLICE("plan:7"));
	CHECK(slice_equal(buf_slice(&out),
	    SLICE("\x06\x00\x00\x00\xb5\x59\x22\x8c"
		  "plan:7"
		  "\xaf\x79\xcb\xd1")));
	buf_reset(&out);
	journal_record_append(&out, JOURNAL_DONE, SLICE(""));
	CHECK(slice_equal(buf_slice(&out),
	    SLICE("\x00\x00\x00\x80\xbf\x70\x91\xca"
		  "\xc7\x4b\x67\x48")));
	CHECK_INT(journal_record_size(6), 18);
	buf_free(&out);
}

/* ---- from one run to the next ---- */

TEST(keys_come_back_when_it_is_opened_again)
{
	fresh_path();
	struct journal *journal = reopen(NULL);
	CHECK_INT(journal_pending(journal), 0);
	CHECK(add(journal, "plan:1") && add(journal, "plan:2"));
	journal = reopen(journal);
	CHECK_INT(journal_pending(journal), 2);
	CHECK(has(journal, "plan:1") && has(journal, "plan:2") && !has(journal, "plan:3"));
	journal_free(journal);
	remove_path();
}

TEST(a_kill_right_after_add_loses_nothing)
{
	fresh_path();
	for (int i = 0; i < 20; i++) {
		char key[20];
		snprintf(key, sizeof(key), "plan:%d", i);
		pid_t child = fork();
		if (child == 0) {
			if (!add(reopen(NULL), key))
				_exit(1);
			kill(getpid(), SIGKILL);
		}
		int status;
		waitpid(child, &status, 0);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		struct journal *journal = reopen(NULL);
		CHECK_INT(journal_pending(journal), i + 1);
		CHECK(has(journal, key));
		journal_free(journal);
	}
	remove_path();
}

TEST(what_was_unlinked_does_not_come_back)
{
	fresh_path();
	struct journal *journal = reopen(NULL);
	CHECK(add(journal, "held"));
	journal_hold(journal, SLICE("held"), 0); /* so that it does not become empty */
	CHECK(add(journal, "plan:1"));
	CHECK_INT(unlink_all(journal), 1);
	CHECK(add(journal, "plan:2"));
	CHECK_INT(unlink_all(journal), 1);
	CHECK(add(journal, "plan:2")); /* stale once more */
	journal = reopen(journal);
	CHECK(has(journal, "held") && !has(journal, "plan:1") && has(journal, "plan:2"));
	CHECK_INT(journal_pending(journal), 2);
	journal_free(journal);
	remove_path();
}

TEST(what_could_not_be_unlinked_comes_back)
{
	struct buf keys = BUF_EMPTY;

	fresh_path();
	struct journal *journal = reopen(NULL);
	CHECK(add(journal, "plan:1"));
	CHECK_INT(journal_take(journal, 10, &keys), 1);
	journal = reopen(journal); /* the UNLINK was sent, and not answered */
	CHECK(has(journal, "plan:1"));
	CHECK_INT(journal_take(journal, 10, &keys), 1);
	journal_settle(journal, false);
	journal = reopen(journal);
	CHECK(has(journal, "plan:1"));
	journal_free(journal);
	buf_free(&keys);
	remove_path();
}

TEST(a_write_during_a_fill_comes_back)
{
	fresh_path();
	struct journal *journal = reopen(NULL);
	journal_hold(journal, SLICE("plan:1"), 0);
	journal_hold(journal, SLICE("plan:2"), 0);
	journal_note_write(journal, SLICE("plan:1"), 0);
	journal = reopen(journal);
	CHECK(has(journal, "plan:1"));
	CHECK(!has(journal, "plan:2")); /* a fill alone is no reason */
	journal_free(journal);
	remove_path();
}

TEST(keys_may_hold_any_byte_and_none_here_too)
{
	fresh_path();
	struct journal *journal = reopen(NULL);
	CHECK(journal_add(journal, SLICE("a\0\r\nb\xff")));
	CHECK(journal_add(journal, SLICE("")));
	journal = reopen(journal);
	CHECK_INT(journal_pending(journal), 2);
	CHECK(journal_has(journal, SLICE("a\0\r\nb\xff")) && journal_has(journal, SLICE("")));
	journal_free(journal);
	remove_path();
}

TEST(all_keys_of_a_command_or_none)
{
	struct slice words[] = { SLICE("a"), SLICE("1"), SLICE("b"), SLICE("2"), SLICE("c") };

	fresh_path();
	struct journal *journal = try_open(2);
	CHECK(!journal_add_all(journal, words, 2, 3));
	char text[64];
	journal_why_not(journal, text, sizeof(text));
	CHECK_TEXT(text, "it is full");
	CHECK_INT(journal_pending(journal), 0);
	CHECK_INT(file_bytes(), journal_file_start.len);
	CHECK(journal_add_all(journal, words, 2, 2));
	CHECK(has(journal, "a") && has(journal, "b") && !has(journal, "1"));
	CHECK(journal_add_all(journal, words, 2, 2)); /* nothing new */
	journal = reopen(journal);
	CHECK_INT(journal_pending(journal), 2);
	journal_free(journal);
	remove_path();
}

TEST(more_keys_than_the_limit_are_still_taken_over)
{
	fresh_path();
	struct journal *journal = reopen(NULL);
	CHECK(add(journal, "a") && add(journal, "b") && add(journal, "c"));
	journal_free(journal);
	journal = try_open(2);
	CHECK_INT(journal_pending(journal), 3);
	CHECK(!add(journal, "d"));
	CHECK(add(journal, "c"));
	journal_free(journal);
	remove_path();
}

/* ---- crashes ---- */

static void
three_records(struct buf *file, size_t ends[3])
{
	static const char *const keys[] = { "plan:1", "plan:22", "plan:333" };

	buf_append_slice(file, journal_file_start);
	for (int i = 0; i < 3; i++) {
		journal_record_append(file, JOURNAL_ADD, slice_of(keys[i]));
		ends[i] = buf_len(file);
	}
}

/* Opened, and one key more: what is behind the torn record must be read, too. */
static void
check_torn(size_t whole)
{
	struct journal *journal = try_open(100);

	CHECK(journal != NULL);
	if (journal == NULL)
		return;
	CHECK_INT(journal_pending(journal), whole);
	CHECK(add(journal, "later"));
	journal = reopen(journal);
	CHECK_INT(journal_pending(journal), whole + 1);
	CHECK(has(journal, "later"));
	journal_free(journal);
}

TEST(a_file_cut_off_at_any_byte_keeps_its_whole_records)
{
	struct buf file = BUF_EMPTY;
	size_t ends[3];

	fresh_path();
	three_records(&file, ends);
	for (size_t len = 0; len <= buf_len(&file); len++) {
		write_file(slice_make(file.at, len));
		check_torn((size_t)((len >= ends[0]) + (len >= ends[1]) + (len >= ends[2])));
	}
	buf_free(&file);
	remove_path();
}

TEST(a_file_with_zeros_from_any_byte_on_keeps_its_whole_records)
{
	struct buf file = BUF_EMPTY;
	char image[200];
	size_t ends[3];

	fresh_path();
	three_records(&file, ends);
	for (size_t len = 0; len <= buf_len(&file); len++) {
		memset(image, 0, sizeof(image));
		memcpy(image, file.at, len);
		write_file(slice_make(image, sizeof(image)));
		/* A last byte that is zero anyway is not missing. */
		size_t good = len;
		while (good < buf_len(&file) && file.at[good] == '\0')
			good++;
		check_torn((size_t)((good >= ends[0]) + (good >= ends[1]) + (good >= ends[2])));
	}
	buf_free(&file);
	remove_path();
}

TEST(any_bit_that_is_wrong_is_refused_and_the_file_left_alone)
{
	struct buf file = BUF_EMPTY;
	char wanted[200];
	size_t ends[3];

	fresh_path();
	three_records(&file, ends);
	for (size_t at = 0; at < buf_len(&file); at++) {
		for (int bit = 0; bit < 8; bit++) {
			file.at[at] ^= (char)(1 << bit);
			write_file(buf_slice(&file));
			struct journal *journal = try_open(100);
			CHECK(journal == NULL);
			journal_free(journal);
			CHECK(slice_equal(read_file(), buf_slice(&file)));
			file.at[at] ^= (char)(1 << bit);
		}
	}
	file.at[ends[0] + 9] ^= 1;
	write_file(buf_slice(&file));
	CHECK(try_open(100) == NULL);
	snprintf(wanted, sizeof(wanted), "[ladder] journal %s: damaged at byte %zu of %zu; ", path,
	    ends[0], buf_len(&file));
	CHECK(strncmp(error, wanted, strlen(wanted)) == 0);
	CHECK(strstr(error, "plan") == NULL);
	buf_free(&file);
	remove_path();
}

/* ---- files that are none of ours ---- */

static void
check_refused(const char *reason)
{
	char wanted[200];
	struct journal *journal = try_open(10);

	CHECK(journal == NULL);
	journal_free(journal);
	snprintf(wanted, sizeof(wanted), "[ladder] journal %s: %s", path, reason);
	CHECK_TEXT(error, wanted);
}

TEST(a_foreign_file_is_refused_and_left_alone)
{
	static const char *const others[] = { "hello", "sidecar journal 2\n", "sidecar.ini",
		"sidecar journal 1 and more" };

	fresh_path();
	for (int i = 0; i < 4; i++) {
		write_file(slice_of(others[i]));
		check_refused("not a journal of this version of sidecar; it was left alone");
		CHECK(slice_equal(read_file(), slice_of(others[i])));
	}
	remove_path();
}

TEST(what_is_no_file_is_refused_by_its_reason)
{
	fresh_path();
	CHECK(mkdir(path, 0700) == 0);
	check_refused("Is a directory");
	rmdir(path);
	CHECK(mkfifo(path, 0600) == 0);
	check_refused("not a regular file");
	unlink(path);
	CHECK(symlink("/dev/full", path) == 0);
	check_refused("not a regular file");
	unlink(path);
	CHECK(symlink("/nowhere/journal", path) == 0);
	check_refused("No such file or directory");
	remove_path();
}

TEST(nobody_else_may_read_it)
{
	struct stat about;

	fresh_path();
	write_file(journal_file_start);
	CHECK(chmod(path, 0666) == 0);
	struct journal *journal = reopen(NULL);
	CHECK(stat(path, &about) == 0);
	CHECK_INT(about.st_mode & 07777, 0600);
	journal_free(journal);
	unlink(path);
	umask(0);
	journal = reopen(NULL);
	umask(022);
	CHECK(stat(path, &about) == 0);
	CHECK_INT(about.st_mode & 07777, 0600);
	journal_free(journal);
	remove_path();
}

TEST(two_never_share_a_file)
{
	fresh_path();
	struct journal *journal = reopen(NULL);
	check_refused("another sidecar uses it");
	CHECK(add(journal, "a")); /* the first goes on */
	journal = reopen(journal);
	CHECK(has(journal, "a"));
	journal_free(journal);
	remove_path();
}

/* ---- growing and shrinking ---- */

TEST(an_empty_journal_is_an_empty_file)
{
	fresh_path();
	struct journal *journal = reopen(NULL);
	CHECK(add(journal, "a") && add(journal, "b"));
	CHECK(file_bytes() > journal_file_start.len);
	CHECK_INT(unlink_all(journal), 2);
	CHECK_INT(file_bytes(), journal_file_start.len);
	CHECK(add(journal, "c"));
	journal = reopen(journal);
	CHECK_INT(journal_pending(journal), 1);
	CHECK(has(journal, "c"));
	journal_free(journal);
	remove_path();
}

/* A key that is over, with 1 KB of records. */
static void
add_and_unlink(struct journal *journal, int i)
{
	char key[600];

	snprintf(key, sizeof(key), "over:%0500d", i);
	CHECK(add(journal, key));
	CHECK_INT(unlink_all(journal), 1);
}

static bool
is_small(void)
{
	return file_bytes() < 65536 + 4 * 1001 * journal_record_size(9);
}

TEST(a_file_that_has_grown_is_written_anew_and_nothing_is_lost)
{
	char key[40], link_path[96];

	fresh_path();
	snprintf(link_path, sizeof(link_path), "%s/link", directory);
	CHECK(symlink(path, link_path) == 0);
	struct journal *journal = journal_new(100000);
	CHECK(journal_open(journal, link_path, error, sizeof(error)));
	/* Many while it is being written anew, too: that takes milliseconds. */
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "kept:%d", i);
		CHECK(add(journal, key));
		journal_hold(journal, slice_of(key), 0); /* not to be unlinked */
		for (int j = 0; j < 2; j++)
			add_and_unlink(journal, j);
	}
	CHECK(comes_true(is_small));
	check_refused("another sidecar uses it"); /* also by the new file */
	CHECK(add(journal, "last"));
	journal = reopen(journal);
	CHECK_INT(journal_pending(journal), 1001);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "kept:%d", i);
		CHECK(has(journal, key));
	}
	char other[96];
	snprintf(other, sizeof(other), "%s.new", path);
	CHECK(access(other, F_OK) != 0);
	CHECK(readlink(link_path, other, sizeof(other)) > 0); /* still a link */
	unlink(link_path);
	journal_free(journal);
	remove_path();
}

static bool
is_being_rewritten(void)
{
	char other[96];

	snprintf(other, sizeof(other), "%s.new", path);
	return access(other, F_OK) == 0;
}

TEST(becoming_empty_while_it_is_written_anew_leaves_it_empty)
{
	fresh_path();
	for (int turn = 0; turn < 20; turn++) {
		struct journal *journal = reopen(NULL);
		CHECK(add(journal, "held"));
		journal_hold(journal, SLICE("held"), 0);
		for (int i = 0; i < 100000 && !is_being_rewritten(); i++)
			add_and_unlink(journal, i % 1000);
		usleep((useconds_t)turn * 100); /* into its copying, its sync, its renaming */
		journal_release(journal, SLICE("held"));
		CHECK_INT(unlink_all(journal), 1);
		journal = reopen(journal);
		CHECK_INT(journal_pending(journal), 0);
		CHECK_INT(file_bytes(), journal_file_start.len);
		journal_free(journal);
	}
	remove_path();
}

TEST(what_a_killed_rewrite_left_behind_is_removed)
{
	char other[96];

	fresh_path();
	snprintf(other, sizeof(other), "%s.new", path);
	close(open(other, O_CREAT | O_WRONLY, 0600));
	journal_free(reopen(NULL));
	CHECK(access(other, F_OK) != 0);
	remove_path();
}

/* ---- a full disk ---- */

static void
limit_file(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes;
	setrlimit(RLIMIT_FSIZE, &limit);
}

TEST(a_full_disk_refuses_and_room_again_is_used_again)
{
	char text[64];

	fresh_path();
	log_setup((enum log_level)(LOG_ERROR + 1), LOG_TEXT);
	struct journal *journal = reopen(NULL);
	CHECK(add(journal, "plan:1"));
	size_t bytes = file_bytes();
	for (rlim_t room = 0; room < journal_record_size(6); room++) {
		limit_file(bytes + room);
		CHECK(!add(journal, "plan:2"));
		CHECK(!has(journal, "plan:2"));
		CHECK_INT(journal_pending(journal), 1);
		CHECK(add(journal, "plan:1"));  /* is written already */
		CHECK_INT(file_bytes(), bytes); /* no half record is left */
		journal_why_not(journal, text, sizeof(text));
		CHECK_TEXT(text, "File too large");
	}
	limit_file(RLIM_INFINITY);
	CHECK(add(journal, "plan:2"));
	journal = reopen(journal);
	CHECK_INT(journal_pending(journal), 2);
	journal_free(journal);
	remove_path();
}

static bool
has_plan_2(void)
{
	return file_has("plan:2");
}

static bool
has_lost_plan_1(void)
{
	return !file_has("plan:1");
}

TEST(what_a_full_disk_did_not_take_is_written_when_there_is_room)
{
	fresh_path();
	log_setup((enum log_level)(LOG_ERROR + 1), LOG_TEXT);
	struct journal *journal = reopen(NULL);
	CHECK(add(journal, "plan:1"));
	limit_file(file_bytes());
	journal_hold(journal, SLICE("plan:2"), 0);
	journal_note_write(journal, SLICE("plan:2"), 0); /* Redis has carried it out */
	CHECK(has(journal, "plan:2"));
	CHECK_INT(unlink_all(journal), 1); /* plan:1 */
	CHECK(file_has("plan:1") && !file_has("plan:2"));
	limit_file(RLIM_INFINITY);
	CHECK(comes_true(has_plan_2));
	CHECK(comes_true(has_lost_plan_1));
	journal_release(journal, SLICE("plan:2"));
	journal = reopen(journal);
	CHECK_INT(journal_pending(journal), 1);
	journal_free(journal);
	remove_path();
}

TEST(areas_outlive_the_process_and_end_with_their_sweep)
{
	struct slice pattern = SLICE("p:*");
	struct buf taken = BUF_EMPTY;

	fresh_path();
	struct journal *journal = journal_new(10);
	CHECK(journal_open(journal, path, error, sizeof(error)));
	CHECK(journal_add(journal, SLICE("q:1")) && journal_add_areas(journal, &pattern, 1));
	journal_free(journal);

	journal = journal_new(10);
	CHECK(journal_open(journal, path, error, sizeof(error)));
	CHECK(journal_has(journal, SLICE("p:9")) && journal_has(journal, SLICE("q:1")));
	CHECK_INT(journal_pending(journal), 2);
	CHECK(journal_take_area(journal, &taken));
	CHECK(slice_equal(buf_slice(&taken), pattern));
	journal_settle(journal, true);
	journal_free(journal);

	journal = journal_new(10);
	CHECK(journal_open(journal, path, error, sizeof(error)));
	CHECK(!journal_has(journal, SLICE("p:9")) && journal_has(journal, SLICE("q:1")));
	journal_free(journal);
	buf_free(&taken);
	remove_path();
}

TEST_MAIN
