/*
 * CLIENT, about the sidecar's own clients: those of all workers, by the
 * sidecar's own ids. What needs Redis (UNBLOCK, TRACKING's REDIRECT) has ids
 * translated to those of the connections that our clients' sessions have
 * there. Worker's thread.
 */
#ifndef SIDECAR_FRONT_CLIENT_COMMAND_H
#define SIDECAR_FRONT_CLIENT_COMMAND_H

#include "front/client.h"

/* CLIENT <subcommand> ...; argc >= 2. Answers now or later. */
void client_command(struct client *client, const struct request_parser *parser);

/* Known, and of as many words as it takes; argc >= 2. */
bool client_command_is_whole(const struct request_parser *parser);

/* CLIENT SETNAME and HELLO ... SETNAME. False: an error is written. */
MUST_CHECK bool client_take_name(struct client *client, struct buf *out, struct slice name);

/* ---- each in a file of its own ---- */

void client_list(struct client *client, const struct request_parser *parser, struct buf *out);
void client_info(struct client *client, const struct request_parser *parser, struct buf *out);
void client_kill_some(struct client *client, const struct request_parser *parser, struct buf *out);
void client_unblock(struct client *client, const struct request_parser *parser, struct buf *out);
void client_pause(struct client *client, const struct request_parser *parser, struct buf *out);
void client_unpause(struct client *client, const struct request_parser *parser, struct buf *out);

#endif
