/*
 * A lock for a few instructions' worth of work: taken and given back with one
 * atomic instruction each where nobody else wants it, and asleep in the kernel
 * where somebody does. Of one process; not recursive. After the second mutex
 * in Ulrich Drepper's "Futexes Are Tricky" (2011).
 *
 * Zeroed memory is a lock that nobody holds.
 */
#ifndef SIDECAR_BASE_LOCK_H
#define SIDECAR_BASE_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { LOCK_FREE, LOCK_HELD, LOCK_WANTED }; /* wanted: held, and somebody may sleep */

struct lock {
	_Atomic uint32_t state;
};

/* What the functions below do when they are not alone. */
void lock_wait(struct lock *lock);
void lock_wake(struct lock *lock);

static inline bool
lock_try(struct lock *lock)
{
	uint32_t state = LOCK_FREE;

	return atomic_compare_exchange_strong_explicit(&lock->state, &state, LOCK_HELD,
	    memory_order_acquire, memory_order_relaxed);
}

static inline void
lock_take(struct lock *lock)
{
	if (!lock_try(lock))
		lock_wait(lock);
}

static inline void
lock_give(struct lock *lock)
{
	if (atomic_exchange_explicit(&lock->state, LOCK_FREE, memory_order_release) == LOCK_WANTED)
		lock_wake(lock);
}

#endif
