"""The same random commands to Redis directly and through the sidecar to another Redis: the same
bytes come back.

Three connections take turns, in both protocols, one command at a time and in pipelines; reads come
twice and more, so that memory answers them, too. The seed is printed, and the sequence depends on
nothing else:

  SIDECAR_DIFFERENTIAL_SEED=7 SIDECAR_DIFFERENTIAL_SECONDS=600 tests/run integration -k differential

What is not compared byte by byte, and why:

- the order of sets, large hashes and keys: each Redis hashes with a seed of its own. Marked `~`
  (elements) and `%` (pairs): compared in sorted order;
- cursors of SCAN, SSCAN and the like, for the same reason: whole iterations are compared, sorted;
- TTL, PTTL: the two servers are asked at different moments. Marked `=`: 1 % of tolerance;
- RANDOMKEY, SRANDMEMBER and SPOP of some, HRANDFIELD, ZRANDMEMBER, XADD *, TIME, LASTSAVE, OBJECT
  IDLETIME and FREQ, MEMORY, INFO, CLIENT ID and LIST, the id in HELLO: chance, time or identity;
- DBSIZE: it counts keys past their expiry until Redis comes to remove them;
- a key within a few milliseconds of its expiry: both servers get time for it.
"""

import hashlib
import os
import random
import re
import time

import pytest

import resp
from sidecar import slowness

SEED = int(os.environ.get("SIDECAR_DIFFERENTIAL_SEED") or random.SystemRandom().randrange(10 ** 6))
SECONDS = float(os.environ.get("SIDECAR_DIFFERENTIAL_SECONDS") or 1)

