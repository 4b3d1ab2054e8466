/*
 * What files that outlive the process need of the file system. Every call may
 * block; an int is 0 or an errno.
 */
#ifndef SIDECAR_BASE_DISK_H
#define SIDECAR_BASE_DISK_H

#include "base/slice.h"

/* One write(2), but for a disk that is about to be full. */
MUST_CHECK int disk_write(int fd, struct slice bytes);
/* A rename in it has happened for good. */
MUST_CHECK int disk_sync_directory(const char *directory);
/* Whether the open file is the one of this name: a lock on a file that was
 * renamed meanwhile is worth nothing. */
bool disk_has_name(int fd, const char *path);

#endif
