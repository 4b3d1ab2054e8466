/* See client_command.h. Texts are those of Redis 7. */
#include "front/client_command.h"

#include <stdio.h>
#include <stdlib.h>

#include "front/session.h"
#include "wire/reply.h"

typedef void (*client_fn)(struct client *client, const struct request_parser *parser,
    struct buf *out);

static bool
is_word(struct slice argument, const char *word)
{
	return slice_equal_nocase(argument, slice_of(word));
}

static void
set_text(char **text, struct slice value)
{
	free(*text);
	*text = value.len > 0 ? slice_dup(value) : NULL;
}

/* ---- who it is ---- */

static void
client_id(struct client *client, const struct request_parser *parser, struct buf *out)
{
	(void)parser;
	reply_integer(out, client_session(client)->id);
}

static void
client_getname(struct client *client, const struct request_parser *parser, struct buf *out)
{
	const struct client_session *session = client_session(client);

	(void)parser;
	if (client_extras(client)->name != NULL)
		reply_text(out, client_extras(client)->name);
	else
		reply_null(out, session->resp);
}

/* A name or the like, as CLIENT SETNAME allows it. */
static bool
is_clean(struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.at[i] < '!' || name.at[i] > '~')
			return false;
	}
	return true;
}

bool
client_take_name(struct client *client, struct buf *out, struct slice name)
{
	if (!is_clean(name)) {
		reply_error(out,
		    "ERR Client names cannot contain spaces, newlines or special characters.");
		return false;
	}
	set_text(&client_make_extras(client)->name, name);
	session_introduce(client_redis_session(client));
	return true;
}

static void
client_setname(struct client *client, const struct request_parser *parser, struct buf *out)
{
	if (client_take_name(client, out, parser->argv[2]))
		reply_simple(out, "OK");
}

static void
client_setinfo(struct client *client, const struct request_parser *parser, struct buf *out)
{
	struct client_extras *extras = client_make_extras(client);
	const struct slice *argv = parser->argv;
	char **text = is_word(argv[2], "LIB-NAME") ? &extras->library
	    : is_word(argv[2], "LIB-VER")          ? &extras->lib_version
						   : NULL;

	if (text == NULL) {
		reply_error(out, "ERR Unrecognized option '%.*s'", (int)argv[2].len, argv[2].at);
	} else if (!is_clean(argv[3])) {
		reply_error(out, "ERR %s cannot contain spaces, newlines or special characters.",
		    text == &extras->library ? "lib-name" : "lib-ver");
	} else {
		set_text(text, argv[3]);
		reply_simple(out, "OK");
	}
}

/* ---- switches ---- */

static void
set_switch(const struct request_parser *parser, bool *is_on, struct buf *out)
{
	if (is_word(parser->argv[2], "ON"))
		*is_on = true;
	else if (is_word(parser->argv[2], "OFF"))
		*is_on = false;
	else {
		reply_error(out, "ERR syntax error");
		return;
	}
	reply_simple(out, "OK");
}

/* Nothing of a client's is ever evicted here, so this shows in LIST alone. */
static void
client_no_evict(struct client *client, const struct request_parser *parser, struct buf *out)
{
	set_switch(parser, &client_make_extras(client)->is_unevictable, out);
}

/* What goes over the links is everybody's, and touches; see the README. */
static void
client_no_touch(struct client *client, const struct request_parser *parser, struct buf *out)
{
	set_switch(parser, &client_make_extras(client)->is_untouching, out);
	session_introduce(client_redis_session(client));
}

/* OFF and SKIP have no reply; ON has one again. */
static void
client_reply_mode(struct client *client, const struct request_parser *parser, struct buf *out)
{
	enum replies *replies = &client_session(client)->replies;

	if (is_word(parser->argv[2], "ON")) {
		*replies = REPLIES_ON;
		reply_simple(client_reply(client), "OK");
	} else if (is_word(parser->argv[2], "OFF")) {
		*replies = REPLIES_OFF;
	} else if (!is_word(parser->argv[2], "SKIP")) {
		reply_error(out, "ERR syntax error");
	} else if (*replies != REPLIES_OFF) {
		*replies = REPLIES_SKIP_NEXT;
	}
}

/* ---- tracking, where there is none ---- */

static const struct session_state *
state_of(const struct client *client)
{
	static const struct session_state none;
	const struct session *session = client_redis_session(client);

	return session != NULL ? session_state_of(session) : &none;
}

static void
client_getredir(struct client *client, const struct request_parser *parser, struct buf *out)
{
	const struct session_state *state = state_of(client);

	(void)parser;
	reply_integer(out, state->is_tracking ? state->redirect : -1);
}

/* Who tracks has a session, and Redis says more of it: session_take(). */
static void
client_trackinginfo(struct client *client, const struct request_parser *parser, struct buf *out)
{
	int resp = client_session(client)->resp;

	(void)parser;
	reply_map(out, resp, 3);
	reply_text(out, "flags");
	buf_append_slice(out, resp == 3 ? SLICE("~1\r\n") : SLICE("*1\r\n"));
	reply_text(out, "off");
	reply_text(out, "redirect");
	reply_integer(out, -1);
	reply_text(out, "prefixes");
	reply_array(out, 0);
}

/* ---- the table ---- */

static void client_help(struct client *client, const struct request_parser *parser,
    struct buf *out);

#define ANY_NUMBER 1000000000

/* What is said of more words than `max`: in Redis the table knows the least
 * number of some commands only, and the command itself the rest. */
