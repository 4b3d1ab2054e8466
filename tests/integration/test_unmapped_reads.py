"""Keys of no map: cached by the exact words of the read, dropped by every write."""

import time

import pytest

import resp
from processes import eventually

# (how to write, how to read, how to write again, the words' command for counting)
READS = {
    "GET": (("SET", "k", "1"), ("GET", "k"), ("SET", "k", "2")),
    "STRLEN": (("SET", "k", "1"), ("STRLEN", "k"), ("APPEND", "k", "234")),
    "GETRANGE": (("SET", "k", "hello"), ("GETRANGE", "k", "0", "1"), ("SETRANGE", "k", "0", "J")),
    "HGET": (("HSET", "k", "f", "1"), ("HGET", "k", "f"), ("HSET", "k", "f", "2")),
    "HGETALL": (("HSET", "k", "f", "1"), ("HGETALL", "k"), ("HINCRBY", "k", "f", "5")),
    "HMGET": (("HSET", "k", "f", "1"), ("HMGET", "k", "f", "g"), ("HSET", "k", "g", "2")),
    "LRANGE": (("RPUSH", "k", "a"), ("LRANGE", "k", "0", "-1"), ("LPUSH", "k", "b")),
    "LLEN": (("RPUSH", "k", "a"), ("LLEN", "k"), ("RPUSH", "k", "b")),
    "SMEMBERS": (("SADD", "k", "1"), ("SMEMBERS", "k"), ("SADD", "k", "2")),
    "SISMEMBER": (("SADD", "k", "1"), ("SISMEMBER", "k", "2"), ("SADD", "k", "2")),
    "ZRANGE": (("ZADD", "k", "1", "a"), ("ZRANGE", "k", "0", "-1", "WITHSCORES"),
               ("ZINCRBY", "k", "2", "a")),
    "ZSCORE": (("ZADD", "k", "1", "a"), ("ZSCORE", "k", "a"), ("ZADD", "k", "7", "a")),
    "GETBIT": (("SETBIT", "k", "1", "1"), ("GETBIT", "k", "1"), ("SETBIT", "k", "1", "0")),
    "XRANGE": (("XADD", "k", "1-1", "f", "v"), ("XRANGE", "k", "-", "+"),
               ("XADD", "k", "2-1", "f", "v")),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_is_answered_from_memory_until_a_write_drops_it(name, sidecar, redis):
    write, read, again = READS[name]
    count = name.lower()
    eventually(lambda: sidecar.status()["coherence"] == "tracking", what="tracking")
    told = sidecar.metric("sidecar_invalidations_total", source="redis")
    sidecar.call(*write)
    # Redis tells of this write, too.
    eventually(lambda: sidecar.metric("sidecar_invalidations_total", source="redis") > told)
    first = redis.call(*read)
    for _ in range(5):
        assert sidecar.call(*read) == first
    # One of the test's own, one of the sidecar's.
    assert redis.commands_seen()[count] == 2
    sidecar.call(*again)
    second = redis.call(*read)
    assert second != first
    assert sidecar.call(*read) == second


@pytest.mark.parametrize("name", READS)
def test_a_cached_read_has_each_protocols_own_shape(name, sidecar, redis):
    write, read, _ = READS[name]
    sidecar.call(*write)
    for protocol in (2, 3, 2, 3):
        client = sidecar.client(protocol=protocol)
        with redis.client(protocol=protocol) as direct:
            assert client.raw(*read) == direct.raw(*read)


def test_reads_of_one_key_by_other_words_are_not_mixed_up(sidecar):
    sidecar.call("RPUSH", "k", "a", "b", "c")
    for _ in range(2):
        assert sidecar.call("LRANGE", "k", "0", "0") == [b"a"]
        assert sidecar.call("LRANGE", "k", "1", "1") == [b"b"]
        assert sidecar.call("LRANGE", "k", "0", "-1") == [b"a", b"b", b"c"]
        assert sidecar.call("LLEN", "k") == 3
        assert sidecar.get("k").startswith("WRONGTYPE")


def test_one_write_drops_every_read_of_its_key(sidecar):
    sidecar.call("HSET", "k", "a", "1", "b", "2")
    sidecar.call("HGET", "k", "a"), sidecar.call("HGETALL", "k"), sidecar.call("HLEN", "k")
    sidecar.call("HDEL", "k", "a")
    assert sidecar.call("HGET", "k", "a") is None
    assert sidecar.call("HGETALL", "k") == [b"b", b"2"]
    assert sidecar.call("HLEN", "k") == 1


@pytest.mark.parametrize("words", [("RANDOMKEY",), ("SRANDMEMBER", "k"), ("HRANDFIELD", "h"),
                                   ("TIME",), ("DBSIZE",)], ids=" ".join)
def test_what_changes_by_itself_is_not_cached(words, sidecar, redis):
    sidecar.call("SADD", "k", *range(100))
    sidecar.call("HSET", "h", "f", "v")
    before = redis.commands_seen().get(words[0].lower(), 0)
    for _ in range(4):
        sidecar.call(*words)
    assert redis.commands_seen()[words[0].lower()] == before + 4


def test_a_key_that_expires_in_redis_ends_in_memory_too(sidecar):
    """By tracking: Redis tells of its expiry."""
    sidecar.call("SET", "k", "1", "PX", "1500")
    assert sidecar.get("k") == b"1"
    eventually(lambda: sidecar.get("k") is None, 5)


def test_a_copy_older_than_its_ttl_is_asked_again(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url},
                            cache={"ttl": "1500ms", "coherence": "ttl"})
    redis.call("SET", "k", "1")
    assert sidecar.get("k") == b"1"
    redis.call("SET", "k", "2")
    assert sidecar.get("k") == b"1"
    time.sleep(1.55)
    assert sidecar.get("k") == b"2"


