/*
 * What commands and replies do to the state of a connection to Redis. Pure,
 * but for the cache it is told to flush.
 */
#ifndef SIDECAR_FRONT_SESSION_STATE_H
#define SIDECAR_FRONT_SESSION_STATE_H

#include "base/buf.h"
#include "store/cache.h"
#include "wire/commands.h"
#include "wire/request.h"

/* What one command will do, known from its words. */
struct session_effect {
	enum session_verb {
		VERB_OTHER,
		VERB_MULTI,
		VERB_EXEC, /* and DISCARD, RESET: the transaction is over */
		VERB_WATCH,
		VERB_UNWATCH,
		VERB_MONITOR,
		VERB_SELECT,
		VERB_TRACKING,
		VERB_SUBSCRIBE, /* and PSUBSCRIBE, SSUBSCRIBE */
		VERB_UNSUBSCRIBE,
		VERB_WAIT, /* for what this connection wrote last */
	} verb;
	int64_t number;        /* SELECT: the database. TRACKING: on or off. SUBSCRIBE:
	                        how many confirmations are to come */
	bool is_broadcast;     /* TRACKING ... BCAST */
	bool is_tracking_info; /* its reply names the target by Redis's id */
	int64_t redirect;      /* TRACKING ... REDIRECT: the sidecar's id of who; 0: nobody */
	char channel_kind;     /* 'c'hannel, 'p'attern, 's'hard */
	bool may_block;
	bool needs_session; /* SELECT 5, CLIENT TRACKING: although no session command */
	bool is_rescue;     /* SCRIPT KILL: also where Redis counts as down, being BUSY */
	bool needs_state;   /* the client would go wrong without it */
	bool is_lasting;    /* SCRIPT DEBUG, READONLY: changes what the connection does */
	bool ends_multi;
	bool needs_quiet;
	bool is_local;           /* about the client, not about Redis */
	bool is_for_subscribers; /* QUIT and RESET: allowed even in RESP2 */
	bool may_queue;          /* but inside MULTI it has its place in the queue */
	bool is_silent;          /* the client hears nothing of the reply */
};

struct session_state {
	bool is_uncertain; /* it may do other things now than a new connection would */
	bool is_in_multi, is_watching, is_monitoring, is_tracking, has_flushed;
	bool is_broadcast, is_target; /* of tracking; others redirect theirs to it */
	int64_t redirect, database;
	int64_t queued;                     /* commands since MULTI, as far as Redis has said so */
	int64_t channels, patterns, shards; /* subscribed to */
};

enum session_reply {
	SESSION_REPLY_ANSWER, /* of the oldest command */
	SESSION_REPLY_PUSH,   /* of nobody's; or one of several confirmations */
	SESSION_REPLY_SILENT, /* an answer that the client did not ask for */
};

/* False: whatever its words are, the command has no effect on the connection.
 * Most commands end here, before their words are looked at. */
bool session_may_be_needed(const struct command_info *info);
void session_effect_of(const struct request_parser *parser, const struct command_info *info,
    struct session_effect *effect);
/* UNSUBSCRIBE from everything: how many confirmations that will be. */
void session_state_complete(const struct session_state *state, struct session_effect *effect);
void session_state_sent(struct session_state *state, const struct session_effect *effect);
/* A reply has come; `oldest` is what it may answer, NULL: nothing is awaited. */
enum session_reply session_state_reply(struct session_state *state, struct session_effect *oldest,
    int resp, char type, struct slice reply);
/* Appends a reply, with the sidecar's id of the client to whom tracking is
 * redirected instead of Redis's. */
void session_state_copy(const struct session_state *state, const struct session_effect *oldest,
    struct slice reply, struct buf *out);
/* A flush has been answered, or queued (then EXEC carries it out), or EXEC has
 * been: true when everything was dropped just now. */
bool session_state_flush(struct session_state *state, struct cache *cache, bool is_flush,
    bool is_queued);
bool session_state_is_subscribed(const struct session_state *state);
bool session_state_is_kept(const struct session_state *state);

#endif
