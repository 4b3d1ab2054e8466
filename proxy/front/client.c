/* See client.h. */
#include "front/client_inside.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "front/request.h"
#include "front/session.h"
#include "wire/reply.h"

#define LINGER_MS 2000 /* for a client to hang up, once it has all it is owed */

struct front *
front_new(struct event_base *base, struct ladder_context *ladder,
    struct dedicated_pool *dedicated, struct census *census, struct worker_metrics *metrics)
{
	struct front *front = alloc_zero(sizeof(*front));

	front->base = base;
	front->ladder = ladder;
	front->dedicated = dedicated;
	front->census = census;
	front->metrics = metrics;
	return front;
}

void
front_free(struct front *front)
{
	if (front == NULL)
		return;
	assert(front->client_count == 0);
	request_parser_free(&front->parser);
	buf_free(&front->out);
	buf_free(&front->nowhere);
	free(front);
}

struct ladder_context *
front_ladder(const struct front *front)
{
	return front->ladder;
}

struct dedicated_pool *
front_dedicated(const struct front *front)
{
	return front->dedicated;
}

struct census *
front_census(const struct front *front)
{
	return front->census;
}

struct worker_metrics *
front_metrics(const struct front *front)
{
	return front->metrics;
}

size_t
front_clients(const struct front *front)
{
	return front->client_count;
}

size_t
front_owed(const struct front *front)
{
	size_t owed = 0;

	for (const struct client *c = front->clients; c != NULL; c = c->next)
		owed += c->state != CLIENT_LINGERING;
	return owed;
}

struct front *
client_front(const struct client *client)
{
	return client->front;
}

struct session *
client_redis_session(const struct client *client)
{
	return client->redis;
}

void
client_set_session(struct client *client, struct session *session)
{
	client->redis = session;
}

bool
client_is_quiet(const struct client *client)
{
	return client->first == NULL &&
	    (client->redis == NULL || session_is_quiet(client->redis));
}

bool
client_has_slots(const struct client *client)
{
	return client->first != NULL;
}

bool
client_is_mute(const struct client *client)
{
	return client->session.replies == REPLIES_OFF || client->session.replies == REPLIES_SKIP;
}

struct client_session *
client_session(struct client *client)
{
	return &client->session;
}

static const struct settings *
settings_of(const struct client *client)
{
	return client->front->ladder->rules->settings;
}

/* ---- coming and going ---- */

static void on_event(evutil_socket_t fd, short what, void *arg);

/* Tells the event loop only when something changes. */
static void
wait_for(struct client *client, short what)
{
	if (what == client->waits_for)
		return;
	if (client->waits_for != 0)
		event_del(&client->event);
	client->waits_for = what;
	if (what == 0)
		return;
	event_assign(&client->event, client->front->base, client->fd, what | EV_PERSIST, on_event,
	    client);
	event_add(&client->event, NULL);
}

static void
enter(struct client *client, enum client_state state)
{
	/* Who is leaving does not come back to reading. */
	assert(client->state <= CLIENT_PAUSED || state >= client->state);
	client->state = state;
}

static void
describe_peer(struct client *client)
{
	struct sockaddr_storage peer;
	socklen_t len = sizeof(peer);
	char host[INET6_ADDRSTRLEN] = "";
	char *text = client->session.address;
	size_t size = sizeof(client->session.address);

	if (getpeername(client->fd, (struct sockaddr *)&peer, &len) != 0 ||
	    peer.ss_family == AF_UNIX) {
		snprintf(text, size, "unix:0");
	} else if (peer.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&peer;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, size, "[%s]:%d", host, ntohs(in6->sin6_port));
	} else {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&peer;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, size, "%s:%d", host, ntohs(in->sin_port));
	}
}

void
front_add_client(struct front *front, int fd, bool is_local)
{
	struct client *client = alloc_zero(sizeof(*client));

	(void)is_local;
	client->front = front;
	client->fd = fd;
	client->session.id = atomic_fetch_add(&front->census->next_client_id, 1) + 1;
	client->session.resp = 2;
	client->session.is_authenticated =
	    front->ladder->rules->settings->listen.password[0] == '\0';
	client->session.link =
	    (struct link_choice){ 2, links_next_index(front->ladder->links) };
	client->session.connected_ms = client->session.active_ms = clock_mono_ms();
	describe_peer(client);

	/* Linked and counted last: only whole clients are ever closed. */
	client->next = front->clients;
	if (front->clients != NULL)
		front->clients->prev = client;
	front->clients = client;
	front->client_count++;
	wait_for(client, EV_READ);
}

static void
forget_dirty(struct client *client)
{
	struct client **at = &client->front->dirty;

	if (!client->is_dirty)
		return;
	while (*at != client)
		at = &(*at)->next_dirty;
	*at = client->next_dirty;
	client->is_dirty = false;
}