# One shape of a command a line. [this or not] (this|or that) {of this kind}. {s}, {h}, {l}, {S},
# {z}, {x}, {b}, {g}, {p} are keys of strings, hashes, lists, sets, sorted sets, streams, bitmaps,
# places and HyperLogLogs (now and then of another type); {k} is any of these. {y} are sorted sets
# with one score only: elsewhere Redis leaves open what a range BYLEX is.
WRITES = """
SET {s} {v}
SET {s} {v} [NX] [GET]
SET {s} {v} XX
SET {s} {v} (EX|PX|EXAT|PXAT) {far}
SET {s} {v} KEEPTTL
SET {s} {v} EX (0|-1|abc)
SET {s} {v} NX XX
SETEX {s} {far} {v}
PSETEX {s} {far}000 {v}
SETNX {s} {v}
GETSET {s} {v}
GETDEL {s}
GETEX {s} [PERSIST]
GETEX {s} (EX|PX) {far}
APPEND {s} {v}
SETRANGE {s} {off} {v}
(INCR|DECR) {s}
(INCRBY|DECRBY) {s} {n}
INCRBYFLOAT {s} {score}
MSET {s} {v} {s} {v}
MSET {s} {v} {s}
MSETNX {s} {v} {k} {v}
SET {s} {number}
SETBIT {b} {off} (0|1|2)
BITOP (AND|OR|XOR) {b} {b} {b}
BITOP NOT {b} {b}
BITFIELD {b} SET u8 {off} {n}
BITFIELD {b} OVERFLOW (SAT|FAIL|WRAP) INCRBY i5 {off} {n}
BITFIELD {b} GET u4 {off} INCRBY u2 1 1
HSET {h} {f} {v}
HSET {h} {f} {v} {f} {v} {f} {number}
HSET {h} {f}
HSETNX {h} {f} {v}
HMSET {h} {f} {v} {f} {v}
HINCRBY {h} {f} {n}
HINCRBYFLOAT {h} {f} {score}
HDEL {h} {f} [{f}]
(LPUSH|RPUSH) {l} {v} [{v}] [{v}]
(LPUSHX|RPUSHX) {l} {v}
(LPOP|RPOP) {l}
(LPOP|RPOP) {l} {n}
LSET {l} {i} {v}
LINSERT {l} (BEFORE|AFTER) {v} {v}
LREM {l} {n} {v}
LTRIM {l} {i} {i}
RPOPLPUSH {l} {l}
LMOVE {l} {l} (LEFT|RIGHT) (LEFT|RIGHT)
LMPOP 2 {l} {l} (LEFT|RIGHT) [COUNT 2]
SADD {S} {m} [{m}] [{m}]
SADD {S} {number} {number}
SREM {S} {m} [{m}]
SMOVE {S} {S} {m}
~SPOP {S} 100000
(SINTERSTORE|SUNIONSTORE|SDIFFSTORE) {S} {S} {S}
ZADD {z} {score} {m}
ZADD {z} {score} {m} {score} {m}
ZADD {z} (NX|XX|GT|LT) [CH] {score} {m}
ZADD {z} INCR {score} {m}
ZADD {z} NX GT {score} {m}
ZINCRBY {z} {score} {m}
ZREM {z} {m} [{m}]
(ZPOPMIN|ZPOPMAX) {z} [{n}]
ZMPOP 2 {z} {z} (MIN|MAX) [COUNT 2]
ZREMRANGEBYRANK {z} {i} {i}
ZREMRANGEBYSCORE {z} {bound} {bound}
ZADD {y} 0 {m} 0 {m} 0 {m}
ZREM {y} {m}
ZREMRANGEBYLEX {y} {lex} {lex}
(ZUNIONSTORE|ZINTERSTORE) {z} 2 {z} {z} [WEIGHTS 2 3] [AGGREGATE (MIN|MAX|SUM)]
ZDIFFSTORE {z} 2 {z} {z}
ZRANGESTORE {z} {z} {i} {i}
ZRANGESTORE {z} {z} {bound} {bound} BYSCORE [LIMIT 0 2]
GEOADD {g} {lon} {lat} {m}
GEOADD {g} (NX|XX|CH) {lon} {lat} {m} {lon} {lat} {m}
GEOADD {g} 200 {lat} {m}
GEOSEARCHSTORE {g} {g} FROMLONLAT {lon} {lat} BYRADIUS 500 km
XADD {x} {id} {f} {v}
XADD {x} MAXLEN [~] 5 {id} {f} {v} {f} {v}
XADD {x} NOMKSTREAM {id} {f} {v}
XADD {x} {id} {f}
XDEL {x} {id}
XTRIM {x} (MAXLEN|MINID) {count}
XSETID {x} 9999-9
XGROUP CREATE {x} {group} (0|$) [MKSTREAM]
XGROUP (DESTROY|SETID) {x} {group} [0]
XGROUP (CREATECONSUMER|DELCONSUMER) {x} {group} me
XREADGROUP GROUP {group} me [COUNT 2] STREAMS {x} (>|0)
XACK {x} {group} {id}
XCLAIM {x} {group} other 0 {id} JUSTID
XAUTOCLAIM {x} {group} other 0 0 JUSTID
PFADD {p} {m} [{m}]
PFMERGE {p} {p} {p}
DEL {k} [{k}]
UNLINK {k} [{k}]
(RENAME|RENAMENX) {k} {k}
COPY {k} {k} [REPLACE]
COPY {k} {k} DB 1 REPLACE
MOVE {k} 1
(EXPIRE|PEXPIRE) {k} {far} [(NX|XX|GT|LT)]
(EXPIREAT|PEXPIREAT) {k} {date}
EXPIRE {k} (0|-1|abc)
PERSIST {k}
TOUCH {k} {k}
SORT {l} ALPHA STORE {l}
SORT {S} ALPHA LIMIT 0 3 STORE {l}
RESTORE {k} 0 {v}
RESTORE {k} 0 {dump} REPLACE
EVAL {set} 1 {k} {v}
EVAL {push} 1 {l} {v}
EVAL {both} 2 {s} {h} {v}
EVAL {wrong} 1 {s}
EVAL {pcall} 1 {s}
EVALSHA {sha} 1 {k} {v}
FCALL put 1 {s} {v}
PUBLISH channel {v}
"""

