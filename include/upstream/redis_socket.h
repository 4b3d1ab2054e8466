/*
 * The transport under a connection to Redis: a non-blocking redisContext of
 * hiredis, with its TLS layer on an SSL object of our own making (hiredis sets
 * SNI and checks no host name). Knows bytes, no replies and no time.
 *
 *   open -> [finish] -> [secure ...] -> read and write
 *
 * One thread. Nothing here blocks, calls back or touches the event loop; each
 * step says what it waits for.
 */
#ifndef SIDECAR_UPSTREAM_REDIS_SOCKET_H
#define SIDECAR_UPSTREAM_REDIS_SOCKET_H

#include "base/buf.h"
#include "upstream/redis_error.h"
#include "upstream/redis_target.h"

struct redisContext;
typedef struct ssl_st SSL;

struct redis_socket {
	struct redisContext *context; /* NULL: closed */
	SSL *ssl;                     /* the context's; NULL: plain, or not yet */
	size_t offered;               /* bytes of the context's that TLS may have sent or not */
	struct buf more; /* TLS: what waits behind the context's own buffer; plain: all */
	size_t unsent;   /* what was unsent when it was closed */
	bool is_full;    /* the last read took all there was room for */
	/* What the last read and write that could not go on wait for. TLS may
	 * have to write before it can read, and the other way round. */
	bool read_wants_write;
	bool write_wants_read;
};

enum socket_step {
	SOCKET_DONE,
	SOCKET_WANTS_READ,  /* call again when it can be read */
	SOCKET_WANTS_WRITE, /* ... written */
	SOCKET_FAILED,      /* `failure` says why; close it */
};

/* Starts connecting to a numeric address (or the target's unix socket). DONE:
 * connected; WANTS_WRITE: call redis_socket_finish() then. */
enum socket_step redis_socket_open(struct redis_socket *socket, const struct redis_target *target,
    const char *address, struct redis_failure *failure);
enum socket_step redis_socket_finish(struct redis_socket *socket, struct redis_failure *failure);

/* The TLS handshake: to be called until DONE or FAILED. */
enum socket_step redis_socket_secure(struct redis_socket *socket, const struct redis_target *target,
    struct redis_failure *failure);

int redis_socket_fd(const struct redis_socket *socket);

/*
 * Reads once into `in`. DONE: something came, and more may be at hand without
 * another event, so ask again. WANTS_READ: that was all for now (something may
 * have come). FAILED: closed by the other side, or broken.
 */
enum socket_step redis_socket_read(struct redis_socket *socket, struct buf *in,
    struct redis_failure *failure);

/* Appends to what redis_socket_send() sends. */
void redis_socket_write(struct redis_socket *socket, struct slice bytes);
/* Sends until nothing is left (DONE) or the kernel takes no more. */
enum socket_step redis_socket_send(struct redis_socket *socket, struct redis_failure *failure);

/* Bytes that certainly have not left; what TLS has begun to send counts as
 * having left. Stays known after the close. */
size_t redis_socket_unsent(const struct redis_socket *socket);

/* Take the descriptor out of the event loop first. */
void redis_socket_close(struct redis_socket *socket);

#endif
