/* See session.h. session_state.c knows what commands and replies do to the
 * state; here is how they travel. */
#include "front/session_inside.h"
#include "ladder/keeper.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "wire/reply.h"

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
		session->state.is_target |= redis_id != 0;
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
	deadlines_remove(session_ladder(session)->deadlines, &session->due);
	session_end_writes(session, session->begun);
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

/*
 * Who has lost its subscriptions connects again and sends SUBSCRIBE by itself;
 * nobody awaits the error of that (in ioredis an unhandled rejection, the end
 * of the process). A connection that closes makes it go on trying.
 */
static void
refuse(struct backends *backends, const struct session_effect *effect, const char *what,
    struct buf *out)
{
	if (effect->verb != VERB_SUBSCRIBE || !atomic_load(&backends->has_cut_subscriber))
		backends_reply_down(backends, what, out);
}

/* Everything unanswered gets an error; the client goes with its state. */
void
session_fail(struct session *session, const char *what)
{
	struct client *client = session->client;
	struct backends *backends = session_ladder(session)->backends;
	bool hangs_up = session->hangs_up || session_state_is_kept(&session->state);

	if (session_state_is_subscribed(&session->state))
		atomic_store(&backends->has_cut_subscriber, true);
	for (const struct awaited *a = session->first; a != NULL; a = a->next)
		if (!a->effect.is_silent)
			refuse(backends, &a->effect, what, client_stream(client));
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
	session_fail(arg, "the connection broke; the command may or may not have run");
}

static void
take_off_oldest(struct session *session)
{
	struct awaited *awaited = session->first;

	session->first = awaited->next;
	if (session->first == NULL)
		session->last = NULL;
	if (awaited->ends_writes)
		session_end_writes(session, awaited->begun);
	struct backends *backends = session_ladder(session)->backends;
	bool may_have_flushed = awaited->is_flush || awaited->effect.ends_multi;
	if (may_have_flushed &&
	    session_state_flush(&session->state, backends->cache, awaited->is_flush,
		!awaited->ends_writes))
		keeper_publish(backends->keeper, SLICE_NONE);
	deferred_free(awaited->deferred);
	free(awaited);
	session_watch_oldest(session);
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

	if (info == NULL || !session_may_be_needed(info))
		return false;
	session_effect_of(parser, info, &effect);
	return info->class == COMMAND_SESSION || effect.may_block || effect.needs_session;
}

static const struct dedicated_events events = {
	.ready = on_ready,
	.reply = on_reply,
	.closed = on_closed,
};

static void
effect_of(struct client *client, const struct request_parser *parser,
    const struct command_info *info, struct session_effect *effect)
{
	session_effect_of(parser, info, effect);
	if (effect->verb == VERB_TRACKING)
		effect->redirect = client_extras(client)->redirect;
}

/* NULL: too many. */
static struct session *
start(struct client *client)
{
	struct front *front = client_front(client);
	int64_t max = front_ladder(front)->rules->settings->redis.max_sessions;
	struct session *session = alloc_zero(sizeof(*session));
	struct dedicated_owner owner = session_owner(client);

	session->client = client;
	session->resp = session->resp_at_start = client_session(client)->resp;
	session->dedicated =
	    dedicated_take(front_dedicated(front), session->resp, max, &owner, &events, session);
	if (session->dedicated == NULL) {
		free(session);
		return NULL;
	}
	client_set_session(client, session);
	session_introduce(session);
	return session;
}

bool
session_open_for_others(struct client *client)
{
	if (!backends_redis_allows(front_ladder(client_front(client))->backends))
		return false;
	struct session *session = start(client);
	return session != NULL;
}

void
session_open(struct client *client, const struct request_parser *parser,
    const struct command_info *info)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	struct session_effect effect;

	effect_of(client, parser, info, &effect);
	bool may_ask = effect.is_rescue ? ladder->backends->redis_target != NULL
					: backends_redis_allows(ladder->backends);
	if (!may_ask) {
		refuse(ladder->backends, &effect, NULL, client_reply(client));
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
	session_state_complete(&session->state, &effect);
	if (effect.verb == VERB_WAIT)
		session_write_something(session);
	session_forward(session, parser, info, &effect);
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
		session_defer(session, parser, &effect);
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
	session_forward(session, parser, info, &effect);
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
	int64_t redis_id = dedicated_redis_id(session->dedicated);
	session->state.is_target |= is_for_redirection && redis_id != 0;
	return redis_id;
}

size_t
session_unsent(const struct session *session)
{
	return buf_len(&session->waiting) + dedicated_unsent(session->dedicated);
}

void
session_pause(struct session *session, bool is_paused)
{
	session->is_paused = is_paused;
	/* Its greeting has to be read in any case. */
	if (dedicated_is_ready(session->dedicated))
		dedicated_pause(session->dedicated, is_paused);
}
