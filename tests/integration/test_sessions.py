"""Clients whose state needs a Redis connection of their own: how many, how long, and how it ends."""

import threading
import time

import pytest

import resp
from faults import ScriptedRedis
from processes import eventually


def own_connections(redis):
    """Of sessions, as Redis lists them."""
    return sum(b"name=sidecar-session" in line for line in redis.call("CLIENT", "LIST").splitlines())


def names(redis):
    """Of all connections, as Redis lists them."""
    return [word[5:].decode() for word in redis.call("CLIENT", "LIST").split() if word.startswith(b"name=")]


@pytest.fixture
def start(start_redis, start_sidecar):
    def start(**sections):
        redis = start_redis()
        sections = {"server": {"threads": 2}, **sections}
        sections["redis"] = {"url": redis.url, **sections.get("redis", {})}
        sidecar = start_sidecar(maps={}, **sections)
        sidecar.wait_backend("redis", True)
        return redis, sidecar
    return start


def test_more_sessions_than_allowed_are_refused_and_the_rest_goes_on(start):
    redis, sidecar = start(redis={"max_sessions": 3})
    holders = [sidecar.client() for _ in range(3)]
    for client in holders:
        assert client.call("WATCH", "k") == "OK"
    refused = sidecar.client()
    assert "max_sessions" in refused.call("BLPOP", "list", "1")
    assert refused.call("SET", "k", "v") == "OK", "it needs no connection of its own"
    assert holders[0].call("UNWATCH") == "OK"
    eventually(lambda: refused.call("BLPOP", "list", "0.05") is None)
    assert all(client.call("GET", "k") == b"v" for client in holders)


def test_connections_that_wait_for_the_next_taker_do_not_count(start):
    redis, sidecar = start(redis={"max_sessions": 4})
    clients = [sidecar.client() for _ in range(8)]
    for _ in range(3):
        for client in clients:  # on both threads: each keeps what it was given back
            assert client.call("BLPOP", "list", "0.01") is None
    several = clients[::2]
    for client in several:
        assert client.call("MULTI") == "OK"
    assert [client.call("EXEC") for client in several] == [[]] * 4


def test_connections_are_used_again_and_given_back_clean(start):
    redis, sidecar = start(server={"threads": 1})
    for number in range(30):
        with sidecar.client() as client:
            assert client.call("WATCH", "k") == "OK"
            assert client.pipeline([("MULTI",), ("INCR", "k"), ("EXEC",)])[2] == [number + 1]
    assert 1 <= own_connections(redis) <= 3
    for state in (["SELECT", 9], ["CLIENT", "TRACKING", "ON"], ["SUBSCRIBE", "c"], ["MONITOR"], ["MULTI"]):
        with sidecar.client() as client:
            client.call(*state)
    with sidecar.client() as client:
        assert client.pipeline([("MULTI",), ("GET", "k"), ("EXEC",)])[2] == [b"30"]


@pytest.mark.parametrize("words", [("SUBSCRIBE", "c"), ("MONITOR",), ("MULTI",), ("WATCH", "k"), ("BLPOP", "l", "0")],
                         ids=lambda words: words[0])
@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_knows_the_name_of_whoever_has_a_connection(words, protocol, start):
    redis, sidecar = start()
    client = sidecar.client(protocol=protocol)
    assert client.call("CLIENT", "SETNAME", "worker-7") == "OK"
    client.send(*words)
    eventually(lambda: names(redis).count("worker-7") == 1)
    assert own_connections(redis) == 0