def test_while_redis_is_down_fresh_then_stale_then_an_error(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url},
                            cache={"ttl": "1500ms", "stale": "2s"})
    eventually(lambda: sidecar.status()["coherence"] == "tracking", what="tracking")
    redis.call("SET", "k", "1")
    redis.call("HSET", "h", "f", "v")
    # Redis tells of these writes.
    eventually(lambda: sidecar.metric("sidecar_invalidations_total", source="redis") >= 2)
    assert sidecar.call("HGETALL", "h") == [b"f", b"v"]
    sidecar.keep("k")
    redis.kill9()
    assert sidecar.rung("k")[:2] == (b"1", "memory")
    time.sleep(1.55)
    assert sidecar.rung("k")[:2] == (b"1", "stale")
    assert sidecar.call("HGETALL", "h") == [b"f", b"v"]
    time.sleep(2.1)
    assert sidecar.get("k").startswith("REDISDOWN")
    assert sidecar.call("HGETALL", "h").startswith("REDISDOWN")
    redis.start()
    sidecar.wait_backend("redis", True)
    assert sidecar.get("k") is None, "it was lost with the crash"


def test_while_redis_hangs_it_is_stale_as_well(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url, "budget": "300ms", "timeout": "30s"},
                            cache={"ttl": "100ms"})
    redis.call("SET", "k", "1")
    sidecar.keep("k")
    redis.stop()
    time.sleep(0.15)
    client = sidecar.client(timeout=40)
    for _ in range(20):
        reply, seconds = client.timed("GET", "k")
        assert reply == b"1" and seconds < 10, "its budget, and not the timeout"
    redis.cont()


def test_a_write_while_redis_is_down_is_refused_and_changes_no_copy(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url})
    redis.call("SET", "k", "1")
    sidecar.keep("k")
    redis.kill9()
    sidecar.wait_backend("redis", False)
    assert sidecar.call("SET", "k", "2").startswith("REDISDOWN")
    assert sidecar.get("k") == b"1"


def test_a_missing_key_is_cached_shortly_and_an_insert_is_seen_at_once(sidecar, redis):
    assert sidecar.get("k") is None
    before = redis.commands_seen()["get"]
    assert sidecar.get("k") is None
    assert redis.commands_seen()["get"] == before
    assert sidecar.call("SET", "k", "1") == "OK"
    assert sidecar.get("k") == b"1"


def test_an_error_reply_is_not_cached(sidecar, redis):
    redis.call("RPUSH", "k", "x")
    assert isinstance(sidecar.get("k"), resp.Error)
    redis.call("DEL", "k")
    redis.call("SET", "k", "1")
    assert sidecar.get("k") == b"1"


def test_a_write_under_way_and_a_read_behind_it_are_one_clients_order(
        redis, proxy_for, start_sidecar):
    """The read may not be answered from memory while an earlier write waits for its reply."""
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url})
    sidecar.wait_backend("redis", True)
    sidecar.call("SET", "k", "old")
    assert sidecar.get("k") == b"old"
    proxy.delay = 0.1
    client = sidecar.client()
    assert client.pipeline([("GET", "k"), ("SET", "k", "new"), ("GET", "k")]) == [
        b"old", "OK", b"new"]


def test_another_client_may_not_fill_the_old_value_during_a_write(
        redis, proxy_for, start_sidecar):
    """The key is dropped when the write is sent and again when it is answered."""
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url, "connections": 2},
                            server={"threads": 2}, cache={"coherence": "ttl"})
    redis.call("SET", "k", "old")
    for _ in range(20):
        sidecar.client().call("GET", "warm")
    proxy.hold(b"new")
    writer = sidecar.client()
    writer.send("SET", "k", "new")
    proxy.wait_held()
    readers = [sidecar.client(timeout=0.3) for _ in range(8)]
    for reader in readers:
        reader.send("GET", "k")
    time.sleep(0.1)
    proxy.release()
    assert writer.read() == "OK"
    for reader in readers:
        reader.socket.settimeout(5)
        assert reader.read() in (b"old", b"new")
    assert sidecar.get("k") == b"new"
