/* SIDECAR STATUS | GET | EXPLAIN | KEYS | FLUSH | WARM | BREAKER | HELP.
 * Worker's thread. */
#ifndef SIDECAR_FRONT_SIDECAR_COMMAND_H
#define SIDECAR_FRONT_SIDECAR_COMMAND_H

#include "front/client.h"

void sidecar_handle(struct client *client, const struct request_parser *parser);

#endif