def test_a_name_given_later_is_told_and_goes_with_its_client(start):
    redis, sidecar = start(server={"threads": 1})
    client = sidecar.client()
    assert client.call("WATCH", "k") == "OK"
    assert own_connections(redis) == 1
    for words, name in ((("CLIENT", "SETNAME", "one"), "one"), (("HELLO", "2", "SETNAME", "two"), "two")):
        assert not isinstance(client.call(*words), resp.Error)
        eventually(lambda: name in names(redis))
    assert client.pipeline([("MULTI",), ("CLIENT", "SETNAME", "three"), ("EXEC",), ("WATCH", "k")])[2:] == [["OK"], "OK"]
    eventually(lambda: "three" in names(redis))
    assert client.call("CLIENT", "SETNAME", "") == "OK"
    eventually(lambda: own_connections(redis) == 1)
    assert client.pipeline([("CLIENT", "SETNAME", "four"), ("UNWATCH",)]) == ["OK", "OK"]
    other = sidecar.client()
    assert other.call("WATCH", "k") == "OK"
    assert own_connections(redis) == 1 and "four" not in names(redis), "the connection, not the name"
    assert client.call("WATCH", "k") == "OK"
    eventually(lambda: "four" in names(redis))


def test_the_same_name_finds_the_same_connection_and_costs_nothing(start):
    redis, sidecar = start(server={"threads": 1})
    clients = [sidecar.client() for _ in range(3)]
    for number, client in enumerate(clients):
        assert client.call("CLIENT", "SETNAME", f"worker-{number}") == "OK"
    for client in clients:
        client.send("BLPOP", "list", "1")  # all at a time: nobody is given another's
    assert [client.read() for client in clients] == [None] * 3
    for client in 3 * clients:
        assert client.call("BLPOP", "list", "0.01") is None
    stats = redis.call("INFO", "commandstats")
    assert b"cmdstat_blpop:calls=12," in stats and b"client|setname" not in stats
    assert {f"worker-{number}" for number in range(3)} <= set(names(redis))


def test_no_touch_is_told_where_there_is_a_connection_and_nobody_minds_a_refusal(start):
    redis, sidecar = start(server={"threads": 1})  # 7.0, that does not know it, or a later one
    client = sidecar.client()
    assert client.call("CLIENT", "NO-TOUCH", "ON") == "OK"
    answers = client.pipeline([("WATCH", "k"), ("MULTI",), ("SET", "k", "v"), ("EXEC",), ("GET", "k")])
    assert answers == ["OK", "OK", "QUEUED", ["OK"], b"v"]
    assert client.pipeline([("SELECT", "1"), ("CLIENT", "NO-TOUCH", "OFF"), ("GET", "k")]) == ["OK", "OK", None]
    with sidecar.client() as other:
        assert other.pipeline([("BLPOP", "l", "0.01"), ("PING",)]) == [None, "PONG"]
    assert client.call("RESET") == "RESET"
    assert client.call("CLIENT", "NO-TOUCH", "on") == "OK"
    assert b"flags=T" in client.call("CLIENT", "INFO")
    assert client.call("RESET") == "RESET"
    assert b"flags=N" in client.call("CLIENT", "INFO")


def test_what_no_touch_says_to_redis(start_sidecar):
    def answer(words):
        if words[0] == b"HELLO":
            return b"*2\r\n$2\r\nid\r\n:7\r\n" if words[1] == b"2" else b"-NOPROTO no\r\n"
        return b"*-1\r\n" if words[0] == b"BLPOP" else b"+OK\r\n"

    redis = ScriptedRedis(answer).start()
    try:
        sidecar = start_sidecar(maps={}, server={"threads": 1}, redis={"url": redis.url}, cache={"coherence": "ttl"})
        sidecar.wait_backend("redis", True)
        client, other = sidecar.client(), sidecar.client()
        assert client.call("CLIENT", "NO-TOUCH", "ON") == "OK"
        for who in (client, client, other):
            assert who.call("BLPOP", "l", "1") is None
        said = [words for words in redis.commands if words[0] == b"BLPOP" or b"NO-TOUCH" in words]
        blocks = [b"BLPOP", b"l", b"1"]
        assert said == [[b"CLIENT", b"NO-TOUCH", b"ON"], blocks, blocks, [b"CLIENT", b"NO-TOUCH", b"OFF"], blocks]
    finally:
        redis.end()


@pytest.mark.parametrize("words", [("SUBSCRIBE", "c"), ("MONITOR",), ("MULTI",), ("WATCH", "k"), ("BLPOP", "l", "0")],
                         ids=lambda words: words[0])
