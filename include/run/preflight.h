/* What is looked at before anything starts. Main thread. */
#ifndef SIDECAR_RUN_PREFLIGHT_H
#define SIDECAR_RUN_PREFLIGHT_H

#include "ladder/backends.h"

/* Reads the URLs into backends->redis_target and has_postgres. False: `error`
 * says which is unusable, and why. */
MUST_CHECK bool preflight_targets(const struct settings *settings, struct backends *backends,
    char *error, size_t size);
/* Says which settings ask for something that this version does not do. */
void preflight_warn(const struct settings *settings);
/* Raises the limit of open descriptors as far as clients need and may have. */
void preflight_descriptors(int64_t max_clients);

#endif
