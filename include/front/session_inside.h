/* What a session is made of; for session.c and session_send.c. */
#ifndef SIDECAR_FRONT_SESSION_INSIDE_H
#define SIDECAR_FRONT_SESSION_INSIDE_H

#include "front/session.h"
#include "front/session_exec.h"
#include "front/session_state.h"
#include "ladder/dedicated.h"

/* A command that Redis has not answered yet. */
struct awaited {
	struct awaited *next;
	struct session_effect effect;
	int64_t due_ms; /* TIME_NEVER: it may block */
	bool ends_writes, is_flush;
	size_t begun;              /* session->begun when it was sent */
	struct deferred *deferred; /* what it stands in for; NULL: itself */
};

struct session {
	struct client *client;
	struct dedicated *dedicated;
	struct session_state state;
	struct buf waiting; /* commands sent before the connection was ready */
	size_t waiting_commands;
	struct awaited *first, *last;
	struct deadline due; /* of the oldest command that does not block */
	size_t begun, ended; /* keys, so far */
	struct buf written;  /* keys begun and not ended, see session_send.c */
	int resp, resp_at_start;
	bool is_id_lent, is_paused;
	struct session_waiter *waiters; /* for the id */
	struct deferred *deferred;      /* queued in MULTI, to be run when EXEC is answered */
	bool has_deferred;
	bool awaits_exec; /* with such in it: nothing may overtake them */
	bool hangs_up;    /* what was asked for cannot be done without its state */
};

struct ladder_context *session_ladder(const struct session *session);

/* ---- session_send.c ---- */
void session_forward(struct session *session, const struct request_parser *parser,
    const struct command_info *info, const struct session_effect *effect);
/* Inside MULTI, and answered by ourselves. */
void session_defer(struct session *session, const struct request_parser *parser,
    const struct session_effect *effect);
/* What Redis is to know of the client. */
struct dedicated_owner session_owner(const struct client *client);
/* What was written has been answered, or never will be. */
void session_end_writes(struct session *session, size_t up_to);
/*
 * WAIT is about what its connection wrote last. What the client wrote until
 * now went over a link; so this connection writes, too, behind all of that:
 * PUBLISH, which goes to replicas and is nobody's.
 */
void session_write_something(struct session *session);
/* Another command is the oldest now: its time counts. */
void session_watch_oldest(struct session *session);

/* ---- session.c ---- */
/* Everything unanswered gets an error; the client goes with its state. */
void session_fail(struct session *session, const char *what);

#endif
