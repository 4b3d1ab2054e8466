/*
 * Where Redis is, from [redis] url and token: redis://, rediss://, unix://,
 * or the Upstash REST URL (https://HOST is rediss://default:TOKEN@HOST:6379).
 */
#ifndef SIDECAR_UPSTREAM_REDIS_TARGET_H
#define SIDECAR_UPSTREAM_REDIS_TARGET_H

#include "base/slice.h"

typedef struct ssl_ctx_st SSL_CTX;

/* Never changes once made; any thread may read it. */
struct redis_target {
	char *host; /* NULL for a unix socket; IPv6 without its brackets */
	int port;
	char *path;     /* of the unix socket, else NULL */
	char *user;     /* NULL: default */
	char *password; /* NULL: none; a secret, and may hold any byte */
	size_t password_len;
	int database;
	SSL_CTX *tls; /* NULL: plain; verifies the chain; shared by all connections */
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

/* "rediss://example.com:6379", without user and password, for logs. */
void redis_target_name(const struct redis_target *target, char *text, size_t size);

#endif
