/* Reads under way on the coherence connection, to see whether a message was
 * only about our own fill. The keeper's thread. */
#ifndef SIDECAR_LADDER_VERIFY_QUEUE_H
#define SIDECAR_LADDER_VERIFY_QUEUE_H

#include "base/slice.h"

struct verify;

/* All zero: empty. */
struct verify_queue {
	struct verify *first, *last;
};

/* `keys`: bulk strings, copied; SLICE_NONE: a PING, of which only the answer
 * counts. */
void verify_add(struct verify_queue *queue, struct slice keys);
/* SLICE_NONE also where it is empty. */
struct slice verify_first(const struct verify_queue *queue);
void verify_take_off(struct verify_queue *queue); /* nothing where it is empty */
void verify_clear(struct verify_queue *queue);

static inline bool
verify_is_empty(const struct verify_queue *queue)
{
	return queue->first == NULL;
}

#endif
