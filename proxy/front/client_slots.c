/*
 * Replies in the order of commands: each has its slot, and the first of the row
 * leaves it when it is known. See client.h.
 */
#include <stdlib.h>

#include "front/client_inside.h"

#define RELAY_MOST_BYTES 16384 /* of a reply that is not copied once more */

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

struct buf *
client_stream(struct client *client)
{
	/* A session begins when nothing is owed, and is sent nothing while slots
	 * wait: all that comes then are pushes, which belong to no place. */
	return client_own_out(client);
}
