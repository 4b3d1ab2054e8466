/* See coherence_shared.h. */
#include "ladder/coherence_shared.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "ladder/coherence_message.h"

#define MAX_OUTBOX (1 << 20) /* bytes of keys; beyond: "all" */
#define FILL_SLOTS \
	16384 /* a fill that finds no place: its key is dropped, and
                                asked for again */
#define FILL_PROBES 8
#define FILL_MS 5000 /* how long after a fill its own message may come */

/* ---- the outbox ---- */

struct outbox {
	pthread_mutex_t lock;
	struct buf keys; /* bulk strings */
	bool is_all, is_awaited;
};

struct outbox *
outbox_new(void)
{
	struct outbox *outbox = alloc_zero(sizeof(*outbox));

	pthread_mutex_init(&outbox->lock, NULL);
	return outbox;
}

void
outbox_free(struct outbox *outbox)
{
	buf_free(&outbox->keys);
	pthread_mutex_destroy(&outbox->lock);
	free(outbox);
}

bool
outbox_add(struct outbox *outbox, struct slice key)
{
	pthread_mutex_lock(&outbox->lock);
	if (key.at == NULL || buf_len(&outbox->keys) > MAX_OUTBOX)
		outbox->is_all = true;
	else
		coherence_append_key(&outbox->keys, key);
	bool must_tell = !outbox->is_awaited;
	outbox->is_awaited = true;
	pthread_mutex_unlock(&outbox->lock);
	return must_tell;
}

bool
outbox_take(struct outbox *outbox, struct buf *text)
{
	pthread_mutex_lock(&outbox->lock);
	bool has_news = outbox->is_all || buf_len(&outbox->keys) > 0;
	buf_append_slice(text, outbox->is_all ? SLICE("all ") : SLICE("keys "));
	if (!outbox->is_all)
		buf_append_slice(text, buf_slice(&outbox->keys));
	buf_reset(&outbox->keys);
	outbox->is_all = outbox->is_awaited = false;
	pthread_mutex_unlock(&outbox->lock);
	return has_news;
}

/* ---- own fills ---- */

struct own_fills {
	pthread_mutex_t lock;
	struct own_fill {
		uint64_t hash;
		int64_t until_ms;
	} slots[FILL_SLOTS];
};

struct own_fills *
own_fills_new(void)
{
	struct own_fills *fills = alloc_zero(sizeof(*fills));

	pthread_mutex_init(&fills->lock, NULL);
	return fills;
}

void
own_fills_free(struct own_fills *fills)
{
	pthread_mutex_destroy(&fills->lock);
	free(fills);
}

void
own_fills_add(struct own_fills *fills, struct slice key, int64_t now_ms)
{
	uint64_t hash = hash_bytes(key);

	pthread_mutex_lock(&fills->lock);
	for (size_t i = 0; i < FILL_PROBES; i++) {
		struct own_fill *fill = &fills->slots[(hash + i) % FILL_SLOTS];
		if (fill->hash != hash && now_ms < fill->until_ms)
			continue; /* another's, and still waited for */
		*fill = (struct own_fill){ hash, now_ms + FILL_MS };
		break;
	}
	pthread_mutex_unlock(&fills->lock);
}

bool
own_fills_take(struct own_fills *fills, struct slice key, int64_t now_ms)
{
	uint64_t hash = hash_bytes(key);
	bool is_own = false;

	pthread_mutex_lock(&fills->lock);
	for (size_t i = 0; i < FILL_PROBES && !is_own; i++) {
		struct own_fill *fill = &fills->slots[(hash + i) % FILL_SLOTS];
		is_own = fill->hash == hash && now_ms < fill->until_ms;
		if (is_own)
			fill->until_ms = 0;
	}
	pthread_mutex_unlock(&fills->lock);
	return is_own;
}
