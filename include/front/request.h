/* One command to its answer. Worker's thread. */
#ifndef SIDECAR_FRONT_REQUEST_H
#define SIDECAR_FRONT_REQUEST_H

#include "front/client.h"

/*
 * Answers now (client_reply) or later (slot_new), exactly once. argc > 0;
 * `info` is what command_find() says.
 * False: nothing was done; again when client_is_quiet().
 */
MUST_CHECK bool request_handle(struct client *client, const struct request_parser *parser,
    const struct command_info *info);

#endif
