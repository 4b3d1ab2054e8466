/*
 * Where Redis is, from [redis] url and token: redis://, rediss://, unix://,
 * or the Upstash REST URL (https://HOST is rediss://default:TOKEN@HOST:6379).
 */
#ifndef SIDECAR_UPSTREAM_REDIS_TARGET_H
#define SIDECAR_UPSTREAM_REDIS_TARGET_H

#include "base/slice.h"

typedef struct ssl_ctx_st SSL_CTX;

struct redis_target {
	char *host;     /* NULL for a unix socket */
	int port;
	char *path;     /* of the unix socket, else NULL */
	char *user;     /* NULL: default */
	char *password; /* NULL: none; a secret */
	int database;
	SSL_CTX *tls;   /* NULL: plain; verifies the chain; shared by all connections */
};

/*
 * NULL with an `error` in one phrase, never containing the password, when the
 * URL or the CA file is unusable. `ca_file` "" or NULL: the system's.
 */
MUST_CHECK struct redis_target *redis_target_new(const char *url, const char *token,
    const char *ca_file, char *error, size_t error_size);
void redis_target_free(struct redis_target *target);

/* "rediss://example.com:6379", without user and password, for logs. */
void redis_target_name(const struct redis_target *target, char *text, size_t size);

#endif
