/*
 * CLIENT UNBLOCK. Redis knows the blocked client by another id, that of its
 * session's connection: found on the client's worker, told to Redis on the
 * asker's. See client_command.h.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "front/client_command.h"
#include "front/client_inside.h"
#include "front/roll_call.h"
#include "front/session.h"
#include "ladder/write.h"
#include "wire/reply.h"

struct unblocking {
	struct roll_call call;
	int64_t id, redis_id; /* redis_id 0: not found, or not blocked */
	bool is_error;
	struct link_choice link;
};

static bool
visit(struct roll_call *call, struct front *front)
{
	struct unblocking *unblocking = (struct unblocking *)call;

	for (struct client *client = front->clients; client != NULL; client = client->next) {
		if (client->session.id == unblocking->id && client->redis != NULL &&
		    session_is_blocked(client->redis))
			unblocking->redis_id = session_lend_id(client->redis, false);
	}
	return true;
}

static void
on_replied(void *arg, enum rung rung, struct slice reply)
{
	(void)rung;
	buf_append_slice(slot_out(arg), reply);
	slot_done(arg);
}

static void
tell_redis(const struct unblocking *unblocking, struct ladder_context *ladder)
{
	struct slot *slot = unblocking->call.slot;
	struct buf raw = BUF_EMPTY;
	enum rung rung;
	char id[24];
	struct slice argv[] = { SLICE("CLIENT"), SLICE("UNBLOCK"), SLICE_NONE,
		unblocking->is_error ? SLICE("ERROR") : SLICE("TIMEOUT") };

	argv[2] =
	    slice_make(id, (size_t)snprintf(id, sizeof(id), "%" PRId64, unblocking->redis_id));
	request_append(&raw, argv, 4);
	struct write_command command = {
		.argv = argv,
		.argc = 4,
		.raw = buf_slice(&raw),
		.info = command_find(argv, 4),
		.link = unblocking->link,
	};
	if (ladder_forward(ladder, &command, slot_out(slot), &rung, on_replied, slot))
		slot_done(slot);
	buf_free(&raw);
}

static void
end(struct roll_call *call, bool is_home)
{
	struct unblocking *unblocking = (struct unblocking *)call;

	if (is_home && unblocking->redis_id > 0) {
		tell_redis(unblocking, front_ladder(roll_call_front(call)));
	} else {
		reply_integer(slot_out(call->slot), 0);
		slot_done(call->slot);
	}
	free(unblocking);
}

void
client_unblock(struct client *client, const struct request_parser *parser, struct buf *out)
{
	const struct slice *argv = parser->argv;
	bool is_error = parser->argc == 4 && slice_equal_nocase(argv[3], SLICE("ERROR"));
	int64_t id;

	if (parser->argc == 4 && !is_error && !slice_equal_nocase(argv[3], SLICE("TIMEOUT"))) {
		reply_error(out, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
		return;
	}
	if (!slice_to_int64(argv[2], &id)) {
		reply_error(out, "ERR value is not an integer or out of range");
		return;
	}
	struct unblocking *unblocking = alloc_zero(sizeof(*unblocking));
	unblocking->call.visit = visit;
	unblocking->call.end = end;
	unblocking->id = id;
	unblocking->is_error = is_error;
	unblocking->link = client_link(client);
	roll_call_start(&unblocking->call, client);
}
