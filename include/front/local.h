/* Commands about the connection itself: answered here, up or down. Worker's
 * thread. */
#ifndef SIDECAR_FRONT_LOCAL_H
#define SIDECAR_FRONT_LOCAL_H

#include "front/client.h"

/* PING ECHO HELLO AUTH SELECT QUIT RESET CLIENT, CL.THROTTLE. The reply is written at once. */
void local_handle(struct client *client, const struct request_parser *parser);

#endif
