/*
 * Whom a command counts against, and the refusal of those who ask too often
 * (ladder/limits.h). Asked before a command is carried out, so that to be
 * refused costs less than to be answered.
 *
 *   per_ip    every command of a remote peer, whatever it is
 *   per_user  reads and writes of mapped keys whose map has limit = yes, by
 *             the id alone: a user of two maps is one user
 *
 * A command with several keys (MGET, DEL, MSET) counts for each of them, and
 * is refused when all that count are over their limit: one busy user in a
 * batch of a hundred does not cost the others their answer, and nil would be
 * a lie. Between MULTI and EXEC commands count and are not refused: half a
 * transaction would be worse. Worker's thread.
 */
#ifndef SIDECAR_FRONT_LIMIT_GATE_H
#define SIDECAR_FRONT_LIMIT_GATE_H

#include <sys/socket.h>

#include "front/client.h"
#include "wire/commands.h"

enum limit_verdict {
	LIMIT_PASSES,
	LIMIT_REFUSED, /* the error is written */
	LIMIT_LATER,   /* it will be, but not before what Redis still has to say */
};

enum limit_verdict limit_gate_of_peer(struct client *client);
/* By per_user. For commands that reads.c does not answer. */
enum limit_verdict limit_gate_of_command(struct client *client, const struct request_parser *parser,
    const struct command_info *info);
/* The command has been carried out; one that waits is not counted twice. */
void limit_gate_done(struct client *client);

/* True when the error is written. `map` NULL: not mapped;
 * key_hash is the key's cache_hash(). The first is about a remote peer's GET
 * that has not been through limit_gate_of_peer(). */
MUST_CHECK bool limit_gate_refuses_get(struct client *client, const struct map *map,
    struct slice id, uint64_t key_hash);
MUST_CHECK bool limit_gate_refuses_key(struct client *client, const struct map *map,
    struct slice id, uint64_t key_hash);
MUST_CHECK bool limit_gate_refuses_keys(struct client *client, const struct slice *keys,
    size_t count);

#endif
