"""Rate limits, decided locally: the same up or down."""

import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import resp
from processes import HERE, eventually

PASSWORD = None  # of the sidecar that ask_at_a_pace() asks


def test_a_user_over_the_limit_is_told_when_to_come_back(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "5/min"})
    client = sidecar.client()
    replies = client.pipeline([("GET", "plan:20")] * 8)
    assert replies[:5] == [plans.bytes(20)] * 5
    for reply in replies[5:]:
        assert re.fullmatch(r"RATELIMITED retry in \d+ ms \(per_user 5/min\)", reply), reply
    wait = int(re.search(r"in (\d+) ms", replies[5])[1])
    assert 10_000 < wait <= 12_500, "one in 12 s"
    assert client.call("GET", "plan:21") == plans.bytes(21), "another user"
    assert client.call("SET", "plan:20", "x").startswith("RATELIMITED"), "a write"
    assert client.call("STRLEN", "plan:20").startswith("RATELIMITED"), "another read"
    assert sidecar.rung("plan:20")[0] == plans.bytes(20), "SIDECAR GET is for operators"
    assert sidecar.client().call("GET", "plan:20").startswith("RATELIMITED"), "another client"
    assert sidecar.metric("sidecar_limited_total", scope="per_user") == 6
    assert sidecar.metric("sidecar_limited_total", scope="per_ip") == 0


def test_who_waits_as_told_is_served(redis, start_sidecar, plans):
    redis.call("SET", "plan:20", plans.text(20))
    sidecar = start_sidecar(redis={"url": redis.url}, limits={"per_user": "600/min"})
    client = sidecar.client()
    replies = client.pipeline([("GET", "plan:20")] * 650)
    refused = [reply for reply in replies if isinstance(reply, resp.Error)]
    assert 600 <= len(refused) <= 630, "20 at once, and a few for the time it took"
    time.sleep(int(re.search(r"in (\d+) ms", refused[-1])[1]) / 1000 + 0.02)
    assert client.call("GET", "plan:20") == plans.bytes(20)


def test_limits_hold_while_both_backends_are_down(redis, pgbouncer, plans, start_sidecar):
    redis.kill9()
    pgbouncer.kill9()
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "3/min"})
    replies = sidecar.client().pipeline([("GET", "plan:20")] * 5)
    assert replies[:3] == [plans.FREE.encode()] * 3
    assert all(reply.startswith("RATELIMITED") for reply in replies[3:])


def test_zero_is_off_and_a_map_may_be_exempt(redis, pgbouncer, plans, start_sidecar):
    off = start_sidecar(redis={"url": redis.url}, limits={"per_user": "0"})
    assert not any(isinstance(reply, resp.Error)
                   for reply in off.client().pipeline([("GET", "plan:20")] * 3000))
    exempt = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url}, limits={"per_user": "3/min"},
        maps={"plan": {"key": "plan:{id:int}", "query": plans.QUERY, "free": plans.FREE,
                       "limit": "no"}})
    assert exempt.client().pipeline([("GET", "plan:20")] * 50) == [plans.bytes(20)] * 50


def test_an_mget_counts_against_each_of_its_users(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "2/min"})
    client = sidecar.client()
    for _ in range(2):
        assert client.call("MGET", "plan:1", "plan:2") == [plans.bytes(1), plans.bytes(2)]
    assert client.call("GET", "plan:1").startswith("RATELIMITED")


def test_an_mget_is_refused_when_all_of_its_users_are_over(redis, pgbouncer, plans,
                                                           start_sidecar):
    """One busy user in a batch does not cost the others their answer."""
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "2/min"})
    client = sidecar.client()
    for _ in range(2):
        client.call("MGET", "plan:1", "plan:2")
    assert client.call("MGET", "plan:1", "plan:2").startswith("RATELIMITED")
    assert client.call("MGET", "plan:1", "free:1").startswith("RATELIMITED"), "free:1 is no user"
    assert client.call("MGET", "plan:1", "plan:3") == [plans.bytes(1), plans.bytes(3)]
    assert client.call("DEL", "plan:1", "plan:2").startswith("RATELIMITED")
    assert client.call("GET", "free:1") is None