def test_a_client_that_goes_frees_its_connection_in_redis(words, start):
    redis, sidecar = start()
    clients = [sidecar.client() for _ in range(10)]
    for client in clients:
        client.send(*words)
    eventually(lambda: own_connections(redis) == 10)
    for client in clients:
        client.close()
    eventually(lambda: own_connections(redis) == 0, what="no connection of a client that has gone")


def test_redis_dying_in_a_transaction_is_an_error_to_that_client_and_nobody_else(start):
    redis, sidecar = start(cache={"ttl": "1h"})
    sidecar.call("SET", "k", "v")
    sidecar.keep("k")
    inside, beside = sidecar.client(), sidecar.client()
    assert inside.pipeline([("MULTI",), ("SET", "other", "w")]) == ["OK", "QUEUED"]
    redis.kill9()
    with pytest.raises((resp.Closed, ConnectionError)):  # as by redis itself
        inside.call("EXEC")
    assert beside.call("GET", "k") == b"v"
    redis.restart()
    sidecar.wait_backend("redis", True)
    eventually(lambda: beside.call("SET", "k", "again") == "OK")
    assert beside.pipeline([("MULTI",), ("GET", "k"), ("EXEC",)])[2] == [b"again"]


@pytest.mark.parametrize("wait, feed, answer", [
    (("BRPOP", "k", "5"), ("LPUSH", "k", "v"), [b"k", b"v"]),
    (("BLMOVE", "k", "l", "LEFT", "LEFT", "5"), ("LPUSH", "k", "v"), b"v"),
    (("BLMPOP", "5", "1", "k", "LEFT"), ("LPUSH", "k", "v"), [b"k", [b"v"]]),
    (("BZPOPMIN", "k", "5"), ("ZADD", "k", "1", "v"), [b"k", b"v", b"1"]),
    (("BZMPOP", "5", "1", "k", "MAX"), ("ZADD", "k", "1", "v"), [b"k", [[b"v", b"1"]]]),
    (("XREAD", "BLOCK", "5000", "STREAMS", "k", "0"), ("XADD", "k", "1-1", "f", "v"),
     [[b"k", [[b"1-1", [b"f", b"v"]]]]]),
], ids=lambda words: words[0] if isinstance(words, tuple) else "")
def test_who_blocks_is_counted_and_woken(wait, feed, answer, start):
    _, sidecar = start()
    client = sidecar.client()
    client.send(*wait)
    eventually(lambda: b"blocked_clients:1" in sidecar.call("INFO", "clients"))
    assert not isinstance(sidecar.call(*feed), resp.Error)
    assert client.read() == answer
    eventually(lambda: b"blocked_clients:0" in sidecar.call("INFO", "clients"))


def test_sharded_channels(start):
    _, sidecar = start()
    for protocol in (2, 3):
        client = sidecar.client(protocol=protocol)
        client.send("SSUBSCRIBE", "c")
        assert list(client.read()) == [b"ssubscribe", b"c", 1]
        assert sidecar.call("SPUBLISH", "c", "hello") == 1
        assert list(client.read()) == [b"smessage", b"c", b"hello"]
        client.send("SUNSUBSCRIBE", "c")
        assert list(client.read()) == [b"sunsubscribe", b"c", 0]
        assert client.call("SET", "k", "v") == "OK"


def test_ten_thousand_commands_in_one_pipeline_of_a_session(start):
    redis, sidecar = start()
    client = sidecar.client(timeout=30)
    commands = [("MULTI",), *[("INCR", f"k{number % 7}") for number in range(9_996)], ("EXEC",),
                ("GET", "k0"), ("PING",)]
    sender = threading.Thread(target=client.send_raw, args=(b"".join(resp.encode(*words) for words in commands),))
    sender.start()
    replies = [client.read() for _ in commands]
    sender.join()
    assert replies[0] == "OK" and set(replies[1:9_997]) == {"QUEUED"}
    assert len(replies[9_997]) == 9_996 and replies[9_997][-1] == 9_996 // 7
    assert replies[9_998:] == [b"1428", "PONG"]


