/* See client.h: the life of clients. What they send is client_receive.c's,
 * what they are sent client_send.c's. */
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "front/client_inside.h"
#include "front/deny.h"
#include "front/session.h"
#include "wire/commands.h"

#define FIRST_REPLY_BYTES (1 << 20)
#define SLOTS_KEPT 1024
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
	front->slots = pool_new(sizeof(struct slot), SLOTS_KEPT);
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
	deadlines_remove(front->ladder->deadlines, &front->out_unused);
	buf_free(&front->out);
	inserts_free(&front->inserts);
	buf_free(&front->nowhere);
	buf_free(&front->draft);
	buf_free(&front->relay);
	pool_free(front->slots);
	free(front->dirty);
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
	return client->last == NULL && (client->redis == NULL || session_is_quiet(client->redis));
}

bool
client_has_slots(const struct client *client)
{
	return client->last != NULL;
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

const struct client_extras *
client_extras(const struct client *client)
{
	static const struct client_extras none;

	return client->session.extras != NULL ? client->session.extras : &none;
}

struct client_extras *
client_make_extras(struct client *client)
{
	if (client->session.extras == NULL)
		client->session.extras = alloc_zero(sizeof(*client->session.extras));
	return client->session.extras;
}

struct link_choice
client_link(struct client *client)
{
	return (struct link_choice){ client->session.resp, client->session.link_index };
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
	client->waits_for = (uint8_t)what;
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

struct unfinished *
client_unfinished(struct client *client)
{
	if (client->unfinished == NULL) {
		client->unfinished = alloc_zero(sizeof(*client->unfinished));
		client->unfinished->client = client;
	}
	return client->unfinished;
}

static void
free_unfinished(struct client *client)
{
	struct unfinished *unfinished = client->unfinished;

	if (unfinished == NULL)
		return;
	deadlines_remove(client->front->ladder->deadlines, &unfinished->patience);
	buf_free(&unfinished->in);
	buf_free(&unfinished->out);
	inserts_free(&unfinished->inserts);
	free(unfinished);
	client->unfinished = NULL;
}

void
client_put_away(struct client *client)
{
	if (client_in_len(client) == 0 && client_out_len(client) == 0 &&
	    (client->unfinished == NULL || client->unfinished->patience.due_ms == 0))
		free_unfinished(client);
}

static void
on_patience_over(struct deadline *deadline)
{
	client_close(((struct unfinished *)((char *)deadline -
			  offsetof(struct unfinished, patience)))
			 ->client);
}

void
client_set_patience(struct client *client, int64_t ms)
{
	struct deadline *patience = &client_unfinished(client)->patience;

	patience->on_due = on_patience_over;
	deadlines_add(client->front->ladder->deadlines, patience, clock_mono_ms() + ms);
}

void
front_add_client(struct front *front, int fd, int64_t id, const struct peer *peer,
    struct tls_stream *tls)
{
	struct client *client = alloc_zero(sizeof(*client));

	client->front = front;
	client->fd = fd;
	client->tls = tls;
	client->state = tls != NULL ? CLIENT_SECURING : CLIENT_READING;
	client->session.id = id;
	client->reply_bytes = FIRST_REPLY_BYTES;
	client->session.resp = 2;
	client->session.is_authenticated =
	    front->ladder->rules->settings->listen.password[0] == '\0';
	client->session.link_index = (uint16_t)links_next_index(front->ladder->links);
	client->session.connected_ds = client->session.active_ds =
	    (uint32_t)(clock_mono_ms() / 100);
	client->peer = *peer;

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
	if (client->dirty_place == 0)
		return;
	client->front->dirty[client->dirty_place - 1].client = NULL;
	client->dirty_place = 0;
}

/* Those that wait for an answer are freed when it comes. */
static void
leave_slots(struct client *client)
{
	struct slot *slot = client->last != NULL ? client->last->next : NULL;

	if (slot == NULL)
		return;
	client->last->next = NULL;
	for (struct slot *next; slot != NULL; slot = next) {
		next = slot->next;
		slot->client = NULL;
		if (slot->is_done)
			slot_free(client->front, slot);
	}
}

static void
free_extras(struct client_extras *extras)
{
	if (extras == NULL)
		return;
	free(extras->name);
	free(extras->library);
	free(extras->lib_version);
	free(extras);
}

/* The one way out. Slots that wait for an answer find no client any more. */
void
client_close(struct client *client)
{
	struct front *front = client->front;

	session_free(client->redis);
	client_wait_for(client, 0);
	tls_stream_free(client->tls);
	close(client->fd);
	leave_slots(client);
	client_forget_dirty(client);
	hits_forget_lone(client);
	*(client->prev != NULL ? &client->prev->next : &front->clients) = client->next;
	if (client->next != NULL)
		client->next->prev = client->prev;
	front->client_count--;
	counter_add(&front->metrics->clients_gone, 1);
	free_unfinished(client);
	free_extras(client->session.extras);
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
	hits_answer_lone(front);
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
