/* What a session sends to Redis, what that does to memory, and how long an
 * answer may take. See session.h. */
#include "front/session_inside.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "front/client_pause.h"
#include "ladder/expiry.h"
#include "ladder/keeper.h"

struct ladder_context *
session_ladder(const struct session *session)
{
	return front_ladder(client_front(session->client));
}

/* ---- what is written drops from memory ---- */

/* A key begun and not ended: this, its bytes, and those of `expiry.from`.
 * The slices of `expiry` are filled in when it is taken out. */
struct written_key {
	size_t key_len;
	struct key_expiry expiry;
};

struct write_under_way {
	struct session *session;
	struct key_expiry expiry;
};

static void
begin_key(struct slice key, void *arg)
{
	const struct write_under_way *write = arg;
	struct session *session = write->session;
	struct backends *backends = session_ladder(session)->backends;
	struct written_key written = { key.len, { .kind = EXPIRY_NONE } };

	if (write->expiry.kind != EXPIRY_NONE && slice_equal(key, write->expiry.key))
		written.expiry = write->expiry;
	cache_write_begin(backends->cache, key, cache_hash(key));
	journal_note_write(backends->journal, key, 0);
	session->begun++;
	buf_append(&session->written, &written, sizeof(written));
	buf_append_slice(&session->written, key);
	buf_append_slice(&session->written, written.expiry.from);
	counter_add(&session_ladder(session)->metrics->invalidated_write, 1);
}

static void
begin_keys(struct session *session, const struct request_parser *parser,
    const struct command_info *info)
{
	struct write_under_way write = { session,
		expiry_of(parser->argv, parser->argc, clock_mono_ms(), clock_wall_ms()) };

	command_each_written_key(info, parser->argv, parser->argc, begin_key, &write);
}

static void
end_key(struct session *session, struct written_key *written, const char *bytes)
{
	struct backends *backends = session_ladder(session)->backends;
	struct slice key = { bytes, written->key_len };

	written->expiry.key = key;
	written->expiry.from.at = bytes + key.len;
	expiry_note(backends->cache, &written->expiry, clock_mono_ms());
	cache_write_end(backends->cache, key, cache_hash(key));
	keeper_publish(backends->keeper, key);
}

void
session_end_writes(struct session *session, size_t up_to)
{
	for (; session->ended < up_to; session->ended++) {
		struct slice rest = buf_slice(&session->written);
		struct written_key written;
		memcpy(&written, rest.at, sizeof(written));
		end_key(session, &written, rest.at + sizeof(written));
		buf_take(&session->written,
		    sizeof(written) + written.key_len + written.expiry.from.len);
	}
}

/* ---- time ---- */

static void
on_due(struct deadline *deadline)
{
	struct session *session =
	    (struct session *)((char *)deadline - offsetof(struct session, due));

	if (session->is_paused) { /* the client does not read: not redis's fault */
		deadlines_add(session_ladder(session)->deadlines, &session->due,
		    clock_mono_ms() + session_ladder(session)->rules->settings->redis.timeout_ms);
		return;
	}
	breaker_failed(session_ladder(session)->backends->redis, clock_mono_ms(), FAILURE_TIMEOUT,
	    "no answer in time");
	session_fail(session, "no answer from redis in time; the command may or may not have run");
}

void
session_watch_oldest(struct session *session)
{
	struct deadlines *deadlines = session_ladder(session)->deadlines;

	deadlines_remove(deadlines, &session->due);
	if (session->first == NULL || session->first->due_ms == TIME_NEVER)
		return;
	session->due.on_due = on_due;
	deadlines_add(deadlines, &session->due, session->first->due_ms);
}

/* ---- commands out ---- */

static void
add_awaited(struct session *session, const struct session_effect *effect, bool is_flush)
{
	struct awaited *awaited = alloc_zero(sizeof(*awaited));
	int64_t timeout_ms = session_ladder(session)->rules->settings->redis.timeout_ms;

	awaited->effect = *effect;
	awaited->effect.is_silent |= client_is_mute(session->client);
	awaited->is_flush = is_flush;
	awaited->begun = session->begun;
	bool is_held = effect->may_block || pause_lasts(client_front(session->client));
	awaited->due_ms = is_held ? TIME_NEVER : clock_mono_ms() + timeout_ms;
	/* Inside MULTI nothing runs before EXEC. */
	awaited->ends_writes = !session->state.is_in_multi || effect->ends_multi;
	*(session->last != NULL ? &session->last->next : &session->first) = awaited;
	session->last = awaited;
	if (session->first == awaited)
		session_watch_oldest(session);
}

static void
send_out(struct session *session, struct slice command)
{
	if (dedicated_is_ready(session->dedicated)) {
		dedicated_send(session->dedicated, command, 1);
		return;
	}
	buf_append_slice(&session->waiting, command);
	session->waiting_commands++;
}

void
session_forward(struct session *session, const struct request_parser *parser,
    const struct command_info *info, const struct session_effect *effect)
{
	bool is_flush = info != NULL && info->class == COMMAND_FLUSH;
	bool is_write =
	    info == NULL || info->class == COMMAND_WRITE || info->class == COMMAND_SESSION;

	if (is_write)
		begin_keys(session, parser, info);
	if (is_flush)
		cache_drop_all(session_ladder(session)->backends->cache);
	session->hangs_up |= effect->needs_state;
	session->awaits_exec |= effect->ends_multi && session->has_deferred;
	add_awaited(session, effect, is_flush);
	session_state_sent(&session->state, effect);
	send_out(session, parser->raw);
}

/* Inside MULTI, and answered by ourselves. */
void
session_defer(struct session *session, const struct request_parser *parser,
    const struct session_effect *effect)
{
	session->has_deferred = true;
	add_awaited(session, effect, false);
	session->last->deferred = deferred_new(parser->raw);
	send_out(session, EXEC_STAND_IN);
}

static void
send_silently(struct session *session, struct slice command)
{
	static const struct session_effect silent = { .is_silent = true };

	add_awaited(session, &silent, false);
	send_out(session, command);
}

void
session_set_resp(struct session *session, int resp)
{
	if (resp == session->resp)
		return;
	session->resp = resp;
	send_silently(session,
	    resp == 3 ? SLICE("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
		      : SLICE("*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n"));
}

struct dedicated_owner
session_owner(const struct client *client)
{
	const struct client_extras *extras = client_extras(client);

	return (struct dedicated_owner){ extras->name, extras->is_untouching };
}

void
session_introduce(struct session *session)
{
	struct buf command = BUF_EMPTY;

	if (session == NULL)
		return;
	struct dedicated_owner owner = session_owner(session->client);
	while (dedicated_introduce(session->dedicated, &owner, &command)) {
		send_silently(session, buf_slice(&command));
		buf_take(&command, buf_len(&command));
	}
	buf_free(&command);
}

void
session_write_something(struct session *session)
{
	send_silently(session, SLICE("*3\r\n$7\r\nPUBLISH\r\n$12\r\nsidecar:wait\r\n$1\r\n-\r\n"));
}
