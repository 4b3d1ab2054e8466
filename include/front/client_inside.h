/* What clients are made of; for client.c, and for those who count and close
 * them. Nobody else's business. */
#ifndef SIDECAR_FRONT_CLIENT_INSIDE_H
#define SIDECAR_FRONT_CLIENT_INSIDE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/clock.h"
#include "front/client.h"
#include "front/inserts.h"
#include "front/tls_stream.h"

#define READ_BYTES 65536

/* What we wait for, and what we do with what comes. */
enum __attribute__((packed)) client_state {
	CLIENT_SECURING,  /* TLS's handshake */
	CLIENT_READING,   /* commands */
	CLIENT_PAUSED,    /* it has not taken its replies, or has too many under way */
	CLIENT_FINISHING, /* no more commands; replies are still to come or to go */
	CLIENT_LINGERING, /* everything is sent; waiting for the other side to close, so
	                     that no reset destroys what it has not read yet */
};

struct slot {
	struct slot *next;
	struct client *client; /* NULL: it has gone; free the slot when done */
	struct buf out;
	size_t counted; /* its share of client->slot_bytes */
	int resp;
	bool is_done;
	bool is_mute; /* CLIENT REPLY OFF or SKIP: it is waited for, and not sent */
};

/* What is half done; an idle client has none of it. */
struct unfinished {
	struct client *client;
	struct buf in;          /* a command that is half there, or not handled yet */
	struct buf out;         /* replies that the socket did not take */
	struct inserts inserts; /* between them */
	struct request_progress progress;
	struct deadline patience; /* for its handshake; later, for it to hang up */
};

struct client {
	struct event event;
	struct client_session session;
	struct front *front;
	struct client *next, *prev; /* all of this worker */
	struct tls_stream *tls;     /* NULL: plain */
	struct session *redis;
	struct unfinished *unfinished; /* NULL: nothing */
	struct slot *last;             /* of its replies; last->next is the first. NULL: none */
	size_t slot_bytes;
	uint32_t slot_count;
	uint32_t reply_bytes; /* of one reply that had to wait: a moving average */
	int fd;
	uint8_t waits_for; /* EV_READ, EV_WRITE or both, as registered */
	enum client_state state;
	uint32_t dirty_place; /* in front->dirty, from 1; 0: nowhere */
	bool is_at_end : 1;
	bool is_lone : 1;         /* among front->lone_gets */
	bool is_over : 1;         /* the last of its GETs that counted was one too many */
	bool waits_for_quiet : 1; /* its next command has to wait for all before it */
	struct peer peer;
};

/*
 * A GET that is all its client has sent. Up to LONE_GETS clients wait for each
 * other within a turn of the loop, so that the memory of one's key is on its
 * way while the others are read: see hits_lone.c.
 */
#define LONE_GETS 16
#define LONE_BYTES 256 /* longer ones are not worth it */
struct lone_get {
	struct client *client; /* NULL: it has gone */
	struct slice bytes;    /* in front->in */
};

/* A client with something to send when the turn ends. The replies to its
 * commands of one batch mostly come in one piece from Redis: they lie in a row
 * in front->relay, and are sent from there. Where they do not, or are large,
 * the client has a buffer of its own, and no more than one of the two. */
struct dirty {
	struct client *client;      /* NULL: it has gone */
	size_t relayed_at, relayed; /* bytes of front->relay */
};

struct front {
	struct event_base *base;
	struct ladder_context *ladder;
	struct dedicated_pool *dedicated;
	struct census *census;
	struct worker_metrics *metrics;
	struct request_parser parser;
	struct deny *deny;
	const char *deny_of; /* the setting that it was made of; a reload brings another */
	bool denies_get;
	const struct command_info *get_info;
	struct client *clients;
	struct dirty *dirty; /* in the order of their replies */
	size_t dirty_count, dirty_room;
	struct client *handling; /* whose commands are being handled; NULL: nobody's */
	size_t client_count;
	bool is_draining;
	int64_t now_us;          /* the clock, as looked at last in this turn */
	int64_t turn_us;         /* the same, to measure batches by; 0: not yet looked at */
	int64_t turn_batches;    /* of all clients, since */
	int64_t batch_took_us;   /* one of them, as of the last look */
	int64_t unlooked;        /* batches to come before the next */
	int64_t paused_until_ms; /* CLIENT PAUSE; 0: not paused */
	bool pauses_all;
	struct lone_get lone_gets[LONE_GETS];
	struct cache_key lone_keys[LONE_GETS];
	size_t lone_count, lone_bytes; /* the latter at the start of `in` */
	char in[READ_BYTES + LONE_GETS * LONE_BYTES];
	struct buf out;             /* replies to the client being handled */
	struct inserts inserts;     /* between them */
	struct deadline out_unused; /* a large `out` is given back */
	struct buf nowhere;         /* replies that it does not want */
	struct buf draft;           /* a reply that is being written */
	struct buf relay;           /* replies of this turn to clients that had to wait */
	struct pool *slots;
};

