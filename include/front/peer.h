/* Whose socket it is. Pure. */
#ifndef SIDECAR_FRONT_PEER_H
#define SIDECAR_FRONT_PEER_H

#include "base/slice.h"

struct sockaddr_storage;

/* There are many, so it is small; a v4 address is in its first four bytes. */
struct peer {
	uint8_t ip[16];
	uint16_t port;
	enum __attribute__((packed)) { PEER_UNIX, PEER_V4, PEER_V6 } kind;
	bool is_local; /* loopback, or a unix socket */
};

/* As accept() or getpeername() told it. */
struct peer peer_from(const struct sockaddr_storage *from);

#define PEER_TEXT 64
/* "127.0.0.1:51234", "[::1]:51234", "unix:0" */
void peer_text(const struct peer *peer, char text[PEER_TEXT]);

#endif
