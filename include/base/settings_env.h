/*
 * ${NAME} and ${NAME:-default} in a value. Only "${" starts one, so "$1" in a
 * query stays what it is. As in sh, the default takes the place of a variable
 * that is unset or empty, and may itself hold a ${NAME}; braces in it have to
 * pair up. What a variable contains is not expanded again.
 */
#ifndef SIDECAR_BASE_SETTINGS_ENV_H
#define SIDECAR_BASE_SETTINGS_ENV_H

#include "base/buf.h"

/*
 * Appends TEXT, expanded, to `out`.
 *
 * variable  set to a copy of the last name that gave something other than
 *           nothing, or to NULL; the caller frees it
 *
 * False when a variable without a default is unset, or a "${" makes no sense:
 * `error` has one phrase, *variable is NULL. Reads the environment.
 */
MUST_CHECK bool settings_expand(struct slice text, struct buf *out, char **variable, char *error,
    size_t error_size);

#endif
