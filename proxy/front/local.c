/* See local.h. Texts are those of redis 7. */
#include "front/local.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "front/client_command.h"
#include "front/session.h"
#include "ladder/keeper.h"
#include "front/throttle.h"
#include "wire/reply.h"

#define SERVER_NAME "redis" /* what clients look for */

typedef void (*local_fn)(struct client *client, struct buf *out, const struct slice *argv,
    size_t argc);

static bool
is_word(struct slice argument, const char *word)
{
	return slice_equal_nocase(argument, slice_of(word));
}

static void
wrong_arity(struct buf *out, const char *command)
{
	reply_error(out, "ERR wrong number of arguments for '%s' command", command);
}

/* ---- PING, ECHO, QUIT, RESET, SELECT ---- */

static void
do_ping(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	(void)client;
	if (argc > 2)
		wrong_arity(out, "ping");
	else if (argc == 2)
		reply_bulk(out, argv[1]);
	else
		reply_simple(out, "PONG");
}

static void
do_echo(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	(void)client, (void)argc;
	reply_bulk(out, argv[1]);
}

static void
do_quit(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	(void)argv, (void)argc;
	reply_simple(out, "OK");
	client_finish(client);
}

static void
set_text(char **text, struct slice value)
{
	free(*text);
	*text = value.len > 0 ? slice_dup(value) : NULL;
}

static void
set_resp(struct client_session *session, int resp)
{
	session->resp = (uint8_t)resp;
}

static bool
needs_password(struct client *client)
{
	return front_ladder(client_front(client))->rules->settings->listen.password[0] != '\0';
}

static void
do_reset(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	struct client_session *session = client_session(client);

	(void)argv, (void)argc;
	session_free(client_redis_session(client)); /* and the state with it */
	set_resp(session, 2);
	if (session->extras != NULL) {
		set_text(&session->extras->name, SLICE_NONE);
		session->extras->is_unevictable = session->extras->is_untouching = false;
	}
	session->is_authenticated = !needs_password(client);
	if (session->replies == REPLIES_OFF) {
		session->replies = REPLIES_ON;
		out = client_reply(client);
	}
	reply_simple(out, "RESET");
}

static void
do_select(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	int64_t database;

	(void)client, (void)argc;
	if (!slice_to_int64(argv[1], &database))
		reply_error(out, "ERR value is not an integer or out of range");
	else /* any but 0 is a session's */
		reply_simple(out, "OK");
}

/* ---- AUTH and HELLO ---- */

/* Takes the same time for every wrong password of one length. */
static bool
password_fits(struct client *client, struct slice user, struct slice password)
{
	struct slice wanted =
	    slice_of(front_ladder(client_front(client))->rules->settings->listen.password);

	return slice_equal(user, SLICE("default")) && password.len == wanted.len &&
	    CRYPTO_memcmp(password.at, wanted.at, wanted.len) == 0;
}

/* True and authenticated, or an error is written. */
static bool
authenticate(struct client *client, struct buf *out, struct slice user, struct slice password)
{
	bool is_right = !needs_password(client) ? slice_equal(user, SLICE("default"))
						: password_fits(client, user, password);

	if (is_right)
		client_session(client)->is_authenticated = true;
	else
		reply_error(out, "WRONGPASS invalid username-password pair or user is disabled.");
	return is_right;
}

static void
do_auth(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	if (argc > 3) {
		reply_error(out, "ERR syntax error");
	} else if (argc == 2 && !needs_password(client)) {
		reply_error(out,
		    "ERR AUTH <password> called without any password configured for the "
		    "default user. Are you sure your configuration is correct?");
	} else if (authenticate(client, out, argc == 3 ? argv[1] : SLICE("default"),
		       argv[argc - 1])) {
		reply_simple(out, "OK");
	}
}

static void
reply_hello(struct client *client, struct buf *out)
{
	const struct client_session *session = client_session(client);
	char version[32];

	keeper_redis_version(front_ladder(client_front(client))->backends->keeper, version,
	    sizeof(version));
	reply_map(out, session->resp, 7);
	reply_text(out, "server");
	reply_text(out, SERVER_NAME);
	reply_text(out, "version");
	reply_text(out, version);
	reply_text(out, "proto");
	reply_integer(out, session->resp);
	reply_text(out, "id");
	reply_integer(out, session->id);
	reply_text(out, "mode");
	reply_text(out, "standalone");
	reply_text(out, "role");
	reply_text(out, "master");
	reply_text(out, "modules");
	reply_array(out, 0);
}

