/*
 * What clients are sent, as far as the socket takes it; and what follows when
 * it has taken all, or does not.
 *
 *   now             replies to the batch at hand, in the shared buffer
 *   when the turn   what came for those who had to wait: front_flush()
 *   ends
 *
 * The rest is the client's own, until its socket takes more.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "base/alloc.h"
#include "front/client_inside.h"
#include "front/session.h"

#define OUT_KEPT_MS 1000
#define RELAY_KEPT_BYTES (256 * 1024)
#define LINGER_MS 2000 /* for a client to hang up, once it has all it is owed */

/* ---- to the socket ---- */

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

/* ---- what waits ---- */

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

static inline struct slice
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

/* ---- the batch at hand ---- */

static void
on_out_unused(struct deadline *deadline)
{
	struct front *front =
	    (struct front *)((char *)deadline - offsetof(struct front, out_unused));

	buf_reset(&front->out);
}

/* A large block is kept for the next batches: giving it back each time costs
 * more than filling it. An idle worker holds none. */
void
front_empty_out(struct front *front)
{
	front->out.start = front->out.end = 0;
	if (front->out.size <= BUF_KEEP_BYTES || front->out_unused.due_ms != 0)
		return;
	front->out_unused.on_due = on_out_unused;
	deadlines_add(front->ladder->deadlines, &front->out_unused,
	    front_now_ms(front) + OUT_KEPT_MS);
}

/* Behind what waits already, between large values, or when the socket did not
 * take all. */
MUST_CHECK static bool
send_slowly(struct client *client)
{
	struct front *front = client->front;
	bool is_alive =
	    client_out_len(client) > 0 || client_send_output(client, &front->out, &front->inserts);

	if (is_alive && front_out_len(front) > 0) {
		struct buf *own = client_own_out(client);
		inserts_move(&client->unfinished->inserts, own, &front->inserts, &front->out);
	}
	if (front->inserts.count > 0)
		inserts_free(&front->inserts);
	front_empty_out(front);
	return is_alive;
}

bool
client_send_shared(struct client *client)
{
	struct front *front = client->front;
	struct slice out = buf_slice(&front->out);

	if (out.len == 0)
		return true;
	if (front->inserts.count > 0 || client_out_len(client) > 0)
		return send_slowly(client);
	ssize_t n = stream_send(client->fd, client->tls, out);
	if (n == (ssize_t)out.len) {
		front_empty_out(front);
		return true;
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client_close(client);
		front_empty_out(front);
		return false;
	}
	front->out.start += n > 0 ? (size_t)n : 0;
	return send_slowly(client);
}

void
client_send_fresh(struct client *client, struct slice reply)
{
	ssize_t n = socket_send(client->fd, reply.at, reply.len);
	size_t sent = n > 0 ? (size_t)n : 0;

	if (sent == reply.len)
		return;
	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		client_close(client);
		return;
	}
	buf_append(client_own_out(client), reply.at + sent, reply.len - sent);
	client_settle(client);
}

/* ---- and then? ---- */

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

void
client_finish(struct client *client)
{
	if (client->state < CLIENT_FINISHING)
		client_enter(client, CLIENT_FINISHING);
}

/* ---- when the turn ends ---- */

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

void
client_wake(struct client *client)
{
	client_mark_dirty(client);
}
