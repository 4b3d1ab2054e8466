/*
 * What a new connection says first, and whether the answers let it in. Pure:
 * bytes in, bytes out, one command at a time.
 *
 *   HELLO 3 AUTH user pass SETNAME name -> [SELECT db] -> done
 *
 *   where HELLO does not know SETNAME:  HELLO, CLIENT SETNAME, ...
 *   where HELLO is unknown (Redis 5), RESP2 only:
 *                                       AUTH, CLIENT SETNAME, CLIENT ID, ...
 */
#ifndef SIDECAR_UPSTREAM_REDIS_GREETING_H
#define SIDECAR_UPSTREAM_REDIS_GREETING_H

#include "base/buf.h"
#include "upstream/redis_error.h"
#include "upstream/redis_target.h"

enum greeting_await {
	AWAIT_HELLO,
	AWAIT_AUTH,
	AWAIT_NAME,
	AWAIT_ID,
	AWAIT_SELECT,
	AWAIT_NOTHING,
};

struct redis_greeting {
	/* Filled in by the caller: */
	struct redis_access *access; /* the caller's reference */
	const char *name;            /* NULL: none */
	int resp_version;            /* 2 or 3 */
	int database;
	/* Found out: */
	int64_t client_id; /* 0: Redis did not say */
	/* redis_greeting.c's own: */
	enum greeting_await await;
	bool is_hello_unknown;
	bool is_name_refused; /* HELLO did not take SETNAME */
};

enum greeting_step {
	GREETING_SEND, /* one more command was appended to `out` */
	GREETING_DONE,
	GREETING_FAILED, /* `failure` says why */
};

/* Appends the first command. */
void redis_greeting_start(struct redis_greeting *greeting, struct buf *out);

/* One whole reply, type as resp_scan() says. */
enum greeting_step redis_greeting_reply(struct redis_greeting *greeting, char type,
    struct slice reply, struct buf *out, struct redis_failure *failure);

#endif
