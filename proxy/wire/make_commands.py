#!/usr/bin/python3
"""Writes commands.inc from a real server's COMMAND.

    redis-server --port 7999 --save '' &
    proxy/wire/make_commands.py 7999 > proxy/wire/commands.inc

One line a command (and one a subcommand, "client|id"): its name, arity, class
and where the keys stand that it may write. wire/commands.h says what the
classes mean; the few that flags alone do not tell are named below.
"""
import sys

import redis

LOCAL = set("ping echo hello auth select quit reset client sync psync replconf".split())
SESSION = set(
    "multi exec discard watch unwatch subscribe psubscribe ssubscribe unsubscribe"
    " punsubscribe sunsubscribe monitor wait waitaof readonly"
    " readwrite asking blpop brpop brpoplpush blmove blmpop bzpopmin bzpopmax"
    " bzmpop script|debug".split()
)
FLUSH = set("flushall flushdb swapdb".split())
# These write though their flags do not say so, or write keys they do not name.
WRITES = set("eval evalsha fcall pfcount".split())  # PFCOUNT keeps its count in the value
CHANGES_ANYTHING = set("debug restore-asking function|flush".split())


KEEPS_KEYS = ("COMMAND_WRITE", "COMMAND_SESSION")


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def key_spec(spec):
    spec = pairs(spec)
    flags = spec["flags"]
    if not {"RW", "OW", "RM"} & set(flags):
        return None
    begin, find = pairs(spec["begin_search"]), pairs(spec["find_keys"])
    if "unknown" in (begin["type"], find["type"]) or "incomplete" in flags:
        return "KEYS_ANYWHERE"
    begin_at, keys = pairs(begin["spec"]), pairs(find["spec"])
    if begin["type"] == "index":
        start = "NULL, %d" % begin_at["index"]
    else:
        start = '"%s", %d' % (begin_at["keyword"], begin_at["startfrom"])
    if find["type"] == "range":
        return "KEYS_RANGE(%s, %d, %d, %d)" % (
            start, keys["lastkey"], keys["keystep"], keys["limit"])
    return "KEYS_COUNTED(%s, %d, %d, %d)" % (
        start, keys["keynumidx"], keys["firstkey"], keys["keystep"])


# Answered by the sidecar; Redis has no such command.
OURS = [("cl.throttle", '{ "cl.throttle", -1, COMMAND_LOCAL, false, { { 0 } } },')]


def reads_one_key(row):
    """Its answer depends on the key at argv[1] and on nothing else."""
    specs = row[8]
    return ("readonly" in row[2] and len(specs) == 1 and row[3] == 1 and row[4] == 1
            and not {"movablekeys", "blocking"} & set(row[2])
            and "nondeterministic_output" not in row[7])


def classify(name, flags):
    top = name.split("|")[0]
    if name in SESSION:
        return "COMMAND_SESSION"
    if top in LOCAL:
        return "COMMAND_LOCAL"
    if name in FLUSH:
        return "COMMAND_FLUSH"
    if name in CHANGES_ANYTHING:
        return "COMMAND_FLUSH"
    if name == "mget":
        return "COMMAND_READ_MANY"
    if name in WRITES or "write" in flags:
        return "COMMAND_WRITE"
    if "readonly" in flags:
        return "COMMAND_READ"
    return "COMMAND_FORWARD"


def line(row):
    name, arity, flags, specs = row[0].lower(), row[1], row[2], row[8]
    kind = classify(name, flags)
    if kind == "COMMAND_READ" and reads_one_key(row):
        kind = "COMMAND_READ_KEY"
    keys = [k for k in map(key_spec, specs) if k] if kind in KEEPS_KEYS else []
    if "KEYS_ANYWHERE" in keys:
        keys = ["KEYS_ANYWHERE"]
    may_block = "blocking" in flags and kind != "COMMAND_SESSION"
    return '{ "%s", %d, %s, %s, { %s } },' % (
        name, arity, kind, "true" if may_block else "false",
        ", ".join(keys) if keys else "{ 0 }")


def main():
    server = redis.Redis(port=int(sys.argv[1]), decode_responses=True)
    server.set_response_callback("COMMAND", lambda reply, **options: reply)
    lines = list(OURS)
    for row in server.execute_command("COMMAND"):
        lines.append((row[0], line(row)))
        for sub in row[9]:
            lines.append((sub[0], line(sub)))
    print("/* From redis %s by make_commands.py; not edited by hand. */"
          % server.info("server")["redis_version"])
    for _, text in sorted(lines, key=lambda entry: entry[0]):
        print(text)


main()
