/* See session_state.h. */
#include "front/session_state.h"

#include <inttypes.h>

#include "base/resp.h"

/* ---- commands ---- */

static const struct verb {
	const char *name;
	enum session_verb verb;
	char channel_kind;
	bool needs_state, ends_multi;
} verbs[] = {
	{ "multi", VERB_MULTI, 0, true, false },
	{ "exec", VERB_EXEC, 0, true, true },
	{ "discard", VERB_EXEC, 0, true, true },
	{ "watch", VERB_WATCH, 0, true, false },
	{ "unwatch", VERB_UNWATCH, 0, false, false },
	{ "monitor", VERB_MONITOR, 0, true, false },
	{ "subscribe", VERB_SUBSCRIBE, 'c', true, false },
	{ "psubscribe", VERB_SUBSCRIBE, 'p', true, false },
	{ "ssubscribe", VERB_SUBSCRIBE, 's', true, false },
	{ "unsubscribe", VERB_UNSUBSCRIBE, 'c', false, false },
	{ "punsubscribe", VERB_UNSUBSCRIBE, 'p', false, false },
	{ "sunsubscribe", VERB_UNSUBSCRIBE, 's', false, false },
	{ "wait", VERB_WAIT, 0, false, false },
	{ "waitaof", VERB_WAIT, 0, false, false },
};

static const char *const blocking[] = {
	"blpop",
	"brpop",
	"brpoplpush",
	"blmove",
	"blmpop",
	"bzpopmin",
	"bzpopmax",
	"bzmpop",
	"wait",
	"waitaof",
};

/* Who one is, is said to the sidecar and not to Redis; what it decides, too. */
static const struct {
	const char *name;
	bool may_queue, is_for_subscribers;
} local[] = {
	{ "auth", true, false },
	{ "quit", false, true },
	{ "reset", false, true },
	{ "hello", true, false },
	{ "sidecar", false, true },
	{ "client", true, false },
	{ "cl.throttle", true, false },
	{ "sync", false, false },
	{ "psync", false, false },
	{ "replconf", false, false },
};

static bool
is_word(struct slice argument, const char *word)
{
	return slice_is_word(argument, word);
}

static void
look_up_verb(const struct request_parser *parser, struct session_effect *effect)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!is_word(parser->argv[0], verbs[i].name))
			continue;
		effect->verb = verbs[i].verb;
		effect->channel_kind = verbs[i].channel_kind;
		effect->needs_state = verbs[i].needs_state;
		effect->ends_multi = verbs[i].ends_multi;
	}
	if (effect->verb == VERB_SUBSCRIBE || effect->verb == VERB_UNSUBSCRIBE) {
		effect->number = (int64_t)parser->argc - 1;
		effect->may_block = true; /* its confirmations come among messages */
		/* Only a quiet connection knows how many channels it leaves. */
		effect->needs_quiet = effect->verb == VERB_UNSUBSCRIBE && parser->argc == 1;
	}
}

static bool
may_block(const struct request_parser *parser, const struct command_info *info)
{
	for (size_t i = 0; i < sizeof(blocking) / sizeof(blocking[0]); i++) {
		if (is_word(parser->argv[0], blocking[i]))
			return true;
	}
	for (size_t i = 1; info != NULL && info->may_block && i < parser->argc; i++) {
		if (is_word(parser->argv[i], "BLOCK"))
			return true;
	}
	return false;
}

static void
look_up_local(const struct request_parser *parser, struct session_effect *effect)
{
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
		if (is_word(parser->argv[0], local[i].name)) {
			effect->is_local = true;
			effect->may_queue = local[i].may_queue;
			effect->is_for_subscribers = local[i].is_for_subscribers;
		}
	}
}

/* Behind the script itself, on a link, Redis would not read it. */
static bool
is_rescue(const struct request_parser *parser)
{
	return parser->argc == 2 && is_word(parser->argv[1], "kill") &&
	    (is_word(parser->argv[0], "script") || is_word(parser->argv[0], "function"));
}

bool
session_may_be_needed(const struct command_info *info)
{
	return info->may_block ||
	    (info->class != COMMAND_READ_KEY && info->class != COMMAND_READ &&
		info->class != COMMAND_READ_MANY && info->class != COMMAND_WRITE);
}

