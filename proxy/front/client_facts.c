/* See client_facts.h. */
#include "front/client_facts.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "front/client_inside.h"
#include "front/session.h"
#include "wire/commands.h"

/* ---- gathering ---- */

/* As Redis names a unix socket's client: by the socket's path. */
static void
find_addresses(const struct client *client, struct client_facts *facts)
{
	const struct settings *settings = client->front->ladder->rules->settings;
	struct sockaddr_storage local;
	socklen_t len = sizeof(local);
	char host[INET6_ADDRSTRLEN] = "";
	char *text = facts->local_address;

	peer_text(&client->peer, facts->address);
	if (getsockname(client->fd, (struct sockaddr *)&local, &len) != 0)
		return;
	if (local.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&local;
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, CLIENT_ADDRESS_SIZE, "[%s]:%d", host, ntohs(in6->sin6_port));
	} else if (local.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&local;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, CLIENT_ADDRESS_SIZE, "%s:%d", host, ntohs(in->sin_port));
	} else {
		snprintf(text, CLIENT_ADDRESS_SIZE, "%s:0", settings->listen.socket);
		memcpy(facts->address, text, CLIENT_ADDRESS_SIZE);
	}
}

/* The letters of CLIENT LIST, in Redis's order. */
static void
list_flags(const struct client *client, struct client_facts *facts)
{
	static const struct session_state none;
	const struct session *session = client->redis;
	const struct session_state *state = session != NULL ? session_state_of(session) : &none;
	const struct {
		char letter;
		bool is_set;
	} flags[] = {
		{ 'O', state->is_monitoring },
		{ 'P', session_state_is_subscribed(state) },
		{ 'x', state->is_in_multi },
		{ 'b', session != NULL && session_is_blocked(session) },
		{ 't', state->is_tracking },
		{ 'B', state->is_broadcast },
		{ 'c', client->state >= CLIENT_FINISHING },
		{ 'U', client->peer.kind == PEER_UNIX },
		{ 'e', client_extras(client)->is_unevictable },
		{ 'T', client_extras(client)->is_untouching },
	};
	size_t count = 0;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (flags[i].is_set)
			facts->flags[count++] = flags[i].letter;
	}
	if (count == 0)
		facts->flags[count++] = 'N';
	facts->flags[count] = '\0';
}

static void
take_state(const struct session_state *state, struct client_facts *facts)
{
	facts->type = session_state_is_subscribed(state) ? CLIENT_PUBSUB : CLIENT_NORMAL;
	facts->database = state->database;
	facts->channels = state->channels;
	facts->patterns = state->patterns;
	facts->shards = state->shards;
	facts->queued = state->is_in_multi ? state->queued : -1;
	facts->redirect = state->is_tracking ? state->redirect : -1;
}

static void
weigh(const struct client *client, struct client_facts *facts)
{
	static const struct unfinished none;
	const struct unfinished *unfinished =
	    client->unfinished != NULL ? client->unfinished : &none;

	facts->query_bytes = buf_len(&unfinished->in);
	facts->query_room = unfinished->in.size - facts->query_bytes;
	facts->reply_bytes = client_out_len(client);
	facts->replies = facts->reply_bytes > 0;
	facts->total_bytes = sizeof(*client) + unfinished->in.size + unfinished->out.size +
	    unfinished->inserts.bytes + client->slot_bytes;
}

static const char *
name_of(const struct command_info *info)
{
	return info != NULL ? info->name : NULL;
}

void
client_facts_gather(struct client *client, int64_t now_ms, struct client_facts *facts)
{
	static const struct session_state none;
	const struct client_session *session = &client->session;
	bool reads = client->state == CLIENT_READING;
	bool writes = (client->waits_for & EV_WRITE) != 0;

	*facts = (struct client_facts){
		.id = session->id,
		.fd = client->fd,
		.name = client_extras(client)->name,
		.library = client_extras(client)->library,
		.lib_version = client_extras(client)->lib_version,
		.age_s = (now_ms / 100 - session->connected_ds) / 10,
		.idle_s = (now_ms / 100 - session->active_ds) / 10,
		.events = reads && writes ? "rw"
		    : writes              ? "w"
		    : reads               ? "r"
					  : "",
		.command = name_of(session->last),
		.resp = session->resp,
	};
	find_addresses(client, facts);
	list_flags(client, facts);
	take_state(client->redis != NULL ? session_state_of(client->redis) : &none, facts);
	weigh(client, facts);
}

void
client_facts_of_asker(struct client *client, const struct request_parser *parser, int64_t now_ms,
    struct client_facts *facts)
{
	client_facts_gather(client, now_ms, facts);
	facts->query_bytes = parser->len;
	facts->query_room = READ_BYTES - (parser->len < READ_BYTES ? parser->len : READ_BYTES);
	for (size_t i = 0; i < parser->argc; i++)
		facts->argument_bytes += parser->argv[i].len;
	facts->command = name_of(command_find(parser->argv, parser->argc));
}

/* ---- writing ---- */

static const char *
or_empty(const char *text)
{
	return text != NULL ? text : "";
}

void
client_facts_write(const struct client_facts *facts, struct buf *out)
{
	buf_printf(out,
	    "id=%" PRId64 " addr=%s laddr=%s fd=%d name=%s age=%" PRId64 " idle=%" PRId64
	    " flags=%s db=%" PRId64,
	    facts->id, facts->address, facts->local_address, facts->fd, or_empty(facts->name),
	    facts->age_s, facts->idle_s, facts->flags, facts->database);
	buf_printf(out,
	    " sub=%" PRId64 " psub=%" PRId64 " ssub=%" PRId64 " multi=%" PRId64
	    " qbuf=%zu qbuf-free=%zu argv-mem=%zu multi-mem=0",
	    facts->channels, facts->patterns, facts->shards, facts->queued, facts->query_bytes,
	    facts->query_room, facts->argument_bytes);
	/* Replies go through a buffer that all clients of a worker share. */
	buf_printf(out, " rbs=0 rbp=0 obl=%zu oll=%zu omem=%zu tot-mem=%zu", facts->reply_bytes,
	    facts->replies, facts->reply_bytes, facts->total_bytes);
	buf_printf(out,
	    " events=%s cmd=%s user=default redir=%" PRId64 " resp=%d lib-name=%s lib-ver=%s\n",
	    facts->events, facts->command != NULL ? facts->command : "NULL", facts->redirect,
	    facts->resp, or_empty(facts->library), or_empty(facts->lib_version));
}
