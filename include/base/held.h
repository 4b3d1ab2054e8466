/*
 * How much memory is held in blocks that come and go with the load: buffers,
 * replies, values. Whoever takes or frees one says so here, and run/giveback.c
 * has the system get back what a burst has left behind.
 *
 * Any thread; a thread tells the others of it by the megabyte, so the path of
 * a request writes nothing that they share.
 */
#ifndef SIDECAR_BASE_HELD_H
#define SIDECAR_BASE_HELD_H

#include <stddef.h>
#include <stdint.h>

#define HELD_UNTOLD_BYTES (1 << 20) /* by each thread, at most */

extern _Thread_local int64_t held_untold;

void held_tell(void);

static inline void
held_add(size_t bytes)
{
	held_untold += (int64_t)bytes;
	if (held_untold >= HELD_UNTOLD_BYTES)
		held_tell();
}

static inline void
held_sub(size_t bytes)
{
	held_untold -= (int64_t)bytes;
	if (held_untold <= -HELD_UNTOLD_BYTES)
		held_tell();
}

/* Bytes now, and the most since the last call. */
void held_look(int64_t *now, int64_t *most);

#endif
