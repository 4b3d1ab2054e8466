/*
 * CLIENT PAUSE and UNPAUSE: Redis's own, so that it stops for everybody. What
 * it would hold back must not sit on a link that others share: while a pause
 * lasts, such commands go over connections of their own, and Redis keeps
 * each until it is over. See client_command.h.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "front/client_command.h"
#include "front/client_inside.h"
#include "front/client_pause.h"
#include "front/roll_call.h"
#include "ladder/write.h"
#include "wire/reply.h"

/* ---- the pause itself ---- */

static bool
is_word(struct slice argument, const char *word)
{
	return slice_equal_nocase(argument, slice_of(word));
}

/* Writes, and what Redis counts as such; a script's words do not tell. */
static bool
may_write(const struct request_parser *parser, const struct command_info *info)
{
	if (info == NULL || is_word(parser->argv[0], "pfcount"))
		return true;
	return info->class != COMMAND_READ && info->class != COMMAND_READ_KEY &&
	    info->class != COMMAND_READ_MANY && info->class != COMMAND_LOCAL &&
	    !is_word(parser->argv[0], "info");
}

bool
pause_holds(struct front *front, const struct request_parser *parser,
    const struct command_info *info)
{
	bool is_local = info != NULL && info->class == COMMAND_LOCAL;

	return pause_lasts(front) && !is_local && (front->pauses_all || may_write(parser, info));
}

bool
pause_lasts(struct front *front)
{
	if (front->paused_until_ms == 0)
		return false;
	if (clock_mono_ms() < front->paused_until_ms)
		return true;
	front->paused_until_ms = 0;
	front->pauses_all = false;
	return false;
}

/* ---- the commands ---- */

struct pausing {
	struct roll_call call;
	int64_t until_ms; /* 0: no pause any more */
	bool is_all;
	struct buf raw;
	struct link_choice link;
};

/* A pause never shortens or weakens one that lasts. */
static bool
visit(struct roll_call *call, struct front *front)
{
	const struct pausing *pausing = (const struct pausing *)call;

	if (pausing->until_ms == 0) {
		front->paused_until_ms = 0;
		front->pauses_all = false;
	} else {
		front->pauses_all = pausing->is_all || (pause_lasts(front) && front->pauses_all);
		if (front->paused_until_ms < pausing->until_ms)
			front->paused_until_ms = pausing->until_ms;
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
tell_redis(const struct pausing *pausing, struct ladder_context *ladder)
{
	static const struct slice argv[] = { SLICE_INIT("CLIENT"), SLICE_INIT("PAUSE") };
	struct slot *slot = pausing->call.slot;
	struct write_command command = {
		.argv = argv,
		.argc = 2,
		.raw = buf_slice(&pausing->raw),
		.info = command_find(argv, 2),
		.link = pausing->link,
	};
	enum rung rung;

	if (ladder_forward(ladder, &command, slot_out(slot), &rung, on_replied, slot))
		slot_done(slot);
}

static void
end(struct roll_call *call, bool is_home)
{
	struct pausing *pausing = (struct pausing *)call;

	if (is_home)
		tell_redis(pausing, front_ladder(roll_call_front(call)));
	else
		slot_done(call->slot);
	buf_free(&pausing->raw);
	free(pausing);
}

static void
start(struct client *client, const struct request_parser *parser, int64_t until_ms, bool is_all)
{
	struct pausing *pausing = alloc_zero(sizeof(*pausing));

	pausing->call.visit = visit;
	pausing->call.end = end;
	pausing->until_ms = until_ms;
	pausing->is_all = is_all;
	pausing->link = client_link(client);
	buf_append_slice(&pausing->raw, parser->raw);
	roll_call_start(&pausing->call, client);
}

void
client_pause(struct client *client, const struct request_parser *parser, struct buf *out)
{
	int64_t now_ms = clock_mono_ms(), ms;
	bool is_write = parser->argc == 4 && is_word(parser->argv[3], "write");

	if (parser->argc == 4 && !is_write && !is_word(parser->argv[3], "all"))
		reply_error(out, "ERR CLIENT PAUSE mode must be WRITE or ALL");
	else if (!slice_to_int64(parser->argv[2], &ms) || ms > INT64_MAX - now_ms)
		reply_error(out, "ERR timeout is not an integer or out of range");
	else if (ms < 0)
		reply_error(out, "ERR timeout is negative");
	else
		start(client, parser, now_ms + ms, !is_write);
}

void
client_unpause(struct client *client, const struct request_parser *parser, struct buf *out)
{
	(void)out;
	start(client, parser, 0, false);
}
