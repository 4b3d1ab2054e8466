/* See deny.h. Pure. */
#include "front/deny.h"

#include <stdlib.h>

#include "base/alloc.h"

struct deny {
	uint64_t marks; /* of all names, a bit each: most commands end here */
	size_t count;
	struct deny_word {
		struct slice word, name, sub; /* "CONFIG|SET", "CONFIG", "SET" */
	} words[];
};

/* Of its first letter, in either case, and its length. */
static uint64_t
mark_of(struct slice name)
{
	return UINT64_C(1) << (((name.at[0] & 31u) + 5 * name.len) % 64);
}

static void
add(struct deny *deny, struct slice word)
{
	const char *bar = memchr(word.at, '|', word.len);
	struct deny_word *added = &deny->words[deny->count++];

	added->word = added->name = word;
	added->sub = SLICE_NONE;
	if (bar != NULL) {
		added->name.len = (size_t)(bar - word.at);
		added->sub = slice_make(bar + 1, word.len - added->name.len - 1);
	}
	if (added->name.len > 0)
		deny->marks |= mark_of(added->name);
}

struct deny *
deny_new(const char *list)
{
	/* Each word but the last takes two bytes at least. */
	size_t room = strlen(list) / 2 + 1;
	struct deny *deny = alloc_zero(sizeof(*deny) + room * sizeof(struct deny_word));

	while (*list != '\0') {
		size_t len = strcspn(list, " \t,");
		if (len > 0)
			add(deny, slice_make(list, len));
		list += len;
		list += strspn(list, " \t,");
	}
	return deny;
}

void
deny_free(struct deny *deny)
{
	free(deny);
}

bool
deny_has(const struct deny *deny, const struct slice *argv, size_t argc, struct slice *word)
{
	if (argv[0].len == 0 || (deny->marks & mark_of(argv[0])) == 0)
		return false;
	for (size_t i = 0; i < deny->count; i++) {
		const struct deny_word *denied = &deny->words[i];
		if (!slice_equal_nocase(denied->name, argv[0]))
			continue;
		if (denied->sub.at != NULL &&
		    !(argc > 1 && slice_equal_nocase(denied->sub, argv[1])))
			continue;
		*word = denied->word;
		return true;
	}
	return false;
}
