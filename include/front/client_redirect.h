/*
 * CLIENT TRACKING ON REDIRECT <id>: the id is a sidecar's, Redis wants that
 * of the session's connection of that client; one that has no session gets
 * one, and keeps it. Worker's thread.
 */
#ifndef SIDECAR_FRONT_CLIENT_REDIRECT_H
#define SIDECAR_FRONT_CLIENT_REDIRECT_H

#include "front/client.h"

/* The command in Redis's words. */
struct translation {
	struct request_parser parser;
	struct buf raw;
	char id[24];
};

enum redirect {
	REDIRECT_NONE,       /* nothing to translate */
	REDIRECT_TRANSLATED, /* take translation->parser; translation_free() */
	REDIRECT_LATER,      /* again when client_is_quiet() */
	REDIRECT_REFUSED,    /* an error was written */
};

enum redirect redirect_translate(struct client *client, const struct request_parser *parser,
    struct translation *translation);
void translation_free(struct translation *translation);

#endif
