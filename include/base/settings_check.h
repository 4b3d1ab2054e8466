/*
 * What must hold between several keys, or inside a text, once every value
 * has been read.
 */
#ifndef SIDECAR_BASE_SETTINGS_CHECK_H
#define SIDECAR_BASE_SETTINGS_CHECK_H

#include "base/settings.h"

/* False with a message in `error` at the first thing that is wrong. */
MUST_CHECK bool settings_check(const struct settings *settings, char *error, size_t error_size);
MUST_CHECK bool settings_check_maps(const struct settings *settings, char *error,
    size_t error_size);
/* What is only odd goes to the log. */
void settings_warn(const struct settings *settings);

#endif