/* The one way out. Slots that wait for an answer find no client any more. */
static void
close_client(struct client *client)
{
	struct front *front = client->front;

	session_free(client->redis);
	deadlines_remove(front->ladder->deadlines, &client->linger);
	wait_for(client, 0);
	close(client->fd);
	for (struct slot *slot = client->first, *next; slot != NULL; slot = next) {
		next = slot->next;
		slot->client = NULL;
		if (slot->is_done) {
			buf_free(&slot->out);
			free(slot);
		}
	}
	forget_dirty(client);
	*(client->prev != NULL ? &client->prev->next : &front->clients) = client->next;
	if (client->next != NULL)
		client->next->prev = client->prev;
	front->client_count--;
	atomic_fetch_sub(&front->census->clients, 1);
	buf_free(&client->in);
	buf_free(&client->out);
	free(client->session.name);
	free(client->session.library);
	free(client->session.lib_version);
	free(client);
}

void
client_kill(struct client *client)
{
	close_client(client);
}

/* ---- sending ---- */

/* False: the connection is gone, and so is the client. */
MUST_CHECK static bool
send_bytes(struct client *client, struct slice bytes, size_t *sent)
{
	*sent = 0;
	if (bytes.len == 0)
		return true;
	ssize_t n = send(client->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
	int error = errno;
	if (n < 0 && error != EAGAIN && error != EINTR) {
		close_client(client);
		return false;
	}
	*sent = n > 0 ? (size_t)n : 0;
	return true;
}

static void
mark_dirty(struct client *client)
{
	if (client->is_dirty)
		return;
	client->is_dirty = true;
	client->next_dirty = client->front->dirty;
	client->front->dirty = client;
}

static bool
owes_bytes(const struct client *client)
{
	return buf_len(&client->out) + client->slot_bytes >
	    (size_t)settings_of(client)->listen.output_limit;
}

static bool
owes_too_much(const struct client *client)
{
	const struct settings *settings = settings_of(client);

	return owes_bytes(client) || client->slot_count >= (size_t)settings->listen.max_pipeline ||
	    (client->redis != NULL &&
	    session_unsent(client->redis) > (size_t)settings->listen.output_limit);
}

static bool
may_go_on(const struct client *client)
{
	return client->waits_for_quiet ? client_is_quiet(client) : !owes_too_much(client);
}

/* Waits for something that may never come. */
static bool
is_endless(const struct client *client)
{
	return client->redis != NULL && session_may_never_end(client->redis);
}

static void
on_lingered(struct deadline *deadline)
{
	close_client((struct client *)((char *)deadline - offsetof(struct client, linger)));
}

static void handle_received(struct client *client);

/* Everything that can be sent has been tried: what now? May free the client. */
static void
settle(struct client *client)
{
	bool is_idle = client_is_quiet(client) && buf_len(&client->out) == 0;

	if (client->redis != NULL)
		session_pause(client->redis, owes_bytes(client));
	if (client->state == CLIENT_PAUSED && may_go_on(client)) {
		client->waits_for_quiet = false;
		enter(client, CLIENT_READING);
		handle_received(client); /* what it has sent before; settles again */
		return;
	}
	if (client->state == CLIENT_FINISHING && client->is_at_end && is_endless(client)) {
		close_client(client);
		return;
	}
	if (client->state == CLIENT_FINISHING && is_idle) {
		if (client->is_at_end || shutdown(client->fd, SHUT_WR) != 0) {
			close_client(client);
			return;
		}
		enter(client, CLIENT_LINGERING);
		client->linger.on_due = on_lingered;
		deadlines_add(client->front->ladder->deadlines, &client->linger,
		    clock_mono_ms() + LINGER_MS);
	}
	bool wants_more = client->state == CLIENT_READING || client->state == CLIENT_LINGERING;
	/* Who is paused is not read, and yet it matters when it hangs up. */
	wait_for(client, (short)((wants_more && !client->is_at_end ? EV_READ : 0) |
	    (buf_len(&client->out) > 0 ? EV_WRITE : 0) |
	    (client->state == CLIENT_PAUSED && is_endless(client) ? EV_CLOSED : 0)));
}

static void
flush(struct client *client)
{
	size_t sent;

	if (!send_bytes(client, buf_slice(&client->out), &sent))
		return;
	buf_take(&client->out, sent);
	settle(client);
}

void
front_flush(struct front *front)
{
	while (front->dirty != NULL) {
		struct client *client = front->dirty;
		forget_dirty(client);
		flush(client);
	}
}

/* ---- replies ---- */

struct slot *
slot_new(struct client *client)
{
	struct slot *slot = alloc_zero(sizeof(*slot));

	slot->client = client;
	slot->resp = client->session.resp;
	/* Until it is answered, a copy of the command waits somewhere. */
	slot->counted = client->front->parser.len;
	client->slot_bytes += slot->counted;
	slot->is_mute = client_is_mute(client);
	*(client->last != NULL ? &client->last->next : &client->first) = slot;
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

/* Counts what a slot's reply holds, now that no more is coming. */
static void
account(struct slot *slot)
{
	slot->client->slot_bytes += buf_len(&slot->out) - slot->counted;
	slot->counted = buf_len(&slot->out);
}

/* Moves the replies that are at the head of the row and known to the client:
 * behind those of this batch that wait in the shared buffer, if there are. */
static void
take_done_slots(struct client *client)
{
	struct front *front = client->front;
	struct buf *to = front->handling == client ? &front->out : &client->out;

	while (client->first != NULL && client->first->is_done) {
		struct slot *slot = client->first;
		client->first = slot->next;
		if (client->first == NULL)
			client->last = NULL;
		client->slot_count--;
		client->slot_bytes -= slot->counted;
		if (!slot->is_mute)
			buf_append_slice(to, buf_slice(&slot->out));
		buf_free(&slot->out);
		free(slot);
	}
}

void
slot_done(struct slot *slot)
{
	struct client *client = slot->client;

	slot->is_done = true;
	if (client == NULL) {
		buf_free(&slot->out);
		free(slot);
		return;
	}
	account(slot);
	if (client->first == slot) {
		take_done_slots(client);
		mark_dirty(client);
	}
}

struct buf *
client_stream(struct client *client)
{
	/* A session begins when nothing is owed, and is sent nothing while slots
	 * wait: all that comes then are pushes, which belong to no place. */
	return &client->out;
}

void
client_wake(struct client *client)
{
	mark_dirty(client);
}

struct buf *
client_reply(struct client *client)
{
	if (client_is_mute(client)) {
		buf_reset(&client->front->nowhere);
		return &client->front->nowhere;
	}
	if (client->first == NULL)
		return &client->front->out;
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
		enter(client, CLIENT_FINISHING);
}

/* ---- receiving ---- */

static uint8_t
keep_word(char *to, struct slice word)
{
	size_t len = word.len < LAST_WORD_SIZE ? word.len : LAST_WORD_SIZE;

	memcpy(to, word.at, len);
	return (uint8_t)len;
}

/* For CLIENT LIST, which looks the words up. SKIP is about the next command. */
static void
note_command(struct client_session *session, const struct request_parser *parser)
{
	session->last_len = keep_word(session->last, parser->argv[0]);
	session->last_sub_len =
	    parser->argc > 1 ? keep_word(session->last_sub, parser->argv[1]) : 0;
	if (session->replies == REPLIES_SKIP)
		session->replies = REPLIES_ON;
	else if (session->replies == REPLIES_SKIP_NEXT)
		session->replies = REPLIES_SKIP;
}

/* False: not before everything that came before it has been answered. */
static bool
handle_command(struct client *client, const struct request_parser *parser)
{
	if (!request_handle(client, parser))
		return false;
	note_command(&client->session, parser);
	/* A reply that was known at once, behind one that is not. */
	if (client->last != NULL && client->last->is_done)
		account(client->last);
	return true;
}

/* Handles whole commands in `bytes`; returns how many bytes they had. */
static size_t
handle_commands(struct client *client, struct slice bytes)
{
	struct front *front = client->front;
	const struct settings *settings = settings_of(client);
	size_t at = 0;

	while (client->state == CLIENT_READING && at < bytes.len) {
		struct request_limits limits = {
			.max_bytes = settings->listen.max_request,
			.max_args = settings->listen.max_args,
			.is_stranger = !client->session.is_authenticated,
		};
		struct slice rest = { bytes.at + at, bytes.len - at };
		enum request_parse parsed =
		    request_parse(&front->parser, &client->progress, &limits, rest);
		if (parsed == REQUEST_PARTIAL)
			break;
		if (parsed == REQUEST_BROKEN) {
			reply_error(client_reply(client), "%s", front->parser.error);
			client_finish(client);
			break;
		}
		if (front->parser.argc > 0 && !handle_command(client, &front->parser)) {
			client->waits_for_quiet = true;
			enter(client, CLIENT_PAUSED);
			break;
		}
		at += front->parser.len;
		/* What waits in the shared buffer is on its way out, too. */
		if (owes_too_much(client) ||
		    buf_len(&front->out) > (size_t)settings->listen.output_limit) {
			if (client->state == CLIENT_READING)
				enter(client, CLIENT_PAUSED);
		}
	}
	return at;
}

/* Sends the shared buffer; the socket's leftovers become the client's own.
 * False: the client is gone. */
MUST_CHECK static bool
send_shared(struct client *client)
{
	struct front *front = client->front;
	size_t sent = 0;

	if (buf_len(&front->out) == 0)
		return true;
	bool is_alive = buf_len(&client->out) > 0 ||
	    send_bytes(client, buf_slice(&front->out), &sent);
	if (is_alive && sent < buf_len(&front->out)) {
		buf_take(&front->out, sent);
		buf_append_slice(&client->out, buf_slice(&front->out));
	}
	buf_reset(&front->out);
	return is_alive;
}

static void
count_batch(struct front *front, int64_t started_us, int64_t hits_before)
{
	int64_t answered = counter_get(&front->metrics->ladder.hits) - hits_before;

	/* One clock for the batch: each of its hits took at most this long. */
	if (answered > 0)
		histogram_add_many(&front->metrics->ladder.seconds[RUNG_MEMORY],
		    clock_mono_us() - started_us, answered);
}

/* Handles what is in client->in, or in the shared buffer (`fresh`). */
static void
handle_batch(struct client *client, struct slice fresh)
{
	struct front *front = client->front;
	int64_t started_us = clock_mono_us();
	int64_t hits_before = counter_get(&front->metrics->ladder.hits);
	bool is_own = buf_len(&client->in) > 0;
	struct slice bytes = is_own ? buf_slice(&client->in) : fresh;

	client->session.active_ms = started_us / 1000;
	front->handling = client;
	size_t handled = handle_commands(client, bytes);
	front->handling = NULL;
	if (client->state >= CLIENT_FINISHING)
		buf_free(&client->in); /* nobody will ask for the rest */
	else if (is_own)
		buf_take(&client->in, handled);
	else
		buf_append(&client->in, bytes.at + handled, bytes.len - handled);
	count_batch(front, started_us, hits_before);
	/* An end with a whole command before it has been handled; half a command
	 * will never be whole. */
	if (client->is_at_end && client->state == CLIENT_READING)
		client_finish(client);
	if (!send_shared(client))
		return;
	settle(client);
}

static void
handle_received(struct client *client)
{
	handle_batch(client, SLICE_NONE);
}

/* -1: gone. Otherwise how many bytes came; 0 also for "none now". */
static ssize_t
receive(struct client *client, char *at, size_t size)
{
	ssize_t n = recv(client->fd, at, size, 0);
	int error = errno;

	if (n == 0)
		client->is_at_end = true;
	if (n < 0 && error != EAGAIN && error != EINTR)
		return -1;
	return n > 0 ? n : 0;
}

static void
on_readable(struct client *client)
{
	struct front *front = client->front;
	bool has_rest = buf_len(&client->in) > 0;
	char *at = has_rest ? buf_reserve(&client->in, READ_BYTES) : front->in;
	ssize_t n = receive(client, at, READ_BYTES);

	if (n < 0 || (client->state == CLIENT_LINGERING && client->is_at_end)) {
		close_client(client);
		return;
	}
	if (client->state != CLIENT_READING) {
		settle(client); /* lingering: what comes now is nobody's */
		return;
	}
	if (has_rest)
		buf_added(&client->in, (size_t)n);
	handle_batch(client, slice_make(front->in, has_rest ? 0 : (size_t)n));
}

static void
on_event(evutil_socket_t fd, short what, void *arg)
{
	struct client *client = arg;

	(void)fd;
	/* Writing first: it may free the client, and then nothing is read. */
	if ((what & EV_CLOSED) != 0)
		close_client(client);
	else if ((what & EV_WRITE) != 0)
		flush(client);
	else if ((what & EV_READ) != 0)
		on_readable(client);
}

/* ---- draining ---- */

/* What the socket holds now; false: the client is gone. */
static bool
receive_all(struct client *client)
{
	ssize_t n;

	do {
		n = receive(client, buf_reserve(&client->in, READ_BYTES), READ_BYTES);
		if (n > 0)
			buf_added(&client->in, (size_t)n);
	} while (n == READ_BYTES);
	return n >= 0;
}

/* Whoever has sent a command by now is answered; then it is told goodbye. */
void
front_drain(struct front *front)
{
	front->is_draining = true;
	for (struct client *client = front->clients, *next; client != NULL; client = next) {
		next = client->next;
		if (is_endless(client)) {
			close_client(client);
			continue;
		}
		if (client->state != CLIENT_READING) {
			client->is_at_end = true; /* it goes when it has what it is owed */
			continue;
		}
		if (!receive_all(client)) {
			close_client(client);
			continue;
		}
		client->is_at_end = true; /* as far as we are concerned */
		handle_received(client);
	}
}

void
front_drop_all(struct front *front)
{
	while (front->clients != NULL)
		close_client(front->clients);
}
