/*
 * The state of the whole process, as one list of names and values: SIDECAR
 * STATUS, /status.json and INFO's "# Sidecar" section show the same. Any
 * thread; takes the cache's and breakers' locks for a moment.
 */
#ifndef SIDECAR_FRONT_STATUS_H
#define SIDECAR_FRONT_STATUS_H

#include "base/buf.h"
#include "front/metrics.h"

/* As a RESP map. */
void status_reply(const struct census *census, int resp, struct buf *out);
void status_json(const struct census *census, struct buf *out);
/* "# Sidecar\r\nname:value\r\n..." */
void status_info(const struct census *census, struct buf *out);

#endif
