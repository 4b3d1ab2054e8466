/*
 * The command table: what the proxy has to know of a command to route it.
 * Generated from a real server's COMMAND (make_commands.py); a command that
 * is not in it is forwarded, and taken to write whatever its arguments name.
 */
#ifndef SIDECAR_WIRE_COMMANDS_H
#define SIDECAR_WIRE_COMMANDS_H

#include "base/slice.h"

enum command_class {
	COMMAND_LOCAL,     /* about this connection: answered here, up or down */
	COMMAND_READ_KEY,  /* reads argv[1]: the same words give the same answer until
	                      that key changes */
	COMMAND_READ,      /* reads several keys, or the time, or chance */
	COMMAND_READ_MANY, /* MGET: key by key */
	COMMAND_WRITE,     /* its keys are dropped when it is sent, and when it is answered */
	COMMAND_SESSION,   /* leaves state on the connection, or blocks */
	COMMAND_FLUSH,     /* may change any key */
	COMMAND_FORWARD,   /* neither reads nor writes keys that matter here */
};

enum keys_kind { KEYS_NONE, KEYS_IN_RANGE, KEYS_BY_COUNT, KEYS_IN_ANY_PLACE };

/* Redis's key specifications (https://redis.io/docs/reference/key-specs/). */
struct key_spec {
	enum keys_kind kind;
	const char *keyword; /* NULL: `start` is an index; else where to search from */
	int16_t start;
	int16_t a, b, c; /* range: last, step, limit. count: where, first, step */
};

#define COMMAND_MAX_SPECS 2

struct command_info {
	const char *name; /* lower case; "client|id" for a subcommand */
	int16_t arity;    /* of all words; negative: at least */
	enum command_class class;
	bool may_block; /* with BLOCK among its arguments */
	struct key_spec specs[COMMAND_MAX_SPECS];
};

/* By the first word, or the first two; NULL: unknown. Case does not matter. */
const struct command_info *command_find(const struct slice *argv, size_t argc);

/* Calls `on_key` for each key that the command may write; with `info` NULL
 * (unknown) or keys in any place, for each argument. */
void command_each_written_key(const struct command_info *info, const struct slice *argv,
    size_t argc, void (*on_key)(struct slice key, void *arg), void *arg);

#endif
