/*
 * Redis's glob: * ? [abc] [^abc] [a-z] and \ to escape. Pure; runs in time
 * linear in the text for each star at most, never exponential.
 */
#ifndef SIDECAR_BASE_GLOB_H
#define SIDECAR_BASE_GLOB_H

#include "base/buf.h"

bool glob_matches(struct slice pattern, struct slice text);

/* Appends a glob that matches this text alone. */
void glob_append_literal(struct buf *out, struct slice text);

/* Space-separated globs, "!" excludes: matches when one that includes does
 * and none that excludes does. "" matches nothing. */
bool glob_list_matches(struct slice list, struct slice text);

#endif
