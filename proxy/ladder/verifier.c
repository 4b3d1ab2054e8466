/* See verifier.h. */
#include "ladder/verifier.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "ladder/coherence_message.h"
#include "wire/request.h"

#define GATHER_MS 1000

/* A question whose reply is awaited. */
struct asked {
	struct asked *next;
	size_t len;
	char keys[]; /* bulk strings; none: a PING */
};

struct verifier {
	struct cache *cache;
	const struct maps *maps;
	struct verifier_calls calls;
	struct event *timer;
	struct buf strings; /* keys gathered, bulk strings */
	size_t string_count;
	struct asked *first, *last;
};

static void
add_asked(struct verifier *verifier, struct slice keys)
{
	struct asked *asked = alloc_zero(sizeof(*asked) + keys.len);

	asked->len = keys.len;
	if (keys.len > 0)
		memcpy(asked->keys, keys.at, keys.len);
	*(verifier->last != NULL ? &verifier->last->next : &verifier->first) = asked;
	verifier->last = asked;
}

static void
take_off(struct verifier *verifier)
{
	struct asked *asked = verifier->first;

	verifier->first = asked->next;
	if (verifier->first == NULL)
		verifier->last = NULL;
	free(asked);
}

/* ---- asking ---- */

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct verifier *verifier = arg;
	struct buf command = BUF_EMPTY;

	(void)fd, (void)what;
	buf_printf(&command, "*%zu\r\n$4\r\nMGET\r\n", verifier->string_count + 1);
	buf_append_slice(&command, buf_slice(&verifier->strings));
	add_asked(verifier, buf_slice(&verifier->strings));
	buf_reset(&verifier->strings);
	verifier->string_count = 0;
	verifier->calls.send(buf_slice(&command), verifier->calls.arg);
	buf_free(&command);
}

static void
ask_hash(struct verifier *verifier, struct slice key)
{
	struct slice argv[] = { SLICE("HGETALL"), key };
	struct buf command = BUF_EMPTY, name = BUF_EMPTY;

	request_append(&command, argv, 2);
	coherence_append_key(&name, key);
	add_asked(verifier, buf_slice(&name));
	verifier->calls.send(buf_slice(&command), verifier->calls.arg);
	buf_free(&command);
	buf_free(&name);
}

void
verifier_suspect(struct verifier *verifier, struct slice key)
{
	struct timeval wait = { GATHER_MS / 1000, GATHER_MS % 1000 * 1000 };
	struct slice id;
	const struct map *map = maps_find(verifier->maps, key, &id);

	if (map != NULL && map->settings->type == MAP_HASH) {
		ask_hash(verifier, key);
		return;
	}
	coherence_append_key(&verifier->strings, key);
	verifier->string_count++;
	if (!event_pending(verifier->timer, EV_TIMEOUT, NULL))
		event_add(verifier->timer, &wait);
}

void
verifier_note_ping(struct verifier *verifier)
{
	add_asked(verifier, SLICE_NONE);
}

/* ---- answers ---- */

static void
compare(struct slice key, struct slice value, void *arg)
{
	struct verifier *verifier = arg;
	struct cache_value held;

	if (cache_find(verifier->cache, key, clock_mono_ms(), &held, NULL) == CACHE_MISS)
		return;
	if (!coherence_is_same(value, &held))
		verifier->calls.differs(key, verifier->calls.arg);
	cache_value_release(&held);
}

void
verifier_answered(struct verifier *verifier, struct slice reply)
{
	const struct asked *asked = verifier->first;

	if (asked == NULL)
		return; /* of a PUBLISH */
	if (asked->len > 0)
		coherence_each_value(slice_make(asked->keys, asked->len), reply, compare, verifier);
	take_off(verifier);
}

/* ---- life ---- */

bool
verifier_is_waiting(const struct verifier *verifier)
{
	return verifier->first != NULL;
}

void
verifier_clear(struct verifier *verifier)
{
	while (verifier->first != NULL)
		take_off(verifier);
	event_del(verifier->timer);
	buf_reset(&verifier->strings);
	verifier->string_count = 0;
}

struct verifier *
verifier_new(struct event_base *base, struct cache *cache, const struct maps *maps,
    const struct verifier_calls *calls)
{
	struct verifier *verifier = alloc_zero(sizeof(*verifier));

	verifier->cache = cache;
	verifier->maps = maps;
	verifier->calls = *calls;
	verifier->timer = event_new(base, -1, 0, on_timer, verifier);
	return verifier;
}

void
verifier_set_maps(struct verifier *verifier, const struct maps *maps)
{
	verifier->maps = maps;
}

void
verifier_free(struct verifier *verifier)
{
	verifier_clear(verifier);
	event_free(verifier->timer);
	buf_free(&verifier->strings);
	free(verifier);
}
