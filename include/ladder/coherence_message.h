/* What coherence messages look like. Pure. */
#ifndef SIDECAR_LADDER_COHERENCE_MESSAGE_H
#define SIDECAR_LADDER_COHERENCE_MESSAGE_H

#include "base/buf.h"
#include "store/cache.h"

/* Published on it: "<origin> keys <bulk strings>" or "<origin> all ". */
#define COHERENCE_CHANNEL "sidecar:drop"
#define COHERENCE_MAX_PREFIXES 16

/*
 * The prefixes that [cache] keys asks for, where that is a list of patterns
 * "text*" of which none is part of another; 0: all keys.
 */
size_t coherence_prefixes(struct slice keys, struct slice prefixes[COHERENCE_MAX_PREFIXES]);

/* CLIENT TRACKING ON BCAST with them; how many words. */
#define COHERENCE_TRACKING_WORDS (4 + 2 * COHERENCE_MAX_PREFIXES)
size_t coherence_tracking_words(struct slice keys, struct slice argv[COHERENCE_TRACKING_WORDS]);

struct coherence_message {
	enum message_kind {
		MESSAGE_OTHER,
		MESSAGE_INVALIDATE,     /* keys */
		MESSAGE_INVALIDATE_ALL, /* FLUSHALL, FLUSHDB */
		MESSAGE_SUBSCRIBED,
		MESSAGE_PUBLISHED, /* origin, keys or is_all */
	} kind;
	struct slice keys; /* bulk strings, one behind the other */
	struct slice origin;
	bool is_all;
};

/* `push` is a whole RESP3 push; the message points into it. */
void coherence_read(struct slice push, struct coherence_message *message);

void coherence_append_key(struct buf *keys, struct slice key);
void coherence_each_key(struct slice keys, void (*on_key)(struct slice key, void *arg), void *arg);

/* Calls on_value for each key with its value in the reply: of MGET, or, for a
 * single key, also of HGETALL. Nothing when the two do not fit together. */
void coherence_each_value(struct slice keys, struct slice reply,
    void (*on_value)(struct slice key, struct slice value, void *arg), void *arg);

/* Whether GET's or HGETALL's reply is what the cache holds. */
bool coherence_is_same(struct slice reply, const struct cache_value *value);

#endif
