/*
 * When a write that passed through here lets its key expire: read off the
 * command when it is sent, noted in memory when it has run.
 */
#ifndef SIDECAR_LADDER_EXPIRY_H
#define SIDECAR_LADDER_EXPIRY_H

#include "store/cache.h"

enum expiry_kind {
	EXPIRY_NONE,
	EXPIRY_AFTER,  /* `ms` from when it runs */
	EXPIRY_AT,     /* at `ms`, monotonic */
	EXPIRY_COPIED, /* whatever `from` has: RENAME, COPY */
};

struct key_expiry {
	enum expiry_kind kind;
	int64_t ms;
	struct slice key;  /* of argv */
	struct slice from; /* of argv; COPIED only */
};

/* False: expiry_of() would find nothing; for who does not want to ask a clock in vain. */
bool expiry_is_set(const struct slice *argv, size_t argc);
/* What the command, if Redis carries it out, does to the time to live of a
 * key. Pure. wall_ms is for EXAT and the like. */
struct key_expiry expiry_of(const struct slice *argv, size_t argc, int64_t now_ms, int64_t wall_ms);

/* It has run just now, or may have. Before a read may fill the key again:
 * before cache_write_end(). The database does not matter: a moment too many
 * costs a question. */
void expiry_note(struct cache *cache, const struct key_expiry *expiry, int64_t now_ms);

#endif
