/*
 * The hit path: what memory answers of what a client has sent, as long as
 * nothing else is asked. Allocates nothing, asks no clock, makes no slot.
 * Worker's thread.
 */
#ifndef SIDECAR_FRONT_HITS_H
#define SIDECAR_FRONT_HITS_H

#include "front/client.h"

/*
 * Answers the whole GETs at the start of `bytes` that memory can answer, or that
 * are one too many for a limit, and returns how many bytes they had. It stops
 * before the first command that is anything else: that one, and 0, are
 * request_parse()'s and request_handle()'s business.
 */
size_t hits_take(struct client *client, struct slice bytes);

/* Of an MGET's reply: a key that memory knows nothing of, and where its part
 * belongs, in bytes from the reply's start. */
struct hits_gap {
	size_t index, at;
};

/* The reply to MGET, of what memory has, is written to `out`; what it has not
 * is added to `gaps`, which holds struct hits_gap. How many those are. */
size_t hits_take_many(struct client *client, const struct slice *keys, size_t count,
    struct buf *out, struct buf *gaps);

#endif
