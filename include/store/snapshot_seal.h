/*
 * The snapshot's seal: AES-256-GCM over a stream of bytes, in chunks. Pure but
 * for the random salt.
 *
 *   head:   "sidecar snapshot 1\n" | salt (32 bytes) | check (16 bytes)
 *   chunk:  up to 64 KiB, sealed | tag (16 bytes); all but the last are full
 *
 * Each file has a key of its own, HMAC-SHA256(key, head's first two fields),
 * so a nonce is never used twice whoever shares the key, and the head is
 * bound to the chunks. The nonce is the chunk's number, and whether it is the
 * last: no chunk can be changed, moved, left out or cut off unnoticed (the
 * STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizar, 2015). The
 * check is another HMAC: it tells a wrong key from a damaged file.
 */
#ifndef SIDECAR_STORE_SNAPSHOT_SEAL_H
#define SIDECAR_STORE_SNAPSHOT_SEAL_H

#include "base/buf.h"

#define SEAL_KEY_BYTES 32
#define SEAL_SALT_BYTES 32
#define SEAL_CHECK_BYTES 16
#define SEAL_TAG_BYTES 16
#define SEAL_CHUNK_BYTES 65536

extern const struct slice seal_magic; /* with the version */
size_t seal_head_bytes(void);

struct seal;

/* For writing: appends a new head. */
struct seal *seal_new(const unsigned char key[SEAL_KEY_BYTES], struct buf *head);
void seal_free(struct seal *seal);

/* For reading: NULL, and a phrase in *why, when the head is none, is of
 * another version, or was written with another key. */
MUST_CHECK struct seal *seal_open(const unsigned char key[SEAL_KEY_BYTES], struct slice head,
    const char **why);

/* Seals the next chunk, appending it to `out`. */
void seal_chunk(struct seal *seal, struct slice plain, bool is_last, struct buf *out);
/* Opens the next chunk, tag included, appending to `out`. False: it is not
 * what was sealed as this chunk; nothing is appended. */
MUST_CHECK bool seal_open_chunk(struct seal *seal, struct slice sealed, bool is_last,
    struct buf *out);

#endif
