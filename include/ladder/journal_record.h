/*
 * The journal's file as bytes. Pure.
 *
 *   file:   "sidecar journal 1\n", then records
 *   record: kind and length of the key (4 bytes) | check of these 4
 *           | key or pattern | check of all before
 *
 * Numbers are little-endian. A check is CRC-32C: it tells bytes that a crash
 * or a disk has spoilt, which is all it is for; who can write the file needs
 * no forged check. (base/hash.h has a new key each run, and is no use here.)
 * The length has a check of its own, so that one wrong bit in it is not taken
 * for a torn end, with all that follows lost.
 */
#ifndef SIDECAR_LADDER_JOURNAL_RECORD_H
#define SIDECAR_LADDER_JOURNAL_RECORD_H

#include "base/buf.h"

enum journal_kind {
	JOURNAL_ADD,  /* the key's copy in Redis is not to be trusted */
	JOURNAL_DONE, /* it has been unlinked there */
	JOURNAL_AREA, /* the same two of every key that fits a pattern */
	JOURNAL_AREA_DONE,
};

extern const struct slice journal_file_start;

size_t journal_record_size(size_t key_len);
void journal_record_append(struct buf *out, enum journal_kind kind, struct slice key);

enum journal_read {
	RECORD_READ,
	RECORD_END,     /* nothing is left */
	RECORD_TORN,    /* only the beginning of a record is there: the last write
	                 * was cut short by a kill, or left zeros by a power cut */
	RECORD_DAMAGED, /* anything else that does not fit its check */
};

/* Takes one record from the front of REST, which must reach to the end of the
 * file. REST is moved on RECORD_READ only; KEY points into it. */
MUST_CHECK enum journal_read journal_record_read(struct slice *rest, enum journal_kind *kind,
    struct slice *key);

#endif
