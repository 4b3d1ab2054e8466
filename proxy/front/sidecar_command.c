/* See sidecar_command.h. */
#include "front/sidecar_command.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "front/reads.h"
#include "front/status.h"
#include "ladder/explain.h"
#include "ladder/keeper.h"
#include "ladder/warm.h"
#include "ladder/ladder_hit.h"
#include "wire/reply.h"

#define KEYS_DEFAULT 10
#define KEYS_MAX 10000

static void
do_status(struct client *client, const struct slice *argv, size_t argc)
{
	(void)argv, (void)argc;
	status_reply(front_census(client_front(client)), client_session(client)->resp,
	    client_reply(client));
}

/* ---- GET ---- */

static void
write_answer(struct buf *out, int resp, const struct answer *answer)
{
	reply_array(out, 3);
	if (answer->kind == ANSWER_NIL)
		reply_null(out, resp);
	else if (answer->kind == ANSWER_ERROR) /* an error cannot stand in an array */
		reply_bulk(out, slice_make(answer->bytes->bytes + 1, answer->bytes->len - 3));
	else if (answer->kind == ANSWER_HASH)
		reads_write_hash(out, resp, blob_slice(answer->bytes));
	else
		reply_bulk(out, blob_slice(answer->bytes));
	reply_text(out, rung_name(answer->rung));
	reply_integer(out, answer->age_ms);
}

static void
on_answer(void *arg, struct answer *answer)
{
	write_answer(slot_out(arg), slot_resp(arg), answer);
	answer_release(answer);
	slot_done(arg);
}

static void
do_get(struct client *client, const struct slice *argv, size_t argc)
{
	struct question question;
	struct answer answer;

	(void)argc;
	reads_question(client, argv[2], &question);
	struct slot *slot = slot_new(client);
	if (ladder_ask(front_ladder(client_front(client)), &question, &answer, on_answer, slot))
		on_answer(slot, &answer);
}

/* ---- EXPLAIN ---- */

static void
explain_copy(struct buf *out, int resp, struct ladder_context *ladder,
    const struct question *question)
{
	static const char *const sources[] = {
		[CACHE_FROM_REDIS] = "redis",
		[CACHE_FROM_POSTGRES] = "postgres",
		[CACHE_FROM_WRITE] = "a write through this sidecar",
	};
	static const char *const names[] = { "age_ms", "fresh_for_ms", "stale_for_ms",
		"valid_for_ms" };
	struct cache_value value = { .bytes = NULL };
	int64_t now_ms = clock_mono_ms();
	bool may_keep = ladder_may_keep(ladder, question->key);
	enum cache_find found = may_keep
	    ? cache_find(ladder->backends->cache, question->key, now_ms, &value, NULL)
	    : CACHE_MISS;

	reply_text(out, "cached");
	reply_text(out,
	    !may_keep                  ? "never ([cache] keys)"
		: found == CACHE_FRESH ? "fresh"
		: found == CACHE_STALE ? "stale"
				       : "no");
	reply_text(out, "cached_from");
	if (found == CACHE_MISS) {
		reply_null(out, resp);
	} else {
		reply_text(out, sources[value.source]);
		cache_value_release(&value);
	}
	int64_t times[] = { now_ms - value.filled_ms, value.fresh_until_ms - now_ms,
		value.stale_until_ms - now_ms, value.valid_until_ms };
	for (size_t i = 0; i < 4; i++) {
		reply_text(out, names[i]);
		if (found == CACHE_MISS || (i == 3 && value.valid_until_ms == TIME_NEVER))
			reply_null(out, resp);
		else
			reply_integer(out,
			    i == 3             ? value.valid_until_ms - now_ms
				: times[i] > 0 ? times[i]
					       : 0);
	}
}

