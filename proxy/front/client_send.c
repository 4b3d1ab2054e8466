/*
 * What clients are sent: replies in the order of commands, as far as the
 * socket takes them; and what follows when it has taken all, or does not.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "front/client_inside.h"
#include "front/session.h"

#define RELAY_MOST_BYTES 16384 /* of a reply that is not copied once more */
#define RELAY_KEPT_BYTES (256 * 1024)
#define LINGER_MS 2000 /* for a client to hang up, once it has all it is owed */

/* ---- sending ---- */

/* False: the connection is gone, and so is the client. */
bool
client_send_bytes(struct client *client, struct slice bytes, size_t *sent)
{
	*sent = 0;
	if (bytes.len == 0 && !stream_has_unsent(client->tls))
		return true;
	ssize_t n = stream_send(client->fd, client->tls, bytes);
	int error = errno;
	if (n < 0 && error != EAGAIN && error != EINTR) {
		client_close(client);
		return false;
	}
	*sent = n > 0 ? (size_t)n : 0;
	return true;
}

bool
client_send_output(struct client *client, struct buf *out, struct inserts *inserts)
{
	size_t sent = 0;

	while (inserts->count > 0) { /* plain: see hits.c */
		ssize_t n = inserts_send(inserts, out, client->fd);
		int error = errno;
		if (n < 0 && error != EAGAIN && error != EINTR) {
			client_close(client);
			return false;
		}
		if (n < 0)
			return true;
	}
	bool is_alive = client_send_bytes(client, buf_slice(out), &sent);
	if (is_alive)
		out->start += sent;
	return is_alive;
}

void
client_mark_dirty(struct client *client)
{
	struct front *front = client->front;

	if (client->dirty_place != 0)
		return;
	if (front->dirty_count == front->dirty_room) {
		front->dirty_room = front->dirty_room > 0 ? 2 * front->dirty_room : 64;
		front->dirty = alloc_again(front->dirty, front->dirty_room * sizeof(struct dirty));
	}
	front->dirty[front->dirty_count++] = (struct dirty){ .client = client };
	client->dirty_place = (uint32_t)front->dirty_count;
}

static struct slice
relayed_to(const struct client *client)
{
	const struct front *front = client->front;

	if (client->dirty_place == 0)
		return SLICE_NONE;
	const struct dirty *dirty = &front->dirty[client->dirty_place - 1];
	return dirty->relayed > 0 ? slice_make(front->relay.at + dirty->relayed_at, dirty->relayed)
				  : SLICE_NONE;
}

struct buf *
client_own_out(struct client *client)
{
	struct buf *own = &client_unfinished(client)->out;
	struct slice relayed = relayed_to(client);

	if (relayed.len > 0) {
		buf_append_slice(own, relayed);
		client->front->dirty[client->dirty_place - 1].relayed = 0;
	}
	return own;
}

bool
client_owes_bytes(const struct client *client)
{
	return client_out_len(client) + client->slot_bytes >
	    (size_t)client_settings(client)->listen.output_limit;
}

/* What it has asked for and will, once it comes, have to be kept for it: a
 * client is taken for one of large replies until it has shown otherwise. */
static bool
expects_too_much(const struct client *client)
{
	return (size_t)client->slot_count * client->reply_bytes >
	    (size_t)client_settings(client)->listen.output_limit;
}

bool
client_owes_too_much(const struct client *client)
{
	const struct settings *settings = client_settings(client);

	return client_owes_bytes(client) || expects_too_much(client) ||
	    client->slot_count >= (size_t)settings->listen.max_pipeline ||
	    (client->redis != NULL &&
		session_unsent(client->redis) > (size_t)settings->listen.output_limit);
}

static bool
may_go_on(const struct client *client)
{
	return client->waits_for_quiet ? client_is_quiet(client) : !client_owes_too_much(client);
}

/* Waits for something that may never come. */
bool
client_is_endless(const struct client *client)
{
	return client->redis != NULL && session_may_never_end(client->redis);
}

