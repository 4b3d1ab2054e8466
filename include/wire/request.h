/*
 * The request parser: RESP arrays of bulk strings, and inline commands, with
 * Redis's own limits and error texts. Parses in place: an argument is a slice
 * of the bytes given.
 *
 * Pure. One parser a worker holds the words of the command parsed last; what
 * a client needs to go on later is in its struct request_progress.
 */
#ifndef SIDECAR_WIRE_REQUEST_H
#define SIDECAR_WIRE_REQUEST_H

#include "base/buf.h"

enum request_parse {
	REQUEST_WHOLE,
	REQUEST_PARTIAL,
	REQUEST_BROKEN, /* answer parser->error and hang up */
};

struct request_limits {
	int64_t max_bytes; /* of one command, and of one argument */
	int64_t max_args;
	bool is_stranger; /* not authenticated yet: Redis's small limits apply */
};

/* Where parsing of an unfinished command stopped; all zero: at its start. */
struct request_progress {
	size_t at;
	int64_t args_left;
};

struct request_parser {
	struct slice *argv;
	size_t argc, room;
	size_t len;       /* bytes of the whole command */
	struct slice raw; /* the command as a RESP array, ready to forward */
	char error[128];  /* without the leading '-' */

	struct buf words; /* inline commands: the unquoted words */
	struct buf inline_raw;
};

/*
 * Parses the command that starts at bytes.at. argc 0 with REQUEST_WHOLE is an
 * empty command: Redis ignores it. argv and raw are valid until the bytes
 * move or the next call.
 */
enum request_parse request_parse(struct request_parser *parser, struct request_progress *progress,
    const struct request_limits *limits, struct slice bytes);

/*
 * The command that most of all is sent, without the rest: a whole "GET key"
 * at bytes.at, in either case, with a key of less than 1000 bytes (so that it
 * is within all limits). Returns its length; 0: request_parse() it.
 */
size_t request_get(struct slice bytes, struct slice *key);
void request_parser_free(struct request_parser *parser);

/* Appends a RESP array made of the words; for commands that we make up. */
void request_append(struct buf *out, const struct slice *argv, size_t argc);

#endif