static void
explain_breaker(struct buf *out, const char *name, const struct breaker *breaker,
    bool is_configured)
{
	char text[320], reason[200];
	int64_t probe_at_ms = breaker_probe_at(breaker);
	int len;

	breaker_last_failure(breaker, reason, sizeof(reason));
	len = snprintf(text, sizeof(text), "%s%s",
	    is_configured ? breaker_state_name(breaker_state(breaker)) : "not configured",
	    breaker_forced(breaker) != BREAKER_AUTO ? " (forced)" : "");
	if (breaker_state(breaker) != BREAKER_CLOSED && reason[0] != '\0')
		len += snprintf(text + len, sizeof(text) - (size_t)len, ": %s", reason);
	if (probe_at_ms != TIME_NEVER)
		snprintf(text + len, sizeof(text) - (size_t)len, "; next probe in %.1f s",
		    (double)(probe_at_ms - clock_mono_ms()) / 1000);
	reply_text(out, name);
	reply_text(out, text);
}

static void
do_explain(struct client *client, const struct slice *argv, size_t argc)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	const struct backends *backends = ladder->backends;
	int resp = client_session(client)->resp;
	struct buf *out = client_reply(client);
	struct question question;
	const char *why;

	(void)argc;
	reads_question(client, argv[2], &question);
	enum rung rung = ladder_would_answer(ladder, &question, &why);
	reply_map(out, resp, 13);
	reply_text(out, "map");
	reply_text(out, question.map != NULL ? question.map->settings->name : "none");
	reply_text(out, "id");
	if (question.map != NULL)
		reply_bulk(out, question.id);
	else
		reply_null(out, resp);
	explain_copy(out, resp, ladder, &question);
	reply_text(out, "journal");
	reply_text(out,
	    journal_has(backends->journal, argv[2]) ? "the copy in redis is not to be read" : "no");
	explain_breaker(out, "redis_breaker", backends->redis, backends->redis_target != NULL);
	explain_breaker(out, "postgres_breaker", backends->postgres, backends->has_postgres);
	reply_text(out, "rung");
	reply_text(out, rung_name(rung));
	reply_text(out, "why");
	reply_text(out, why);
}

/* ---- KEYS, FLUSH, WARM, BREAKER ---- */

static void
do_keys(struct client *client, const struct slice *argv, size_t argc)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	struct buf *out = client_reply(client);
	int64_t count = KEYS_DEFAULT;

	if (argc == 3 && (!slice_to_int64(argv[2], &count) || count < 0 || count > KEYS_MAX)) {
		reply_error(out, "ERR the number of keys is 0 to %d", KEYS_MAX);
		return;
	}
	struct cache_hot_key *keys = alloc_zero(((size_t)count + 1) * sizeof(*keys));
	size_t found = cache_hottest(ladder->backends->cache, keys, (size_t)count);
	reply_array(out, found);
	for (size_t i = 0; i < found; i++) {
		reply_array(out, 3);
		reply_bulk(out, slice_make(keys[i].key, keys[i].key_len));
		reply_integer(out, keys[i].hits);
		reply_integer(out, keys[i].bytes);
		free(keys[i].key);
	}
	free(keys);
}

static void
do_flush(struct client *client, const struct slice *argv, size_t argc)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	int64_t dropped = argc == 3 ? cache_drop_matching(ladder->backends->cache, argv[2])
				    : cache_drop_all(ladder->backends->cache);

	reply_integer(client_reply(client), dropped);
}

struct warm_request {
	struct warm_waiter waiter;
	struct slot *slot;
};

static void
on_warmed(struct warm_waiter *waiter, int64_t count, const char *problem)
{
	struct warm_request *request = (struct warm_request *)waiter;

	if (problem != NULL)
		reply_error(slot_out(request->slot), "ERR warm-up: %s", problem);
	else
		reply_integer(slot_out(request->slot), count);
	slot_done(request->slot);
	free(request);
}

static void
do_warm(struct client *client, const struct slice *argv, size_t argc)
{
	struct ladder_context *ladder = front_ladder(client_front(client));
	struct warm_request *request = alloc_zero(sizeof(*request));

	(void)argv, (void)argc;
	request->slot = slot_new(client);
	request->waiter.home = ladder->mailbox;
	request->waiter.done = on_warmed;
	warm_run(ladder->backends->warm, &request->waiter);
}

