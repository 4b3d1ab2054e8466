/* CLIENT PAUSE: what Redis holds back while it lasts. Worker's thread. */
#ifndef SIDECAR_FRONT_CLIENT_PAUSE_H
#define SIDECAR_FRONT_CLIENT_PAUSE_H

#include "front/client.h"
#include "wire/commands.h"

bool pause_lasts(struct front *front);
/* Redis would not answer this command before the pause is over. */
bool pause_holds(struct front *front, const struct request_parser *parser,
    const struct command_info *info);

#endif
