/*
 * Commands about the client itself inside MULTI (CLIENT, HELLO, AUTH). Redis
 * would answer them about its own connection, so it gets a PING in the place
 * of each, and when EXEC is answered the command is run here and its reply
 * stands where PONG did. Worker's thread.
 */
#ifndef SIDECAR_FRONT_SESSION_EXEC_H
#define SIDECAR_FRONT_SESSION_EXEC_H

#include "front/client.h"

struct deferred {
	struct deferred *next;
	int64_t index; /* among the queued commands */
	struct buf raw;
};

/* Redis would take it into the queue; what is wrong it refuses itself. */
bool exec_may_defer(const struct request_parser *parser);
#define EXEC_STAND_IN SLICE("*1\r\n$4\r\nPING\r\n")

struct deferred *deferred_new(struct slice raw);
void deferred_free(struct deferred *first); /* and those behind it */

/*
 * Writes EXEC's reply to the client, running the deferred commands, which
 * are in the order of `index`. `is_silent`: it was sent under CLIENT REPLY
 * SKIP or OFF. Some answers may come later: while client_has_slots() nothing
 * else may be written to the client.
 */
void exec_write(struct client *client, const struct deferred *deferred, struct slice reply,
    bool is_silent);

#endif
