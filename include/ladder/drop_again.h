/*
 * Drops keys once more, a quarter to half a second later: the replica that a
 * read came from may have lagged behind the message that it had changed.
 * The keeper's thread.
 */
#ifndef SIDECAR_LADDER_DROP_AGAIN_H
#define SIDECAR_LADDER_DROP_AGAIN_H

#include "store/cache.h"

struct drop_again;
struct event_base;

struct drop_again *drop_again_new(struct event_base *base, struct cache *cache);
void drop_again_free(struct drop_again *again);
void drop_again_add(struct drop_again *again, struct slice key);

#endif