static inline size_t
client_in_len(const struct client *client)
{
	return client->unfinished != NULL ? buf_len(&client->unfinished->in) : 0;
}

/* What it has not been sent for want of room in its socket, or by now. */
static inline size_t
client_out_len(const struct client *client)
{
	const struct unfinished *unfinished = client->unfinished;
	size_t own = unfinished != NULL ? buf_len(&unfinished->out) + unfinished->inserts.bytes : 0;

	return client->dirty_place == 0
	    ? own
	    : own + client->front->dirty[client->dirty_place - 1].relayed;
}

/* What waits in the shared buffer, and between its bytes. */
static inline size_t
front_out_len(const struct front *front)
{
	return buf_len(&front->out) + front->inserts.bytes;
}

/* The time of this turn of the loop. */
static inline int64_t
front_now_ms(struct front *front)
{
	if (front->turn_us == 0)
		front->turn_us = front->now_us = clock_mono_us();
	return front->now_us / 1000;
}

static inline const struct settings *
client_settings(const struct client *client)
{
	return client->front->ladder->rules->settings;
}

/* Hangs up and frees it. From the event loop, not while a command of its own
 * is handled. */
void client_kill(struct client *client);

/* ---- client.c ---- */
/* Made where there is none. */
struct unfinished *client_unfinished(struct client *client);
/* Gives back what is finished. */
void client_put_away(struct client *client);
/* Tells the event loop only when something changes. */
void client_wait_for(struct client *client, short what);
void client_enter(struct client *client, enum client_state state);
/* It is closed after so many ms, unless client->patience is removed. */
void client_set_patience(struct client *client, int64_t ms);
/* The one way out: frees it. */
void client_close(struct client *client);
void client_forget_dirty(struct client *client);

/* ---- client_send.c ---- */
/* False: the connection is gone, and so is the client. */
MUST_CHECK bool client_send_bytes(struct client *client, struct slice bytes, size_t *sent);
/* The same for a buffer with what is inserted; what is sent is taken off. */
MUST_CHECK bool client_send_output(struct client *client, struct buf *out, struct inserts *inserts);
void client_mark_dirty(struct client *client);
/* Its own buffer, for what comes behind all that it is owed already. */
struct buf *client_own_out(struct client *client);
bool client_owes_bytes(const struct client *client);
bool client_owes_too_much(const struct client *client);
/* Sends the shared buffer; the socket's leftovers become the client's own.
 * False: the client is gone. */
MUST_CHECK bool client_send_shared(struct client *client);
/* The same for a reply to a client at rest that is owed nothing else; it may
 * be gone then. */
void client_send_fresh(struct client *client, struct slice reply);
/* Of what has been sent, or will not be. */
void front_empty_out(struct front *front);
/* Waits for something that may never come. */
bool client_is_endless(const struct client *client);
/* Everything that can be sent has been tried: what now? May free the client. */
void client_settle(struct client *client);
void client_flush(struct client *client);

/* ---- client_slots.c ---- */
void slot_account(struct slot *slot);
void slot_free(struct front *front, struct slot *slot);

/* ---- client_receive.c ---- */
void client_on_event(evutil_socket_t fd, short what, void *arg);
/* Handles what it has sent before. */
void client_handle_received(struct client *client);
/* Handles what has just come. */
void client_handle_fresh(struct client *client, struct slice bytes);
/* Takes what the socket holds now; false: the connection is gone, or has never
 * come about. */
MUST_CHECK bool client_receive_all(struct client *client);
/* Nothing has changed that the event loop has to know: it is read, and that
 * is all. */
static inline bool
client_is_at_rest(const struct client *client)
{
	return client->state == CLIENT_READING && client->waits_for == EV_READ &&
	    !client->is_at_end && client->unfinished == NULL && client->redis == NULL &&
	    client->tls == NULL;
}
/* So many batches have been handled, with so many hits. */
void front_count_batches(struct front *front, int64_t batches, int64_t hits);

/* ---- hits_lone.c ---- */
/* False: it is not a lone GET, and nothing has been done. Else it is answered
 * by hits_answer_lone() at the latest; `bytes` are at the end of front->in. */
MUST_CHECK bool hits_take_lone(struct client *client, struct slice bytes);
void hits_answer_lone(struct front *front);
void hits_forget_lone(struct client *client);

#endif
