/* See redis_greeting.h. Pure. */
#include "upstream/redis_greeting.h"

#include <stdio.h>

#include "base/resp.h"

#define MAX_WORDS 8

/* Appends one command as a RESP array of bulk strings. */
static void
append_command(struct buf *out, const struct slice *words, int count)
{
	resp_append_header(out, '*', (uint64_t)count);
	for (int i = 0; i < count; i++)
		resp_append_bulk(out, words[i]);
}

static struct slice
password_of(const struct redis_access *access)
{
	return slice_make(access->password, access->password_len);
}

static void
say_hello(struct redis_greeting *greeting, struct buf *out)
{
	const struct redis_access *access = greeting->access;
	struct slice words[MAX_WORDS];
	int count = 0;

	words[count++] = SLICE("HELLO");
	words[count++] = greeting->resp_version == 3 ? SLICE("3") : SLICE("2");
	if (access->password != NULL) {
		words[count++] = SLICE("AUTH");
		words[count++] = slice_of(access->user != NULL ? access->user : "default");
		words[count++] = password_of(access);
	}
	if (greeting->name != NULL && !greeting->is_name_refused) {
		words[count++] = SLICE("SETNAME");
		words[count++] = slice_of(greeting->name);
	}
	append_command(out, words, count);
}

/* For Redis 5, which knows one user only, and him without a name. */
static void
say_auth(struct redis_greeting *greeting, struct buf *out)
{
	const char *user = greeting->access->user;
	bool has_user = user != NULL && strcmp(user, "default") != 0;
	struct slice with_user[] = { SLICE("AUTH"), slice_of(user), password_of(greeting->access) };
	struct slice alone[] = { SLICE("AUTH"), password_of(greeting->access) };

	append_command(out, has_user ? with_user : alone, has_user ? 3 : 2);
}

static void
say_select(struct redis_greeting *greeting, struct buf *out)
{
	char number[16];
	struct slice words[] = { SLICE("SELECT"), SLICE_NONE };

	words[1] =
	    slice_make(number, (size_t)snprintf(number, sizeof(number), "%d", greeting->database));
	append_command(out, words, 2);
}

static void
say(struct redis_greeting *greeting, struct buf *out)
{
	struct slice name[] = { SLICE("CLIENT"), SLICE("SETNAME"), slice_of(greeting->name) };
	struct slice id[] = { SLICE("CLIENT"), SLICE("ID") };

	switch (greeting->await) {
	case AWAIT_HELLO:
		say_hello(greeting, out);
		break;
	case AWAIT_AUTH:
		say_auth(greeting, out);
		break;
	case AWAIT_NAME:
		append_command(out, name, 3);
		break;
	case AWAIT_ID:
		append_command(out, id, 2);
		break;
	case AWAIT_SELECT:
		say_select(greeting, out);
		break;
	case AWAIT_NOTHING:
		break;
	}
}

/* Whether this greeting has that command in it. */
static bool
is_needed(const struct redis_greeting *greeting, enum greeting_await await)
{
	switch (await) {
	case AWAIT_HELLO:
		return true;
	case AWAIT_AUTH:
		return greeting->is_hello_unknown && greeting->access->password != NULL;
	case AWAIT_NAME:
		return greeting->name != NULL &&
		    (greeting->is_hello_unknown || greeting->is_name_refused);
	case AWAIT_ID:
		return greeting->is_hello_unknown;
	case AWAIT_SELECT:
		return greeting->database != 0;
	case AWAIT_NOTHING:
		return true;
	}
	return false;
}

static enum greeting_step
go_on(struct redis_greeting *greeting, struct buf *out)
{
	do
		greeting->await++;
	while (!is_needed(greeting, greeting->await));
	say(greeting, out);
	return greeting->await == AWAIT_NOTHING ? GREETING_DONE : GREETING_SEND;
}

void
redis_greeting_start(struct redis_greeting *greeting, struct buf *out)
{
	greeting->await = AWAIT_HELLO;
	greeting->client_id = 0;
	say(greeting, out);
}

/* The number of a reply ":17", else 0. */
static int64_t
number_of(struct slice reply)
{
	int64_t number;
	size_t len;
	char type;

	return resp_header(reply, &type, &number, &len) && type == ':' ? number : 0;
}

/*
 * Finds "id" among HELLO's names and values: a map in RESP3, a flat array in
 * RESP2. The reply was found whole, so that what it names is there.
 */
