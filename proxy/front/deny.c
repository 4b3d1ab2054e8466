/* See deny.h. Pure. */
#include "front/deny.h"

#include <stdlib.h>

#include "base/alloc.h"

struct deny {
	uint32_t first_letters; /* of all names, a bit each: most commands end here */
	size_t count;
	struct deny_word {
		struct slice word, name, sub; /* "CONFIG|SET", "CONFIG", "SET" */
	} words[];
};

static uint32_t
letter_bit(char c)
{
	return UINT32_C(1) << (c & 31); /* of either case */
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
	deny->first_letters |= letter_bit(word.at[0]);
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
	if (argv[0].len == 0 || (deny->first_letters & letter_bit(argv[0].at[0])) == 0)
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
