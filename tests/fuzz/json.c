/* What is handed over lies within what was read, and what is nested is a
 * value that can be read again. */
#include "base/json.h"

#include "fuzz.h"

static void
note(struct slice key, enum json_kind kind, struct slice value, void *arg)
{
	size_t *sum = arg;

	/* Every byte is looked at, for ASan. */
	for (size_t i = 0; i < key.len; i++)
		*sum += (unsigned char)key.at[i];
	for (size_t i = 0; i < value.len; i++)
		*sum += (unsigned char)value.at[i];
	if (kind == JSON_NESTED && value.at[0] == '{')
		CLAIM(json_object_each(value, NULL, NULL));
	if (kind == JSON_TRUE)
		CLAIM(slice_equal(value, SLICE("true")));
	if (kind == JSON_NULL)
		CLAIM(slice_equal(value, SLICE("null")));
}

FUZZ(text)
{
	struct buf wider = BUF_EMPTY;
	size_t sum = 0;
	char *block = fuzz_block(text);

	bool is_object = json_object_each(slice_make(block, text.len), note, &sum);
	buf_append(&wider, " \t\r\n", 4);
	buf_append_slice(&wider, text);
	buf_append(&wider, "\n", 1);
	CLAIM(json_object_each(buf_slice(&wider), NULL, NULL) == is_object);
	buf_append(&wider, "x", 1);
	CLAIM(!json_object_each(buf_slice(&wider), NULL, NULL));
	buf_free(&wider);
	free(block);
}
