/*
 * Reads that the ladder answers: GET, MGET, and those of a mapped hash. A
 * hash is fetched and kept whole, and each command takes its part of it.
 * Worker's thread.
 */
#ifndef SIDECAR_FRONT_READS_H
#define SIDECAR_FRONT_READS_H

#include "front/client.h"
#include "ladder/ladder.h"

/* True when the command is one of these, for keys that allow it, and has
 * been taken care of. False: somebody else's. */
bool reads_handle(struct client *client, const struct request_parser *parser);

/* Which map, id and type GET (or, for a hash map, HGETALL) of a key means. */
void reads_question(struct client *client, struct slice key, struct question *question);

/* A hash as HGETALL answers it. */
void reads_write_hash(struct buf *out, int resp, struct slice hash);

#endif
