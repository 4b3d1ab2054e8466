/*
 * What the journal asks of the file system, without state. Every call may
 * block; an int is 0 or an errno.
 */
#ifndef SIDECAR_LADDER_JOURNAL_DISK_H
#define SIDECAR_LADDER_JOURNAL_DISK_H

#include "ladder/journal_record.h"

typedef void (*journal_record_fn)(enum journal_kind kind, struct slice key, void *arg);

/* Opens or makes the file, and locks it. -1, and one line in `error`. */
MUST_CHECK int journal_disk_open(const char *path, char *error, size_t size);

/*
 * Hands over each record, oldest first, and makes the file ready to be
 * appended to: a new one gets its start, a torn last record is cut off.
 * False, and one line in `error`: the file is left as it was.
 */
MUST_CHECK bool journal_disk_load(int fd, const char *path, journal_record_fn on_record, void *arg,
    size_t *bytes, char *error, size_t size);

/* Makes an empty journal, locked before anybody can find it under another
 * name. -1, and *problem. */
MUST_CHECK int journal_disk_make(const char *path, int *problem);

#endif
