/* See lock.h. */
#include "base/lock.h"

#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRIES 100 /* before it sleeps: longer than it is held, unless its holder sleeps */

static inline void
pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

void
lock_wait(struct lock *lock)
{
	for (int i = 0; i < TRIES; i++) {
		pause_briefly();
		if (atomic_load_explicit(&lock->state, memory_order_relaxed) == LOCK_FREE &&
		    lock_try(lock))
			return;
	}
	/* Who has slept does not know whether others do: it leaves the lock wanted.
	 * An error of the system call is another look. */
	while (atomic_exchange_explicit(&lock->state, LOCK_WANTED, memory_order_acquire) !=
	    LOCK_FREE)
		syscall(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, LOCK_WANTED, NULL, NULL, 0);
}

void
lock_wake(struct lock *lock)
{
	syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}