def test_a_user_of_two_maps_is_one_user(redis, pgbouncer, plans, start_sidecar):
    plan = {"key": "plan:{id:int}", "query": plans.QUERY, "free": plans.FREE}
    sidecar = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url}, limits={"per_user": "2/min"},
        maps={"plan": plan, "other": {**plan, "key": "other:{id:int}"},
              "team": {**plan, "key": "team:{id:int}", "limit": "no"}})
    client = sidecar.client()
    assert client.call("GET", "plan:1") == client.call("GET", "other:1") == plans.bytes(1)
    assert client.call("GET", "plan:1").startswith("RATELIMITED")
    assert client.call("MGET", "other:1").startswith("RATELIMITED")
    assert client.call("GET", "team:1") == plans.bytes(1)


def test_a_uuid_is_one_user_in_either_case(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url}, limits={"per_user": "2/min"},
        maps={"person": {"key": "person:{id:uuid}", "free": "free",
                         "query": "SELECT person, name FROM billing.people "
                                  "WHERE person = ANY($1::uuid[])"}})
    client = sidecar.client()
    key = "person:0a0b0c0d-0000-4000-8000-00000000000e"
    client.call("GET", key)
    client.call("GET", key.upper().replace("PERSON", "person"))
    assert client.call("GET", key).startswith("RATELIMITED")


def test_a_transaction_counts_and_is_not_torn_apart(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "2/min"})
    client = sidecar.client()
    replies = client.pipeline([("MULTI",)] + [("SET", "plan:9", n) for n in range(4)] + [("EXEC",)])
    assert replies[-1] == ["OK"] * 4
    assert client.call("GET", "plan:9").startswith("RATELIMITED")
    # Behind what Redis has still to say, in a session that goes on.
    replies = client.pipeline([("WATCH", "other"), ("GET", "other"), ("GET", "plan:9"),
                               ("GET", "other"), ("UNWATCH",)])
    assert replies[:2] == ["OK", None] and replies[3:] == [None, "OK"]
    assert replies[2].startswith("RATELIMITED")


def test_a_reload_changes_the_rate_at_once(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "2/min"})
    client = sidecar.client()
    assert client.pipeline([("GET", "plan:1")] * 3)[2].startswith("RATELIMITED")

    def reload(rate):
        sidecar.sections["limits"]["per_user"] = rate
        sidecar.write_file()
        count = len(sidecar.log_lines("reload done"))
        os.kill(sidecar.pid, signal.SIGHUP)
        eventually(lambda: len(sidecar.log_lines("reload done")) > count, what="the reload")

    reload("1000/min")
    assert client.pipeline([("GET", "plan:1")] * 3) == [plans.bytes(1)] * 3
    assert sidecar.status()["per_user"] == "1000/min"
    reload("0")
    assert not any(isinstance(reply, resp.Error)
                   for reply in client.pipeline([("GET", "plan:1")] * 100))
    assert sidecar.status()["limited_per_user"] == 1


# Seconds of the run at twice the rate; 180 is the promise's own figure.
HOW_LONG = float(os.environ.get("SIDECAR_LIMIT_SECONDS", "4"))


def ask_at_a_pace(address, key, per_minute, seconds):
    """(answers, refusals) of a client that asks at that pace, whatever it is told. What it is late
    for it asks together, unless that is more than anybody may at once."""
    answers = refusals = sent = 0
    with resp.Client(address) as client:
        if PASSWORD:
            assert client.call("AUTH", PASSWORD) == "OK"
        start = time.monotonic()
        while (now := time.monotonic() - start) < seconds:
            due = int(now * per_minute / 60) + 1 - sent
            sent += due
            due = min(due, 15)
            for reply in client.pipeline([("GET", key)] * due) if due else ():
                if isinstance(reply, resp.Error):
                    assert reply.startswith("RATELIMITED"), reply
                    refusals += 1
                else:
                    answers += 1
            time.sleep(0.01)
    return answers, refusals


