/*
 * /metrics: everything counted, as Prometheus text (exposition format 0.0.4).
 * Any thread; adds up what the workers count, while they count.
 */
#ifndef SIDECAR_FRONT_EXPOSITION_H
#define SIDECAR_FRONT_EXPOSITION_H

#include "base/buf.h"
#include "front/metrics.h"

void exposition_write(const struct census *census, struct buf *out);

#endif
