"""Whatever many clients ask for within a turn, and however they read: each gets its own answers, in
order, and each answer is counted once.

A crowd of clients (of either protocol, some with a small receive buffer, some over a unix socket) sends
pipelines of hits, remembered nils, large values, refused and uncacheable keys and other commands, while
the sidecar is stopped, so that all of it is one turn's. Some are closed,
reset or killed in the middle. The seed is printed:

  SIDECAR_HITS_SEED=7 SIDECAR_HITS_SECONDS=180 tests/run integration tests/integration/test_hits_at_random.py
"""

import os
import random
import socket
import struct
import time

import pytest

import resp
from processes import eventually

SEED = int(os.environ.get("SIDECAR_HITS_SEED") or random.SystemRandom().randrange(10 ** 6))
SECONDS = float(os.environ.get("SIDECAR_HITS_SECONDS") or 2)

SIZES = (0, 1, 9, 10, 99, 100, 128, 999, 1000, 5000, 16_383, 16_384, 16_385, 60_000, 200_000)
USERS, USER_READS = 6, 5  # of an hour
FREE = b'{"tier":"free"}'


def value_of(key, size):
    return (key.encode() + b" ") * (size // (len(key) + 1) + 1)


VALUES = {f"k:{number}:{size}": value_of(f"k:{number}:{size}", size)[:size]
          for number in range(4) for size in SIZES}
SMALL = [key for key in VALUES if len(VALUES[key]) <= 1000]
USER_VALUES = {f"plan:{number}": b'{"n":%d}' % number for number in range(1, USERS + 1)}
HASHES = [f"h:{number}" for number in range(3)]
NONE = [f"none:{number}" for number in range(4)]
NO_ROW = [f"plan:{number}" for number in range(900, 903)]  # a user's, too
OTHERS = [f"x:{number}" for number in range(3)]            # where [cache] keys leaves them out


class Rules:
    """What a sidecar is set to, and so what it answers."""

    def __init__(self, dice):
        self.dice = dice
        self.has_maps = dice.random() < 0.7
        self.has_hashes = self.has_maps and dice.random() < 0.5
        self.limits = self.has_maps and dice.random() < 0.6
        self.missing = dice.choice(["nil", "free"])
        self.keeps_all = dice.random() < 0.5
        self.output_limit = dice.choice(["1kb", "20kb", "300kb", "8mb"])
        self.threads = dice.choice([1, 1, 2])
        self.refreshes = dice.random() < 0.3

    def sections(self, redis, pgbouncer, path):
        cache = {"coherence": "ttl", "max_value": "2mb", "ttl": "300ms" if self.refreshes else "5m",
                 "negative_ttl": "5m"}
        if not self.keeps_all:
            cache["keys"] = "k:* plan:* h:* none:*"
        maps = {}
        if self.has_maps:
            maps["plan"] = {"key": "plan:{id:int}", "missing": self.missing, "free": FREE.decode(),
                            "query": "SELECT 0::bigint, '' WHERE 0 = ANY($1::bigint[])"}
        if self.has_hashes:
            maps["hash"] = {"key": "h:{id}", "type": "hash", "free": "{}", "limit": "no",
                            "query": "SELECT ''::text, '' WHERE '' = ANY($1::text[])"}
        return {"redis": {"url": redis.url, "budget": "5s"}, "postgres": {"url": pgbouncer.url, "budget": "5s"},
                "ladder": {"deadline": "20s"}, "server": {"threads": self.threads}, "maps": maps,
                "cache": cache, "limits": {"per_user": f"{USER_READS}/h" if self.limits else "0"},
                "listen": {"output_limit": self.output_limit, "socket": path}}

    def answer(self, key):
        if key in NO_ROW:
            return FREE if self.has_maps and self.missing == "free" else None
        return {**VALUES, **USER_VALUES, **{key: b"other" for key in OTHERS}}.get(key)

    def is_counted(self, key):
        return self.limits and key.startswith("plan:")

    def may_be_hit(self, key):
        return key not in HASHES and (self.keeps_all or key not in OTHERS)


class Talk:
    """What one client sends, and checks of what it gets."""

    def __init__(self, rules, name):
        self.rules, self.dice, self.name = rules, rules.dice, name
        self.sent, self.checks = [], []
        self.reads = self.hits = self.misses = self.hits_or_misses = self.refused = 0

    def add(self, *words):
        self.sent.append(resp.encode(*words))

    def get(self, key):
        self.add(self.dice.choice(["GET", "GET", "GET", "get"]), key)
        self.reads += 1
        self.checks.append(("get", key))

    def many(self, keys):
        self.add("MGET", *keys)
        self.reads += 1
        self.checks.append(("many", keys))

    def key(self):
        dice = self.dice
        kind = dice.random()
        return dice.choice(
            SMALL if kind < 0.6 else list(VALUES) if kind < 0.75 else list(USER_VALUES) if kind < 0.85
            else NONE if kind < 0.9 else OTHERS if kind < 0.94 else HASHES if kind < 0.97 else NO_ROW)

    def other(self):
        kind = self.dice.randrange(4)
        if kind == 0:
            self.add("SET", f"own:{self.name}", self.name)
            self.checks.append(("is", "OK"))
        elif kind == 1:
            self.add("ECHO", f"e:{self.name}")
            self.checks.append(("is", f"e:{self.name}".encode()))
        elif kind == 2:
            self.add("CLIENT", "REPLY", "SKIP")
            self.add("GET", self.dice.choice(SMALL))
            self.reads += 1
            self.hits += 1
        else:
            keys = [self.key() for _ in range(self.dice.choice([1, 3, 40]))]
            self.many([key for key in keys if not self.rules.is_counted(key)] or ["k:1:1"])

    def write(self):
        if self.dice.random() < 0.4:
            self.get(self.key())
        else:
            likes = self.dice.choice([0, 0.02, 0.2])
            only = self.dice.choice([None, None, SMALL, list(USER_VALUES), NONE, list(VALUES)])
            for _ in range(self.dice.choice([2, 5, 31, 32, 33, 70, 150])):
                if self.dice.random() < likes:
                    self.other()
                else:
                    self.get(self.dice.choice(only) if only else self.key())
        return self

    def check(self, kind, wanted, reply):
        """True: a read of a user that has been allowed."""
        if kind == "is":
            assert reply == wanted
            return False
        if kind == "many":
            assert reply == [None if key in HASHES else self.rules.answer(key) for key in wanted]
            self.hits += sum(self.rules.may_be_hit(key) for key in wanted)
            # That it is no string is remembered for MGET.
            self.hits_or_misses += sum(key in HASHES and not self.rules.has_hashes for key in wanted)
            return False
        if wanted in HASHES:
            self.misses += 1
            assert isinstance(reply, resp.Error) and reply.startswith("WRONGTYPE"), (wanted, reply)
            return False
        if isinstance(reply, resp.Error):
            assert self.rules.is_counted(wanted) and reply.startswith("RATELIMITED"), (wanted, reply)
            self.refused += 1
            return False
        assert reply == self.rules.answer(wanted), wanted
        self.hits += self.rules.may_be_hit(wanted)
        return self.rules.is_counted(wanted)


def connect(sidecar, dice, path):
    address = path if dice.random() < 0.2 else sidecar.address
    return sidecar.client(address=address, protocol=dice.choice([2, 3]), timeout=30,
                          receive_buffer=dice.choice([None, None, 2048, 16_384]))


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def warm(sidecar, rules):
    """All that may be is in memory. How many reads of each user that took."""
    asked = [*VALUES, *NONE, *OTHERS, *USER_VALUES, *NO_ROW]
    with sidecar.client(timeout=30) as client:
        for _ in range(2):
            for key, reply in zip(asked, client.pipeline([("GET", key) for key in asked])):
                assert reply == rules.answer(key), key
    return 2


def begin(sidecar, clients, talks, killer, ends):
    """All that they send, and how some of them end, is there before the sidecar looks."""
    ids = [client.call("CLIENT", "ID") for client in clients]
    before = sidecar.metrics()
    sidecar.stop()
    for number, (client, talk) in enumerate(zip(clients, talks)):
        if number == len(clients) // 2:
            killer.send_raw(b"".join(resp.encode("CLIENT", "KILL", "ID", str(ids[other]))
                                     for other in ends if ends[other] == "killed"))
        client.send_raw(b"".join(talk.sent))
        if ends.get(number) == "reset":
            reset(client)
        elif ends.get(number) == "half":
            client.half_close()
    sidecar.cont()
    return before


def read(client, talk, is_killed, left):
    """Checks all answers; `left` are the reads that users have left, None: nobody knows."""
    for kind, wanted in talk.checks:
        try:
            reply = client.read()
        except (resp.Closed, ConnectionError):
            assert is_killed
            return
        if talk.check(kind, wanted, reply) and left is not None:
            left[wanted] -= 1
            assert left[wanted] >= 0, f"{wanted} is over its limit"


def crowd(sidecar, rules, path, left):
    """One turn of many. True: all of them have got their answers."""
    dice = rules.dice
    clients = [connect(sidecar, dice, path) for _ in range(dice.choice([1, 3, 17, 40]))]
    talks = [Talk(rules, str(number)).write() for number in range(len(clients))]
    ends = {number: dice.choice(["reset", "killed", "half"]) for number in range(len(clients))
            if dice.random() < 0.2} if dice.random() < 0.4 else {}
    with sidecar.client(timeout=30) as killer:
        before = begin(sidecar, clients, talks, killer, ends)
        order = [number for number in range(len(clients)) if ends.get(number) != "reset"]
        dice.shuffle(order)
        for number in order:
            read(clients[number], talks[number], ends.get(number) == "killed", left)
        for number, client in enumerate(clients):
            assert ends.get(number) != "half" or client.is_closed()
            client.close()
        # What has been sent is counted by the time that the thread turns to somebody else.
        killer.pipeline([("PING",)] * (1 + list(ends.values()).count("killed")))
    eventually(lambda: sidecar.metric("sidecar_clients") == 0, 15, what="all have gone")
    is_whole = all(end == "half" for end in ends.values())
    if is_whole and rules.threads == 1:
        check_counts(rules, talks, before, sidecar.metrics())
    return is_whole


def check_counts(rules, talks, before, after):
    def grown(name, **labels):
        return after.sum(name, **labels) - before.sum(name, **labels)

    assert grown("sidecar_requests_total", **{"class": "read"}) == sum(talk.reads for talk in talks)
    assert grown("sidecar_limited_total", scope="per_user") == sum(talk.refused for talk in talks)
    if rules.refreshes:
        return
    hits, misses = grown("sidecar_cache_hits_total"), grown("sidecar_cache_misses_total")
    assert hits >= sum(talk.hits for talk in talks) and misses >= sum(talk.misses for talk in talks)
    assert hits + misses == sum(talk.hits + talk.misses + talk.hits_or_misses for talk in talks)
    assert grown("sidecar_request_seconds_count", rung="memory") == hits
    assert grown("sidecar_answers_total", rung="memory") == hits


def one_sidecar(seed, redis, pgbouncer, start_sidecar, tmp_path, until):
    rules = Rules(random.Random(seed))
    print(f"seed {seed}: {vars(rules)}")
    path = str(tmp_path / f"{seed}.sock")
    sidecar = start_sidecar(**rules.sections(redis, pgbouncer, path))
    sidecar.wait_backend("postgres", True)
    taken = warm(sidecar, rules)
    left = {key: USER_READS - taken if rules.limits else 10 ** 9 for key in [*USER_VALUES, *NO_ROW]}
    for _ in range(6):
        if not crowd(sidecar, rules, path, left):
            left = None
        if time.monotonic() > until:
            break
    sidecar.terminate()


@pytest.mark.seconds(60 + 3 * SECONDS)
def test_each_gets_its_own_answers_in_order_and_each_is_counted_once(redis, pgbouncer, start_sidecar,
                                                                    tmp_path):
    with redis.client() as client:
        client.pipeline([("SET", key, value) for key, value in {**VALUES, **USER_VALUES}.items()] +
                        [("SET", key, "other") for key in OTHERS] +
                        [("HSET", key, "field", "value") for key in HASHES])
    until = time.monotonic() + SECONDS
    seed = SEED
    while time.monotonic() < until:
        one_sidecar(seed, redis, pgbouncer, start_sidecar, tmp_path, until)
        seed += 1
