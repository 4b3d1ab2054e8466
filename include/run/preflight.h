/* What is looked at before anything starts, at --check and before a reload
 * changes anything. Main thread. */
#ifndef SIDECAR_RUN_PREFLIGHT_H
#define SIDECAR_RUN_PREFLIGHT_H

#include "ladder/backends.h"

typedef struct ssl_ctx_st SSL_CTX;

/* What settings name, made from it. */
struct preflight {
	SSL_CTX *tls;                      /* of the listener; NULL: plain */
	struct redis_target *redis_target; /* NULL: none is configured */
	bool has_postgres;
};

/* Reads certificates and URLs. False: nothing is held, and `error` says which
 * key is unusable, and why. */
MUST_CHECK bool preflight_make(const struct settings *settings, struct preflight *preflight,
    char *error, size_t size);
/* Gives back what nobody has taken over; fields set to NULL are. */
void preflight_drop(struct preflight *preflight);

/* The certificate, for the log. */
void preflight_say_certificate(SSL_CTX *tls);
/* Where the backends are; and which settings ask for something that this
 * version does not do. */
void preflight_say(const struct settings *settings, const struct preflight *preflight);
/* Raises the limit of open descriptors as far as clients need and may have;
 * returns how many of them there is room for. Some descriptors are kept back:
 * without one neither a backend can be reached nor the admin port. */
int64_t preflight_descriptors(int64_t max_clients);

#endif
