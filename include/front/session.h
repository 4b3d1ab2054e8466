/*
 * A session: a client with a connection to Redis of its own, because what it
 * does leaves state there (MULTI, WATCH, SUBSCRIBE, MONITOR, SELECT, CLIENT
 * TRACKING) or blocks. While it lasts every command of the client goes over
 * that connection, in order, and what comes back is copied to the client as
 * it came; memory is passed by, but what the commands write is dropped from
 * it. When the state is gone the connection is given back.
 *
 * A connection that is lost takes the state with it, so the client is told
 * and hung up on, as Redis's own death would. One thread: the worker's.
 */
#ifndef SIDECAR_FRONT_SESSION_H
#define SIDECAR_FRONT_SESSION_H

#include "front/client.h"
#include "front/session_state.h"
#include "wire/commands.h"

struct session;

/* Whether a command needs a session where there is none. */
bool session_is_needed(const struct request_parser *parser, const struct command_info *info);

/*
 * Opens one, or writes an error (and hangs up where going on without the
 * state would be a lie). Only for a client to whom nothing is owed.
 */
void session_open(struct client *client, const struct request_parser *parser,
    const struct command_info *info);

/* Opens one for its own sake: others redirect invalidations to this client.
 * False: it cannot be had. */
MUST_CHECK bool session_open_for_others(struct client *client);

/* Takes a command of a client that has a session. */
enum session_takes {
	SESSION_TOOK,    /* it is on its way */
	SESSION_NOT_NOW, /* again when session_is_quiet() */
	SESSION_LOCAL,   /* about this connection: answer it here */
};
enum session_takes session_take(struct session *session, const struct request_parser *parser,
    const struct command_info *info);

/* Nothing that was sent is unanswered. */
bool session_is_quiet(const struct session *session);
/* It is blocked, or listens: who has hung up is not worth waiting for. */
bool session_may_never_end(const struct session *session);
/* Bytes that Redis has not taken yet. */
size_t session_unsent(const struct session *session);
/* The client does not take its replies (or does again). */
void session_pause(struct session *session, bool is_paused);
/* The client speaks another protocol version from now on; only when quiet. */
void session_set_resp(struct session *session, int resp);

/* The client has another name, or NO-TOUCH is another: Redis is told, before
 * the next command of it. NULL is fine. */
void session_introduce(struct session *session);

/* For those who tell of clients. */
const struct session_state *session_state_of(const struct session *session);
/* Inside a command that blocks (not: subscribed). */
bool session_is_blocked(const struct session *session);
/*
 * Redis's id of its connection, for somebody who will name it to Redis; 0:
 * not known yet. From then on no other client gets this connection. Who is
 * the target of a redirection keeps it for as long as it lives.
 */
int64_t session_lend_id(struct session *session, bool is_for_redirection);

/* Part of the caller's struct, until ready(): with that id, 0 when the
 * session has ended. May end or free anything but the session. */
struct session_waiter {
	struct session_waiter *next;
	void (*ready)(struct session_waiter *waiter, int64_t redis_id);
};
void session_wait(struct session *session, struct session_waiter *waiter);

/* Closes its connection: the client has gone, or RESET. NULL is fine. */
void session_free(struct session *session);

#endif