void
session_effect_of(const struct request_parser *parser, const struct command_info *info,
    struct session_effect *effect)
{
	*effect = (struct session_effect){ .verb = VERB_OTHER };
	look_up_verb(parser, effect);
	look_up_local(parser, effect);
	effect->may_block |= may_block(parser, info);
	effect->is_lasting = info != NULL && info->class == COMMAND_SESSION &&
	    effect->verb == VERB_OTHER && !effect->may_block;
	if (is_word(parser->argv[0], "select") && parser->argc == 2 &&
	    slice_to_int64(parser->argv[1], &effect->number)) {
		effect->verb = VERB_SELECT;
		effect->needs_session = effect->number != 0;
	} else if (is_rescue(parser)) {
		effect->is_rescue = effect->needs_session = true;
	} else if (parser->argc == 2 && is_word(parser->argv[0], "client")) {
		effect->is_tracking_info = is_word(parser->argv[1], "trackinginfo");
	} else if (parser->argc >= 3 && is_word(parser->argv[0], "client") &&
	    (is_word(parser->argv[1], "tracking") || is_word(parser->argv[1], "caching"))) {
		effect->is_local = false;
		effect->needs_session = true;
		if (is_word(parser->argv[1], "tracking")) {
			effect->verb = VERB_TRACKING;
			effect->number = is_word(parser->argv[2], "on");
			for (size_t i = 3; i < parser->argc; i++)
				effect->is_broadcast |= is_word(parser->argv[i], "bcast");
		}
	}
}

void
session_state_complete(const struct session_state *state, struct session_effect *effect)
{
	int64_t subscribed = effect->channel_kind == 'c' ? state->channels
	    : effect->channel_kind == 'p'                ? state->patterns
							 : state->shards;

	/* Redis confirms once even where there is nothing to leave. */
	if (effect->verb == VERB_UNSUBSCRIBE && effect->number == 0)
		effect->number = subscribed > 0 ? subscribed : 1;
}

void
session_state_sent(struct session_state *state, const struct session_effect *effect)
{
	/* What follows MULTI is queued from the moment it is sent. */
	if (effect->verb == VERB_MULTI)
		state->is_in_multi = true;
	else if (effect->ends_multi)
		state->is_in_multi = false;
}

/* ---- replies ---- */

/* The first element of an array or push, where that is a bulk string. */
static struct slice
first_word(struct slice reply)
{
	char type;
	int64_t number;
	size_t outer, inner;

	if (!resp_header(reply, &type, &number, &outer) || number < 1)
		return SLICE_NONE;
	struct slice rest = { reply.at + outer, reply.len - outer };
	if (!resp_header(rest, &type, &number, &inner) || type != '$' || number < 0)
		return SLICE_NONE;
	return slice_make(rest.at + inner, (size_t)number);
}

static const struct {
	struct slice word;
	char channel_kind; /* of a confirmation; 0: a message */
} pushes[] = {
	{ SLICE_INIT("message"), 0 },
	{ SLICE_INIT("pmessage"), 0 },
	{ SLICE_INIT("smessage"), 0 },
	{ SLICE_INIT("subscribe"), 'c' },
	{ SLICE_INIT("psubscribe"), 'p' },
	{ SLICE_INIT("ssubscribe"), 's' },
	{ SLICE_INIT("unsubscribe"), 'c' },
	{ SLICE_INIT("punsubscribe"), 'p' },
	{ SLICE_INIT("sunsubscribe"), 's' },
};

/* The last integer of a confirmation: how many channels and patterns (or
 * shard channels) the connection has now. */
static int64_t
last_integer(struct slice reply)
{
	const char *colon = memrchr(reply.at, ':', reply.len);
	int64_t number = 0;

	if (colon == NULL || reply.at + reply.len - colon < 4)
		return 0;
	size_t len = (size_t)(reply.at + reply.len - colon) - 3;
	return slice_to_int64(slice_make(colon + 1, len), &number) ? number : 0;
}

/* Channels subscribed to twice are confirmed twice and counted once, so what
 * Redis says is believed: channels and patterns are one number there. */
static void
note_confirmation(struct session_state *state, char kind, struct slice reply)
{
	int64_t now = last_integer(reply);

	if (kind == 's')
		state->shards = now;
	else if (kind == 'c')
		state->channels = now - state->patterns;
	else
		state->patterns = now - state->channels;
}

static bool
is_pubsub(struct session_state *state, struct session_effect *oldest, struct slice reply,
    bool *is_last)
{
	struct slice word = first_word(reply);

	*is_last = false;
	for (size_t i = 0; i < sizeof(pushes) / sizeof(pushes[0]); i++) {
		if (!slice_equal(word, pushes[i].word))
			continue;
		if (pushes[i].channel_kind == 0)
			return true;
		note_confirmation(state, pushes[i].channel_kind, reply);
		bool is_asked = oldest != NULL && oldest->channel_kind == pushes[i].channel_kind &&
		    oldest->number > 0;
		*is_last = is_asked && --oldest->number == 0;
		return true;
	}
	return false;
}

