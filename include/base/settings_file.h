/*
 * sidecar.ini into settings->entries and settings->maps.
 */
#ifndef SIDECAR_BASE_SETTINGS_FILE_H
#define SIDECAR_BASE_SETTINGS_FILE_H

#include "base/settings.h"

/*
 * Reads `path` into the entries, which are all empty. A line that begins with
 * blanks belongs to the key above it. A comment begins with ';' or '#' at the
 * start of a line, and with ';' behind a blank anywhere in it; there are no
 * quotes and no other way to write " ;" than a ${NAME} that contains it.
 *
 * Refuses unknown sections and keys, keys and maps given twice, lines that
 * are no key = value, and files beyond a megabyte: false with a message.
 */
MUST_CHECK bool settings_read_file(struct settings *settings, const char *path, char *error,
    size_t error_size);

#endif
