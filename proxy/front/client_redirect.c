/* See client_redirect.h. */
#include "front/client_redirect.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "front/client_inside.h"
#include "front/roll_call.h"
#include "front/session.h"
#include "wire/reply.h"

/* ---- looking for the target ---- */

struct lookup {
	struct roll_call call;
	struct session_waiter waiter;
	int64_t id, redis_id;
	bool is_there;
};

static void
on_session_ready(struct session_waiter *waiter, int64_t redis_id)
{
	struct lookup *lookup = (struct lookup *)((char *)waiter - offsetof(struct lookup, waiter));

	lookup->redis_id = redis_id;
	roll_call_resume(&lookup->call);
}

static struct client *
find_client(struct front *front, int64_t id)
{
	for (struct client *client = front->clients; client != NULL; client = client->next) {
		if (client->session.id == id && client->state < CLIENT_FINISHING)
			return client;
	}
	return NULL;
}

static bool
visit(struct roll_call *call, struct front *front)
{
	struct lookup *lookup = (struct lookup *)call;
	struct client *target = find_client(front, lookup->id);

	if (target == NULL)
		return true;
	lookup->is_there = true;
	if (target->redis == NULL && !session_open_for_others(target))
		return true;
	lookup->redis_id = session_lend_id(target->redis, true);
	if (lookup->redis_id != 0)
		return true;
	lookup->waiter.ready = on_session_ready;
	session_wait(target->redis, &lookup->waiter);
	return false;
}

/* The command is looked at again now that nothing is owed any more. */
static void
end(struct roll_call *call, bool is_home)
{
	struct lookup *lookup = (struct lookup *)call;
	struct client *client = is_home ? call->slot->client : NULL;

	if (client != NULL) {
		struct client_extras *extras = client_make_extras(client);
		extras->target = !lookup->is_there ? TARGET_MISSING
		    : lookup->redis_id == 0        ? TARGET_DOWN
						   : TARGET_FOUND;
		extras->target_redis_id = lookup->redis_id;
	}
	slot_done(call->slot);
	free(lookup);
}

static void
look_up(struct client *client, int64_t id)
{
	struct lookup *lookup = alloc_zero(sizeof(*lookup));

	lookup->call.visit = visit;
	lookup->call.end = end;
	lookup->id = id;
	client_make_extras(client)->target = TARGET_SOUGHT;
	roll_call_start(&lookup->call, client);
}

/* ---- the command ---- */

static bool
is_word(struct slice argument, const char *word)
{
	return slice_equal_nocase(argument, slice_of(word));
}

/* Where the id stands: 0 when there is none, or what is there is no id, or
 * more than one is given: then Redis says what is wrong. */
static size_t
find_id(const struct request_parser *parser, int64_t *id)
{
	size_t found = 0;

	if (parser->argc < 5 || !is_word(parser->argv[0], "client") ||
	    !is_word(parser->argv[1], "tracking"))
		return 0;
	for (size_t i = 3; i + 1 < parser->argc; i++) {
		if (is_word(parser->argv[i], "prefix")) {
			i++; /* its value may be any word */
		} else if (is_word(parser->argv[i], "redirect")) {
			if (found != 0)
				return 0;
			found = ++i;
		}
	}
	return found != 0 && slice_to_int64(parser->argv[found], id) && *id != 0 ? found : 0;
}

static void
translate(const struct request_parser *parser, size_t at, int64_t redis_id,
    struct translation *translation)
{
	size_t size = parser->argc * sizeof(*parser->argv);
	int len = snprintf(translation->id, sizeof(translation->id), "%" PRId64, redis_id);

	translation->parser = *parser;
	translation->parser.argv = alloc(size);
	memcpy(translation->parser.argv, parser->argv, size);
	translation->parser.argv[at] = slice_make(translation->id, (size_t)len);
	translation->raw = BUF_EMPTY;
	request_append(&translation->raw, translation->parser.argv, parser->argc);
	translation->parser.raw = buf_slice(&translation->raw);
}

void
translation_free(struct translation *translation)
{
	free(translation->parser.argv);
	buf_free(&translation->raw);
}

enum redirect
redirect_translate(struct client *client, const struct request_parser *parser,
    struct translation *translation)
{
	struct client_extras *extras = client_make_extras(client);
	int64_t id;
	size_t at = find_id(parser, &id);
	enum target found = extras->target;

	extras->redirect = 0;
	if (at == 0)
		return REDIRECT_NONE;
	if (found == TARGET_UNKNOWN)
		look_up(client, id);
	if (found == TARGET_UNKNOWN || found == TARGET_SOUGHT)
		return REDIRECT_LATER;
	extras->target = TARGET_UNKNOWN;
	if (found == TARGET_FOUND) {
		extras->redirect = id;
		translate(parser, at, extras->target_redis_id, translation);
		return REDIRECT_TRANSLATED;
	}
	if (found == TARGET_MISSING)
		reply_error(client_reply(client),
		    "ERR The client ID you want redirect to does not exist");
	else
		backends_reply_down(front_ladder(client_front(client))->backends, NULL,
		    client_reply(client));
	return REDIRECT_REFUSED;
}
