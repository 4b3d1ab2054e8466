/* What a session's state says of MULTI's queue and of tracking, and how ids of
 * Redis in its replies become the sidecar's. */
#include "front/session_state.h"

#include "../test.h"

#define MAX_WORDS 16

static struct session_state state;
static struct session_effect effect;

static void
read_words(const char *line)
{
	static char text[256];
	struct slice argv[MAX_WORDS];
	struct request_parser parser = { .argv = argv };

	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
		argv[parser.argc++] = slice_of(word);
	session_effect_of(&parser, command_find(argv, parser.argc), &effect);
}

static void
answered(const char *line, const char *reply)
{
	read_words(line);
	session_state_sent(&state, &effect);
	session_state_reply(&state, &effect, 2, reply[0], slice_of(reply));
}

static const char *
copied(const char *reply, bool is_answer)
{
	static struct buf out;

	buf_reset(&out);
	session_state_copy(&state, is_answer ? &effect : NULL, slice_of(reply), &out);
	buf_append(&out, "", 1);
	return out.at + out.start;
}

static void
start(void)
{
	state = (struct session_state){ 0 };
}

TEST(queued_commands_are_counted_since_multi_and_refused_ones_are_not)
{
	start();
	answered("MULTI", "+OK\r\n");
	answered("GET a", "+QUEUED\r\n");
	answered("NOSUCH", "-ERR unknown command\r\n");
	answered("CLIENT ID", "+QUEUED\r\n");
	CHECK(state.is_in_multi);
	CHECK_INT(state.queued, 2);
	answered("MULTI", "-ERR MULTI calls can not be nested\r\n");
	CHECK_INT(state.queued, 2);
	answered("EXEC", "*-1\r\n");
	CHECK(!state.is_in_multi);
	answered("MULTI", "+OK\r\n");
	CHECK_INT(state.queued, 0);
}

TEST(tracking_is_noted_when_redis_agrees)
{
	start();
	read_words("CLIENT TRACKING ON BCAST REDIRECT 170");
	effect.redirect = 17;
	session_state_reply(&state, &effect, 2, '-', SLICE("-ERR no\r\n"));
	CHECK(!state.is_tracking && !state.is_broadcast && state.redirect == 0);
	session_state_reply(&state, &effect, 2, '+', SLICE("+OK\r\n"));
	CHECK(state.is_tracking && state.is_broadcast && state.redirect == 17);
	CHECK(session_state_is_kept(&state));
	answered("CLIENT TRACKING OFF", "+OK\r\n");
	CHECK(!state.is_tracking && !state.is_broadcast && state.redirect == 0);
	CHECK(!session_state_is_kept(&state));
}

TEST(who_others_redirect_to_keeps_its_connection)
{
	start();
	state.is_target = true;
	CHECK(session_state_is_kept(&state));
}

TEST(the_targets_id_in_tracking_info_becomes_ours)
{
	start();
	state.redirect = 7;
	read_words("CLIENT TRACKINGINFO");
	CHECK_TEXT(copied("*4\r\n$5\r\nflags\r\n*0\r\n$8\r\nredirect\r\n:4711\r\n", true),
	    "*4\r\n$5\r\nflags\r\n*0\r\n$8\r\nredirect\r\n:7\r\n");
	CHECK_TEXT(copied("-ERR no\r\n", true), "-ERR no\r\n");
	read_words("GET a");
	CHECK_TEXT(copied("$14\r\n$8\r\nredirect\r\n:4711\r\n", true),
	    "$14\r\n$8\r\nredirect\r\n:4711\r\n"); /* a value that looks like it */
}

TEST(the_id_of_a_broken_redirection_becomes_ours_in_pushes_only)
{
	const char *push = ">2\r\n$21\r\ntracking-redir-broken\r\n:4711\r\n";

	start();
	state.redirect = 123456;
	CHECK_TEXT(copied(push, false), ">2\r\n$21\r\ntracking-redir-broken\r\n:123456\r\n");
	read_words("LRANGE a 0 -1");
	CHECK_TEXT(copied("*1\r\n$21\r\ntracking-redir-broken\r\n:4711\r\n", true),
	    "*1\r\n$21\r\ntracking-redir-broken\r\n:4711\r\n");
	const char *message = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$32\r\n$21\r\n"
			      "tracking-redir-broken\r\n:4711\r\n\r\n";
	CHECK_TEXT(copied(message, false), message);
	read_words("CLIENT TRACKINGINFO");
	CHECK_TEXT(copied(message, true), message);
	state.redirect = 0;
	CHECK_TEXT(copied(push, false), push);
}

/* What session_may_be_needed() rules out must have no effect, whatever words follow. */
static const struct command_info table[] = {
#define KEYS_RANGE(...) \
	{ \
		0 \
	}
#define KEYS_COUNTED(...) \
	{ \
		0 \
	}
#define KEYS_ANYWHERE \
	{ \
		0 \
	}
#include "../../../proxy/wire/commands.inc"
};

TEST(a_plain_read_or_write_needs_no_session_whatever_its_words)
{
	static const char *const words[] = { "", " 5", " kill", " k block 0", " k on bcast" };
	size_t count = sizeof(table) / sizeof(table[0]), ruled_out = 0;

	for (size_t i = 0; i < count; i++) {
		if (session_may_be_needed(&table[i]) || strchr(table[i].name, '|') != NULL)
			continue;
		ruled_out++;
		for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++) {
			char line[100];
			snprintf(line, sizeof(line), "%s%s", table[i].name, words[w]);
			read_words(line);
			CHECK(!effect.may_block && !effect.needs_session);
		}
	}
	CHECK(ruled_out > 100 && ruled_out < count - 40);
}

TEST_MAIN