static const struct client_subcommand {
	const char *name;
	size_t min, max; /* of all words */
	bool is_exact;
	client_fn handle;
} subcommands[] = {
	{ "id", 2, 2, true, client_id },
	{ "info", 2, 2, true, client_info },
	{ "list", 2, ANY_NUMBER, false, client_list },
	{ "kill", 3, ANY_NUMBER, false, client_kill_some },
	{ "getname", 2, 2, true, client_getname },
	{ "setname", 3, 3, true, client_setname },
	{ "setinfo", 4, 4, true, client_setinfo },
	{ "no-evict", 3, 3, true, client_no_evict },
	{ "no-touch", 3, 3, true, client_no_touch },
	{ "reply", 3, 3, true, client_reply_mode },
	{ "unblock", 3, 4, false, client_unblock },
	{ "pause", 3, 4, false, client_pause },
	{ "unpause", 2, 2, true, client_unpause },
	{ "getredir", 2, 2, true, client_getredir },
	{ "trackinginfo", 2, 2, true, client_trackinginfo },
	/* With enough words these are a session's, who passes them on. */
	{ "tracking", 3, ANY_NUMBER, false, NULL },
	{ "caching", 3, 3, true, NULL },
	{ "help", 2, 2, true, client_help },
};

static const struct client_subcommand *
find(struct slice name)
{
	for (size_t i = 0; i < sizeof(subcommands) / sizeof(subcommands[0]); i++) {
		if (is_word(name, subcommands[i].name))
			return &subcommands[i];
	}
	return NULL;
}

static bool
is_wrong(const struct client_subcommand *sub, size_t argc)
{
	return argc < sub->min || (sub->is_exact && argc > sub->max) || sub->handle == NULL;
}

bool
client_command_is_whole(const struct request_parser *parser)
{
	const struct client_subcommand *sub = find(parser->argv[1]);

	return sub != NULL && !is_wrong(sub, parser->argc);
}

static void
run(const struct client_subcommand *sub, struct client *client, const struct request_parser *parser,
    struct buf *out)
{
	struct slice name = parser->argv[1];

	if (is_wrong(sub, parser->argc))
		reply_error(out, "ERR wrong number of arguments for 'client|%s' command",
		    sub->name);
	else if (parser->argc > sub->max)
		reply_error(out,
		    "ERR unknown subcommand or wrong number of arguments for '%.*s'. "
		    "Try CLIENT HELP.",
		    (int)name.len, name.at);
	else
		sub->handle(client, parser, out);
}

void
client_command(struct client *client, const struct request_parser *parser)
{
	struct buf *out = client_reply(client);
	struct slice name = parser->argv[1];

	const struct client_subcommand *sub = find(name);

	if (sub != NULL)
		run(sub, client, parser, out);
	else
		reply_error(out, "ERR unknown subcommand '%.*s'. Try CLIENT HELP.", (int)name.len,
		    name.at);
}

/* ---- help ---- */

static const char *const help[] = {
	"CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
	"CACHING (YES|NO)",
	"    Enable/disable tracking of the keys for next command in OPTIN/OPTOUT modes.",
	"GETNAME",
	"    Return the name of the current connection.",
	"GETREDIR",
	"    Return the client ID we are redirecting to when tracking is enabled.",
	"ID",
	"    Return the ID of the current connection.",
	"INFO",
	"    Return information about the current client connection.",
	"KILL <ip:port>",
	"    Kill the sidecar's client connected from <ip:port>.",
	"KILL <option> <value> [<option> <value> [...]]",
	"    Kill the sidecar's clients, never its own connections to Redis. Options are:",
	"    * ADDR (<ip:port>|<unixsocket>:0), LADDR (<ip:port>|<unixsocket>:0)",
	"      By the address they came from, or connected to.",
	"    * ID <client-id>, MAXAGE <seconds>, USER <username>",
	"      By id, by age (as old or older), by user.",
	"    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
	"      By type.",
	"    * SKIPME (YES|NO)",
	"      Skip killing current connection (default: yes).",
	"LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <client-id> ...]",
	"    Return information about the sidecar's clients.",
	"NO-EVICT (ON|OFF)",
	"    Accepted; the sidecar evicts no clients.",
	"NO-TOUCH (ON|OFF)",
	"    Reaches Redis where the client has a connection of its own there (MULTI, SELECT 1).",
	"PAUSE <timeout> [WRITE|ALL]",
	"    Suspend all clients of Redis, or their writes, for <timeout> milliseconds.",
	"REPLY (ON|OFF|SKIP)",
	"    Control the replies sent to the current connection.",
	"SETINFO (LIB-NAME|LIB-VER) <value>",
	"    Tell which client library this is.",
	"SETNAME <name>",
	"    Assign the name <name> to the current connection.",
	"TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]]",
	"         [OPTIN] [OPTOUT] [NOLOOP]",
	"    Control server assisted client side caching.",
	"TRACKINGINFO",
	"    Report tracking status for the current connection.",
	"UNBLOCK <clientid> [TIMEOUT|ERROR]",
	"    Unblock the specified blocked client.",
	"UNPAUSE",
	"    Stop the current client pause, resuming traffic.",
	"HELP",
	"    Print this help.",
};

static void
client_help(struct client *client, const struct request_parser *parser, struct buf *out)
{
	(void)client, (void)parser;
	reply_array(out, sizeof(help) / sizeof(help[0]));
	for (size_t i = 0; i < sizeof(help) / sizeof(help[0]); i++)
		reply_simple(out, help[i]);
}
