#include "ladder/journal.h"

#include <pthread.h>

#include "../test.h"
#include "base/hash.h"

static struct journal *
journal_of(size_t max_keys)
{
	hash_init_with(1, 2);
	return journal_new(max_keys);
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

static void
hold(struct journal *journal, const char *key)
{
	journal_hold(journal, slice_of(key), 0);
}

static void
release(struct journal *journal, const char *key)
{
	journal_release(journal, slice_of(key));
}

/* What is taken, in wire form; overwritten by the next call. */
static const char *
taken(struct journal *journal, size_t count)
{
	static struct buf keys;

	buf_reset(&keys);
	journal_take(journal, count, &keys);
	buf_append(&keys, "", 1);
	return buf_slice(&keys).at;
}

TEST(a_key_is_in_the_journal_until_it_has_been_unlinked)
{
	struct journal *journal = journal_of(10);
	CHECK(!has(journal, "k"));
	CHECK(add(journal, "k"));
	CHECK(has(journal, "k"));
	CHECK(!has(journal, "l"));
	CHECK_INT(journal_pending(journal), 1);
	CHECK_TEXT(taken(journal, 10), "$1\r\nk\r\n");
	CHECK(has(journal, "k")); /* sent is not done */
	journal_settle(journal, true);
	CHECK(!has(journal, "k"));
	CHECK_INT(journal_pending(journal), 0);
	CHECK_TEXT(taken(journal, 10), "");
	journal_free(journal);
}

TEST(what_could_not_be_unlinked_is_taken_again)
{
	struct journal *journal = journal_of(10);
	CHECK(add(journal, "k"));
	CHECK_TEXT(taken(journal, 10), "$1\r\nk\r\n");
	journal_settle(journal, false);
	CHECK(has(journal, "k"));
	CHECK_INT(journal_pending(journal), 1);
	CHECK_TEXT(taken(journal, 10), "$1\r\nk\r\n");
	journal_settle(journal, true);
	CHECK(!has(journal, "k"));
	journal_free(journal);
}

TEST(a_key_added_while_its_unlink_is_under_way_stays)
{
	struct journal *journal = journal_of(10);
	CHECK(add(journal, "k"));
	CHECK_TEXT(taken(journal, 10), "$1\r\nk\r\n");
	CHECK(add(journal, "k"));
	journal_settle(journal, true);
	CHECK(has(journal, "k"));
	CHECK_INT(journal_pending(journal), 1);
	CHECK_TEXT(taken(journal, 10), "$1\r\nk\r\n");
	journal_settle(journal, true);
	CHECK_INT(journal_pending(journal), 0);
	journal_free(journal);
}

TEST(another_key_added_meanwhile_is_not_settled)
{
	struct journal *journal = journal_of(10);
	CHECK(add(journal, "k"));
	taken(journal, 10);
	CHECK(add(journal, "l"));
	journal_settle(journal, true);
	CHECK(!has(journal, "k"));
	CHECK(has(journal, "l"));
	journal_free(journal);
}

TEST(adding_twice_counts_once)
{
	struct journal *journal = journal_of(10);
	CHECK(add(journal, "k") && add(journal, "k"));
	CHECK_INT(journal_pending(journal), 1);
	taken(journal, 10);
	journal_settle(journal, true);
	CHECK_INT(journal_pending(journal), 0);
	journal_free(journal);
}

TEST(a_held_key_is_not_taken_before_its_last_release)
{
	struct journal *journal = journal_of(10);
	hold(journal, "k");
	hold(journal, "k");
	CHECK(add(journal, "k"));
	CHECK(has(journal, "k"));
	CHECK_TEXT(taken(journal, 10), "");
	journal_settle(journal, true);
	CHECK(has(journal, "k"));
	release(journal, "k");
	CHECK_TEXT(taken(journal, 10), "");
	release(journal, "k");
	CHECK_TEXT(taken(journal, 10), "$1\r\nk\r\n");
	journal_settle(journal, true);
	CHECK(!has(journal, "k"));
	journal_free(journal);
}

TEST(a_hold_alone_says_nothing_against_the_copy)
{
	struct journal *journal = journal_of(10);
	hold(journal, "k");
	CHECK(!has(journal, "k"));
	CHECK_INT(journal_pending(journal), 0);
	CHECK_TEXT(taken(journal, 10), "");
	release(journal, "k");
	CHECK(!has(journal, "k"));
	journal_free(journal);
}

TEST(a_hold_that_comes_while_an_unlink_is_under_way_keeps_the_key)
{
	struct journal *journal = journal_of(10);
	CHECK(add(journal, "k"));
	taken(journal, 10);
	hold(journal, "k"); /* may land after the UNLINK */
	journal_settle(journal, true);
	CHECK(has(journal, "k"));
	CHECK_TEXT(taken(journal, 10), "");
	release(journal, "k");
	CHECK_TEXT(taken(journal, 10), "$1\r\nk\r\n");
	journal_settle(journal, true);
	CHECK(!has(journal, "k"));
	journal_free(journal);
}

TEST(a_write_during_a_fill_puts_the_key_into_the_journal)
{
	struct journal *journal = journal_of(10);
	hold(journal, "k"); /* the fill */
	journal_note_write(journal, SLICE("k"), 0);
	CHECK(has(journal, "k"));
	CHECK_INT(journal_pending(journal), 1);
	release(journal, "k");
	CHECK_TEXT(taken(journal, 10), "$1\r\nk\r\n");
	journal_settle(journal, true);
	journal_free(journal);
}

/* On one connection Redis runs them in the order in which they were sent. */
TEST(a_write_behind_the_fill_on_its_connection_needs_no_journal)
{
	struct journal *journal = journal_of(10);
	journal_hold(journal, SLICE("k"), 7);
	journal_note_write(journal, SLICE("k"), 7);
	CHECK(!has(journal, "k"));
	journal_note_write(journal, SLICE("k"), 8); /* on another */
	CHECK(has(journal, "k"));
	release(journal, "k");
	journal_hold(journal, SLICE("l"), 7);
	journal_note_write(journal, SLICE("l"), 0); /* nobody knows */
	CHECK(has(journal, "l"));
	release(journal, "l");
	journal_hold(journal, SLICE("m"), 7);
	journal_hold(journal, SLICE("m"), 8); /* one of the two is on another */
	journal_note_write(journal, SLICE("m"), 7);
	CHECK(has(journal, "m"));
	release(journal, "m");
	release(journal, "m");
	journal_free(journal);
}

TEST(a_write_without_a_fill_puts_nothing_into_the_journal)
{
	struct journal *journal = journal_of(10);
	journal_note_write(journal, SLICE("k"), 0);
	CHECK(!has(journal, "k"));
	hold(journal, "l");
	journal_note_write(journal, SLICE("k"), 0);
	CHECK(!has(journal, "k"));
	CHECK(add(journal, "m"));
	journal_note_write(journal, SLICE("m"), 0);
	CHECK_INT(journal_pending(journal), 1);
	release(journal, "l");
	journal_free(journal);
}

TEST(a_full_journal_refuses_what_it_does_not_hold)
{
	struct journal *journal = journal_of(2);
	CHECK(add(journal, "a"));
	CHECK(add(journal, "b"));
	CHECK(!add(journal, "c"));
	CHECK(!has(journal, "c"));
	CHECK(add(journal, "a"));
	CHECK_INT(journal_pending(journal), 2);
	taken(journal, 1);
	journal_settle(journal, true);
	CHECK(add(journal, "c"));
	CHECK(!add(journal, "d"));
	journal_free(journal);
}

TEST(of_several_keys_all_are_added_or_none)
{
	struct slice words[] = { SLICE("a"), SLICE("1"), SLICE("b"), SLICE("2"), SLICE("c") };
	struct journal *journal = journal_of(2);
	char why[100];

	CHECK(!journal_add_all(journal, words, 2, 3));
	CHECK(!has(journal, "a") && !has(journal, "b") && !has(journal, "c"));
	CHECK_INT(journal_pending(journal), 0);
	journal_why_not(journal, why, sizeof(why));
	CHECK_TEXT(why, "it is full");
	CHECK(journal_add_all(journal, words, 2, 2));
	CHECK(has(journal, "a") && has(journal, "b") && !has(journal, "1"));
	/* What is in it already needs no room. */
	CHECK(journal_add_all(journal, words, 2, 2));
	CHECK(!journal_add_all(journal, words + 2, 2, 2));
	CHECK_INT(journal_pending(journal), 2);
	journal_free(journal);
}

TEST(what_is_taken_is_not_taken_again_before_it_is_settled)
{
	struct journal *journal = journal_of(10);
	CHECK(add(journal, "k"));
	CHECK_TEXT(taken(journal, 10), "$1\r\nk\r\n");
	CHECK_TEXT(taken(journal, 10), "");
	CHECK(add(journal, "l"));
	CHECK_TEXT(taken(journal, 10), "$1\r\nl\r\n");
	journal_settle(journal, true);
	CHECK_INT(journal_pending(journal), 0);
	journal_free(journal);
}

TEST(no_more_than_asked_for_is_taken_and_in_the_end_all)
{
	struct journal *journal = journal_of(10000);
	struct buf keys = BUF_EMPTY;
	char key[20];
	size_t rounds = 0, all = 0;

	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "profile:%d", i);
		CHECK(add(journal, key));
	}
	while (journal_pending(journal) > 0 && rounds < 100) {
		size_t count = journal_take(journal, 300, &keys);
		CHECK(count > 0 && count <= 300);
		journal_settle(journal, true);
		all += count;
		rounds++;
	}
	CHECK_INT(all, 1000);
	CHECK_INT(rounds, 4);
	for (int i = 0; i < 1000; i++) {
		snprintf(key, sizeof(key), "profile:%d\r\n", i);
		CHECK(memmem(keys.at, buf_len(&keys), key, strlen(key)) != NULL);
	}
	buf_free(&keys);
	journal_free(journal);
}