/* Everything that can be sent has been tried: what now? May free the client. */
void
client_settle(struct client *client)
{
	bool has_unsent = client_out_len(client) > 0 || stream_has_unsent(client->tls);
	bool is_idle = client_is_quiet(client) && !has_unsent;

	if (client->redis != NULL)
		session_pause(client->redis, client_owes_bytes(client) || client->last != NULL);
	if (client->state == CLIENT_PAUSED && may_go_on(client)) {
		client->waits_for_quiet = false;
		client_enter(client, CLIENT_READING);
		client_handle_received(client); /* what it has sent before; settles again */
		return;
	}
	if (client->state == CLIENT_FINISHING && client->is_at_end && client_is_endless(client)) {
		client_close(client);
		return;
	}
	if (client->state == CLIENT_FINISHING && is_idle) {
		if (client->is_at_end || !stream_finish(client->fd, client->tls)) {
			client_close(client);
			return;
		}
		session_free(client->redis); /* to Redis it has gone */
		client_enter(client, CLIENT_LINGERING);
		client_set_patience(client, LINGER_MS);
	}
	bool wants_more = client->state <= CLIENT_READING || client->state == CLIENT_LINGERING;
	/* Who is paused is not read, and yet it matters when it hangs up. */
	client_wait_for(client,
	    (short)((wants_more && !client->is_at_end ? EV_READ : 0) | (has_unsent ? EV_WRITE : 0) |
		(client->state == CLIENT_PAUSED && client_is_endless(client) ? EV_CLOSED : 0)));
	client_put_away(client);
}

/* What this turn has brought, when nothing older waits. False: it is gone. */
static bool
send_relayed(struct client *client, struct slice relayed)
{
	size_t sent;

	if (!client_send_bytes(client, relayed, &sent))
		return false;
	client_forget_dirty(client);
	if (sent < relayed.len)
		buf_append(client_own_out(client), relayed.at + sent, relayed.len - sent);
	return true;
}

static bool
send_own(struct client *client)
{
	struct buf none = BUF_EMPTY;
	struct inserts nothing = { 0 };
	struct unfinished *unfinished = client_out_len(client) > 0 ? client->unfinished : NULL;

	if (!client_send_output(client, unfinished != NULL ? &unfinished->out : &none,
		unfinished != NULL ? &unfinished->inserts : &nothing))
		return false;
	client_forget_dirty(client);
	if (unfinished != NULL && buf_len(&unfinished->out) == 0)
		buf_reset(&unfinished->out);
	return true;
}

void
client_flush(struct client *client)
{
	struct slice relayed = relayed_to(client);

	if (relayed.len > 0 ? send_relayed(client, relayed) : send_own(client))
		client_settle(client);
}

void
front_flush(struct front *front)
{
	hits_answer_lone(front);
	/* One more may become dirty meanwhile. */
	for (size_t i = 0; i < front->dirty_count; i++) {
		if (front->dirty[i].client != NULL)
			client_flush(front->dirty[i].client);
	}
	front->dirty_count = 0;
	front->relay.end = 0; /* nothing is taken off its front */
	if (front->relay.size > RELAY_KEPT_BYTES)
		buf_free(&front->relay);
	front->turn_us = front->turn_batches = 0;
}

/* ---- replies ---- */

struct slot *
slot_new(struct client *client)
{
	struct slot *slot = pool_take(client->front->slots, sizeof(*slot));

	*slot = (struct slot){
		.client = client,
		.resp = client->session.resp,
		/* Until it is answered, a copy of the command waits somewhere. */
		.counted = client->front->parser.len,
		.is_mute = client_is_mute(client),
	};
	client->slot_bytes += slot->counted;
	slot->next = client->last != NULL ? client->last->next : slot;
	if (client->last != NULL)
		client->last->next = slot;
	client->last = slot;
	client->slot_count++;
	return slot;
}

struct buf *
slot_out(struct slot *slot)
{
	return &slot->out;
}

int
slot_resp(const struct slot *slot)
{
	return slot->resp;
}

void
slot_free(struct front *front, struct slot *slot)
{
	if (slot->out.at != NULL)
		buf_free(&slot->out);
	pool_give(front->slots, slot, sizeof(*slot));
}

