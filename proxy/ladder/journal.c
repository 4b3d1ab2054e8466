/*
 * See journal.h. A chained table of keys. A key's entry lives while it is
 * dirty (its copy in Redis is not to be trusted) or held.
 */
#include "ladder/journal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"

#define BUCKETS 4096

struct key_state {
	struct key_state *chain;
	uint64_t hash;
	unsigned holds;
	bool is_dirty;
	bool is_taken; /* an UNLINK is under way, sent after the last change */
	uint32_t len;
	char key[];
};

struct journal {
	pthread_mutex_t lock;
	size_t max_keys;
	_Atomic size_t entries; /* dirty or held: 0 lets everybody pass */
	_Atomic size_t dirty;
	struct key_state *buckets[BUCKETS];
};

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
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct key_state *s = journal->buckets[i], *chain; s != NULL; s = chain) {
			chain = s->chain;
			free(s);
		}
	}
	pthread_mutex_destroy(&journal->lock);
	free(journal);
}

static struct key_state **
find(struct journal *journal, struct slice key, uint64_t hash)
{
	struct key_state **at = &journal->buckets[hash % BUCKETS];

	while (*at != NULL && ((*at)->hash != hash ||
	    !slice_equal(slice_make((*at)->key, (*at)->len), key)))
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

static void
forget_if_idle(struct journal *journal, struct key_state **at)
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
	if (!state->is_dirty)
		journal->dirty++;
	state->is_dirty = true;
	state->is_taken = false; /* an UNLINK under way may run before this write */
}

bool
journal_add(struct journal *journal, struct slice key)
{
	pthread_mutex_lock(&journal->lock);
	bool has_room = journal->dirty < journal->max_keys ||
	    *find(journal, key, hash_bytes(key)) != NULL;
	if (has_room)
		mark_dirty(journal, find_or_make(journal, key));
	pthread_mutex_unlock(&journal->lock);
	return has_room;
}

bool
journal_has(struct journal *journal, struct slice key)
{
	if (atomic_load_explicit(&journal->dirty, memory_order_acquire) == 0)
		return false;
	pthread_mutex_lock(&journal->lock);
	const struct key_state *state = *find(journal, key, hash_bytes(key));
	bool is_dirty = state != NULL && state->is_dirty;
	pthread_mutex_unlock(&journal->lock);
	return is_dirty;
}

void
journal_hold(struct journal *journal, struct slice key)
{
	pthread_mutex_lock(&journal->lock);
	find_or_make(journal, key)->holds++;
	pthread_mutex_unlock(&journal->lock);
}

void
journal_release(struct journal *journal, struct slice key)
{
	pthread_mutex_lock(&journal->lock);
	struct key_state **at = find(journal, key, hash_bytes(key));
	(*at)->holds--;
	forget_if_idle(journal, at);
	pthread_mutex_unlock(&journal->lock);
}

void
journal_note_write(struct journal *journal, struct slice key)
{
	/* Sequentially consistent on purpose: who holds and then checks its lease
	 * is seen here, or sees that the lease is void. */
	if (atomic_load(&journal->entries) == 0)
		return;
	pthread_mutex_lock(&journal->lock);
	struct key_state *state = *find(journal, key, hash_bytes(key));
	if (state != NULL && state->holds > 0)
		mark_dirty(journal, state);
	pthread_mutex_unlock(&journal->lock);
}

size_t
journal_take(struct journal *journal, size_t count, struct buf *keys)
{
	size_t taken = 0;

	pthread_mutex_lock(&journal->lock);
	for (size_t i = 0; i < BUCKETS && taken < count && journal->dirty > 0; i++) {
		for (struct key_state *s = journal->buckets[i]; s != NULL && taken < count;
		     s = s->chain) {
			if (!s->is_dirty || s->is_taken || s->holds > 0)
				continue;
			s->is_taken = true;
			buf_printf(keys, "$%u\r\n", s->len);
			buf_append(keys, s->key, s->len);
			buf_append(keys, "\r\n", 2);
			taken++;
		}
	}
	pthread_mutex_unlock(&journal->lock);
	return taken;
}

void
journal_settle(struct journal *journal, bool is_done)
{
	pthread_mutex_lock(&journal->lock);
	for (size_t i = 0; i < BUCKETS; i++) {
		for (struct key_state **at = &journal->buckets[i]; *at != NULL;) {
			struct key_state *state = *at;
			if (state->is_taken && is_done && state->holds == 0) {
				state->is_dirty = false;
				journal->dirty--;
			}
			state->is_taken = false;
			forget_if_idle(journal, at);
			if (*at == state)
				at = &state->chain;
		}
	}
	pthread_mutex_unlock(&journal->lock);
}

size_t
journal_pending(const struct journal *journal)
{
	return atomic_load_explicit(&((struct journal *)journal)->dirty, memory_order_relaxed);
}