TEST(keys_may_hold_any_byte_and_none)
{
	struct journal *journal = journal_of(10);
	struct buf keys = BUF_EMPTY;

	CHECK(journal_add(journal, SLICE("a\0\r\nb")));
	CHECK(!journal_has(journal, SLICE("a")));
	CHECK_INT(journal_take(journal, 1, &keys), 1);
	CHECK(slice_equal(buf_slice(&keys), SLICE("$5\r\na\0\r\nb\r\n")));
	journal_settle(journal, true);
	buf_reset(&keys);
	CHECK(journal_add(journal, SLICE("")));
	CHECK_INT(journal_take(journal, 1, &keys), 1);
	CHECK(slice_equal(buf_slice(&keys), SLICE("$0\r\n\r\n")));
	buf_free(&keys);
	journal_free(journal);
}

/* ---- many threads ---- */

#define WRITERS 4
#define WRITES 5000
#define SHARED_KEYS 50

static struct journal *shared;
static _Atomic bool is_over;

static void *
one_writer(void *arg)
{
	unsigned random = (unsigned)(uintptr_t)arg;
	char key[16];

	for (int i = 0; i < WRITES; i++) {
		random = random * 1103515245 + 12345;
		snprintf(key, sizeof(key), "k%u", (random >> 16) % SHARED_KEYS);
		switch (random >> 13 & 3) {
		case 0:
			CHECK(add(shared, key));
			CHECK(!is_over);
			break;
		case 1:
			/* Held and written: in the journal for as long as it is held. */
			hold(shared, key);
			journal_note_write(shared, slice_of(key), 0);
			CHECK(has(shared, key));
			release(shared, key);
			break;
		case 2:
			hold(shared, key);
			release(shared, key);
			break;
		default:
			journal_note_write(shared, slice_of(key), 0);
		}
	}
	return NULL;
}

