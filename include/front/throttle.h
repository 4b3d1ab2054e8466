/* CL.THROTTLE, with redis-cell's arguments and answers. Worker's thread. */
#ifndef SIDECAR_FRONT_THROTTLE_H
#define SIDECAR_FRONT_THROTTLE_H

#include "front/client.h"

/*
 * CL.THROTTLE key max_burst count period [quantity]: five integers, 1 when it
 * is refused, the limit (max_burst + 1), what is left of it, after how many
 * seconds to try again (-1: now, or never), and after how many all of it is
 * there again. Seconds are rounded up.
 */
void throttle_handle(struct client *client, struct buf *out, const struct slice *argv, size_t argc);

#endif
