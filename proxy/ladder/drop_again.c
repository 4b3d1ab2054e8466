/* See drop_again.h. Two generations of keys: at each tick the older one is
 * dropped and the younger one grows old. */
#include "ladder/drop_again.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "ladder/coherence_message.h"

#define TICK_MS 250
#define MAX_BYTES (1 << 20) /* of keys a generation; more are dropped once only */

struct drop_again {
	struct cache *cache;
	struct event *tick;
	struct buf younger, older; /* bulk strings */
};

static void
start_tick(struct drop_again *again)
{
	struct timeval wait = { 0, TICK_MS * 1000 };

	if (!event_pending(again->tick, EV_TIMEOUT, NULL))
		event_add(again->tick, &wait);
}

static void
drop_key(struct slice key, void *arg)
{
	struct drop_again *again = arg;

	cache_drop(again->cache, key);
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct drop_again *again = arg;
	struct buf emptied;

	(void)fd, (void)what;
	coherence_each_key(buf_slice(&again->older), drop_key, again);
	buf_reset(&again->older);
	emptied = again->older;
	again->older = again->younger;
	again->younger = emptied;
	if (buf_len(&again->older) > 0)
		start_tick(again);
}

struct drop_again *
drop_again_new(struct event_base *base, struct cache *cache)
{
	struct drop_again *again = alloc_zero(sizeof(*again));

	again->cache = cache;
	again->tick = event_new(base, -1, 0, on_tick, again);
	return again;
}

void
drop_again_free(struct drop_again *again)
{
	event_free(again->tick);
	buf_free(&again->younger);
	buf_free(&again->older);
	free(again);
}

void
drop_again_add(struct drop_again *again, struct slice key)
{
	if (buf_len(&again->younger) > MAX_BYTES)
		return;
	coherence_append_key(&again->younger, key);
	start_tick(again);
}
