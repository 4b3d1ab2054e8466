"""What memory answers while others write: two sidecars, one Redis, links that are cut."""

import json
import os
import random
import subprocess
import sys
import time

import pytest

import resp
from faults import Proxy
from processes import HERE, eventually
from sidecar import slowness

SECONDS = float(os.environ.get("SIDECAR_FIRE_SECONDS") or 3)
UPSTASH = "user default on nopass ~* &* +@all -client|tracking -client|caching"

pytestmark = pytest.mark.seconds(40 + 2 * SECONDS)


@pytest.fixture
def start_proxy():
    proxies = []

    def start(port):
        proxies.append(Proxy(port).start())
        return proxies[-1]
    yield start
    for proxy in proxies:
        proxy.end()


@pytest.fixture
def start_pair(start_redis, start_sidecar, start_proxy):
    """(redis, two sidecars, the proxy of each)"""
    def start(coherence="auto", tracks=True, **sections):
        redis = start_redis()
        if not tracks:
            assert redis.call("ACL", "SETUSER", *UPSTASH.split()[1:]) == "OK"
        proxies = [start_proxy(redis.port) for _ in range(2)]
        cache = {"coherence": coherence, **sections.pop("cache", {})}
        pair = [start_sidecar(redis={"url": f"redis://127.0.0.1:{proxy.port}"}, maps={}, cache=cache,
                              **sections) for proxy in proxies]
        for sidecar in pair:
            sidecar.wait_backend("redis", True)
        return redis, pair, proxies
    return start


def mode_is(sidecar, mode):
    return lambda: sidecar.status()["coherence"] == mode


def is_seen(sidecar, key, value):
    return lambda: sidecar.call("GET", key) == value


def in_memory(sidecar, *keys):
    for key in keys:
        sidecar.keep(key)


# Modes

@pytest.mark.parametrize("coherence, tracks, mode", [
    ("auto", True, "tracking"), ("tracking", True, "tracking"), ("broadcast", True, "broadcast"),
    ("auto", False, "broadcast"), ("broadcast", False, "broadcast"), ("ttl", True, "ttl"),
])
def test_the_mode_is_the_best_that_redis_allows(coherence, tracks, mode, start_pair):
    _, pair, _ = start_pair(coherence, tracks)
    for sidecar in pair:
        eventually(mode_is(sidecar, mode), what=mode)


# What others do is heard of

CHANGES = {
    "SET": [("SET", "k", "new")],
    "in a transaction": [("MULTI",), ("SET", "k", "new"), ("EXEC",)],
    "in a script": [("EVAL", "return redis.call('SET', KEYS[1], 'new')", 1, "k")],
    "in a script that names no key": [("EVAL", "return redis.call('SET', 'k', 'new')", 0)],
    "RENAME": [("SET", "l", "new"), ("RENAME", "l", "k")],
    "COPY": [("SET", "l", "new"), ("COPY", "l", "k", "REPLACE")],
    "RESTORE": [("RESTORE", "k", 0, "dump", "REPLACE")],
    "GETDEL and SET": [("GETDEL", "k"), ("SET", "k", "new")],
    "SWAPDB": [("SELECT", 1), ("SET", "k", "new"), ("SWAPDB", 0, 1), ("SELECT", 0)],
    "MOVE": [("DEL", "k"), ("SELECT", 1), ("SET", "k", "new"), ("MOVE", "k", 0), ("SELECT", 0)],
    "FLUSHALL": [("FLUSHALL",), ("SET", "k", "new")],
    "FLUSHDB": [("FLUSHDB",), ("SET", "k", "new")],
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("way", ["past the sidecars", "through the other"])
def test_a_change_elsewhere_is_seen_here(name, way, start_pair):
    redis, (here, other), _ = start_pair()
    eventually(mode_is(here, "tracking"))
    redis.call("SET", "model", "new")
    dump = redis.client().call("DUMP", "model")
    redis.call("SET", "k", "old")
    in_memory(here, "k")
    assert here.call("GET", "k") == b"old"
    writer = redis.client() if way == "past the sidecars" else other.client()
    for words in CHANGES[name]:
        reply = writer.call(*[dump if word == "dump" else word for word in words])
        assert not isinstance(reply, resp.Error), (words, reply)
    eventually(is_seen(here, "k", b"new"), 3, what="the change")
    assert writer.call("GET", "k") == b"new"


@pytest.mark.parametrize("words", [
    ("SORT", "l", "STORE", "dest"), ("SUNIONSTORE", "dest", "s"), ("LMOVE", "l", "dest", "LEFT", "LEFT"),
    ("ZRANGESTORE", "dest", "z", "0", "-1"), ("BITOP", "NOT", "dest", "str"),
    ("GEOSEARCHSTORE", "dest", "g", "FROMLONLAT", "0", "0", "BYRADIUS", "9", "km"),
], ids=lambda words: words[0])
def test_a_stored_result_replaces_the_copy_of_its_key(words, start_pair):
    redis, (here, other), _ = start_pair("broadcast")
    for setup in (("RPUSH", "l", "3", "1", "2"), ("SADD", "s", "m"), ("ZADD", "z", "1", "m"), ("SET", "str", "x"),
                  ("GEOADD", "g", "0", "0", "here")):
        redis.call(*setup)
    for sidecar in (here, other):
        assert sidecar.call("TYPE", "dest") == "none"
        assert sidecar.call("EXISTS", "dest") == 0
    assert not isinstance(other.call(*words), resp.Error)
    assert other.call("EXISTS", "dest") == 1, "read-your-writes"
    eventually(lambda: here.call("EXISTS", "dest") == 1, 3)


def test_a_key_that_expires_in_redis_goes_here(start_pair):
    redis, (here, _), _ = start_pair()
    eventually(mode_is(here, "tracking"))
    redis.call("SET", "k", "v", "PX", "300")
    in_memory(here, "k")
    eventually(is_seen(here, "k", None), 3, what="the end of the key")


def test_without_tracking_a_write_through_one_sidecar_reaches_the_other(start_pair):
    redis, (here, other), _ = start_pair(tracks=False)
    for sidecar in (here, other):
        eventually(mode_is(sidecar, "broadcast"))
    redis.call("SET", "k", "old")
    in_memory(here, "k")
    assert other.call("SET", "k", "new") == "OK"
    eventually(is_seen(here, "k", b"new"), 3)
    assert here.metric("sidecar_invalidations_total", source="redis") >= 1


def test_what_changed_while_the_link_was_cut_is_asked_for_again(start_pair):
    redis, (here, _), (proxy, _) = start_pair(cache={"ttl": "1h"})
    eventually(mode_is(here, "tracking"))
    redis.call("SET", "k", "old")
    in_memory(here, "k")
    proxy.cut()
    redis.call("SET", "k", "new")
    time.sleep(0.1)
    assert here.call("GET", "k") == b"old"
    proxy.resume()
    eventually(is_seen(here, "k", b"new"), 10, what="the change, an hour before the ttl")


# Under fire

def burn(pair, redis, **settings):
    settings = {"sidecars": [sidecar.address for sidecar in pair], "redis": ["127.0.0.1", redis.port],
                "seconds": SECONDS * slowness(), **settings}
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, os.path.join(HERE, "coherence_fire.py"),
         json.dumps(settings)], stdout=subprocess.PIPE, text=True)