READS = """
GET {s}
GET {s} {s}
GET
MGET {s} [{s}] [{k}]
STRLEN {s}
GETRANGE {s} {i} {i}
SUBSTR {s} 0 {i}
LCS {s} {s} [LEN] [IDX]
GETBIT {b} {off}
BITCOUNT {b} [{i} {i}]
BITCOUNT {b} {i} {i} (BYTE|BIT)
BITPOS {b} (0|1) [{i}]
BITFIELD_RO {b} GET u8 {off} GET i3 {off}
BITFIELD {b} GET u8 {off}
HGET {h} {f}
HMGET {h} {f} {f}
%HGETALL {h}
~HKEYS {h}
~HVALS {h}
HLEN {h}
HEXISTS {h} {f}
HSTRLEN {h} {f}
%HRANDFIELD {h} 100000 WITHVALUES
LRANGE {l} {i} {i}
LRANGE {l} 0 -1
LINDEX {l} {i}
LLEN {l}
LPOS {l} {v} [RANK {n}] [COUNT 0] [MAXLEN 10]
~SMEMBERS {S}
SISMEMBER {S} {m}
SMISMEMBER {S} {m} {m}
SCARD {S}
~(SINTER|SUNION|SDIFF) {S} {S}
SINTERCARD 2 {S} {S} [LIMIT 2]
~SRANDMEMBER {S} 100000
ZSCORE {z} {m}
ZMSCORE {z} {m} {m}
ZCARD {z}
ZCOUNT {z} {bound} {bound}
ZLEXCOUNT {y} {lex} {lex}
ZLEXCOUNT {s} - +
(ZRANK|ZREVRANK) {z} {m}
ZRANGE {z} {i} {i} [REV] [WITHSCORES]
ZRANGE {z} 0 -1 [WITHSCORES]
ZRANGE {z} {bound} {bound} BYSCORE [REV] [LIMIT 0 2] [WITHSCORES]
ZRANGE {y} {lex} {lex} BYLEX [REV]
ZREVRANGE {z} {i} {i} [WITHSCORES]
(ZRANGEBYSCORE|ZREVRANGEBYSCORE) {z} {bound} {bound} [WITHSCORES] [LIMIT 1 2]
(ZRANGEBYLEX|ZREVRANGEBYLEX) {y} {lex} {lex} [LIMIT 0 2]
(ZUNION|ZINTER|ZDIFF) 2 {z} {z} [WITHSCORES]
ZINTERCARD 2 {z} {z} [LIMIT 1]
GEOPOS {g} {m} {m}
GEOHASH {g} {m} {m}
GEODIST {g} {m} {m} [(m|km|mi|ft|yd)]
GEOSEARCH {g} FROMLONLAT {lon} {lat} BYRADIUS 500 km ASC [WITHCOORD] [WITHDIST] [WITHHASH]
GEOSEARCH {g} FROMMEMBER {m} BYBOX 900 900 km DESC [COUNT 2]
GEORADIUS {g} {lon} {lat} 300 km ASC [WITHDIST]
GEORADIUS_RO {g} {lon} {lat} 300 km ASC
GEORADIUSBYMEMBER_RO {g} {m} 300 km ASC
XLEN {x}
XRANGE {x} (-|{id}) + [COUNT 2]
XREVRANGE {x} + - [COUNT 2]
XREAD [COUNT 2] STREAMS {x} {x} 0 {id}
XPENDING {x} {group}
XINFO GROUPS {x}
XINFO STREAM {x}
PFCOUNT {p} [{p}]
EXISTS {k} [{k}] [{k}]
TYPE {k}
=TTL {k}
=PTTL {k}
(EXPIRETIME|PEXPIRETIME) {fixed}
OBJECT ENCODING {k}
OBJECT REFCOUNT {h}
~KEYS {pattern}
(SORT|SORT_RO) {l} ALPHA [DESC] [LIMIT 0 3]
SORT {l} [DESC]
%SORT {l} BY nosort GET # GET s{n}
EVAL {get} 1 {s}
EVAL_RO {get} 1 {s}
EVAL {types} 0
EVAL_RO {set} 1 {s} {v}
EVALSHA 0000000000000000000000000000000000000000 1 {s}
SCRIPT EXISTS {sha} 0000000000000000000000000000000000000000
FCALL_RO look 1 {s}
PING [{v}]
ECHO {v}
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS ZUNION 2 a b
PUBSUB NUMSUB channel
NOSUCH {v} {v}
OBJECT NOSUCH {k}
HGET {h}
LRANGE {l} 0
ZADD {z} {score}
"""

SCRIPTS = {
    "get": "return redis.call('get', KEYS[1])",
    "set": "return redis.call('set', KEYS[1], ARGV[1])",
    "push": "redis.call('rpush', KEYS[1], ARGV[1]) return redis.call('llen', KEYS[1])",
    "both": "redis.call('set', KEYS[1], ARGV[1]) return redis.call('hset', KEYS[2], 'f1', ARGV[1])",
    "wrong": "return redis.call('lpush', KEYS[1], 'a', 'b')",
    "pcall": "local e = redis.pcall('incr', KEYS[1]) return e.err or e",
    "types": "redis.setresp(3) return {1, 'a', false, true, {double=1.5}, {map={a=1}}, {set={b=true}}}",
}
LIBRARY = """#!lua name=ours
redis.register_function('put', function(k, a) return redis.call('set', k[1], a[1]) end)
redis.register_function{function_name='look', flags={'no-writes'},
  callback=function(k) return redis.call('get', k[1]) end}
"""

SCANS = ["SCAN", "SCAN MATCH s*", "SCAN COUNT 3 TYPE hash", "SSCAN {S}", "SSCAN {S} MATCH m*",
         "HSCAN {h}", "HSCAN {h} COUNT 2", "ZSCAN {z}", "ZSCAN {s}"]

NAMES = {"s": 5, "h": 4, "l": 4, "S": 4, "z": 4, "x": 3, "b": 3, "g": 2, "p": 3}
KEYS = [f"{kind}{number}" for kind, count in NAMES.items() for number in range(count)]


