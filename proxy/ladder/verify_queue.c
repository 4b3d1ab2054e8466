/* See verify_queue.h. */
#include "ladder/verify_queue.h"

#include <stdlib.h>

#include "base/alloc.h"

struct verify {
	struct verify *next;
	bool has_keys;
	size_t len;
	char keys[];
};

void
verify_add(struct verify_queue *queue, struct slice keys)
{
	struct verify *verify = alloc_zero(sizeof(*verify) + keys.len);

	verify->has_keys = keys.at != NULL;
	verify->len = keys.len;
	if (keys.len > 0)
		memcpy(verify->keys, keys.at, keys.len);
	*(queue->last != NULL ? &queue->last->next : &queue->first) = verify;
	queue->last = verify;
}

struct slice
verify_first(const struct verify_queue *queue)
{
	const struct verify *verify = queue->first;

	return verify != NULL && verify->has_keys ? slice_make(verify->keys, verify->len)
						 : SLICE_NONE;
}

void
verify_take_off(struct verify_queue *queue)
{
	struct verify *verify = queue->first;

	if (verify == NULL)
		return;
	queue->first = verify->next;
	if (queue->first == NULL)
		queue->last = NULL;
	free(verify);
}

void
verify_clear(struct verify_queue *queue)
{
	while (queue->first != NULL)
		verify_take_off(queue);
}
