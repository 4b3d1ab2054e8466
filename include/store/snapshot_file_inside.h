/* What snapshot_file.c (writing) and snapshot_load.c (reading) share; nobody else. */
#ifndef SIDECAR_STORE_SNAPSHOT_FILE_INSIDE_H
#define SIDECAR_STORE_SNAPSHOT_FILE_INSIDE_H

#include "store/snapshot_file.h"

struct snapshot_file {
	char *path, *new_path, *refused_path, *directory;
	unsigned char key[SEAL_KEY_BYTES];
	bool is_refused; /* what lies there is not to be written over */
};

#endif
