/*
 * The journal on disk ([ladder] journal): records appended to one file, which
 * is written anew when most of it is over.
 *
 *   worker, keeper --append--> write(2)            survives kill -9 from here on
 *   own thread     --every 50 ms at most-->        survives a power cut from
 *                    fdatasync(2)                  here on: that may lose 50 ms
 *   own thread     --when it has grown-->          live records into FILE.new,
 *                    rewrite                       fsync, rename, fsync
 *
 * The worker writes by itself: one write(2) of some 50 bytes into the page
 * cache costs microseconds, less than to hand over to another thread and
 * back, and nobody may be answered before it is done. What may take long, a
 * sync, is never a worker's. The file belongs on a local disk.
 *
 * The file is locked (flock), has mode 0600, and is replaced by renaming.
 *
 * append, clear and lag: any thread, one after the other as the changes
 * happened (journal.c calls them under its own lock).
 */
#ifndef SIDECAR_LADDER_JOURNAL_FILE_H
#define SIDECAR_LADDER_JOURNAL_FILE_H

#include "ladder/journal_record.h"

struct journal_file;

struct journal_file_owner {
	/* While it is opened: each record, oldest first. */
	void (*on_record)(enum journal_kind kind, struct slice key, void *arg);
	/* Appends the JOURNAL_ADD of some live keys, goes on from *place, 0 at
	 * first; false when there are no more. Keys that change meanwhile may be
	 * there or not. Called by the file's own thread. */
	bool (*copy_live)(size_t *place, struct buf *records, void *arg);
	void *arg;
};

/*
 * Opens or makes it, locks it, reads it. NULL, with one line in `error`: not
 * to be opened or locked, no journal, or damaged in its middle. A torn last
 * record is cut off and logged. Blocks; starts the thread.
 */
struct journal_file *journal_file_open(const char *path, const struct journal_file_owner *owner,
    char *error, size_t size);
/* Syncs what is left, ends the thread. No other call may be under way. */
void journal_file_close(struct journal_file *file);

/*
 * Writes records that are owed before anybody is answered. `live_bytes` is
 * what a file of the live keys alone would hold. False: the disk refuses
 * (said in the log, now and then), and the file is as it was.
 */
MUST_CHECK bool journal_file_append(struct journal_file *file, struct slice records,
    size_t live_bytes);
/* Nothing is live any more. */
void journal_file_clear(struct journal_file *file);
/* What happened could not be appended: let it be written anew once the disk
 * allows it. */
void journal_file_lag(struct journal_file *file);
/* Why the last append failed; an errno. */
int journal_file_problem(struct journal_file *file);

#endif
