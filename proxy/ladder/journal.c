/*
 * See journal.h. A chained table of keys. A key's entry lives while it is
 * dirty (its copy in Redis is not to be trusted) or held.
 *
 * The file is written under the lock, before memory changes: so its records
 * are in the order of the changes, and it is never behind what was said.
 */
#include "ladder/journal_inside.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/log.h"

#define BUCKETS_A_COPY 512 /* copied for the file while everybody waits */

#define ANY_WAY 0

struct journal *
journal_new(size_t max_keys)
{
	struct journal *journal = alloc_zero(sizeof(*journal));

	pthread_mutex_init(&journal->lock, NULL);
	journal->max_keys = max_keys;
	return journal;
}

void
journal_free(struct journal *journal)
{
	if (journal == NULL)
		return;
	journal_file_close(journal->file);
	for (size_t i = 0; i < JOURNAL_BUCKETS; i++) {
		for (struct key_state *s = journal->buckets[i], *chain; s != NULL; s = chain) {
			chain = s->chain;
			free(s);
		}
	}
	while (journal->areas != NULL)
		journal_area_remove(&journal->areas);
	pthread_mutex_destroy(&journal->lock);
	free(journal);
}

static struct key_state **
find(struct journal *journal, struct slice key, uint64_t hash)
{
	struct key_state **at = &journal->buckets[hash % JOURNAL_BUCKETS];

	while (*at != NULL &&
	    ((*at)->hash != hash || !slice_equal(slice_make((*at)->key, (*at)->len), key)))
		at = &(*at)->chain;
	return at;
}

static struct key_state *
find_or_make(struct journal *journal, struct slice key)
{
	uint64_t hash = hash_bytes(key);
	struct key_state **at = find(journal, key, hash);

	if (*at == NULL) {
		struct key_state *state = alloc_zero(sizeof(*state) + key.len);
		state->hash = hash;
		state->len = (uint32_t)key.len;
		memcpy(state->key, key.at, key.len);
		*at = state;
		journal->entries++;
	}
	return *at;
}

void
journal_forget_if_idle(struct journal *journal, struct key_state **at)
{
	struct key_state *state = *at;

	if (state->is_dirty || state->holds > 0)
		return;
	*at = state->chain;
	free(state);
	journal->entries--;
}

static void
mark_dirty(struct journal *journal, struct key_state *state)
{
	if (!state->is_dirty) {
		journal->dirty++;
		journal->live_bytes += journal_record_size(state->len);
	}
	state->is_dirty = true;
	state->is_taken = false; /* an UNLINK under way may run before this write */
}

void
journal_mark_clean(struct journal *journal, struct key_state *state)
{
	if (state->is_dirty) {
		journal->dirty--;
		journal->live_bytes -= journal_record_size(state->len);
	}
	state->is_dirty = false;
}

static void
mark_area_dirty(struct journal *journal, struct slice pattern)
{
	struct journal_area *area = journal_area_find(journal->areas, pattern);

	if (area != NULL) {
		area->is_taken = false;
		return;
	}
	journal_area_add(&journal->areas, pattern);
	journal->dirty++;
	journal->live_bytes += journal_record_size(pattern.len);
}

void
journal_mark_area_clean(struct journal *journal, struct slice pattern)
{
	for (struct journal_area **at = &journal->areas; *at != NULL; at = &(*at)->next) {
		if (!slice_equal(journal_area_pattern(*at), pattern))
			continue;
		journal->dirty--;
		journal->live_bytes -= journal_record_size(pattern.len);
		journal_area_remove(at);
		return;
	}
}

/* ---- the file ---- */

static void
on_record(enum journal_kind kind, struct slice key, void *arg)
{
	struct journal *journal = arg;

	if (kind == JOURNAL_AREA)
		mark_area_dirty(journal, key);
	else if (kind == JOURNAL_AREA_DONE)
		journal_mark_area_clean(journal, key);
	if (kind == JOURNAL_AREA || kind == JOURNAL_AREA_DONE)
		return;
	/* The limit is for what may still be refused. */
	mark_dirty(journal, find_or_make(journal, key));
	if (kind == JOURNAL_ADD)
		return;
	struct key_state **at = find(journal, key, hash_bytes(key));
	journal_mark_clean(journal, *at);
	journal_forget_if_idle(journal, at);
}

static bool
copy_live(size_t *place, struct buf *records, void *arg)
{
	struct journal *journal = arg;
	size_t end = *place + BUCKETS_A_COPY;

	pthread_mutex_lock(&journal->lock);
	for (const struct journal_area *area = journal->areas; area != NULL && *place == 0;
	     area = area->next)
		journal_record_append(records, JOURNAL_AREA, journal_area_pattern(area));
	for (; *place < end; ++*place) {
		for (struct key_state *s = journal->buckets[*place]; s != NULL; s = s->chain) {
			if (s->is_dirty)
				journal_record_append(records, JOURNAL_ADD,
				    slice_make(s->key, s->len));
		}
	}
	pthread_mutex_unlock(&journal->lock);
	return *place < JOURNAL_BUCKETS;
}

bool
journal_open(struct journal *journal, const char *path, char *error, size_t size)
{
	struct journal_file_owner owner = { on_record, copy_live, journal };

	journal->file = journal_file_open(path, &owner, error, size);
	if (journal->file == NULL)
		return false;
	if (journal->dirty == 0)
		journal_file_clear(journal->file);
	else
		log_info("journal %s: %zu keys to be unlinked in redis", path, journal->dirty);
	return true;
}

