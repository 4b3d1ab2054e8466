/*
 * Clients: RESP connections. A worker's clients share one buffer to read
 * into and one to answer from; a client has buffers of its own only while a
 * command is half there or its socket is full.
 *
 *   recv -> parse -> request_handle() -> replies, in the order of commands
 *
 *   slots:  [c1 done][c2 waits][c3 done]  c1 is sent; c3 waits for c2
 *
 * A reply that is known at once goes straight into the shared buffer, unless
 * an earlier command of this client still waits.
 *
 * One thread: the worker's.
 */
#ifndef SIDECAR_FRONT_CLIENT_H
#define SIDECAR_FRONT_CLIENT_H

#include "front/metrics.h"
#include "front/peer.h"
#include "ladder/context.h"
#include "wire/request.h"

struct command_info;
struct dedicated_pool;
struct deny;
struct event_base;
struct front;
struct client;
struct session;
struct tls_stream;

struct front *front_new(struct event_base *base, struct ladder_context *ladder,
    struct dedicated_pool *dedicated, struct census *census, struct worker_metrics *metrics);
/* All clients must be gone (front_drain). */
void front_free(struct front *front);

/* Takes over a connected, non-blocking socket, and `tls` (NULL: plain) upon
 * it; `id` is what CLIENT ID says. */
void front_add_client(struct front *front, int fd, int64_t id, const struct peer *peer,
    struct tls_stream *tls);

/* Sends what was answered since; before the loop sleeps. */
void front_flush(struct front *front);

/*
 * Answers what has been received, then says goodbye: no new commands are
 * read. Wait until front_owed() is 0, give the others a moment to hang up
 * themselves, then front_drop_all().
 */
void front_drain(struct front *front);
size_t front_clients(const struct front *front);
size_t front_owed(const struct front *front); /* clients with replies still to come or to go */
void front_drop_all(struct front *front);

struct ladder_context *front_ladder(const struct front *front);
struct dedicated_pool *front_dedicated(const struct front *front);
struct census *front_census(const struct front *front);
struct worker_metrics *front_metrics(const struct front *front);
/* What the rules in force deny. */
const struct deny *front_deny(struct front *front);

/* ---- for request.c and the commands behind it ---- */

/* CLIENT REPLY; SKIP is about the command after it. */
enum __attribute__((packed)) replies { REPLIES_ON, REPLIES_OFF, REPLIES_SKIP_NEXT, REPLIES_SKIP };

/* Of the client to which invalidations shall go (client_redirect.h). */
enum __attribute__((packed)) target {
	TARGET_UNKNOWN,
	TARGET_SOUGHT,
	TARGET_FOUND,
	TARGET_MISSING,
	TARGET_DOWN
};

/* What a connection is; commands read and change it. There are many, and most
 * of them idle: every byte counts. */
struct client_session {
	int64_t id;
	const struct command_info *last;  /* the last command, for CLIENT LIST; NULL: none known */
	struct client_extras *extras;     /* NULL: none yet */
	uint32_t connected_ds, active_ds; /* monotonic, tenths of a second */
	uint16_t link_index;
	uint8_t resp; /* 2 or 3 */
	enum replies replies;
	bool is_authenticated;
	bool is_peer_counted, is_user_counted; /* the command at hand, against [limits] */
};

/* What some clients have. */
struct client_extras {
	char *name, *library, *lib_version; /* CLIENT SETNAME, SETINFO; NULL: none */
	int64_t target_redis_id;
	int64_t redirect; /* whom the CLIENT TRACKING at hand names; 0: nobody */
	enum target target;
	bool is_unevictable, is_untouching; /* CLIENT NO-EVICT, NO-TOUCH */
};

/* To read: all zero when there are none. */
const struct client_extras *client_extras(const struct client *client);
/* To write: makes them. */
struct client_extras *client_make_extras(struct client *client);
/* The connection to Redis that its commands go over. */
struct link_choice client_link(struct client *client);

struct front *client_front(const struct client *client);
/* A connection to Redis of its own (session.h); NULL: none. */
struct session *client_redis_session(const struct client *client);
void client_set_session(struct client *client, struct session *session);
/* Nothing that it has asked is unanswered, by anybody. */
bool client_is_quiet(const struct client *client);
/* Replies wait for an answer, or for those before them. */
bool client_has_slots(const struct client *client);
/* The command being handled gets no reply. */
bool client_is_mute(const struct client *client);
/* Where a session copies what Redis says; then client_wake(). */
struct buf *client_stream(struct client *client);
/* Something has changed: send what there is, go on if it was waiting. */
void client_wake(struct client *client);
struct client_session *client_session(struct client *client);

/* Where the reply of the command being handled (or answered) goes, when it is
 * known now. */
struct buf *client_reply(struct client *client);
/* Hang up once everything so far has been sent. */
void client_finish(struct client *client);

/* A reply that will be known later; keeps its place in the order. */
struct slot;
struct slot *slot_new(struct client *client);
struct buf *slot_out(struct slot *slot);
/* The whole reply, of which nothing has been written to slot_out(). */
void slot_reply(struct slot *slot, struct slice reply);
/* The same for one that has to be written first, into a buffer that all share:
 * nothing else comes between the two. */
struct buf *slot_draft(struct slot *slot);
void slot_reply_draft(struct slot *slot);
/* The reply is complete. From here on, as with slot_reply(), the slot is
 * not the caller's. */
void slot_done(struct slot *slot);
/* RESP version to write the reply in: the client's when the command came. */
int slot_resp(const struct slot *slot);

#endif
