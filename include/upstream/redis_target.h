/*
 * Where Redis is, from [redis] url and token: redis://, rediss://, unix://,
 * or the Upstash REST URL (https://HOST is rediss://default:TOKEN@HOST:6379).
 */
#ifndef SIDECAR_UPSTREAM_REDIS_TARGET_H
#define SIDECAR_UPSTREAM_REDIS_TARGET_H

#include <pthread.h>

#include "upstream/redis_access.h"

/* Never changes once made, but for its access; any thread may read it. */
struct redis_target {
	char *host; /* NULL for a unix socket; IPv6 without its brackets */
	int port;
	char *path; /* of the unix socket, else NULL */
	int database;
	bool is_tls;

	pthread_mutex_t lock;
	struct redis_access *access; /* under the lock; see redis_target_access() */
};

/*
 *   redis://[user:pass@]host[:port][/db]     plain, port 6379
 *   rediss://...                             the same over TLS
 *   unix://[user:pass@]/path[?db=N]
 *   https://HOST                             TLS, port 6379, user default,
 *                                            the token is the password
 *
 * User and password are percent-decoded; a token stands for a password that
 * the URL leaves out. `user@` alone is a password, as redis-cli has it,
 * unless there is a token. Query parameters that it does not know are left
 * out and named in the log.
 *
 * NULL with an `error` in one phrase, never containing any part of the URL
 * that could be the password, when the URL or the CA file is unusable.
 * `token` and `ca_file` "" or NULL: none, the system's. Reads the CA file.
 */
MUST_CHECK struct redis_target *redis_target_new(const char *url, const char *token,
    const char *ca_file, char *error, size_t error_size);
void redis_target_free(struct redis_target *target);

/* One reference to the access of the moment, for one connection: pay back
 * with redis_access_unref(). Any thread. */
struct redis_access *redis_target_access(const struct redis_target *target);

/* Whether both are the same server, the same database, with TLS or without;
 * NULL (no Redis) is a place of its own. Any thread. */
MUST_CHECK bool redis_target_is_same_place(const struct redis_target *a,
    const struct redis_target *b);

/*
 * Takes the access of `newer`: connections made from now on log in with it,
 * and trust its CA. False, and nothing has changed: that is another place.
 * Any thread.
 */
MUST_CHECK bool redis_target_renew(struct redis_target *target, const struct redis_target *newer);

/* "rediss://example.com:6379", without user and password, for logs. */
void redis_target_name(const struct redis_target *target, char *text, size_t size);

#endif