static int64_t
client_id_of(struct slice reply)
{
	bool is_id = false;
	int64_t number;
	size_t len;
	char type;

	if (!resp_header(reply, &type, &number, &len))
		return 0;
	int64_t left = type == '%' ? number * 2 : number;
	for (bool is_name = true; left > 0; left--, is_name = !is_name) {
		struct resp_scan scan;

		reply = slice_make(reply.at + len, reply.len - len);
		resp_scan_start(&scan);
		if (resp_scan(&scan, reply) != RESP_WHOLE)
			return 0;
		if (!is_name && is_id)
			return number_of(reply);
		len = scan.at;
		is_id = is_name && slice_equal(slice_make(reply.at, len), SLICE("$2\r\nid\r\n"));
	}
	return 0;
}

static enum greeting_step
fail_by_error(struct redis_failure *failure, enum greeting_await await, struct slice reply)
{
	char code[REDIS_ERROR_CODE_SIZE];
	int kind = redis_error_kind(reply);

	redis_error_code(reply, code);
	if (kind == FAILURE_QUOTA)
		redis_fail(failure, FAILURE_QUOTA, "over its quota (%s)", code);
	else if (kind == FAILURE_LOADING && redis_error_says(reply, "max number of clients"))
		redis_fail(failure, FAILURE_LOADING, "max number of clients reached");
	else if (kind == FAILURE_LOADING)
		redis_fail(failure, FAILURE_LOADING, "not ready (%s)", code);
	else if (await == AWAIT_SELECT && kind < 0)
		redis_fail(failure, FAILURE_PROTOCOL, "SELECT refused (%s)", code);
	else if (strcmp(code, "DENIED") == 0)
		redis_fail(failure, FAILURE_AUTH, "refused by protected mode (DENIED)");
	else
		redis_fail(failure, FAILURE_AUTH, "authentication failed (%s)", code);
	return GREETING_FAILED;
}

static enum greeting_step
hello_refused(struct redis_greeting *greeting, struct slice reply, struct buf *out,
    struct redis_failure *failure)
{
	char code[REDIS_ERROR_CODE_SIZE];

	redis_error_code(reply, code);
	if (redis_error_kind(reply) >= 0 || strcmp(code, "NOPERM") == 0)
		return fail_by_error(failure, AWAIT_HELLO, reply);
	if (!redis_error_says(reply, "unknown command") && strcmp(code, "NOPROTO") != 0 &&
	    greeting->name != NULL && !greeting->is_name_refused) {
		greeting->is_name_refused = true;
		say(greeting, out);
		return GREETING_SEND;
	}
	if (greeting->resp_version == 3) {
		redis_fail(failure, FAILURE_PROTOCOL, "HELLO 3 is not supported (%s)", code);
		return GREETING_FAILED;
	}
	greeting->is_hello_unknown = true;
	return go_on(greeting, out);
}

static enum greeting_step
hello_answered(struct redis_greeting *greeting, char type, struct slice reply, struct buf *out,
    struct redis_failure *failure)
{
	char wanted = greeting->resp_version == 3 ? '%' : '*';

	if (type != wanted) {
		redis_fail(failure, FAILURE_PROTOCOL, "HELLO %d was not answered as RESP%d",
		    greeting->resp_version, greeting->resp_version);
		return GREETING_FAILED;
	}
	greeting->client_id = client_id_of(reply);
	return go_on(greeting, out);
}

enum greeting_step
redis_greeting_reply(struct redis_greeting *greeting, char type, struct slice reply,
    struct buf *out, struct redis_failure *failure)
{
	bool is_error = type == '-' || type == '!';

	switch (greeting->await) {
	case AWAIT_HELLO:
		if (is_error)
			return hello_refused(greeting, reply, out, failure);
		return hello_answered(greeting, type, reply, out, failure);
	case AWAIT_AUTH:
	case AWAIT_SELECT:
		if (is_error)
			return fail_by_error(failure, greeting->await, reply);
		return go_on(greeting, out);
	case AWAIT_ID:
		greeting->client_id = number_of(reply);
		return go_on(greeting, out);
	case AWAIT_NAME: /* a name is a courtesy: refused, we go without */
		/* But without a password Redis 5 first says here that it wants one. */
		if (is_error && redis_error_kind(reply) >= 0)
			return fail_by_error(failure, greeting->await, reply);
		return go_on(greeting, out);
	case AWAIT_NOTHING:
		break;
	}
	return GREETING_DONE;
}
