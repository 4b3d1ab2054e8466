/*
 * Reads one JSON object (RFC 8259), strictly, without building a tree. What
 * is nested is checked, and handed over as its text.
 */
#ifndef SIDECAR_BASE_JSON_H
#define SIDECAR_BASE_JSON_H

#include "base/slice.h"

/* Deeper nesting is refused: it would cost stack. */
#define JSON_DEPTH_MAX 64

enum json_kind { JSON_STRING, JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL, JSON_NESTED };

/* key and the value of a JSON_STRING: what they stand for, escapes undone,
 * UTF-8. Other values: as written. Both valid during the call only. */
typedef void (*json_member_fn)(struct slice key, enum json_kind kind, struct slice value,
    void *arg);

/*
 * Calls `member` (NULL: nobody) for each member in order. False when TEXT is
 * not one whole JSON object; some members may have been handed over by then.
 */
MUST_CHECK bool json_object_each(struct slice text, json_member_fn member, void *arg);

#endif