class Words:
    """Makes commands; the same seed makes the same ones."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.shapes = set()
        self.dump = b"no dump"  # of some value, once there is one

    def pick(self, table):
        """(mark, words): a shape of the table with its places filled."""
        line = self.random.choice(table)
        mark = line[0] if line[0] in "~%=" else ""
        chosen = self.choose(line[len(mark):])
        self.shapes.add(chosen)
        words = [self.fill(word) for word in chosen.split()]
        if self.random.random() < 0.05:
            words[0] = words[0].swapcase()
        return mark, words

    def choose(self, line):
        while True:
            # The innermost group first: XADD's "~" and "(" of a bound come only by filling.
            match = re.search(r"\[([^\[\]()]*)\]|\(([^\[\]()]*\|[^\[\]()]*)\)", line)
            if not match:
                return line
            if match[1] is not None:
                text = match[1] if self.random.random() < 0.5 else ""
            else:
                text = self.random.choice(match[2].split("|"))
            line = line[:match.start()] + text + line[match.end():]

    def fill(self, word):
        match = re.fullmatch(r"(.*)\{(\w+)\}(.*)", word)
        if not match:
            return word
        value = self.make(match[2])
        if match[1] or match[3]:
            return f"{match[1]}{value}{match[3]}"
        return value

    def make(self, kind):
        any_of, integer = self.random.choice, self.random.randrange
        if kind in NAMES:
            if self.random.random() < 0.06:
                return any_of(KEYS)
            return f"{kind}{integer(NAMES[kind])}"
        if kind in SCRIPTS:
            return SCRIPTS[kind]
        return {
            "k": lambda: any_of(KEYS),
            "v": self.value,
            "f": lambda: f"f{integer(8)}",
            "m": lambda: f"m{integer(10)}" if integer(8) else self.value(),
            "n": lambda: any_of(["0", "1", "2", "3", "-1", "-2", "10", "-100", "9223372036854775807",
                                 "1.5", "abc", ""]) if integer(3) == 0 else str(integer(1, 5)),
            "i": lambda: any_of(["0", "-1", "1", "2", "-2", "5", "-100", "100"]),
            "y": lambda: f"y{integer(2)}",
            "number": lambda: str(integer(-50, 1000)),
            "count": lambda: str(integer(6)),
            "off": lambda: str(integer(120)) if integer(12) else any_of(["-1", "4294967296", "x"]),
            "score": lambda: any_of(["1", "2", "3", "-1", "1.5", "0.1", "3e10", "inf", "-inf", "-0"]
                                    + ["7"] * 3 + ["abc"]),
            "bound": lambda: any_of(["-inf", "+inf", "0", "(1", "2", "(3", "10", "x"]),
            "lex": lambda: any_of(["-", "+", "[m1", "(m3", "[m7", "m"]),
            "lon": lambda: f"{integer(-30, 30) / 7:.4f}",
            "lat": lambda: f"{integer(-30, 30) / 9:.4f}",
            "id": lambda: f"{integer(1, 40)}-{integer(1, 3)}",
            "group": lambda: any_of(["g1", "g2"]),
            "far": lambda: str(integer(10 ** 5, 10 ** 6)),
            "date": lambda: str(integer(4 * 10 ** 9, 10 ** 10)),
            "fixed": lambda: "fixed",
            "pattern": lambda: any_of(["*", "s*", "?1", "[hl]*", "none", "S[0-2]"]),
            "dump": lambda: self.dump,
            "sha": lambda: hashlib.sha1(SCRIPTS["set"].encode()).hexdigest(),
        }[kind]()

    def value(self):
        kind = self.random.randrange(10)
        if kind < 4:
            return f"v{self.random.randrange(20)}"
        if kind < 6:
            return str(self.random.randrange(-100, 10 ** 6))
        if kind == 6:
            return ""
        if kind == 7:
            return bytes(self.random.randrange(256) for _ in range(self.random.randrange(40)))
        if kind == 8:
            return b"\r\n$3\r\n" + b"x" * self.random.randrange(10)
        return b"long " * self.random.randrange(20, 900)


# Comparing


def children(raw):
    """The raw elements of an aggregate, or None."""
    if raw[:1] not in b"*~%>" or raw[1:2] == b"-":
        return None
    at = raw.index(b"\r\n") + 2
    found = []
    while at < len(raw):
        _, end = resp.decode(raw, at)
        found.append(raw[at:end])
        at = end
    return found


def comparable(raw, mark):
    items = children(raw) if mark in ("~", "%") else None
    if items is None:
        return raw
    if mark == "%" and raw[:1] in b"*%" and items and children(items[0]) is None:
        items = list(zip(items[::2], items[1::2]))
    return raw[:raw.index(b"\r\n")], sorted(items)


def is_same(direct, through, mark):
    if mark == "=" and direct[:1] == b":" == through[:1]:
        a, b = int(direct[1:]), int(through[1:])
        return abs(a - b) <= max(abs(a), 100) * 0.01 if a > 0 else a == b
    return comparable(direct, mark) == comparable(through, mark)


class Pair:
    """A connection to Redis itself, and one to the sidecar: the same goes to both."""

    def __init__(self, direct, through):
        self.clients = (direct, through)

    def send(self, commands):
        data = b"".join(resp.encode(*words) for words in commands)
        for client in self.clients:
            client.send_raw(data)

    def read(self):
        answers = []
        for client in self.clients:
            try:
                answers.append(client.read_raw())
            except (TimeoutError, resp.Closed) as problem:
                answers.append(repr(problem).encode())
        return answers

    def both(self, *words):
        self.send([words])
        return self.read()


class Run:
    def __init__(self, pairs, seed, most_at_once):
        self.pairs = pairs
        self.words = Words(seed)
        self.random = self.words.random
        self.most_at_once = most_at_once
        self.history = []
        self.seed = seed
        self.count = 0
        self.writes = WRITES.strip().splitlines()
        self.reads = READS.strip().splitlines()

    def prepare(self):
        pair = self.pairs[0]
        for words in (["FUNCTION", "LOAD", LIBRARY], ["SCRIPT", "LOAD", SCRIPTS["set"]],
                      ["SET", "fixed", "v", "EXAT", "9999999999"], ["RPUSH", "l0", "3", "1", "2"],
                      ["SET", "s0", "a string"], ["HSET", "h0", "f1", "v1"]):
            self.compare(pair, [("", words)])
        self.words.dump = pair.both("DUMP", "s0")[0].split(b"\r\n", 1)[1][:-2]

    def step(self):
        actions = [(60, self.some), (6, self.again), (6, self.only_reads), (4, self.transaction), (3, self.watched),
                   (2, self.scan), (2, self.blocking), (2, self.other_database), (1, self.expiry),
                   (1, self.subscription), (1, self.silence), (1, self.large), (1, self.sweep),
                   (1, self.reset)]
        action = self.random.choices([each for _, each in actions], [each for each, _ in actions])[0]
        action(self.random.choice(self.pairs))

    def compare(self, pair, commands):
        """Sends all at once; one reply each."""
        pair.send([words for _, words in commands])
        for mark, words in commands:
            self.check(pair, mark, words)

    def check(self, pair, mark, words):
        self.history.append((self.pairs.index(pair), words))
        direct, through = pair.read()
        self.count += 1
        assert is_same(direct, through, mark), self.explain(words, direct, through)
        return direct

    def explain(self, words, direct, through):
        keys = {word for word in words[1:] if word in KEYS}
        related = [f"  {pair}: {resp.encode(*each)[:300]!r}" for pair, each in self.history[-400:]
                   if keys & set(map(str, each)) or each[0].upper() in (
                       "FLUSHALL", "FLUSHDB", "SWAPDB", "SELECT", "HELLO", "RESET", "MULTI", "EXEC")]
        return (f"seed {self.seed}, command {self.count}: {words!r}\n"
                f"redis:   {direct[:1500]!r}\nsidecar: {through[:1500]!r}\nwhat came before:\n"
                + "\n".join(related[-25:]))

    # What a step may be

    def some(self, pair):
        commands = []
        for _ in range(self.random.randint(1, self.most_at_once)):
            if self.random.random() < 0.4:
                commands.append(self.words.pick(self.writes))
            else:
                commands += [self.words.pick(self.reads)] * self.random.choice((1, 1, 2, 3))
        self.compare(pair, commands)

    def again(self, pair):
        """A read on every connection, a write of its key on one, the read on every one again."""
        read = self.words.pick(self.reads)
        key = next((word for word in read[1][1:] if word in KEYS), "s0")
        for each in self.pairs:
            self.compare(each, [read] * 2)
        mark, write = self.words.pick(self.writes)
        places = [at for at, word in enumerate(write) if word in KEYS]
        if places:
            write[self.random.choice(places)] = key
        self.compare(pair, [(mark, write)])
        for each in self.pairs:
            self.compare(each, [read] * 2)

    def only_reads(self, pair):
        """The same ones, twice on every connection."""
        reads = [self.words.pick(self.reads) for _ in range(self.most_at_once)]
        for each in self.pairs * 2:
            self.compare(each, reads)

    def plain(self, table):
        """A shape whose reply is compared as it is."""
        while True:
            mark, words = self.words.pick(table)
            if not mark:
                return words

    def queue(self):
        table = self.reads + self.writes
        return [self.plain(table) for _ in range(self.random.randint(0, 6))]

    def transaction(self, pair):
        end = self.random.choice(["EXEC", "EXEC", "EXEC", "DISCARD"])
        commands = [["MULTI"], *self.queue(), [end]]
        if self.random.random() < 0.1:
            commands.insert(1, self.random.choice([["MULTI"], ["WATCH", "s0"], ["SELECT", "99"]]))
        commands.append(["GET", "s0"])
        if self.random.random() < 0.5:
            self.compare(pair, [("", words) for words in commands])
        else:
            for words in commands:
                self.compare(pair, [("", words)])

    def watched(self, pair):
        key, other = self.words.make("k"), self.random.choice(self.pairs)
        self.compare(pair, [("", ["WATCH", key])])
        read = self.plain(self.reads)
        self.compare(pair, [("", read)])
        if self.random.random() < 0.5:
            self.compare(other, [("", self.random.choice([["DEL", key], ["APPEND", key, "x"]]))])
        if self.random.random() < 0.2:
            self.compare(pair, [("", ["UNWATCH"])])
        self.compare(pair, [("", words) for words in (["MULTI"], *self.queue(), ["EXEC"])])

    def scan(self, pair):
        line = self.random.choice(SCANS).split()
        key = [self.words.fill(line.pop(1))] if "{" in line[-1] + line[min(1, len(line) - 1)] else []
        results = []
        for client in pair.clients:
            cursor, found = b"0", []
            while True:
                reply = client.call(line[0], *key, cursor, *line[1:])
                if isinstance(reply, resp.Error):
                    found = reply
                    break
                assert isinstance(reply, list) and len(reply) == 2, self.explain(line, b"", repr(reply))
                cursor, some = reply
                width = 2 if line[0] in ("HSCAN", "ZSCAN") else 1
                found += [tuple(some[at:at + width]) for at in range(0, len(some), width)]
                if cursor == b"0":
                    break
            results.append(found if isinstance(found, resp.Error) else sorted(set(found)))
        self.history.append((self.pairs.index(pair), [*line, *key]))
        assert results[0] == results[1], self.explain([*line, *key], *map(repr, results))

    def blocking(self, pair):
        any_of, make = self.random.choice, self.words.make
        self.compare(pair, [("", any_of([
            [any_of(["BLPOP", "BRPOP"]), make("l"), make("l"), "0.01"],
            ["BLMOVE", make("l"), make("l"), "LEFT", "RIGHT", "0.01"],
            ["BRPOPLPUSH", make("l"), make("l"), "0.01"],
            ["BLMPOP", "0.01", "2", make("l"), make("l"), "LEFT"],
            [any_of(["BZPOPMIN", "BZPOPMAX"]), make("z"), make("z"), "0.01"],
            ["BZMPOP", "0.01", "1", make("z"), "MIN"],
            ["XREAD", "BLOCK", "1", "STREAMS", make("x"), any_of(["$", "0"])],
            ["BLPOP", make("l"), any_of(["-1", "x"])],
            ["WAIT", "0", "0"],
        ])), ("", ["GET", "s0"])])

    def other_database(self, pair):
        table = self.reads + self.writes
        commands = [("", ["SELECT", self.random.choice(["1", "1", "9", "15", "16", "x"])])]
        commands += [self.words.pick(table) for _ in range(self.random.randint(1, 5))]
        if self.random.random() < 0.3:
            commands.append(("", self.random.choice(
                [["SWAPDB", "0", "1"], ["FLUSHDB"], ["MOVE", self.words.make("k"), "0"]])))
        commands.append(("", ["SELECT", "0"]))
        self.compare(pair, commands)
        for each in self.pairs:
            self.compare(each, [self.words.pick(self.reads) for _ in range(5)])

    def expiry(self, pair):
        """A key that ends: seen before, and not seen after, on every connection."""
        key, any_of = self.words.make("s"), self.random.choice
        self.compare(pair, [("", words) for words in any_of([
            [["SET", key, "short", "PX", "25"]],
            [["PSETEX", key, "25", "short"]],
            [["SET", key, "short"], ["GET", key], ["PEXPIRE", key, "25"]],
            [["SET", key, "short"], ["GET", key], ["GETEX", key, "PX", "25"]],
            [["DEL", key], ["RPUSH", key, "a"], ["LRANGE", key, "0", "-1"], ["PEXPIRE", key, "25"]],
        ])])
        for each in self.pairs:
            for client in each.clients:
                client.call("GET", key)
        time.sleep(0.06)
        for each in self.pairs:
            self.compare(each, [("", ["GET", key]), ("", ["EXISTS", key]), ("", ["TYPE", key])])

    def subscription(self, pair):
        """SUBSCRIBE answers once for each channel; while subscribed, RESP2 allows little else."""
        kind = self.random.choice(["", "P"])
        names = [f"channel{number}" for number in range(self.random.randint(1, 3))]
        pair.send([[f"{kind}SUBSCRIBE", *names], ["PING"], ["GET", "s0"]])
        for _ in names:
            self.check(pair, "", [f"{kind}SUBSCRIBE", *names])
        self.check(pair, "", ["PING"])
        self.check(pair, "", ["GET", "s0"])
        other = next(each for each in self.pairs if each is not pair)
        self.compare(other, [("", ["PUBLISH", names[0], self.words.value()])])
        self.check(pair, "", ["the message"])
        pair.send([[f"{kind}UNSUBSCRIBE"], ["GET", "s0"]])
        for client in pair.clients:
            answers = sorted(client.read_raw() for _ in names)  # in the order of a hash table
            assert len(answers) == len(names)
        self.check(pair, "", ["GET", "s0"])

    def silence(self, pair):
        self.compare(pair, [("", ["CLIENT", "REPLY", "ON"])])
        pair.send([["CLIENT", "REPLY", "SKIP"], ["SET", "s1", "skipped"], ["GET", "s1"]])
        self.check(pair, "", ["GET", "s1"])
        value = self.words.value()
        pair.send([["CLIENT", "REPLY", "OFF"], ["SET", "s1", value], ["GET", "s1"],
                   ["CLIENT", "REPLY", "ON"], ["GET", "s1"]])
        self.check(pair, "", ["CLIENT", "REPLY", "ON"])
        self.check(pair, "", ["GET", "s1"])

    def large(self, pair):
        """Many elements: other encodings, and replies of more than one packet."""
        kind, count = self.random.choice("hlSz"), self.random.randrange(100, 700)
        numbers = range(count)
        command = {"h": ["HSET", "h1"], "l": ["RPUSH", "l1"], "S": ["SADD", "S1"],
                   "z": ["ZADD", "z1"]}[kind]
        for number in numbers:
            command += [f"{number}", f"m{number}"] if kind in "hz" else [f"m{number}"]
        reads = {"h": [("%", ["HGETALL", "h1"]), ("", ["HGET", "h1", "77"])],
                 "l": [("", ["LRANGE", "l1", "0", "-1"]), ("", ["DUMP", "l1"])], "S": [("~", ["SMEMBERS", "S1"])],
                 "z": [("", ["ZRANGE", "z1", "0", "-1", "WITHSCORES"])]}[kind]
        self.compare(pair, [("", ["DEL", command[1]]), ("", command), *reads * 2, ("", ["OBJECT", "ENCODING", command[1]]),
                            ("", ["DEL", command[1]]), *reads])

    def sweep(self, pair):
        if self.random.random() < 0.3:
            self.compare(pair, [("", [self.random.choice(["FLUSHALL", "FLUSHDB"])]),
                                ("", ["DBSIZE"]),
                                ("", ["SET", "fixed", "v", "EXAT", "9999999999"])])
        for each in self.pairs:
            self.compare(each, [("", ["GET", f"s{number}"]) for number in range(5)]
                         + [("~", ["KEYS", "*"])])

    def reset(self, pair):
        """Leaves a transaction and the protocol, and comes back to the protocol."""
        self.compare(pair, [("", ["WATCH", "s0"]), ("", ["MULTI"]), ("", ["GET", "s0"]),
                            ("", ["RESET"]), ("", ["GET", "s0"]), ("%", ["HGETALL", "h0"])])
        version = self.random.choice([2, 3])
        for client in pair.clients:
            client.call("HELLO", version)
        self.history.append((self.pairs.index(pair), ["HELLO", str(version)]))
        self.compare(pair, [self.words.pick(self.reads) for _ in range(5)])
        for client in pair.clients:
            client.call("HELLO", self.protocol)
        self.history.append((self.pairs.index(pair), ["HELLO", str(self.protocol)]))


@pytest.mark.seconds(60 + 3 * SECONDS)
@pytest.mark.parametrize("most_at_once", [1, 40], ids=["one by one", "pipelined"])
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("coherence", ["auto", "ttl"])
def test_random_commands_are_answered_as_by_redis(
        coherence, protocol, most_at_once, start_redis, start_sidecar):
    """With `ttl` nothing but the commands themselves tells the sidecar what has changed."""
    seed = SEED * 10 + protocol + most_at_once
    print(f"SIDECAR_DIFFERENTIAL_SEED={SEED}")
    alone, behind = start_redis(), start_redis()
    sidecar = start_sidecar(redis={"url": behind.url}, maps={},
                            cache={"coherence": coherence})
    sidecar.wait_backend("redis", True)
    pairs = [Pair(alone.client(protocol=protocol, timeout=20),
                  sidecar.client(protocol=protocol, timeout=20)) for _ in range(3)]
    run = Run(pairs, seed, most_at_once)
    run.protocol = protocol
    run.prepare()
    ends = time.monotonic() + SECONDS * slowness()
    while time.monotonic() < ends:
        run.step()
    from_memory = sidecar.metric("sidecar_answers_total", rung="memory")
    print(f"{run.count} replies compared, {len(run.words.shapes)} shapes, {from_memory:.0f} from memory")
    assert from_memory > run.count * 0.01  # by seed 4 % to 20


# How a key gets its end, by commands that all pass through the sidecar: in 40 ms, or as many as
# it takes until a read that follows is in time.
ENDS = {
    "SET PX": "SET key v PX 40",
    "PEXPIRE": "SET key v|GET key|PEXPIRE key 40",
    "GETEX": "SET key v|GET key|GETEX key PX 40",
    "while watching": "WATCH other|SET key v PX 40",
    "while tracking": "CLIENT TRACKING ON|SET key v PX 40",
    "in a transaction": "MULTI|SET key v PX 40|EXEC",
    "PEXPIRE in a transaction": "SET key v|MULTI|PEXPIRE key 40|EXEC",
    "after a SELECT that failed in a transaction": "MULTI|SELECT 99|EXEC|SET key v PX 40",
    "RENAME": "SET other v PX 40|RENAME other key",
    "COPY": "SET other v PX 40|COPY other key",
    "MOVE": "SELECT 1|SET key v PX 40|MOVE key 0",
    "RENAME in a transaction": "SET other v PX 40|MULTI|RENAME other key|EXEC",
    "COPY in a session": "WATCH other|SET other v PX 40|COPY other key",
    "RENAMENX": "SET other v|PEXPIRE other 40|RENAMENX other key",
    "RESTORE": "RESTORE key 40 dump",
}


@pytest.mark.parametrize("name", ENDS)
def test_a_key_ends_for_everyone_when_it_ends_in_redis(name, start_redis, start_sidecar):
    """Without CLIENT TRACKING, which would only hide it: Redis tells when it removes a key, and it
    removes the last expired ones when it comes to them."""
    redis = start_redis()
    sidecar = start_sidecar(redis={"url": redis.url}, maps={}, cache={"coherence": "ttl"})
    sidecar.wait_backend("redis", True)
    writer, reader = sidecar.client(), sidecar.client()
    writer.call("SET", "model", "v")
    dump = writer.call("DUMP", "model")
    for ms in ("40", "200", "1000", "4000"):
        redis.call("FLUSHALL")
        writer.call("FLUSHALL")
        assert reader.call("GET", "key") is None
        for command in ENDS[name].split("|"):
            words = [{"dump": dump, "40": ms}.get(word, word) for word in command.split()]
            assert not isinstance(writer.call(*words), resp.Error)
        if reader.call("GET", "key") == b"v":
            break
    else:
        raise AssertionError("it was never there")
    ends = time.monotonic() + int(ms) / 1000  # at the latest, for everyone
    time.sleep(max(0.0, ends - time.monotonic()) + 0.04)
    assert redis.call("GET", "key") is None
    assert reader.call("GET", "key") is None
    assert writer.call("EXISTS", "key") == 0


def test_several_hundred_shapes_are_made_and_a_seed_makes_the_same_ones():
    one, other = Words(1), Words(1)
    table = (WRITES + READS).strip().replace("\n\n", "\n").splitlines()
    for _ in range(10_000):
        assert one.pick(table) == other.pick(table)
    assert len(one.shapes) > 350, len(one.shapes)
    assert len({shape.split()[0] for shape in one.shapes}) > 130


def test_a_difference_is_seen():
    assert not is_same(b"$1\r\na\r\n", b"$1\r\nb\r\n", "")
    assert not is_same(b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:2\r\n:1\r\n", "")
    assert is_same(b"*2\r\n:1\r\n:2\r\n", b"*2\r\n:2\r\n:1\r\n", "~")
    assert not is_same(b"*2\r\n:1\r\n:2\r\n", b"~2\r\n:1\r\n:2\r\n", "~")
    assert not is_same(b"*4\r\n:1\r\n:2\r\n:3\r\n:4\r\n", b"*4\r\n:1\r\n:4\r\n:3\r\n:2\r\n", "%")
    assert is_same(b"%2\r\n:1\r\n:2\r\n:3\r\n:4\r\n", b"%2\r\n:3\r\n:4\r\n:1\r\n:2\r\n", "%")
    assert is_same(b":100000\r\n", b":99990\r\n", "=")
    assert not is_same(b":100000\r\n", b":-1\r\n", "=")