@pytest.mark.seconds(60 + HOW_LONG)
def test_twice_the_rate_gets_the_rate(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "1000/min"})
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        busy = pool.submit(ask_at_a_pace, sidecar.address, "plan:1", 2000, HOW_LONG)
        other = pool.submit(ask_at_a_pace, sidecar.address, "plan:2", 900, HOW_LONG)
        answers, refusals = busy.result()
        assert other.result()[1] == 0, "another user at nine tenths of the rate"
    print(f"{answers} answers, {refusals} refusals in {HOW_LONG} s")
    allowed = 1000 / 60 * HOW_LONG
    assert allowed * 0.99 - 2 <= answers <= allowed + 22 + allowed * 0.01
    assert HOW_LONG < 180 or 2970 <= answers <= 3030


# Through a network namespace of our own: the only peers that are not loopback.


class Namespace:
    """A network namespace that is joined to ours by a pair of interfaces."""

    def __init__(self):
        number = os.getpid() % 4000
        self.name = f"sidecar-test-{os.getpid()}"
        self.host, self.guest = (f"10.{200 + number // 256}.{number % 256}.{n}" for n in (1, 2))
        self.links = [f"sct{os.getpid() % 1000000}{side}" for side in "ab"]

    def run(self, *command, check=True, **options):
        return subprocess.run(command, check=check, capture_output=True, text=True, **options)

    def open(self):
        self.run("ip", "netns", "add", self.name)
        self.run("ip", "link", "add", self.links[0], "type", "veth", "peer", "name", self.links[1])
        self.run("ip", "link", "set", self.links[1], "netns", self.name)
        self.run("ip", "addr", "add", f"{self.host}/30", "dev", self.links[0])
        self.run("ip", "link", "set", self.links[0], "up")
        self.run("ip", "-n", self.name, "addr", "add", f"{self.guest}/30", "dev", self.links[1])
        self.run("ip", "-n", self.name, "link", "set", self.links[1], "up")

    def close(self):
        self.run("ip", "link", "del", self.links[0], check=False)
        self.run("ip", "netns", "del", self.name, check=False)

    def python(self, script, *arguments):
        done = self.run("ip", "netns", "exec", self.name, sys.executable, "-c", script,
                        *map(str, arguments), cwd=HERE)
        return json.loads(done.stdout)


@pytest.fixture
def namespace():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace needs root and ip")
    space = Namespace()
    try:
        space.open()
    except subprocess.CalledProcessError as problem:
        space.close()
        pytest.skip(f"this machine allows no network namespace: {problem.stderr.strip()}")
    yield space
    space.close()


ASK_FROM_THERE = """
import json, sys, test_limits
test_limits.PASSWORD = "for the address"
print(json.dumps(test_limits.ask_at_a_pace((sys.argv[1], int(sys.argv[2])), sys.argv[3],
                                           float(sys.argv[4]), float(sys.argv[5]))))
"""


@pytest.mark.seconds(60 + HOW_LONG)
def test_a_remote_address_is_limited_and_loopback_is_not(namespace, redis, start_sidecar):
    redis.call("SET", "some:key", "x")
    sidecar = start_sidecar(
        redis={"url": redis.url}, limits={"per_ip": "1000/min", "per_user": "0"},
        listen={"address": "0.0.0.0", "password": "for the address"})
    answers, refusals = namespace.python(ASK_FROM_THERE, namespace.host, sidecar.port, "some:key", 2000,
                                         HOW_LONG)
    allowed = 1000 / 60 * HOW_LONG
    print(f"{answers} answers, {refusals} refusals in {HOW_LONG} s")
    assert allowed * 0.99 - 2 <= answers <= allowed + 22 + allowed * 0.01
    assert HOW_LONG < 180 or 2970 <= answers <= 3030
    assert sidecar.metric("sidecar_limited_total", scope="per_ip") == refusals
    with resp.Client(sidecar.address) as client:
        assert client.call("AUTH", "for the address") == "OK"
        assert client.pipeline([("GET", "some:key")] * 100) == [b"x"] * 100


