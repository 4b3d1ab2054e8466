/*
 * One client's bytes over TLS, and a plain client's as they are: recv() and
 * send() with OpenSSL between, and never more than one system call a turn to
 * receive. The handshake happens inside receiving.
 *
 *   socket --recv--> ciphertext --OpenSSL--> commands
 *   socket <--send-- [unsent] <--OpenSSL-- replies
 *
 * What has been received is decrypted at once, but for a part of a record: a
 * socket that has nothing to read leaves nothing to read here, either.
 *
 * One thread at a time: the worker's.
 */
#ifndef SIDECAR_FRONT_TLS_STREAM_H
#define SIDECAR_FRONT_TLS_STREAM_H

#include <sys/socket.h>

#include "base/slice.h"
#include "base/socket_io.h"

typedef struct ssl_ctx_st SSL_CTX;

struct tls_stream;

/* NULL: OpenSSL has no memory. The socket stays the caller's. Any thread. */
MUST_CHECK struct tls_stream *tls_stream_new(SSL_CTX *context, int fd);
/* Says goodbye, where everything before has been sent and the socket takes it. */
void tls_stream_free(struct tls_stream *tls);

/* Both sides know whom they talk to. */
bool tls_stream_is_secured(const struct tls_stream *tls);
/* Why receiving has failed, in OpenSSL's words; "" when the peer just left. */
const char *tls_stream_fault(const struct tls_stream *tls);
/* Nothing more will come: the other side has said so, or broken TLS. */
bool tls_stream_is_at_end(const struct tls_stream *tls);
/* Ciphertext that the socket did not take waits for it to be writable: for
 * tls_stream_send(), with nothing if need be. */
bool tls_stream_has_unsent(const struct tls_stream *tls);

/* As recv() and send(); `size` at least TLS_STREAM_READ_BYTES. What is sent
 * counts as soon as it is encrypted: the rest of it waits here. */
#define TLS_STREAM_READ_BYTES 32768
MUST_CHECK ssize_t tls_stream_recv(struct tls_stream *tls, char *at, size_t size);
MUST_CHECK ssize_t tls_stream_send(struct tls_stream *tls, struct slice bytes);
/* No more will be sent: shutdown(SHUT_WR), with TLS's goodbye before it. */
MUST_CHECK bool tls_stream_finish(struct tls_stream *tls);

/* ---- the same for any client; `tls` NULL: a plain one ---- */

static inline ssize_t
stream_recv(int fd, struct tls_stream *tls, char *at, size_t size)
{
	return tls == NULL ? socket_recv(fd, at, size) : tls_stream_recv(tls, at, size);
}

static inline ssize_t
stream_send(int fd, struct tls_stream *tls, struct slice bytes)
{
	return tls == NULL ? socket_send(fd, bytes.at, bytes.len) : tls_stream_send(tls, bytes);
}

static inline bool
stream_finish(int fd, struct tls_stream *tls)
{
	return tls == NULL ? shutdown(fd, SHUT_WR) == 0 : tls_stream_finish(tls);
}

static inline bool
stream_has_unsent(const struct tls_stream *tls)
{
	return tls != NULL && tls_stream_has_unsent(tls);
}

#endif
