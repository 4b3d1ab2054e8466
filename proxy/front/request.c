/*
 * See request.h. Who answers a command, in this order:
 *
 *   too many of one address   -RATELIMITED
 *   a stranger's command      -NOAUTH
 *   [commands] deny           -NOPERM
 *   too many of one user      -RATELIMITED
 *   a session's commands      Redis, over the client's own connection
 *   GET, MGET, mapped hashes  the ladder
 *   SIDECAR ...               sidecar_command.c
 *   about this connection     local.c
 *   INFO                      Redis and ourselves
 *   the rest                  Redis
 */
#include "front/request.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/resp.h"
#include "front/client_pause.h"
#include "front/client_redirect.h"
#include "front/deny.h"
#include "front/limit_gate.h"
#include "front/local.h"
#include "front/reads.h"
#include "front/session.h"
#include "front/sidecar_command.h"
#include "front/status.h"
#include "ladder/keeper.h"
#include "ladder/reply_read.h"
#include "ladder/write.h"
#include "wire/commands.h"
#include "wire/reply.h"

static bool
is_command(const struct request_parser *parser, struct slice name)
{
	return slice_equal_nocase(parser->argv[0], name);
}

/* ---- gates ---- */

static bool
is_for_strangers(const struct request_parser *parser)
{
	return is_command(parser, SLICE("AUTH")) || is_command(parser, SLICE("HELLO")) ||
	    is_command(parser, SLICE("QUIT")) || is_command(parser, SLICE("RESET"));
}

static void
reply_denied(struct client *client, struct slice word)
{
	char *name = slice_dup(word);

	for (char *c = name; *c != '\0'; c++)
		*c = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;
	reply_error(client_reply(client), "NOPERM this sidecar denies %s ([commands] deny)", name);
	free(name);
}

/* ---- to Redis ---- */

static void
on_replied(void *arg, enum rung rung, struct slice reply)
{
	(void)rung;
	slot_reply(arg, reply);
}

static struct write_command
command_of(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	return (struct write_command){
		.argv = parser->argv,
		.argc = parser->argc,
		.raw = parser->raw,
		.info = info,
		.link = client_link(client),
	};
}

/* Reads whose answer depends on argv[1] alone; EXISTS of one key is one. */
static bool
reads_one_key(const struct request_parser *parser, const struct command_info *info)
{
	if (info->class == COMMAND_READ_KEY)
		return parser->argc >= (size_t)(info->arity < 0 ? -info->arity : info->arity);
	return parser->argc == 2 && is_command(parser, SLICE("EXISTS"));
}

static void
forward(struct client *client, const struct request_parser *parser, const struct command_info *info)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	struct write_command command = command_of(client, parser, info);
	bool is_write = info == NULL || info->class == COMMAND_WRITE;
	struct slot *slot = slot_new(client);
	enum rung rung;

	if (is_write ? ladder_write(ladder, &command, slot_out(slot), &rung, on_replied, slot)
		: reads_one_key(parser, info)
		? reply_read(ladder, &command, slot_out(slot), &rung, on_replied, slot)
		: ladder_forward(ladder, &command, slot_out(slot), &rung, on_replied, slot))
		slot_done(slot);
}

/* ---- INFO ---- */

struct info_request {
	struct slot *slot;
	struct census *census;
	bool wants_ours, wants_theirs;
};

/* What clients look for when they connect. */
static void
write_without_redis(const struct info_request *info, struct buf *text)
{
	char version[32];

	keeper_redis_version(info->census->backends->keeper, version, sizeof(version));
	buf_printf(text,
	    "# Server\r\nredis_version:%s\r\nredis_mode:standalone\r\nloading:0\r\n\r\n"
	    "# Replication\r\nrole:master\r\n\r\n",
	    version);
}

/* Redis's text with our section behind it; ours alone when it has none. */
static void
write_info(const struct info_request *info, struct slice reply)
{
	struct buf text = BUF_EMPTY;
	char type;
	int64_t len;
	size_t header;
	bool has_text = reply.len > 0 && resp_header(reply, &type, &len, &header) &&
	    (type == '$' || type == '=') && len >= 0;

	if (has_text) {
		size_t prefix = type == '=' ? 4 : 0; /* "txt:" */
		buf_append(&text, reply.at + header + prefix, (size_t)len - prefix);
		if (info->wants_ours && buf_len(&text) > 0)
			buf_append_slice(&text, SLICE("\r\n"));
	}
	if (!has_text)
		write_without_redis(info, &text);
	if (info->wants_ours)
		status_info(info->census, &text);
	reply_verbatim(slot_out(info->slot), slot_resp(info->slot), buf_slice(&text));
	buf_free(&text);
}

static void
on_info(void *arg, enum rung rung, struct slice reply)
{
	struct info_request *info = arg;

	write_info(info, rung == RUNG_REDIS ? reply : SLICE_NONE);
	slot_done(info->slot);
	free(info);
}

static bool
asks_for_section(const struct request_parser *parser, const char *name)
{
	for (size_t i = 1; i < parser->argc; i++) {
		if (slice_equal_nocase(parser->argv[i], slice_of(name)))
			return true;
	}
	return false;
}

static void
handle_info(struct client *client, const struct request_parser *parser,
    const struct command_info *command_info)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	struct write_command command = command_of(client, parser, command_info);
	struct info_request *info = alloc_zero(sizeof(*info));
	struct buf unused = BUF_EMPTY;
	enum rung rung;

	/* Clients ask when they connect: it must not hang with Redis. */
	command.is_hasty = true;
	info->slot = slot_new(client);
	info->census = front_census(client_front(client));
	info->wants_ours = parser->argc == 1 || asks_for_section(parser, "sidecar") ||
	    asks_for_section(parser, "all") || asks_for_section(parser, "everything") ||
	    asks_for_section(parser, "default");
	if (ladder_forward(ladder, &command, &unused, &rung, on_info, info))
		on_info(info, rung, SLICE_NONE);
	buf_free(&unused);
}

