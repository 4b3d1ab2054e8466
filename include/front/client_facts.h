/* What CLIENT LIST shows of one client: gathered on its worker's thread,
 * written as Redis 7 writes it. */
#ifndef SIDECAR_FRONT_CLIENT_FACTS_H
#define SIDECAR_FRONT_CLIENT_FACTS_H

#include "base/buf.h"
#include "wire/request.h"

struct client;

enum client_type { CLIENT_NORMAL, CLIENT_MASTER, CLIENT_REPLICA, CLIENT_PUBSUB };

#define CLIENT_ADDRESS_SIZE 128

struct client_facts {
	int64_t id;
	char address[CLIENT_ADDRESS_SIZE], local_address[CLIENT_ADDRESS_SIZE];
	int fd;
	const char *name, *library, *lib_version; /* borrowed; NULL: none */
	int64_t age_s, idle_s;
	char flags[16];
	enum client_type type;
	int64_t database, channels, patterns, shards;
	int64_t queued; /* in MULTI; -1: not in one */
	size_t query_bytes, query_room, argument_bytes;
	size_t reply_bytes, replies, total_bytes;
	const char *events, *command; /* static; command NULL: none yet */
	int64_t redirect;             /* of tracking: a client's id, 0: to itself, -1: off */
	int resp;
};

/* Borrows from the client: until it may change. */
void client_facts_gather(struct client *client, int64_t now_ms, struct client_facts *facts);
/* For the client that asks: `parser` holds the command it is asking with. */
void client_facts_of_asker(struct client *client, const struct request_parser *parser,
    int64_t now_ms, struct client_facts *facts);

/* "id=3 addr=127.0.0.1:59658 ... resp=2 lib-name= lib-ver=\n". Pure. */
void client_facts_write(const struct client_facts *facts, struct buf *out);

#endif
