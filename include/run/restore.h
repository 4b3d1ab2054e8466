/* Memory from the snapshot, at start. */
#ifndef SIDECAR_RUN_RESTORE_H
#define SIDECAR_RUN_RESTORE_H

#include "ladder/backends.h"
#include "store/snapshot.h"

/*
 * What [snapshot] asks for, loaded; NULL: nothing. After the journal was
 * opened: of its keys no old copy comes back. Before other threads start;
 * blocks.
 */
struct snapshot *restore_snapshot(const struct backends *backends, const struct settings *settings);

#endif