static void
account(struct slot *slot, size_t reply_bytes)
{
	struct client *client = slot->client;

	client->slot_bytes += reply_bytes - slot->counted;
	size_t average = ((size_t)client->reply_bytes * 7 + reply_bytes) / 8;
	client->reply_bytes = average < UINT32_MAX ? (uint32_t)average : UINT32_MAX;
	slot->counted = reply_bytes;
}

/* Counts what a slot's reply holds, now that no more is coming. */
void
slot_account(struct slot *slot)
{
	account(slot, buf_len(&slot->out));
}

/* The first of the row leaves it. */
static void
take_first_slot(struct client *client)
{
	struct slot *slot = client->last->next;

	client->last->next = slot->next;
	if (client->last == slot)
		client->last = NULL;
	client->slot_count--;
	client->slot_bytes -= slot->counted;
	slot_free(client->front, slot);
}

/* To be sent behind all else when the turn ends. */
static void
relay(struct client *client, struct slice reply)
{
	struct buf *all = &client->front->relay;

	client_mark_dirty(client);
	struct dirty *dirty = &client->front->dirty[client->dirty_place - 1];
	bool is_in_a_row = dirty->relayed == 0 || dirty->relayed_at + dirty->relayed == all->end;
	bool has_own = client_out_len(client) > dirty->relayed;
	if (has_own || !is_in_a_row || reply.len > RELAY_MOST_BYTES) {
		buf_append_slice(client_own_out(client), reply);
		return;
	}
	if (dirty->relayed == 0)
		dirty->relayed_at = all->end;
	dirty->relayed += reply.len;
	buf_append_slice(all, reply);
}

/* Moves the replies that are at the head of the row and known to the client:
 * behind those of this batch that wait in the shared buffer, if there are. */
static void
take_done_slots(struct client *client)
{
	struct front *front = client->front;

	while (client->last != NULL && client->last->next->is_done) {
		const struct slot *slot = client->last->next;
		if (!slot->is_mute && front->handling == client)
			buf_append_slice(&front->out, buf_slice(&slot->out));
		else if (!slot->is_mute)
			relay(client, buf_slice(&slot->out));
		take_first_slot(client);
	}
}

void
slot_done(struct slot *slot)
{
	struct client *client = slot->client;

	slot->is_done = true;
	if (client == NULL) {
		buf_free(&slot->out);
		free(slot); /* its pool may have gone as well */
		return;
	}
	slot_account(slot);
	if (client->last->next == slot) {
		take_done_slots(client);
		client_mark_dirty(client);
	}
}

void
slot_reply(struct slot *slot, struct slice reply)
{
	struct client *client = slot->client;

	if (client == NULL || client->last->next != slot || client->front->handling == client) {
		buf_append_slice(&slot->out, reply);
		slot_done(slot);
		return;
	}
	account(slot, reply.len);
	client_mark_dirty(client);
	if (!slot->is_mute)
		relay(client, reply);
	take_first_slot(client);
	take_done_slots(client);
}

struct buf *
slot_draft(struct slot *slot)
{
	if (slot->client == NULL)
		return &slot->out;
	buf_reset(&slot->client->front->draft);
	return &slot->client->front->draft;
}

void
slot_reply_draft(struct slot *slot)
{
	if (slot->client == NULL)
		slot_done(slot);
	else
		slot_reply(slot, buf_slice(&slot->client->front->draft));
}

struct buf *
client_stream(struct client *client)
{
	/* A session begins when nothing is owed, and is sent nothing while slots
	 * wait: all that comes then are pushes, which belong to no place. */
	return client_own_out(client);
}

void
client_wake(struct client *client)
{
	client_mark_dirty(client);
}

struct buf *
client_reply(struct client *client)
{
	if (client_is_mute(client)) {
		buf_reset(&client->front->nowhere);
		return &client->front->nowhere;
	}
	if (client->last == NULL)
		return client->front->handling == client ? &client->front->out
							 : client_own_out(client);
	/* A reply that is known behind one that is not. What is written into it
	 * counts when the command has been handled: see handle_command(). */
	if (!client->last->is_done || client->last->is_mute) {
		struct slot *slot = slot_new(client);
		slot->is_done = true;
	}
	return &client->last->out;
}

void
client_finish(struct client *client)
{
	if (client->state < CLIENT_FINISHING)
		client_enter(client, CLIENT_FINISHING);
}
