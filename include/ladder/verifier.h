/*
 * Reads keys once more that this sidecar has filled in Redis, to see whether
 * a message about them was only about that. A second's worth of strings goes
 * as one MGET. The keeper's thread.
 */
#ifndef SIDECAR_LADDER_VERIFIER_H
#define SIDECAR_LADDER_VERIFIER_H

#include "store/cache.h"
#include "store/maps.h"

struct event_base;
struct verifier;

struct verifier_calls {
	/* Sends a command; its reply comes by verifier_answered(). */
	void (*send)(struct slice command, void *arg);
	/* Memory holds another value than Redis. */
	void (*differs)(struct slice key, void *arg);
	void *arg;
};

struct verifier *verifier_new(struct event_base *base, struct cache *cache, const struct maps *maps,
    const struct verifier_calls *calls);
void verifier_free(struct verifier *verifier);
/* After a reload; the old ones stay until exit. */
void verifier_set_maps(struct verifier *verifier, const struct maps *maps);

void verifier_suspect(struct verifier *verifier, struct slice key);
/* A PING was sent: its answer is one of those to come. */
void verifier_note_ping(struct verifier *verifier);
/* The next reply, of those that are awaited, has come. */
void verifier_answered(struct verifier *verifier, struct slice reply);
bool verifier_is_waiting(const struct verifier *verifier);
/* The connection is lost, and what was asked with it. */
void verifier_clear(struct verifier *verifier);

#endif
