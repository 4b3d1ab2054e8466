/* See session.h. session_state.c knows what commands and replies do to the
 * state; here is how they travel. */
#include "front/session.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "front/client_pause.h"
#include "front/session_exec.h"
#include "front/session_state.h"
#include "ladder/dedicated.h"
#include "ladder/keeper.h"
#include "wire/reply.h"

/* A command that Redis has not answered yet. */
struct awaited {
	struct awaited *next;
	struct session_effect effect;
	int64_t due_ms; /* TIME_NEVER: it may block */
	bool ends_writes, is_flush;
	struct deferred *deferred; /* what it stands in for; NULL: itself */
};

struct session {
	struct client *client;
	struct dedicated *dedicated;
	struct session_state state;
	struct buf waiting; /* commands sent before the connection was ready */
	size_t waiting_commands;
	struct awaited *first, *last;
	struct deadline due; /* of the oldest command that does not block */
	struct buf written;  /* keys begun and not ended: length and bytes in turn */
	int resp, resp_at_start;
	bool is_id_lent;
	struct session_waiter *waiters; /* for the id */
	struct deferred *deferred;      /* queued in MULTI, to be run when EXEC is answered */
	bool has_deferred;
	bool awaits_exec;               /* with such in it: nothing may overtake them */
	bool hangs_up; /* what was asked for cannot be done without its state */
};

static struct ladder_context *
ladder_of(const struct session *session)
{
	return front_ladder(client_front(session->client));
}

/* ---- what is written drops from memory ---- */

static void
begin_key(struct slice key, void *arg)
{
	struct session *session = arg;
	struct backends *backends = ladder_of(session)->backends;
	size_t len = key.len;

	cache_write_begin(backends->cache, key);
	journal_note_write(backends->journal, key);
	buf_append(&session->written, &len, sizeof(len));
	buf_append_slice(&session->written, key);
	counter_add(&ladder_of(session)->metrics->invalidated_write, 1);
}

static void
end_writes(struct session *session)
{
	struct slice rest = buf_slice(&session->written);

	while (rest.len > 0) {
		size_t len;
		memcpy(&len, rest.at, sizeof(len));
		struct slice key = { rest.at + sizeof(len), len };
		cache_write_end(ladder_of(session)->backends->cache, key);
		keeper_publish(ladder_of(session)->backends->keeper, key);
		rest = slice_make(rest.at + sizeof(len) + len, rest.len - sizeof(len) - len);
	}
	buf_reset(&session->written);
}

/* ---- time ---- */

static void fail(struct session *session, const char *what);

static void
on_due(struct deadline *deadline)
{
	struct session *session =
	    (struct session *)((char *)deadline - offsetof(struct session, due));

	breaker_failed(ladder_of(session)->backends->redis, clock_mono_ms(), FAILURE_TIMEOUT,
	    "no answer in time");
	fail(session, "no answer from redis in time; the command may or may not have run");
}

