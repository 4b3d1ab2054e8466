/*
 * Areas of the journal: patterns of keys none of whose copies in Redis is to
 * be trusted, for when there are too many keys to name. A short list; guarded
 * by the journal's lock.
 */
#ifndef SIDECAR_LADDER_JOURNAL_AREA_H
#define SIDECAR_LADDER_JOURNAL_AREA_H

#include "base/slice.h"

struct journal_area {
	struct journal_area *next;
	bool is_taken; /* it is being swept: what is written from now on is named again */
	size_t len;
	char pattern[]; /* a glob */
};

struct journal_area *journal_area_find(struct journal_area *first, struct slice pattern);
/* Prepends it. */
void journal_area_add(struct journal_area **first, struct slice pattern);
void journal_area_remove(struct journal_area **at); /* frees *at */

static inline struct slice
journal_area_pattern(const struct journal_area *area)
{
	return (struct slice){ area->pattern, area->len };
}

/* Whether the key is in one of them, or in one that is not being swept. */
bool journal_area_has(const struct journal_area *first, struct slice key);
bool journal_area_covers(const struct journal_area *first, struct slice key);

#endif
