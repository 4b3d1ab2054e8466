"""redis-py with its defaults: what an application does with Redis, through the sidecar."""

import threading
import time

import pytest
import redis as redis_py

from processes import eventually


@pytest.fixture
def client(sidecar):
    with redis_py.Redis(port=sidecar.port, decode_responses=True) as client:
        yield client


def test_strings_and_expiry(client):
    assert client.set("a", "1") and client.get("a") == "1" and client.get("a") == "1"
    assert client.append("a", "2") == 2 and client.get("a") == "12"
    assert client.incrby("n", 41) == 41 and client.incr("n") == 42 and client.get("n") == "42"
    assert client.set("a", "x", nx=True) is None and client.get("a") == "12"
    assert client.mset({"b": "2", "c": "3"}) and client.mget("a", "b", "none") == ["12", "2", None]
    assert client.getdel("b") == "2" and client.get("b") is None
    assert client.set("brief", "x", px=1500) and client.get("brief") == "x"
    eventually(lambda: client.get("brief") is None)
    assert client.delete("a", "c", "none") == 2 and client.exists("a", "c") == 0


def test_hashes(client):
    assert client.hset("h", mapping={"a": 1, "b": "two"}) == 2
    for _ in range(2):
        assert client.hgetall("h") == {"a": "1", "b": "two"}
        assert client.hmget("h", "a", "none") == ["1", None]
    assert client.hincrby("h", "a", 5) == 6 and client.hget("h", "a") == "6"
    assert client.hdel("h", "a", "b") == 2 and client.hgetall("h") == {}


def test_lists(client):
    assert client.rpush("l", "a", "b", "c") == 3 and client.lrange("l", 0, -1) == ["a", "b", "c"]
    assert client.lpush("l", "z") == 4 and client.lrange("l", 0, -1) == ["z", "a", "b", "c"]
    assert client.lmove("l", "m", "LEFT", "RIGHT") == "z" and client.lrange("m", 0, -1) == ["z"]
    assert client.lpop("l", 2) == ["a", "b"] and client.llen("l") == 1


def test_sets(client):
    assert client.sadd("s", "a", "b", "c") == 3 and client.sadd("t", "b", "x") == 2
    assert client.smembers("s") == {"a", "b", "c"} and client.sinter("s", "t") == {"b"}
    assert client.srem("s", "a") == 1 and not client.sismember("s", "a")
    assert client.smembers("s") == {"b", "c"}


def test_sorted_sets(client):
    assert client.zadd("z", {"a": 1, "b": 2.5, "c": float("inf")}) == 3
    assert client.zrange("z", 0, 1, withscores=True) == [("a", 1.0), ("b", 2.5)]
    assert client.zincrby("z", 10, "a") == 11 and client.zrange("z", 0, -1) == ["b", "a", "c"]
    assert client.zrangebyscore("z", "(2.5", "+inf") == ["a", "c"]
    assert client.zpopmin("z") == [("b", 2.5)] and client.zcard("z") == 2


def test_streams(client):
    first = client.xadd("x", {"n": 1})
    assert client.xrange("x") == [(first, {"n": "1"})]
    assert client.xgroup_create("x", "workers", id="0")
    assert client.xreadgroup("workers", "me", {"x": ">"}) == [["x", [(first, {"n": "1"})]]]
    assert client.xpending("x", "workers")["pending"] == 1
    assert client.xack("x", "workers", first) == 1
    timer = threading.Timer(0.1, lambda: client.xadd("x", {"n": 2}))
    timer.start()
    (_, [(_, fields)]), = client.xread({"x": first}, block=5000)
    timer.join()
    assert fields == {"n": "2"} and client.xlen("x") == 2


def test_pipelines_and_transactions(client):
    with client.pipeline(transaction=False) as pipe:
        for number in range(2000):
            pipe.set(f"p:{number % 100}", number).get(f"p:{number % 100}")
        assert pipe.execute()[1::2] == [str(number) for number in range(2000)]
    with client.pipeline() as pipe:
        assert pipe.set("a", "1").lpush("a", "x").get("a").execute(raise_on_error=False)[::2] == [True, "1"]
    def double(pipe):
        value = int(pipe.get("a"))
        pipe.multi()
        pipe.set("a", value * 2)
    assert client.transaction(double, "a") == [True] and client.get("a") == "2"
    with client.pipeline() as pipe:
        pipe.watch("a")
        client.set("a", "other")
        pipe.multi()
        pipe.set("a", "lost")
        with pytest.raises(redis_py.WatchError):
            pipe.execute()
    assert client.get("a") == "other"


def test_blocking_pops(client):
    timer = threading.Timer(0.1, lambda: client.rpush("q", "job"))
    timer.start()
    assert client.blpop(["q", "r"], timeout=5) == ("q", "job")
    timer.join()
    assert client.brpop("q", timeout=0.1) is None
    client.zadd("z", {"m": 1})
    assert client.bzpopmin("z", timeout=1) == ("z", "m", 1.0)


def test_scripts(client):
    add = client.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert add(keys=["n"], args=[5]) == 5 and client.get("n") == "5"
    client.script_flush()
    assert add(keys=["n"], args=[5]) == 10 and client.get("n") == "10", "EVAL after NOSCRIPT"
    assert client.eval("return {KEYS[1], ARGV[1]}", 1, "k", "v") == ["k", "v"]


def test_scans(client):
    client.mset({f"key:{number}": number for number in range(300)})
    assert len(set(client.scan_iter("key:*", count=50))) == 300
    client.hset("h", mapping={str(number): number for number in range(600)})
    assert len(dict(client.hscan_iter("h"))) == 600
    client.sadd("s", *range(600))
    assert len(set(client.sscan_iter("s"))) == 600


def test_another_database(sidecar, redis):
    with redis_py.Redis(port=sidecar.port, db=9, decode_responses=True) as client:
        assert client.set("a", "nine") and client.get("a") == "nine"
        assert client.move("a", 0) and client.get("a") is None
    with redis_py.Redis(port=sidecar.port, decode_responses=True) as client:
        assert client.get("a") == "nine"


def test_it_recovers_by_itself(sidecar, redis, plans):
    client = redis_py.Redis(port=sidecar.port, decode_responses=True)
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    heard, failed = [], []
    pubsub.get_message(timeout=2)
    assert client.set("a", "1")
    redis.kill9()
    sidecar.wait_backend("redis", False)
    assert client.get("plan:20") == plans.text(20), "on the connection that lived through it"
    assert redis_py.Redis(port=sidecar.port).ping(), "and on one made meanwhile"
    redis.start()
    sidecar.wait_backend("redis", True)
    assert client.set("a", "2") and client.get("a") == "2"

    def hears():
        client.publish("news", "hello")
        try:
            heard.append(pubsub.get_message(timeout=0.05))
        except redis_py.ConnectionError as problem:  # what an outage is to it
            failed.append(problem)
            time.sleep(0.02)
        return any(message and message["data"] == "hello" for message in heard)

    eventually(hears)
    assert len(failed) <= 1
    pubsub.close()
    client.close()