/* False: an error is written. */
static bool
read_protocol(struct buf *out, struct slice word, int64_t *resp)
{
	if (!slice_to_int64(word, resp))
		reply_error(out, "ERR Protocol version is not an integer or out of range");
	else if (*resp < 2 || *resp > 3)
		reply_error(out, "NOPROTO unsupported protocol version");
	else
		return true;
	return false;
}

/* Each takes effect as it is read, whatever comes of those behind it. */
static bool
take_hello_options(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	for (size_t i = 0; i < argc;) {
		size_t left = argc - i - 1;
		if (is_word(argv[i], "AUTH") && left >= 2) {
			if (!authenticate(client, out, argv[i + 1], argv[i + 2]))
				return false;
			i += 3;
		} else if (is_word(argv[i], "SETNAME") && left >= 1) {
			if (!client_take_name(client, out, argv[i + 1]))
				return false;
			i += 2;
		} else {
			reply_error(out, "ERR Syntax error in HELLO option '%.*s'",
			    (int)argv[i].len, argv[i].at);
			return false;
		}
	}
	return true;
}

/* A HELLO that fails keeps the protocol. */
static void
do_hello(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	struct client_session *session = client_session(client);
	int64_t resp = session->resp;

	if (argc >= 2 &&
	    (!read_protocol(out, argv[1], &resp) ||
		!take_hello_options(client, out, argv + 2, argc - 2)))
		return;
	if (!session->is_authenticated) {
		reply_error(out,
		    "NOAUTH HELLO must be called with the client already "
		    "authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to "
		    "authenticate the client and select the RESP protocol version at the same time");
		return;
	}
	set_resp(session, (int)resp);
	if (client_redis_session(client) != NULL)
		session_set_resp(client_redis_session(client), session->resp);
	reply_hello(client, out);
}

/* What Redis would answer is no RESP, and never ends. */
static void
do_replicate(struct client *client, struct buf *out, const struct slice *argv, size_t argc)
{
	(void)client, (void)argc;
	reply_error(out,
	    "ERR %.*s is not served by this sidecar: a replica connects to Redis itself",
	    (int)argv[0].len, argv[0].at);
}

/* ---- the table ---- */

static const struct {
	const char *name;
	size_t min_argc, max_argc;
	local_fn handle;
} local_commands[] = {
	{ "ping", 1, SIZE_MAX, do_ping },
	{ "echo", 2, 2, do_echo },
	{ "hello", 1, SIZE_MAX, do_hello },
	{ "auth", 2, SIZE_MAX, do_auth },
	{ "select", 2, 2, do_select },
	{ "quit", 1, SIZE_MAX, do_quit },
	{ "reset", 1, 1, do_reset },
	{ "cl.throttle", 1, SIZE_MAX, throttle_handle },
	{ "client", 2, SIZE_MAX, NULL }, /* see local_handle() */
	{ "sync", 1, SIZE_MAX, do_replicate },
	{ "psync", 1, SIZE_MAX, do_replicate },
	{ "replconf", 1, SIZE_MAX, do_replicate },
};

void
local_handle(struct client *client, const struct request_parser *parser)
{
	struct buf *out = client_reply(client);

	for (size_t i = 0; i < sizeof(local_commands) / sizeof(local_commands[0]); i++) {
		if (!is_word(parser->argv[0], local_commands[i].name))
			continue;
		if (parser->argc < local_commands[i].min_argc ||
		    parser->argc > local_commands[i].max_argc)
			wrong_arity(out, local_commands[i].name);
		else if (local_commands[i].handle == NULL)
			client_command(client, parser);
		else
			local_commands[i].handle(client, out, parser->argv, parser->argc);
		return;
	}
	reply_error(out, "ERR unknown command '%.*s'", (int)parser->argv[0].len,
	    parser->argv[0].at);
}