static void *
one_keeper(void *arg)
{
	struct buf keys = BUF_EMPTY;

	(void)arg;
	for (int i = 0; !is_over; i++) {
		buf_reset(&keys);
		journal_take(shared, 20, &keys);
		journal_settle(shared, i % 3 != 0);
	}
	buf_free(&keys);
	return NULL;
}

TEST(writers_and_the_keeper_at_once_leave_an_empty_journal)
{
	pthread_t writers[WRITERS], keeper;
	struct buf keys = BUF_EMPTY;

	shared = journal_of(1000);
	is_over = false;
	pthread_create(&keeper, NULL, one_keeper, NULL);
	for (int i = 0; i < WRITERS; i++)
		pthread_create(&writers[i], NULL, one_writer, (void *)(uintptr_t)(i + 1));
	for (int i = 0; i < WRITERS; i++)
		pthread_join(writers[i], NULL);
	is_over = true;
	pthread_join(keeper, NULL);
	CHECK(journal_pending(shared) <= SHARED_KEYS);
	journal_take(shared, 1000, &keys);
	journal_settle(shared, true);
	CHECK_INT(journal_pending(shared), 0);
	buf_free(&keys);
	journal_free(shared);
}

/* ---- areas ---- */

static bool
add_area(struct journal *journal, const char *pattern)
{
	struct slice glob = slice_of(pattern);

	return journal_add_areas(journal, &glob, 1);
}

