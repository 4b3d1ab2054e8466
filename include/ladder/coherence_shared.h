/*
 * What workers leave for the coherence connection: keys to be published, and
 * fills whose own message is still to come. Any thread; a lock each.
 */
#ifndef SIDECAR_LADDER_COHERENCE_SHARED_H
#define SIDECAR_LADDER_COHERENCE_SHARED_H

#include "base/buf.h"

/* ---- the outbox ---- */

struct outbox;

struct outbox *outbox_new(void);
void outbox_free(struct outbox *outbox);
/* SLICE_NONE: all keys. True: it was empty, so somebody has to be told. Where
 * too much has gathered, everything counts as written. */
MUST_CHECK bool outbox_add(struct outbox *outbox, struct slice key);
/* Appends "keys <bulk strings>" or "all "; false: there was nothing. */
MUST_CHECK bool outbox_take(struct outbox *outbox, struct buf *text);

/* ---- own fills ---- */

struct own_fills;

struct own_fills *own_fills_new(void);
void own_fills_free(struct own_fills *fills);
void own_fills_add(struct own_fills *fills, struct slice key, int64_t now_ms);
/* Whether the message about this key may be about our own fill; once a fill. */
MUST_CHECK bool own_fills_take(struct own_fills *fills, struct slice key, int64_t now_ms);

#endif
