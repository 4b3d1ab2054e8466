/*
 * The listener's side of TLS: its certificate, its key, and who may come in.
 * Made at start and at each reload; connections keep the one they began with.
 */
#ifndef SIDECAR_FRONT_TLS_CONTEXT_H
#define SIDECAR_FRONT_TLS_CONTEXT_H

#include "base/settings.h"

typedef struct ssl_ctx_st SSL_CTX;

/*
 * Reads [listen] tls_cert, tls_key and tls_client_ca; blocks for as long as
 * the files take. TLS 1.2 and newer; with tls_client_ca a client without a
 * certificate from there is refused.
 *
 * *context  NULL when no tls_cert is set; else the caller's, by SSL_CTX_free()
 *
 * False: `error` says which key of the file names what that cannot be used:
 * no certificate, expired, not yet valid, a key of another certificate, ...
 */
MUST_CHECK bool tls_context_new(const struct settings *settings, SSL_CTX **context, char *error,
    size_t error_size);

/* "CN=sidecar, serial 4f3a, valid until Nov 22 17:04:27 2027 GMT", for logs. */
void tls_context_describe(SSL_CTX *context, char *text, size_t size);
/* The same certificate in both; NULL has none. */
bool tls_context_equal(SSL_CTX *a, SSL_CTX *b);

#endif
