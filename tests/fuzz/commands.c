/* Words, one a line: any number of them, of any bytes, can be looked up and
 * searched for keys. */
#include "wire/commands.h"

#include "fuzz.h"

#define WORDS_MAX 64

static void
note(struct slice key, void *arg)
{
	size_t *sum = arg;

	for (size_t i = 0; i < key.len; i++)
		*sum += (unsigned char)key.at[i];
}

FUZZ(text)
{
	struct slice words[WORDS_MAX];
	size_t count = 0, sum = 0;

	while (text.len > 0 && count < WORDS_MAX) {
		const char *newline = memchr(text.at, '\n', text.len);
		size_t len = newline != NULL ? (size_t)(newline - text.at) : text.len;
		words[count] = slice_make(fuzz_block(slice_make(text.at, len)), len);
		count++;
		len += newline != NULL;
		text = slice_make(text.at + len, text.len - len);
	}
	if (count > 0) {
		struct slice *argv = malloc(count * sizeof(*argv));
		memcpy(argv, words, count * sizeof(*argv));
		const struct command_info *info = command_find(argv, count);
		command_each_written_key(info, argv, count, note, &sum);
		if (info != NULL)
			CLAIM(memchr(words[0].at, '\0', words[0].len) == NULL);
		free(argv);
	}
	for (size_t i = 0; i < count; i++)
		free((char *)words[i].at);
}