bool
session_state_is_subscribed(const struct session_state *state)
{
	return state->channels + state->patterns + state->shards > 0;
}

static void
apply(struct session_state *state, const struct session_effect *effect, bool is_error)
{
	switch (effect->verb) {
	case VERB_EXEC: /* an EXEC that is refused has ended the transaction, too */
		state->is_watching = false;
		break;
	case VERB_WATCH:
		state->is_watching |= !is_error;
		break;
	case VERB_UNWATCH:
		state->is_watching = false;
		break;
	case VERB_MONITOR:
		state->is_monitoring |= !is_error;
		break;
	case VERB_SELECT:
		if (!is_error)
			state->database = effect->number;
		break;
	case VERB_TRACKING:
		if (is_error)
			break;
		state->is_tracking = effect->number != 0;
		state->is_broadcast = state->is_tracking && effect->is_broadcast;
		state->redirect = state->is_tracking ? effect->redirect : 0;
		break;
	case VERB_MULTI:
		if (!is_error)
			state->queued = 0;
		break;
	case VERB_SUBSCRIBE:
	case VERB_UNSUBSCRIBE:
	case VERB_WAIT:
	case VERB_OTHER:
		break;
	}
}

enum session_reply
session_state_reply(struct session_state *state, struct session_effect *oldest, int resp, char type,
    struct slice reply)
{
	bool may_be_pubsub = type == '>' ||
	    (resp == 2 && type == '*' &&
		(session_state_is_subscribed(state) ||
		    (oldest != NULL && oldest->channel_kind != 0)));
	bool is_last;

	if (may_be_pubsub && is_pubsub(state, oldest, reply, &is_last))
		return is_last ? SESSION_REPLY_ANSWER : SESSION_REPLY_PUSH;
	if (type == '>')
		return SESSION_REPLY_PUSH;
	/* MONITOR's lines begin with a time: "+1339518083.107412 [0 ...". */
	if (state->is_monitoring && type == '+' && reply.at[1] >= '0' && reply.at[1] <= '9')
		return SESSION_REPLY_PUSH;
	if (oldest == NULL)
		return SESSION_REPLY_PUSH;
	if (slice_equal(reply, SLICE("+QUEUED\r\n"))) {
		state->queued++;
		state->is_uncertain |= oldest->verb != VERB_OTHER;
	}
	state->is_uncertain |= oldest->is_lasting && type != '-';
	apply(state, oldest, type == '-');
	return oldest->is_silent ? SESSION_REPLY_SILENT : SESSION_REPLY_ANSWER;
}

/* Where the target's id begins; NULL: there is none. */
static const char *
find_target_id(const struct session_effect *oldest, struct slice reply)
{
	static const struct slice broken = SLICE_INIT(">2\r\n$21\r\ntracking-redir-broken\r\n:");
	static const struct slice word = SLICE_INIT("$8\r\nredirect\r\n:");

	if (reply.len > 0 && reply.at[0] == '>')
		return slice_starts(reply, broken) ? reply.at + broken.len : NULL;
	if (oldest == NULL || !oldest->is_tracking_info)
		return NULL;
	const char *found = memmem(reply.at, reply.len, word.at, word.len);
	return found != NULL ? found + word.len : NULL;
}

void
session_state_copy(const struct session_state *state, const struct session_effect *oldest,
    struct slice reply, struct buf *out)
{
	const char *id = state->redirect != 0 ? find_target_id(oldest, reply) : NULL;

	if (id == NULL) {
		buf_append_slice(out, reply);
		return;
	}
	const char *end = id;
	while (*end != '\r') /* the reply was found whole */
		end++;
	buf_append(out, reply.at, (size_t)(id - reply.at));
	buf_printf(out, "%" PRId64, state->redirect);
	buf_append(out, end, (size_t)(reply.at + reply.len - end));
}

bool
session_state_flush(struct session_state *state, struct cache *cache, bool is_flush, bool is_queued)
{
	if (is_flush && is_queued) {
		state->has_flushed = true;
		return false;
	}
	bool drops = is_flush || state->has_flushed;
	if (drops)
		cache_drop_all(cache);
	state->has_flushed = false;
	return drops;
}

bool
session_state_is_kept(const struct session_state *state)
{
	return state->is_in_multi || state->is_watching || state->is_monitoring ||
	    state->is_tracking || state->is_target || state->is_uncertain || state->database != 0 ||
	    session_state_is_subscribed(state);
}