void
journal_why_not(struct journal *journal, char *text, size_t size)
{
	int problem = journal->file != NULL ? journal_file_problem(journal->file) : 0;

	snprintf(text, size, "%s", problem != 0 ? strerror(problem) : "it is full");
}

/* ---- adding ---- */

/* Keys that are not in it yet: how many, and their records where there is a file. */
static size_t
list_new(struct journal *journal, const struct slice *keys, size_t step, size_t count,
    struct buf *records)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++) {
		const struct key_state *state =
		    *find(journal, keys[i * step], hash_bytes(keys[i * step]));
		if ((state != NULL && state->is_dirty) ||
		    journal_area_covers(journal->areas, keys[i * step]))
			continue;
		found++;
		if (journal->file != NULL)
			journal_record_append(records, JOURNAL_ADD, keys[i * step]);
	}
	return found;
}

static bool
append(struct journal *journal, const struct buf *records)
{
	return buf_len(records) == 0 ||
	    journal_file_append(journal->file, buf_slice(records),
		journal->live_bytes + buf_len(records));
}

bool
journal_add_all(struct journal *journal, const struct slice *keys, size_t step, size_t count)
{
	struct buf records = BUF_EMPTY;

	pthread_mutex_lock(&journal->lock);
	size_t new = list_new(journal, keys, step, count, &records);
	bool is_added =
	    (new == 0 || journal->dirty + new <= journal->max_keys) && append(journal, &records);
	for (size_t i = 0; i < count && is_added; i++) {
		if (!journal_area_covers(journal->areas, keys[i * step]))
			mark_dirty(journal, find_or_make(journal, keys[i * step]));
	}
	pthread_mutex_unlock(&journal->lock);
	buf_free(&records);
	return is_added;
}

bool
journal_is_full_for(struct journal *journal, size_t count)
{
	return journal_pending(journal) + count > journal->max_keys;
}

/* Keys that an area covers need no names of their own. */
static void
forget_covered(struct journal *journal)
{
	for (size_t i = 0; i < JOURNAL_BUCKETS; i++) {
		for (struct key_state **at = &journal->buckets[i]; *at != NULL;) {
			struct key_state *state = *at;
			if (journal_area_covers(journal->areas, slice_make(state->key, state->len)))
				journal_mark_clean(journal, state);
			journal_forget_if_idle(journal, at);
			if (*at == state)
				at = &state->chain;
		}
	}
}

bool
journal_add_areas(struct journal *journal, const struct slice *patterns, size_t count)
{
	struct buf records = BUF_EMPTY;

	pthread_mutex_lock(&journal->lock);
	for (size_t i = 0; i < count && journal->file != NULL; i++)
		journal_record_append(&records, JOURNAL_AREA, patterns[i]);
	bool is_added = append(journal, &records);
	for (size_t i = 0; i < count && is_added; i++) {
		if (journal_area_find(journal->areas, patterns[i]) == NULL)
			log_warn("journal: full; every copy of %.*s in redis counts as out of date",
			    (int)patterns[i].len, patterns[i].at);
		mark_area_dirty(journal, patterns[i]);
	}
	if (is_added)
		forget_covered(journal);
	pthread_mutex_unlock(&journal->lock);
	buf_free(&records);
	return is_added;
}

bool
journal_add(struct journal *journal, struct slice key)
{
	return journal_add_all(journal, &key, 1, 1);
}

bool
journal_has(struct journal *journal, struct slice key)
{
	if (atomic_load_explicit(&journal->dirty, memory_order_acquire) == 0)
		return false;
	pthread_mutex_lock(&journal->lock);
	const struct key_state *state = *find(journal, key, hash_bytes(key));
	bool is_dirty = (state != NULL && state->is_dirty) || journal_area_has(journal->areas, key);
	pthread_mutex_unlock(&journal->lock);
	return is_dirty;
}

void
journal_hold(struct journal *journal, struct slice key, uintptr_t way)
{
	pthread_mutex_lock(&journal->lock);
	struct key_state *state = find_or_make(journal, key);
	state->way = state->holds == 0 || state->way == way ? way : ANY_WAY;
	state->holds++;
	pthread_mutex_unlock(&journal->lock);
}

void
journal_release(struct journal *journal, struct slice key)
{
	pthread_mutex_lock(&journal->lock);
	struct key_state **at = find(journal, key, hash_bytes(key));
	(*at)->holds--;
	journal_forget_if_idle(journal, at);
	pthread_mutex_unlock(&journal->lock);
}

/* Sequentially consistent on purpose: who holds and then checks its lease is
 * seen here by who has voided the lease, or sees that it is void. */
bool
journal_is_empty(const struct journal *journal)
{
	return atomic_load(&((struct journal *)(uintptr_t)journal)->entries) == 0;
}

void
journal_note_write(struct journal *journal, struct slice key, uintptr_t way)
{
	if (journal_is_empty(journal))
		return;
	pthread_mutex_lock(&journal->lock);
	struct key_state *state = *find(journal, key, hash_bytes(key));
	bool may_overtake =
	    state != NULL && state->holds > 0 && (way == ANY_WAY || state->way != way);
	if (may_overtake) {
		struct buf records = BUF_EMPTY;
		list_new(journal, &key, 1, 1, &records);
		if (!append(journal, &records))
			journal_file_lag(journal->file);
		mark_dirty(journal, state);
		buf_free(&records);
	}
	pthread_mutex_unlock(&journal->lock);
}

size_t
journal_pending(const struct journal *journal)
{
	return atomic_load_explicit(&((struct journal *)journal)->dirty, memory_order_relaxed);
}