def report_of(child):
    report = json.loads(child.communicate(timeout=60 + 10 * SECONDS * slowness())[0].splitlines()[-1])
    print(report)
    assert report["broken"] == []
    assert report["older_count"] == 0, report["older"]
    assert report["writes"] > 50 and report["answered"] > 500, "not the fire it claims"
    return report


def cut_at_random(proxies, child, longest=0.3):
    """Until the child ends: now one link, now the other, now both."""
    cuts = 0
    while child.poll() is None:
        time.sleep(random.uniform(0.1, 0.8))
        some = random.sample(proxies, random.choice([1, 1, 2]))
        for proxy in some:
            proxy.cut()
        time.sleep(random.uniform(0, longest))
        for proxy in some:
            proxy.resume()
        cuts += 1
    return cuts


@pytest.mark.parametrize("coherence", ["tracking", "broadcast"])
def test_nobody_reads_an_older_value_after_a_newer_one(coherence, start_pair):
    # In broadcast mode nobody tells of what is written past the sidecars.
    redis, pair, _ = start_pair(coherence, cache={"ttl": "2s"})
    for sidecar in pair:
        eventually(mode_is(sidecar, coherence))
    writers = ["sidecars"] + ["redis"] * (coherence == "tracking")
    report = report_of(burn(pair, redis, writers=writers))
    assert report["errors"] == 0
    assert report["stale_ms"]["p99"] < 1000 * slowness(), "milliseconds, but for the machine's noise"
    assert sum(sidecar.metric("sidecar_answers_total", rung="memory") for sidecar in pair) > 100


@pytest.mark.parametrize("coherence", ["tracking", "broadcast"])
def test_nor_while_links_are_cut_at_random(coherence, start_pair):
    redis, pair, proxies = start_pair(coherence, cache={"ttl": "1s"}, breaker={"open": "100ms"})
    child = burn(pair, redis)
    assert cut_at_random(proxies, child) > 1
    report_of(child)
    assert sum(sidecar.metric("sidecar_answers_total", rung="memory") for sidecar in pair) > 100
    for sidecar in pair:
        eventually(mode_is(sidecar, coherence), 10)


@pytest.mark.parametrize("is_cut", [False, True], ids=["whole links", "links that are cut"])
def test_without_coherence_nothing_is_older_than_the_ttl(is_cut, start_pair):
    redis, pair, proxies = start_pair("ttl", cache={"ttl": "300ms", "stale": "0s"}, breaker={"open": "100ms"})
    child = burn(pair, redis, writers=["redis"])
    if is_cut:
        cut_at_random(proxies, child)
    report = report_of(child)
    assert 20 < report["stale_ms"]["max"] <= 302, report


@pytest.mark.parametrize("asks", [b"TRACKING", b"SUBSCRIBE"])
def test_a_listener_that_hangs_before_it_is_one_is_replaced(
        asks, redis, proxy_for, start_sidecar):
    """One connection's replies are lost on the way; all the others work."""
    proxy = proxy_for(redis)
    proxy.hold(asks)
    mode = "tracking" if asks == b"TRACKING" else "broadcast"
    sidecar = start_sidecar(redis={"url": proxy.url, "timeout": "500ms"}, maps={},
                            cache={"coherence": mode})
    proxy.wait_held()
    eventually(mode_is(sidecar, mode), 15, what=f"coherence={mode}")