def test_a_script_is_loaded_when_redis_does_not_know_it(start):
    redis, sidecar = start()
    script = "return ARGV[1]" + " " * 100_000 + "-- long"
    sha = redis.client().call("SCRIPT", "LOAD", script).decode()
    redis.call("SCRIPT", "FLUSH")
    client = sidecar.client()
    assert client.call("EVALSHA", sha, "0", "x").startswith("NOSCRIPT")
    assert client.call("EVAL", script, "0", "x") == b"x"
    assert client.call("EVALSHA", sha, "0", "x") == b"x"


def test_a_server_that_sleeps_keeps_its_sessions(start):
    redis, sidecar = start(redis={"timeout": "5s"})
    client = sidecar.client()
    assert client.call("WATCH", "k") == "OK"
    started = time.monotonic()
    assert client.call("DEBUG", "SLEEP", "0.5") == "OK"
    assert time.monotonic() - started >= 0.5
    assert client.pipeline([("MULTI",), ("SET", "k", "v"), ("EXEC",)])[2] == ["OK"]


def test_databases_and_what_moves_between_them(start):
    redis, sidecar = start()
    other, here = sidecar.client(), sidecar.client()
    for database in (1, 9, 15):
        here.call("SET", "k", "zero")
        assert here.call("GET", "k") == b"zero"
        assert other.call("SELECT", database) == "OK"
        assert other.call("SET", "k", database) == "OK"
        assert here.call("GET", "k") == b"zero"
        assert other.call("SWAPDB", "0", database) == "OK"
        assert here.call("GET", "k") == b"%d" % database
        assert other.call("GET", "k") == b"zero"
        assert here.call("DEL", "k") == 1
        assert here.call("GET", "k") is None
        assert other.call("MOVE", "k", "0") == 1
        assert here.call("GET", "k") == b"zero"
        assert other.call("COPY", "nothing", "k", "DB", "0") == 0
        assert other.call("SET", "k", "copied") == "OK"
        assert other.call("COPY", "k", "k", "DB", "0", "REPLACE") == 1
        assert here.call("GET", "k") == b"copied"
        assert other.call("FLUSHDB") == "OK"
        assert here.call("GET", "k") == b"copied"
        assert other.call("SELECT", "0") == "OK"
        assert other.call("FLUSHDB") == "OK"
        assert here.call("GET", "k") is None


def test_a_bulk_larger_than_redis_allows_now_is_refused_by_redis(start):
    redis, sidecar = start()
    client = sidecar.client()
    assert client.call("CONFIG", "SET", "proto-max-bulk-len", str(1 << 20)) == "OK"
    reply = client.call("SET", "k", b"x" * (2 << 20))
    assert isinstance(reply, resp.Error), "not stored, and said so"
    assert redis.call("EXISTS", "k") == 0
    eventually(lambda: sidecar.call("SET", "k", "small") == "OK")


def test_a_redis_that_hangs_up_on_sessions_and_answers_all_others_is_not_down(start):
    """An operator's CLIENT KILL, a service that closes who is silent for long."""
    redis, sidecar = start()
    subscribers = [sidecar.client() for _ in range(12)]
    for client in subscribers:
        assert client.call("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
    assert redis.call("CLIENT", "KILL", "TYPE", "pubsub") == 12
    for client in subscribers:
        assert client.is_closed()
    assert sidecar.metric("sidecar_backend_errors_total", backend="redis", kind="lost") == 12
    assert sidecar.call("SET", "k", "v") == "OK"
    assert not sidecar.log_lines("redis down")


def test_a_redis_that_dies_is_noticed_by_those_who_come_to_it_anew(start):
    redis, sidecar = start(breaker={"open": "60s", "max_open": "60s"})
    subscriber = sidecar.client()
    subscriber.call("SUBSCRIBE", "news")
    redis.kill9()
    assert subscriber.is_closed()
    eventually(lambda: sidecar.log_lines("redis down"), what="an outage, with nobody asking")