def test_loopback_is_not_limited_per_ip(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, limits={"per_ip": "5/min"})
    assert not any(isinstance(reply, resp.Error)
                   for reply in sidecar.client().pipeline([("PING",)] * 100))


@pytest.mark.parametrize("redis_is", ["up", "down"])
def test_cl_throttle_answers_redis_cells_five_integers(redis_is, redis, start_sidecar):
    if redis_is == "down":
        redis.kill9()
    sidecar = start_sidecar(redis={"url": redis.url})
    call = sidecar.client().call
    # key, max_burst 2 (so a limit of 3), 3 in 60 s
    first = call("CL.THROTTLE", "job", "2", "3", "60")
    assert first[:4] == [0, 3, 2, -1] and 15 <= first[4] <= 20
    assert call("CL.THROTTLE", "job", "2", "3", "60")[:4] == [0, 3, 1, -1]
    assert call("CL.THROTTLE", "job", "2", "3", "60")[:4] == [0, 3, 0, -1]
    refused = call("CL.THROTTLE", "job", "2", "3", "60")
    assert refused[:3] == [1, 3, 0] and 15 <= refused[3] <= 20 and 55 <= refused[4] <= 60
    assert call("CL.THROTTLE", "other", "2", "3", "60")[0] == 0


def test_cl_throttle_with_a_quantity_and_wrong_words(start_sidecar):
    call = start_sidecar().client().call
    assert call("CL.THROTTLE", "job", "9", "10", "60", "10")[:3] == [0, 10, 0]
    assert call("CL.THROTTLE", "job", "9", "10", "60", "1")[0] == 1
    assert call("CL.THROTTLE", "peek", "9", "10", "60", "0")[:3] == [0, 10, 10]
    for words in (("job",), ("job", "a", "1", "60"), ("job", "1", "0", "60"),
                  ("job", "1", "1", "0"), ("job", "-1", "1", "60"), ("job", "1", "1", "60", "x")):
        assert isinstance(call("CL.THROTTLE", *words), resp.Error), words
    assert call("CL.THROTTLE", "job") == (
        "Cell error: Usage: cl.throttle <key> <max_burst> <count per period> <period> "
        "[<quantity>]")
    assert call("CL.THROTTLE", "job", "1", "2", "x") == "Cell error: Couldn't parse as integer: x"


def test_cl_throttle_in_a_transaction_is_decided_at_exec(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url})
    client = sidecar.client()
    replies = client.pipeline([("MULTI",), ("SET", "a", 1), ("CL.THROTTLE", "job", 0, 1, 60),
                               ("CL.THROTTLE", "job", 0, 1, 60), ("EXEC",)])
    assert replies[1:4] == ["QUEUED"] * 3
    assert replies[4][0] == "OK"
    assert replies[4][1] == [0, 1, 0, -1, 60] and replies[4][2][:3] == [1, 1, 0]
    client.pipeline([("MULTI",), ("CL.THROTTLE", "left", 0, 1, 60), ("DISCARD",)])
    assert client.call("CL.THROTTLE", "left", 0, 1, 60)[0] == 0, "what is discarded is not taken"
    assert sidecar.metric("sidecar_limited_total", scope="throttle") == 1


def test_cl_throttle_at_rates_at_which_redis_cell_fails(start_sidecar):
    call = start_sidecar().client().call
    assert call("CL.THROTTLE", "fast", "1000", "5000", "1")[0] == 0
    assert call("CL.THROTTLE", "user", "1000", "1000", "60")[:3] == [0, 1001, 1000]
    assert call("CL.THROTTLE", "daily", "0", "1", "86400")[0] == 0
    assert call("CL.THROTTLE", "daily", "0", "1", "86400")[3] in range(86390, 86401)
    # A raised rate denies nobody.
    for _ in range(3):
        call("CL.THROTTLE", "raised", "2", "3", "60")
    assert call("CL.THROTTLE", "raised", "2", "3", "60")[0] == 1
    assert call("CL.THROTTLE", "raised", "200", "300", "60")[0] == 0