/* ---- choosing ---- */

static void
count(struct client *client, enum request_class class)
{
	counter_add(&front_metrics(client_front(client))->requests[class], 1);
}

static void
handle_by_class(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	if (info != NULL && info->class == COMMAND_LOCAL) {
		count(client, REQUEST_LOCAL);
		local_handle(client, parser);
	} else if (is_command(parser, SLICE("INFO"))) {
		count(client, REQUEST_LOCAL);
		handle_info(client, parser, info);
	} else {
		bool is_read = info != NULL &&
		    (info->class == COMMAND_READ || info->class == COMMAND_READ_KEY ||
			info->class == COMMAND_READ_MANY || info->class == COMMAND_FORWARD);
		count(client, is_read ? REQUEST_READ : REQUEST_WRITE);
		forward(client, parser, info);
	}
}

/* To the links of another protocol, perhaps: there, what it asks next would
 * overtake what is still under way here. */
static bool
may_change_links(const struct request_parser *parser)
{
	return is_command(parser, SLICE("HELLO")) || is_command(parser, SLICE("RESET"));
}

/* Commands of a client that has no connection of its own. */
static bool
handle_shared(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	if (reads_handle(client, parser)) {
		count(client, REQUEST_READ);
		return true;
	}
	if (is_command(parser, SLICE("SIDECAR"))) {
		count(client, REQUEST_LOCAL);
		sidecar_handle(client, parser);
		return true;
	}
	if (limit_gate_of_command(client, parser, info) == LIMIT_REFUSED) {
		count(client,
		    info != NULL && info->class < COMMAND_WRITE ? REQUEST_READ : REQUEST_WRITE);
		return true;
	}
	if (may_change_links(parser) && !client_is_quiet(client))
		return false;
	if (!session_is_needed(parser, info) && !pause_holds(client_front(client), parser, info)) {
		handle_by_class(client, parser, info);
		return true;
	}
	/* Else its commands would overtake those still under way on a link. */
	if (!client_is_quiet(client))
		return false;
	count(client, REQUEST_SESSION);
	session_open(client, parser, info);
	return true;
}

static bool
handle_in_session(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	/* What is answered here comes before what Redis says next. */
	if (client_has_slots(client))
		return false;
	enum limit_verdict verdict = limit_gate_of_command(client, parser, info);
	if (verdict == LIMIT_REFUSED)
		count(client, REQUEST_SESSION);
	if (verdict != LIMIT_PASSES)
		return verdict == LIMIT_REFUSED;
	switch (session_take(client_redis_session(client), parser, info)) {
	case SESSION_NOT_NOW:
		return false;
	case SESSION_TOOK:
		count(client, REQUEST_SESSION);
		return true;
	case SESSION_LOCAL:
		break;
	}
	count(client, REQUEST_LOCAL);
	if (is_command(parser, SLICE("SIDECAR")))
		sidecar_handle(client, parser);
	else
		local_handle(client, parser);
	return true;
}

static bool
handle_allowed(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	return client_redis_session(client) != NULL ? handle_in_session(client, parser, info)
						    : handle_shared(client, parser, info);
}

static bool
handle_tracking(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	struct translation translation;
	bool is_handled;

	switch (redirect_translate(client, parser, &translation)) {
	case REDIRECT_LATER:
		return false;
	case REDIRECT_REFUSED:
		return true;
	case REDIRECT_TRANSLATED:
		is_handled = handle_allowed(client, &translation.parser, info);
		translation_free(&translation);
		return is_handled;
	case REDIRECT_NONE:
		break;
	}
	return handle_allowed(client, parser, info);
}

/* A browser that was made to talk to us: what it says next may be a command
 * in disguise. Redis hangs up without a word, and so do we. */
static bool
is_http(const struct request_parser *parser)
{
	return is_command(parser, SLICE("POST")) || is_command(parser, SLICE("Host:"));
}

static bool
handle(struct client *client, const struct request_parser *parser, const struct command_info *info)
{
	struct slice word;

	if (is_http(parser)) {
		client_finish(client);
		return true;
	}
	enum limit_verdict verdict = limit_gate_of_peer(client);
	if (verdict == LIMIT_REFUSED)
		count(client, REQUEST_LOCAL);
	if (verdict != LIMIT_PASSES)
		return verdict == LIMIT_REFUSED;
	if (!client_session(client)->is_authenticated && !is_for_strangers(parser)) {
		count(client, REQUEST_LOCAL);
		reply_error(client_reply(client), "NOAUTH Authentication required.");
		return true;
	}
	if (deny_has(front_deny(client_front(client)), parser->argv, parser->argc, &word)) {
		/* Not before what Redis still has to say to it. */
		if (client_redis_session(client) != NULL && !client_is_quiet(client))
			return false;
		count(client, REQUEST_LOCAL);
		reply_denied(client, word);
		return true;
	}
	bool is_tracking = parser->argc > 2 && is_command(parser, SLICE("CLIENT")) &&
	    slice_equal_nocase(parser->argv[1], SLICE("TRACKING"));
	return is_tracking ? handle_tracking(client, parser, info)
			   : handle_allowed(client, parser, info);
}

bool
request_handle(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	if (!handle(client, parser, info))
		return false;
	limit_gate_done(client);
	return true;
}