static void
do_breaker(struct client *client, const struct slice *argv, size_t argc)
{
	static const struct {
		const char *name;
		enum breaker_force force;
	} forces[] = {
		{ "OPEN", BREAKER_FORCE_OPEN },
		{ "CLOSE", BREAKER_FORCE_CLOSE },
		{ "AUTO", BREAKER_AUTO },
	};
	struct backends *backends = front_ladder(client_front(client))->backends;
	struct breaker *breaker = slice_equal_nocase(argv[2], SLICE("redis")) ? backends->redis
	    : slice_equal_nocase(argv[2], SLICE("postgres"))                  ? backends->postgres
									      : NULL;

	(void)argc;
	for (size_t i = 0; i < 3 && breaker != NULL; i++) {
		if (!slice_equal_nocase(argv[3], slice_of(forces[i].name)))
			continue;
		breaker_force(breaker, forces[i].force, clock_mono_ms());
		/* AUTO may change nothing yet, and still there is a probe to make. */
		keeper_on_breaker(backends->keeper, breaker);
		reply_simple(client_reply(client), "OK");
		return;
	}
	reply_error(client_reply(client),
	    "ERR syntax error: SIDECAR BREAKER redis|postgres OPEN|CLOSE|AUTO");
}

static void do_help(struct client *client, const struct slice *argv, size_t argc);

static const struct sidecar_command {
	const char *name;
	size_t min_argc, max_argc;
	void (*handle)(struct client *client, const struct slice *argv, size_t argc);
	const char *usage, *help;
} sidecar_commands[] = {
	{ "STATUS", 2, 2, do_status, "STATUS",
	    "State of the backends, the cache and the process." },
	{ "GET", 3, 3, do_get, "GET <key>",
	    "What GET would answer, from which rung, how old in ms." },
	{ "EXPLAIN", 3, 3, do_explain, "EXPLAIN <key>", "Which rung would answer, and why." },
	{ "KEYS", 2, 3, do_keys, "KEYS [<n>]", "The n hottest cached keys with hits and bytes." },
	{ "FLUSH", 2, 3, do_flush, "FLUSH [<pattern>]", "Drops keys from memory only." },
	{ "WARM", 2, 2, do_warm, "WARM", "Runs the warm-up again." },
	{ "BREAKER", 4, 4, do_breaker, "BREAKER redis|postgres OPEN|CLOSE|AUTO",
	    "Forces a backend down or up, for drills." },
	{ "HELP", 2, 2, do_help, "HELP", "This help." },
};

#define SIDECAR_COMMANDS (sizeof(sidecar_commands) / sizeof(sidecar_commands[0]))

static void
do_help(struct client *client, const struct slice *argv, size_t argc)
{
	struct buf *out = client_reply(client);
	char line[160];

	(void)argv, (void)argc;
	reply_array(out, SIDECAR_COMMANDS * 2 + 1);
	reply_simple(out, "SIDECAR <subcommand> [<arg> ...]. Subcommands are:");
	for (size_t i = 0; i < SIDECAR_COMMANDS; i++) {
		reply_simple(out, sidecar_commands[i].usage);
		snprintf(line, sizeof(line), "    %s", sidecar_commands[i].help);
		reply_simple(out, line);
	}
}

void
sidecar_handle(struct client *client, const struct request_parser *parser)
{
	struct slice name = parser->argc > 1 ? parser->argv[1] : SLICE_NONE;

	for (size_t i = 0; i < SIDECAR_COMMANDS && parser->argc > 1; i++) {
		const struct sidecar_command *command = &sidecar_commands[i];
		if (!slice_equal_nocase(name, slice_of(command->name)))
			continue;
		if (parser->argc < command->min_argc || parser->argc > command->max_argc)
			reply_error(client_reply(client),
			    "ERR wrong number of arguments for 'sidecar|%s' command",
			    command->name);
		else
			command->handle(client, parser->argv, parser->argc);
		return;
	}
	if (parser->argc == 1)
		reply_error(client_reply(client),
		    "ERR wrong number of arguments for 'sidecar' command");
	else
		reply_error(client_reply(client),
		    "ERR unknown subcommand '%.*s'. Try SIDECAR HELP.", (int)name.len, name.at);
}
