/* See client.h: the life of clients. What they send is client_receive.c's,
 * what they are sent client_send.c's. */
#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "front/client_inside.h"
#include "front/deny.h"
#include "front/limit_gate.h"
#include "front/session.h"
#include "wire/commands.h"

#define FIRST_REPLY_BYTES (1 << 20)
#define HANDSHAKE_MS 5000 /* for a client to prove that it speaks TLS */

struct front *
front_new(struct event_base *base, struct ladder_context *ladder, struct dedicated_pool *dedicated,
    struct census *census, struct worker_metrics *metrics)
{
	struct front *front = alloc_zero(sizeof(*front));

	front->base = base;
	front->ladder = ladder;
	front->dedicated = dedicated;
	front->census = census;
	front->metrics = metrics;
	front->get_info = command_find(&SLICE("GET"), 1);
	return front;
}

void
front_free(struct front *front)
{
	if (front == NULL)
		return;
	assert(front->client_count == 0);
	request_parser_free(&front->parser);
	deny_free(front->deny);
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

const struct deny *
front_deny(struct front *front)
{
	const char *list = front->ladder->rules->settings->commands.deny;
	struct slice word;

	if (front->deny_of != list) {
		deny_free(front->deny);
		front->deny = deny_new(list);
		front->deny_of = list;
		front->denies_get = deny_has(front->deny, &SLICE("GET"), 1, &word);
	}
	return front->deny;
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
	return client->first == NULL && (client->redis == NULL || session_is_quiet(client->redis));
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

/* ---- coming and going ---- */

/* Tells the event loop only when something changes. */
void
client_wait_for(struct client *client, short what)
{
	if (what == client->waits_for)
		return;
	if (client->waits_for != 0)
		event_del(&client->event);
	client->waits_for = what;
	if (what == 0)
		return;
	event_assign(&client->event, client->front->base, client->fd, what | EV_PERSIST,
	    client_on_event, client);
	event_add(&client->event, NULL);
}

void
client_enter(struct client *client, enum client_state state)
{
	/* Who is leaving does not come back to reading. */
	assert(client->state <= CLIENT_PAUSED || state >= client->state);
	client->state = state;
}

static void
describe_peer(struct client *client)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
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
	client->session.peer = limit_gate_peer((const struct sockaddr *)&peer);
}

static void
on_patience_over(struct deadline *deadline)
{
	client_close((struct client *)((char *)deadline - offsetof(struct client, patience)));
}

void
client_set_patience(struct client *client, int64_t ms)
{
	client->patience.on_due = on_patience_over;
	deadlines_add(client->front->ladder->deadlines, &client->patience, clock_mono_ms() + ms);
}

void
front_add_client(struct front *front, int fd, int64_t id, bool is_local, struct tls_stream *tls)
{
	struct client *client = alloc_zero(sizeof(*client));

	(void)is_local;
	client->front = front;
	client->fd = fd;
	client->tls = tls;
	client->state = tls != NULL ? CLIENT_SECURING : CLIENT_READING;
	client->session.id = id;
	client->reply_bytes = FIRST_REPLY_BYTES;
	client->session.resp = 2;
	client->session.is_authenticated =
	    front->ladder->rules->settings->listen.password[0] == '\0';
	client->session.link = (struct link_choice){ 2, links_next_index(front->ladder->links) };
	client->session.connected_ms = client->session.active_ms = clock_mono_ms();
	describe_peer(client);

	/* Linked and counted last: only whole clients are ever closed. */
	client->next = front->clients;
	if (front->clients != NULL)
		front->clients->prev = client;
	front->clients = client;
	front->client_count++;
	if (tls != NULL)
		client_set_patience(client, HANDSHAKE_MS);
	client_wait_for(client, EV_READ);
}

void
client_forget_dirty(struct client *client)
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
void
client_close(struct client *client)
{
	struct front *front = client->front;

	session_free(client->redis);
	deadlines_remove(front->ladder->deadlines, &client->patience);
	client_wait_for(client, 0);
	tls_stream_free(client->tls);
	close(client->fd);
	for (struct slot *slot = client->first, *next; slot != NULL; slot = next) {
		next = slot->next;
		slot->client = NULL;
		if (slot->is_done) {
			buf_free(&slot->out);
			free(slot);
		}
	}
	client_forget_dirty(client);
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
	client_close(client);
}

/* ---- draining ---- */

/* Whoever has sent a command by now is answered; then it is told goodbye. */
void
front_drain(struct front *front)
{
	front->is_draining = true;
	for (struct client *client = front->clients, *next; client != NULL; client = next) {
		next = client->next;
		if (client_is_endless(client)) {
			client_close(client);
			continue;
		}
		if (client->state > CLIENT_READING) {
			client->is_at_end = true; /* it goes when it has what it is owed */
			continue;
		}
		if (!client_receive_all(client)) {
			client_close(client);
			continue;
		}
		client->is_at_end = true; /* as far as we are concerned */
		client_handle_received(client);
	}
}

void
front_drop_all(struct front *front)
{
	while (front->clients != NULL)
		client_close(front->clients);
}
