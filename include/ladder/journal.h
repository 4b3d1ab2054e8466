/*
 * The journal: keys whose copy in Redis may be older than what was
 * acknowledged here, because Redis was down, too slow, or a fill was on its
 * way when the write came. Until such a key has been unlinked there, nobody
 * reads it from Redis.
 *
 * A hold says that something sent earlier may still land in Redis (a fill, a
 * write without an answer): the key is not unlinked before its last hold is
 * released, else the late one would land after.
 *
 * With a file (journal_open()) this outlives the process: a key is in the
 * file before journal_add() returns, so that kill -9 loses nothing that was
 * acknowledged; a power cut may lose the last 50 ms (journal_file.h). Holds do
 * not outlive it: what the dead process sent may still land after a restart,
 * so the keys found in the file are unlinked once more when that must be over
 * (prober.c's grace time).
 *
 * It names so many keys and no more. Where it is full, whole areas (the keys
 * of a map) go in instead: they are swept in Redis before it is read again.
 *
 * Shared by all threads, one lock. While nothing is in it, journal_has() is
 * one atomic load.
 */
#ifndef SIDECAR_LADDER_JOURNAL_H
#define SIDECAR_LADDER_JOURNAL_H

#include "base/buf.h"

struct journal;

struct journal *journal_new(size_t max_keys);
void journal_free(struct journal *journal);

/* Keeps it in this file from now on, and takes over what the file holds; once,
 * before any other thread knows the journal. False, and one line in `error`:
 * see journal_file_open(). Blocks. */
MUST_CHECK bool journal_open(struct journal *journal, const char *path, char *error, size_t size);

/* The key's copy in Redis is not to be trusted. False: the journal is full or
 * its disk refuses; nothing was noted, and the write must not be acknowledged.
 * May wait for the journal's write(2), never for a sync. */
MUST_CHECK bool journal_add(struct journal *journal, struct slice key);
/* All of `count` keys, every `step`th slice, or none; with one write. */
MUST_CHECK bool journal_add_all(struct journal *journal, const struct slice *keys, size_t step,
    size_t count);
/* These would be too many: journal_add_areas() is what is left. */
bool journal_is_full_for(struct journal *journal, size_t count);
/* No copy of a key that fits one of these globs is to be trusted. All, or none.
 * False: the disk refuses. */
MUST_CHECK bool journal_add_areas(struct journal *journal, const struct slice *patterns,
    size_t count);
/* Why an add was refused, for the client: "No space left on device". */
void journal_why_not(struct journal *journal, char *text, size_t size);
bool journal_has(struct journal *journal, struct slice key);

/* Something that may change the key in Redis is under way / has ended. `way`
 * names the connection it travels on (links_way); 0: unknown. */
void journal_hold(struct journal *journal, struct slice key, uintptr_t way);
void journal_release(struct journal *journal, struct slice key);
/* Nothing is held, and nothing pending: journal_note_write() would do nothing. Any thread. */
bool journal_is_empty(const struct journal *journal);
/* A write that may remove this key was sent: if a fill of it is under way on
 * another connection, the fill may land after it, so the key goes into the
 * journal. Where the disk refuses, only
 * memory knows it until the file can be written again: no reason to refuse a
 * write that a healthy Redis carries out. */
void journal_note_write(struct journal *journal, struct slice key, uintptr_t way);

/*
 * Takes up to `count` keys to be unlinked now: each is copied into `keys` as
 * a RESP bulk string. They stay in the journal until journal_settle().
 * Returns how many. One taker at a time (the keeper).
 */
size_t journal_take(struct journal *journal, size_t count, struct buf *keys);
/* The same for one area: its pattern is appended; false: there is none, or
 * something that is held in it may still land. */
MUST_CHECK bool journal_take_area(struct journal *journal, struct buf *pattern);
/* What was taken has been unlinked (forget it, unless it was added again
 * meanwhile), or has not (to be taken again). */
void journal_settle(struct journal *journal, bool is_done);

/* Keys and areas. */
size_t journal_pending(const struct journal *journal);

#endif
