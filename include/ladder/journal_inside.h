/*
 * What journal.c (what is in it) and journal_settle.c (how it gets out) share;
 * nobody else. Everything below is called under the journal's lock.
 */
#ifndef SIDECAR_LADDER_JOURNAL_INSIDE_H
#define SIDECAR_LADDER_JOURNAL_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "ladder/journal.h"
#include "ladder/journal_area.h"
#include "ladder/journal_file.h"

#define JOURNAL_BUCKETS 65536

struct key_state {
	struct key_state *chain;
	uint64_t hash;
	unsigned holds;
	uintptr_t way; /* on which what holds it travels; ANY_WAY: on several */
	bool is_dirty;
	bool is_taken; /* an UNLINK is under way, sent after the last change */
	uint32_t len;
	char key[];
};

struct journal {
	pthread_mutex_t lock;
	size_t max_keys;
	_Atomic size_t entries; /* dirty or held: 0 lets everybody pass */
	_Atomic size_t dirty;   /* keys and areas */
	struct journal_area *areas;
	size_t live_bytes;         /* of what is dirty, as records */
	size_t take_from;          /* the bucket where the taker goes on */
	struct journal_file *file; /* NULL: memory only */
	struct key_state *buckets[JOURNAL_BUCKETS];
};

void journal_mark_clean(struct journal *journal, struct key_state *state);
void journal_mark_area_clean(struct journal *journal, struct slice pattern);
/* Frees the entry at *at if it is neither dirty nor held. */
void journal_forget_if_idle(struct journal *journal, struct key_state **at);

#endif