/* The pattern that is taken, "" for none; overwritten by the next call. */
static const char *
taken_area(struct journal *journal)
{
	static struct buf pattern;

	buf_reset(&pattern);
	if (!journal_take_area(journal, &pattern))
		return "";
	buf_append(&pattern, "", 1);
	return buf_slice(&pattern).at;
}

TEST(an_area_holds_every_key_that_fits_until_it_has_been_swept)
{
	struct journal *journal = journal_of(2);
	CHECK(add(journal, "p:1") && add(journal, "q:1"));
	CHECK(journal_is_full_for(journal, 1));
	CHECK(add_area(journal, "p:*"));
	CHECK(has(journal, "p:1") && has(journal, "p:2") && has(journal, "q:1"));
	CHECK(!has(journal, "q:2"));
	CHECK_INT(journal_pending(journal), 2); /* p:1 needs no name of its own */
	CHECK(add(journal, "p:3"));
	CHECK_INT(journal_pending(journal), 2);
	CHECK_TEXT(taken_area(journal), "p:*");
	CHECK_TEXT(taken_area(journal), "");
	CHECK(has(journal, "p:2"));
	CHECK_TEXT(taken(journal, 10), "$3\r\nq:1\r\n");
	journal_settle(journal, true);
	CHECK(!has(journal, "p:1") && !has(journal, "p:2") && !has(journal, "q:1"));
	CHECK_INT(journal_pending(journal), 0);
	journal_free(journal);
}

TEST(an_area_that_could_not_be_swept_is_swept_again)
{
	struct journal *journal = journal_of(1);
	CHECK(add_area(journal, "p:*"));
	CHECK_TEXT(taken_area(journal), "p:*");
	journal_settle(journal, false);
	CHECK(has(journal, "p:2"));
	CHECK_TEXT(taken_area(journal), "p:*");
	journal_settle(journal, true);
	CHECK(!has(journal, "p:2"));
	journal_free(journal);
}

TEST(what_is_written_during_the_sweep_is_named_again)
{
	struct journal *journal = journal_of(1);
	CHECK(add_area(journal, "p:*"));
	CHECK_TEXT(taken_area(journal), "p:*");
	CHECK(!add(journal, "p:7")); /* the area takes the only place */
	CHECK(add_area(journal, "p:*"));
	journal_settle(journal, true);
	CHECK(has(journal, "p:7"));
	CHECK_TEXT(taken_area(journal), "p:*");
	journal_settle(journal, true);
	CHECK(add(journal, "p:8"));
	CHECK_TEXT(taken(journal, 10), "$3\r\np:8\r\n");
	journal_free(journal);
}

TEST(an_area_waits_for_what_is_held_in_it)
{
	struct journal *journal = journal_of(1);
	hold(journal, "p:1");
	hold(journal, "q:1");
	CHECK(add_area(journal, "p:*"));
	CHECK_TEXT(taken_area(journal), "");
	release(journal, "p:1");
	CHECK_TEXT(taken_area(journal), "p:*");
	release(journal, "q:1");
	journal_settle(journal, true);
	CHECK_INT(journal_pending(journal), 0);
	journal_free(journal);
}

TEST_MAIN
