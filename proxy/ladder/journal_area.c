/* See journal_area.h. */
#include "ladder/journal_area.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/glob.h"

struct journal_area *
journal_area_find(struct journal_area *first, struct slice pattern)
{
	while (first != NULL && !slice_equal(journal_area_pattern(first), pattern))
		first = first->next;
	return first;
}

void
journal_area_add(struct journal_area **first, struct slice pattern)
{
	struct journal_area *area = alloc_zero(sizeof(*area) + pattern.len);

	area->len = pattern.len;
	memcpy(area->pattern, pattern.at, pattern.len);
	area->next = *first;
	*first = area;
}

void
journal_area_remove(struct journal_area **at)
{
	struct journal_area *area = *at;

	*at = area->next;
	free(area);
}

bool
journal_area_has(const struct journal_area *first, struct slice key)
{
	for (; first != NULL; first = first->next) {
		if (glob_matches(journal_area_pattern(first), key))
			return true;
	}
	return false;
}

bool
journal_area_covers(const struct journal_area *first, struct slice key)
{
	for (; first != NULL; first = first->next) {
		if (!first->is_taken && glob_matches(journal_area_pattern(first), key))
			return true;
	}
	return false;
}
