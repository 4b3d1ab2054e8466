/*
 * One value of a row: from text into its field and back. Pure: nothing is
 * read but the arguments.
 */
#ifndef SIDECAR_BASE_SETTINGS_VALUE_H
#define SIDECAR_BASE_SETTINGS_VALUE_H

#include "base/buf.h"
#include "base/settings_table.h"

/* Where a row's value lies in a struct settings or map_settings. */
static inline void *
setting_field(const struct setting *row, void *owner)
{
	return (char *)owner + row->offset;
}

static inline const void *
setting_field_of(const struct setting *row, const void *owner)
{
	return (const char *)owner + row->offset;
}

/*
 * Reads TEXT into *field; a text's copy belongs to the field from then on,
 * the old one is freed. False: the field is as it was and `error` has one
 * phrase, such as `"abc" is not a duration (for example 30s)`.
 */
MUST_CHECK bool setting_parse(const struct setting *row, const char *text, void *field, char *error,
    size_t error_size);

/* Appends the value as sidecar.ini would spell it, secrets and all. */
void setting_format(const struct setting *row, const void *field, struct buf *out);

/* As setting_format(), with secrets as ********: for people and logs. */
void setting_format_masked(const struct setting *row, const void *field, struct buf *out);

MUST_CHECK bool setting_equal(const struct setting *row, const void *a, const void *b);

/* Makes *field what *other is; a text is copied, and the old one freed. */
void setting_copy(const struct setting *row, void *field, const void *other);

/* Frees what the field holds. */
void setting_release(const struct setting *row, void *field);

/*
 * Appends URL with what may be a password replaced by ********: everything
 * between the first ':' (or, where there is none, the start) and the last '@'
 * of what follows "://", and every password parameter.
 */
void setting_mask_url(const char *url, struct buf *out);

#endif
