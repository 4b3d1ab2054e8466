/* What a connection to Redis logs in with: user, password and the CA that the
 * server's certificate must come from. A reload may bring others. */
#ifndef SIDECAR_UPSTREAM_REDIS_ACCESS_H
#define SIDECAR_UPSTREAM_REDIS_ACCESS_H

#include "base/slice.h"

typedef struct ssl_ctx_st SSL_CTX;

/* Counted; filled in by redis_target.c, and never changes after. */
struct redis_access {
	_Atomic int refs;
	char *user;     /* NULL: default */
	char *password; /* NULL: none; a secret, and may hold any byte */
	size_t password_len;
	SSL_CTX *tls; /* NULL: plain; verifies the chain; shared by all connections */
};

/* Plain, without user and password. */
struct redis_access *redis_access_new(void);
void redis_access_unref(struct redis_access *access); /* any thread */

/* Reads the CA file, "" or NULL: the system's. NULL: done; else why not. */
MUST_CHECK const char *redis_access_make_tls(struct redis_access *access, const char *ca_file);

#endif