static void
watch_oldest(struct session *session)
{
	struct deadlines *deadlines = ladder_of(session)->deadlines;

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
	int64_t timeout_ms = ladder_of(session)->rules->settings->redis.timeout_ms;

	awaited->effect = *effect;
	awaited->effect.is_silent |= client_is_mute(session->client);
	awaited->is_flush = is_flush;
	bool is_held = effect->may_block || pause_lasts(client_front(session->client));
	awaited->due_ms = is_held ? TIME_NEVER : clock_mono_ms() + timeout_ms;
	/* Inside MULTI nothing runs before EXEC. */
	awaited->ends_writes = !session->state.is_in_multi || effect->ends_multi;
	*(session->last != NULL ? &session->last->next : &session->first) = awaited;
	session->last = awaited;
	if (session->first == awaited)
		watch_oldest(session);
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

static void
forward(struct session *session, const struct request_parser *parser,
    const struct command_info *info, const struct session_effect *effect)
{
	bool is_flush = info != NULL && info->class == COMMAND_FLUSH;
	bool is_write = info == NULL || info->class == COMMAND_WRITE ||
	    info->class == COMMAND_SESSION;

	if (is_write)
		command_each_written_key(info, parser->argv, parser->argc, begin_key, session);
	if (is_flush)
		cache_drop_all(ladder_of(session)->backends->cache);
	session->hangs_up |= effect->needs_state;
	session->awaits_exec |= effect->ends_multi && session->has_deferred;
	add_awaited(session, effect, is_flush);
	session_state_sent(&session->state, effect);
	send_out(session, parser->raw);
}

/* Inside MULTI, and answered by ourselves. */
static void
defer(struct session *session, const struct request_parser *parser,
    const struct session_effect *effect)
{
	session->has_deferred = true;
	add_awaited(session, effect, false);
	session->last->deferred = deferred_new(parser->raw);
	send_out(session, EXEC_STAND_IN);
}

/* ---- the end ---- */

static bool
is_over(const struct session *session)
{
	return session->first == NULL && !session_state_is_kept(&session->state);
}

static void
tell_waiters(struct session *session, int64_t redis_id)
{
	while (session->waiters != NULL) {
		struct session_waiter *waiter = session->waiters;
		session->waiters = waiter->next;
		waiter->ready(waiter, redis_id);
	}
}

void
session_wait(struct session *session, struct session_waiter *waiter)
{
	waiter->next = session->waiters;
	session->waiters = waiter;
}

/* Frees it; `is_clean`: the connection may serve somebody else. */
static void
dispose(struct session *session, bool is_clean)
{
	deadlines_remove(ladder_of(session)->deadlines, &session->due);
	end_writes(session);
	if (is_clean && session->resp == session->resp_at_start && !session->is_id_lent)
		dedicated_give_back(session->dedicated);
	else
		dedicated_drop(session->dedicated);
	while (session->first != NULL) {
		struct awaited *awaited = session->first;
		session->first = awaited->next;
		deferred_free(awaited->deferred);
		free(awaited);
	}
	deferred_free(session->deferred);
	client_set_session(session->client, NULL);
	tell_waiters(session, 0);
	buf_free(&session->waiting);
	buf_free(&session->written);
	free(session);
}

void
session_free(struct session *session)
{
	if (session != NULL)
		dispose(session, false);
}

/* Everything unanswered gets an error; the client goes with its state. */
static void
fail(struct session *session, const char *what)
{
	struct client *client = session->client;
	struct backends *backends = ladder_of(session)->backends;
	bool hangs_up = session->hangs_up || session_state_is_kept(&session->state);

	for (const struct awaited *a = session->first; a != NULL; a = a->next)
		if (!a->effect.is_silent)
			backends_reply_down(backends, what, client_stream(client));
	dispose(session, false);
	if (hangs_up)
		client_finish(client);
	client_wake(client);
}

/* ---- the connection's events ---- */

static void
on_ready(void *arg)
{
	struct session *session = arg;

	tell_waiters(session, dedicated_redis_id(session->dedicated));

	if (session->waiting_commands > 0)
		dedicated_send(session->dedicated, buf_slice(&session->waiting),
		    session->waiting_commands);
	buf_free(&session->waiting);
	session->waiting_commands = 0;
}

static void
on_closed(enum failure_kind kind, const char *reason, void *arg)
{
	(void)kind, (void)reason;
	fail(arg, "the connection broke; the command may or may not have run");
}

static void
take_off_oldest(struct session *session)
{
	struct awaited *awaited = session->first;

	session->first = awaited->next;
	if (session->first == NULL)
		session->last = NULL;
	if (awaited->ends_writes)
		end_writes(session);
	if (awaited->is_flush || awaited->effect.ends_multi)
		session_state_flush(&session->state, ladder_of(session)->backends->cache,
		    awaited->is_flush);
	deferred_free(awaited->deferred);
	free(awaited);
	watch_oldest(session);
}

/* Redis has queued the stand-in. */
static void
note_queued(struct session *session, struct awaited *awaited)
{
	struct deferred **end = &session->deferred;

	while (*end != NULL)
		end = &(*end)->next;
	*end = awaited->deferred;
	awaited->deferred->index = session->state.queued - 1;
	awaited->deferred = NULL;
}

/* EXEC with commands of ours in it, or what has come of it. */
static void
finish_exec(struct session *session, struct slice reply)
{
	exec_write(session->client, session->deferred, reply, session->first->effect.is_silent);
	/* Nothing may come in between, not even a push. */
	if (client_has_slots(session->client))
		dedicated_pause(session->dedicated, true);
	deferred_free(session->deferred);
	session->deferred = NULL;
	session->has_deferred = session->awaits_exec = false;
}

static void
pass_on(struct session *session, enum session_reply what, char type, struct slice reply)
{
	struct client *client = session->client;
	const struct awaited *oldest = session->first;
	/* What MONITOR shows counts as replies. */
	bool is_wanted = type != '+' || what != SESSION_REPLY_PUSH || !client_is_mute(client);

	if (what != SESSION_REPLY_SILENT && is_wanted)
		session_state_copy(&session->state, oldest != NULL ? &oldest->effect : NULL, reply,
		    client_stream(client));
}

static void
on_reply(char type, struct slice reply, void *arg)
{
	struct session *session = arg;
	struct client *client = session->client;
	struct awaited *oldest = session->first;
	enum session_reply what = session_state_reply(&session->state,
	    oldest != NULL ? &oldest->effect : NULL, session->resp, type, reply);
	bool is_answer = what != SESSION_REPLY_PUSH && oldest != NULL;

	if (is_answer && oldest->deferred != NULL && slice_equal(reply, SLICE("+QUEUED\r\n")))
		note_queued(session, oldest);
	if (is_answer && oldest->effect.verb == VERB_EXEC && session->has_deferred)
		finish_exec(session, reply);
	else
		pass_on(session, what, type, reply);
	if (is_answer)
		take_off_oldest(session);
	if (is_over(session))
		dispose(session, true);
	client_wake(client);
}

/* ---- opening and taking ---- */

bool
session_is_needed(const struct request_parser *parser, const struct command_info *info)
{
	struct session_effect effect;

	if (info == NULL)
		return false;
	session_effect_of(parser, info, &effect);
	return info->class == COMMAND_SESSION || effect.may_block || effect.needs_session;
}

static const struct dedicated_events events = {
	.ready = on_ready, .reply = on_reply, .closed = on_closed,
};

static void
effect_of(struct client *client, const struct request_parser *parser,
    const struct command_info *info, struct session_effect *effect)
{
	session_effect_of(parser, info, effect);
	if (effect->verb == VERB_TRACKING)
		effect->redirect = client_session(client)->redirect;
}

/* NULL: too many. */
static struct session *
start(struct client *client)
{
	struct front *front = client_front(client);
	int64_t max = front_ladder(front)->rules->settings->redis.max_sessions;
	struct session *session = alloc_zero(sizeof(*session));

	session->client = client;
	session->resp = session->resp_at_start = client_session(client)->resp;
	session->dedicated =
	    dedicated_take(front_dedicated(front), session->resp, max, &events, session);
	if (session->dedicated == NULL) {
		free(session);
		return NULL;
	}
	client_set_session(client, session);
	return session;
}

bool
session_open_for_others(struct client *client)
{
	if (!backends_redis_allows(front_ladder(client_front(client))->backends))
		return false;
	struct session *session = start(client);
	if (session != NULL)
		session->state.is_target = true;
	return session != NULL;
}

void
session_open(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	struct session_effect effect;

	effect_of(client, parser, info, &effect);
	if (!backends_redis_allows(ladder->backends)) {
		backends_reply_down(ladder->backends, NULL, client_reply(client));
		if (effect.needs_state)
			client_finish(client);
		return;
	}
	struct session *session = start(client);
	if (session == NULL) {
		reply_error(client_reply(client),
		    "ERR too many clients need a connection of their own ([redis] max_sessions)");
		if (effect.needs_state)
			client_finish(client);
		return;
	}
	forward(session, parser, info, &effect);
}

enum session_takes
session_take(struct session *session, const struct request_parser *parser,
    const struct command_info *info)
{
	struct session_effect effect;

	effect_of(session->client, parser, info, &effect);
	if (session->awaits_exec)
		return SESSION_NOT_NOW;
	if (effect.is_local && effect.may_queue && session->state.is_in_multi &&
	    exec_may_defer(parser)) {
		defer(session, parser, &effect);
		return SESSION_TOOK;
	}
	if (effect.is_local && !(session->state.is_in_multi && effect.may_queue)) {
		if (!session_is_quiet(session))
			return SESSION_NOT_NOW;
		/* Redis knows best how to refuse it. */
		bool is_refused = session->resp == 2 && !effect.is_for_subscribers &&
		    session_state_is_subscribed(&session->state);
		bool is_of_redis = effect.is_tracking_info && session->state.is_tracking;
		if (!is_refused && !is_of_redis)
			return SESSION_LOCAL;
	}
	if (effect.needs_quiet && !session_is_quiet(session))
		return SESSION_NOT_NOW;
	session_state_complete(&session->state, &effect);
	forward(session, parser, info, &effect);
	return SESSION_TOOK;
}

bool
session_is_quiet(const struct session *session)
{
	return session->first == NULL;
}

bool
session_may_never_end(const struct session *session)
{
	return session->first != NULL ? session->first->due_ms == TIME_NEVER
				      : session_state_is_kept(&session->state);
}

const struct session_state *
session_state_of(const struct session *session)
{
	return &session->state;
}

bool
session_is_blocked(const struct session *session)
{
	return session->first != NULL && session->first->due_ms == TIME_NEVER &&
	    session->first->effect.channel_kind == 0;
}

int64_t
session_lend_id(struct session *session, bool is_for_redirection)
{
	session->is_id_lent = true;
	session->state.is_target |= is_for_redirection;
	return dedicated_redis_id(session->dedicated);
}

size_t
session_unsent(const struct session *session)
{
	return buf_len(&session->waiting) + dedicated_unsent(session->dedicated);
}

void
session_pause(struct session *session, bool is_paused)
{
	/* Its greeting has to be read in any case. */
	if (dedicated_is_ready(session->dedicated))
		dedicated_pause(session->dedicated, is_paused);
}

void
session_set_resp(struct session *session, int resp)
{
	static const struct session_effect silent = { .is_silent = true };

	if (resp == session->resp)
		return;
	session->resp = resp;
	add_awaited(session, &silent, false);
	send_out(session, resp == 3 ? SLICE("*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n")
	    : SLICE("*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n"));
}
