/*
 * What all threads share of the backends: the cache, the breakers, the
 * journal, and where the keeper's mailbox is. Made before the threads start,
 * freed after they have ended; each part says itself who may call it.
 */
#ifndef SIDECAR_LADDER_BACKENDS_H
#define SIDECAR_LADDER_BACKENDS_H

#include <stdatomic.h>

#include "base/mailbox.h"
#include "base/settings.h"
#include "ladder/journal.h"
#include "store/cache.h"
#include "store/maps.h"
#include "upstream/breaker.h"
#include "upstream/redis_target.h"

/* What a reload replaces: settings, and the maps made from them. Never
 * changes once made; an old one stays until exit. */
struct rules {
	const struct settings *settings;
	struct maps *maps;
};

struct keeper;
struct limits;
struct warm;

struct backends {
	struct cache *cache;
	struct journal *journal;
	struct limits *limits;
	struct warm *warm;
	struct breaker *redis, *postgres;
	struct redis_target *redis_target; /* NULL: no Redis is configured */
	bool has_postgres, has_listen;     /* configured */
	struct keeper *keeper;
	_Atomic int64_t dedicated;       /* dedicated connections in use */
	_Atomic bool has_cut_subscriber; /* with a connection to Redis, since the start */
};

/* How long a connection to Redis may take to be ready: three round trips and a
 * handshake never need longer, and until then nobody knows what is wrong. */
int64_t backends_connect_ms(const struct settings *settings);

bool backends_redis_allows(const struct backends *backends);
/* Redis is up, and its copy of the key is to be trusted. */
bool backends_may_ask_redis(const struct backends *backends, struct slice key);
bool backends_postgres_allows(const struct backends *backends);

/* "-REDISDOWN redis is down: connection refused; next probe in 0.8 s\r\n";
 * `what` NULL, or what to say instead of "redis is down". */
void backends_reply_down(const struct backends *backends, const char *what, struct buf *out);

#endif
