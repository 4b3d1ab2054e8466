/*
 * See journal.h: what is taken out of the journal to be unlinked in Redis, and
 * what comes of that.
 */
#include "ladder/journal_inside.h"

#include "base/glob.h"
#include "base/resp.h"

size_t
journal_take(struct journal *journal, size_t count, struct buf *keys)
{
	size_t taken = 0;

	pthread_mutex_lock(&journal->lock);
	/* From where the last take stopped: a million keys are not walked through
	 * for every batch. What comes behind it waits for the next walk. */
	while (journal->take_from < JOURNAL_BUCKETS && taken < count && journal->dirty > 0) {
		struct key_state *s = journal->buckets[journal->take_from];
		for (; s != NULL && taken < count; s = s->chain) {
			if (!s->is_dirty || s->is_taken || s->holds > 0)
				continue;
			s->is_taken = true;
			resp_append_bulk(keys, slice_make(s->key, s->len));
			taken++;
		}
		if (s == NULL)
			journal->take_from++;
	}
	if (taken < count)
		journal->take_from = 0;
	pthread_mutex_unlock(&journal->lock);
	return taken;
}

static bool
is_anything_held_in(const struct journal *journal, const struct journal_area *area)
{
	for (size_t i = 0; i < JOURNAL_BUCKETS; i++) {
		for (const struct key_state *s = journal->buckets[i]; s != NULL; s = s->chain) {
			if (s->holds > 0 &&
			    glob_matches(journal_area_pattern(area), slice_make(s->key, s->len)))
				return true;
		}
	}
	return false;
}

bool
journal_take_area(struct journal *journal, struct buf *pattern)
{
	bool is_one_taken = false;

	pthread_mutex_lock(&journal->lock);
	for (struct journal_area *area = journal->areas; area != NULL && !is_one_taken;
	     area = area->next) {
		if (area->is_taken || is_anything_held_in(journal, area))
			continue;
		area->is_taken = is_one_taken = true;
		buf_append_slice(pattern, journal_area_pattern(area));
	}
	pthread_mutex_unlock(&journal->lock);
	return is_one_taken;
}

static void
settle_areas(struct journal *journal, bool is_done, struct buf *records)
{
	for (struct journal_area *area = journal->areas, *next; area != NULL; area = next) {
		next = area->next;
		bool was_taken = area->is_taken;
		area->is_taken = false;
		if (!was_taken || !is_done)
			continue;
		if (journal->file != NULL)
			journal_record_append(records, JOURNAL_AREA_DONE,
			    journal_area_pattern(area));
		journal_mark_area_clean(journal, journal_area_pattern(area));
	}
}

static void
settle_key(struct journal *journal, struct key_state *state, bool is_done, struct buf *records)
{
	if (state->is_taken && is_done && state->holds == 0) {
		journal_mark_clean(journal, state);
		if (journal->file != NULL)
			journal_record_append(records, JOURNAL_DONE,
			    slice_make(state->key, state->len));
	}
	state->is_taken = false;
}

/* Losing these would unlink once more, no more than that. */
static void
note_done(struct journal *journal, const struct buf *records)
{
	if (buf_len(records) == 0)
		return;
	if (journal->dirty == 0)
		journal_file_clear(journal->file);
	else if (!journal_file_append(journal->file, buf_slice(records), journal->live_bytes))
		journal_file_lag(journal->file);
}

void
journal_settle(struct journal *journal, bool is_done)
{
	struct buf records = BUF_EMPTY;

	pthread_mutex_lock(&journal->lock);
	for (size_t i = 0; i < JOURNAL_BUCKETS; i++) {
		for (struct key_state **at = &journal->buckets[i]; *at != NULL;) {
			struct key_state *state = *at;
			settle_key(journal, state, is_done, &records);
			journal_forget_if_idle(journal, at);
			if (*at == state)
				at = &state->chain;
		}
	}
	settle_areas(journal, is_done, &records);
	note_done(journal, &records);
	journal->take_from = 0;
	pthread_mutex_unlock(&journal->lock);
	buf_free(&records);
}
