/* See session_exec.h. */
#include "front/session_exec.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/resp.h"
#include "front/client_command.h"
#include "front/local.h"

bool
exec_may_defer(const struct request_parser *parser)
{
	if (slice_equal_nocase(parser->argv[0], SLICE("CLIENT")))
		return parser->argc > 1 && client_command_is_whole(parser);
	return slice_equal_nocase(parser->argv[0], SLICE("HELLO")) || parser->argc > 1;
}

struct deferred *
deferred_new(struct slice raw)
{
	struct deferred *deferred = alloc_zero(sizeof(*deferred));

	buf_append_slice(&deferred->raw, raw);
	return deferred;
}

void
deferred_free(struct deferred *first)
{
	while (first != NULL) {
		struct deferred *deferred = first;
		first = first->next;
		buf_free(&deferred->raw);
		free(deferred);
	}
}

static void
run(struct client *client, const struct deferred *deferred)
{
	struct request_parser parser = { 0 };
	struct request_progress progress = { 0 };
	struct request_limits limits = { .max_bytes = INT64_MAX, .max_args = INT32_MAX };

	/* It has been parsed once, so it can be parsed again. */
	if (request_parse(&parser, &progress, &limits, buf_slice(&deferred->raw)) == REQUEST_WHOLE)
		local_handle(client, &parser);
	request_parser_free(&parser);
}

/* Takes the first value off. */
static struct slice
take_value(struct slice *rest)
{
	struct resp_scan scan;
	struct slice value = *rest;

	resp_scan_start(&scan);
	if (resp_scan(&scan, value) == RESP_WHOLE)
		value.len = scan.at;
	*rest = slice_make(rest->at + value.len, rest->len - value.len);
	return value;
}

static void
write_values(struct client *client, const struct deferred *deferred, struct slice rest)
{
	for (int64_t index = 0; rest.len > 0; index++) {
		struct slice value = take_value(&rest);

		if (deferred != NULL && deferred->index == index) {
			run(client, deferred);
			deferred = deferred->next;
		} else {
			buf_append_slice(client_reply(client), value);
		}
	}
}

void
exec_write(struct client *client, const struct deferred *deferred, struct slice reply,
    bool is_silent)
{
	enum replies *replies = &client_session(client)->replies;
	bool is_skipped = is_silent && *replies == REPLIES_ON;
	size_t header;
	int64_t count;
	char type;

	if (is_skipped)
		*replies = REPLIES_SKIP;
	bool is_array = resp_header(reply, &type, &count, &header) && type == '*' && count > 0;
	buf_append(client_reply(client), reply.at, is_array ? header : reply.len);
	if (is_array)
		write_values(client, deferred, slice_make(reply.at + header, reply.len - header));
	if (is_skipped && *replies == REPLIES_SKIP)
		*replies = REPLIES_ON;
	else if (*replies == REPLIES_SKIP_NEXT)
		*replies = REPLIES_SKIP; /* EXEC was the command that said so */
}
