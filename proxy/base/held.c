/* See held.h. */
#include "base/held.h"

#include <stdatomic.h>

_Thread_local int64_t held_untold;

static _Atomic int64_t held, most_held;

void
held_tell(void)
{
	int64_t now =
	    atomic_fetch_add_explicit(&held, held_untold, memory_order_relaxed) + held_untold;

	held_untold = 0;
	/* Two at a time may lose one's figure: the next one mends it. */
	if (now > atomic_load_explicit(&most_held, memory_order_relaxed))
		atomic_store_explicit(&most_held, now, memory_order_relaxed);
}

void
held_look(int64_t *now, int64_t *most)
{
	*now = atomic_load_explicit(&held, memory_order_relaxed);
	*most = atomic_exchange_explicit(&most_held, *now, memory_order_relaxed);
	if (*most < *now)
		*most = *now;
}
