"""SIDECAR STATUS, GET, EXPLAIN, KEYS, FLUSH, WARM, BREAKER and HELP."""

import time

import pytest

import resp


@pytest.mark.parametrize("protocol", [2, 3])
def test_status_is_a_map_of_the_whole(sidecar, plans, protocol):
    sidecar.get("plan:20")
    sidecar.get("plan:20")
    client = sidecar.client(protocol=protocol)
    reply = client.call("SIDECAR", "STATUS")
    assert isinstance(reply, dict if protocol == 3 else list)
    status = sidecar.status()
    text = repr(status).lower()
    for word in ("version", "uptime", "redis", "postgres", "entries", "bytes", "hit", "journal",
                 "coherence"):
        assert word in text, f"{word} is missing in {status}"
    assert int(status["entries"]) == 1
    assert status["coherence"] in ("tracking", "broadcast", "ttl")


def test_get_tells_value_rung_and_age(sidecar, redis, plans):
    asked = time.monotonic()
    assert sidecar.rung("plan:20") == (plans.bytes(20), "postgres", 0)
    time.sleep(0.15)
    value, rung, age = sidecar.rung("plan:20")
    assert (value, rung) == (plans.bytes(20), "memory")
    assert 140 <= age <= (time.monotonic() - asked) * 1000 + 5
    redis.call("SET", "plan:7", plans.text(7))
    assert sidecar.rung("plan:7")[:2] == (plans.bytes(7), "redis")
    assert sidecar.rung("plan:99999")[:2] == (None, "postgres")


def test_get_says_free_and_stale(redis, postgres, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache={"ttl": "200ms"})
    sidecar.get("plan:20")
    redis.kill9()
    postgres.kill9()
    time.sleep(0.3)
    assert sidecar.rung("plan:20")[:2] == (plans.bytes(20), "stale")
    assert sidecar.rung("plan:40")[:2] == (plans.FREE.encode(), "free")


def test_get_of_an_unmapped_key(sidecar, redis):
    redis.call("SET", "other", "x")
    assert sidecar.rung("other")[:2] == (b"x", "redis")
    sidecar.keep("other")
    assert sidecar.get("other") == b"x"
    redis.kill9()
    sidecar.wait_backend("redis", False)
    reply = sidecar.call("SIDECAR", "GET", "nowhere")
    assert isinstance(reply, resp.Error) and reply.startswith("REDISDOWN") or reply[1] == b"error"


def test_explain_tells_which_rung_would_answer_and_why(sidecar, plans):
    before = sidecar.explain("plan:20")
    assert "plan" in map(str, before.values()), "the matching map"
    sidecar.get("plan:20")
    after = sidecar.explain("plan:20")
    text = repr(after).lower()
    for word in ("map", "id", "age", "fresh", "stale", "valid", "breaker", "rung", "why"):
        assert word in text, f"{word} is missing in {after}"
    assert before["rung"] != "memory" and after["rung"] == "memory"
    assert sidecar.metric("sidecar_answers_total") == 1, "explaining is not answering"


def test_explain_says_when_postgres_cannot_be_asked(sidecar):
    assert sidecar.explain("plan:21")["why"].endswith("postgres is asked for")
    sidecar.call("SIDECAR", "BREAKER", "postgres", "OPEN")
    told = sidecar.explain("plan:21")
    assert told["rung"] == "redis" and told["why"].endswith("postgres cannot be asked for")


def test_explain_of_an_unmapped_key(sidecar):
    told = sidecar.explain("other")
    assert told["rung"] == "redis"
    assert sidecar.call("SIDECAR", "EXPLAIN", "other") != []


def test_explain_while_both_are_down_says_free(sidecar, redis, pgbouncer):
    redis.kill9()
    pgbouncer.kill9()
    sidecar.wait_backend("redis", False)
    sidecar.get("plan:1")
    sidecar.wait_backend("postgres", False)
    assert sidecar.explain("plan:20")["rung"] == "free"


def test_keys_lists_the_hottest_first(sidecar, plans):
    for number, times in ((1, 5), (2, 50), (3, 20)):
        for _ in range(times):
            sidecar.get(f"plan:{number}")
    reply = sidecar.call("SIDECAR", "KEYS")
    text = repr(reply)
    assert text.index("plan:2") < text.index("plan:3") < text.index("plan:1")
    two = sidecar.call("SIDECAR", "KEYS", "2")
    assert "plan:2" in repr(two) and "plan:3" in repr(two) and "plan:1'" not in repr(two)
    assert isinstance(sidecar.call("SIDECAR", "KEYS", "abc"), resp.Error)


def test_flush_drops_from_memory_only(sidecar, redis, plans):
    redis.call("SET", "other", "x")
    sidecar.keep("other", *(f"plan:{number}" for number in range(1, 31)))
    assert sidecar.call("SIDECAR", "FLUSH", "plan:1*") == 11, "1 and 10 to 19"
    assert sidecar.metric("sidecar_cache_entries") == 20
    assert redis.call("GET", "plan:10") == plans.bytes(10)
    assert sidecar.rung("plan:10")[1] == "redis"
    assert sidecar.rung("plan:20")[1] == "memory"
    assert sidecar.call("SIDECAR", "FLUSH") == 21
    assert sidecar.metric("sidecar_cache_entries") == 0
    assert sidecar.call("SIDECAR", "FLUSH") == 0


def test_breaker_forces_a_backend_down_and_up(sidecar, redis, plans):
    assert sidecar.call("SIDECAR", "BREAKER", "redis", "OPEN") == "OK"
    assert sidecar.metric("sidecar_breaker_state", backend="redis") == 2
    before = redis.commands_seen().get("get", 0)
    assert sidecar.rung("plan:7")[:2] == (plans.bytes(7), "postgres")
    assert sidecar.call("SET", "other", "1").startswith("REDISDOWN")
    assert redis.commands_seen().get("get", 0) == before
    assert sidecar.call("SIDECAR", "BREAKER", "postgres", "open") == "OK"
    assert sidecar.get("plan:8") == plans.FREE.encode()
    time.sleep(0.7)
    assert sidecar.metric("sidecar_breaker_state", backend="redis") == 2, "until it is told else"
    assert sidecar.call("SIDECAR", "BREAKER", "redis", "AUTO") == "OK"
    assert sidecar.call("SIDECAR", "BREAKER", "postgres", "AUTO") == "OK"
    sidecar.wait_backend("redis", True)
    sidecar.wait_backend("postgres", True)
    assert sidecar.get("plan:8") == plans.bytes(8)
    assert sidecar.call("SIDECAR", "BREAKER", "redis", "CLOSE") == "OK"
    assert sidecar.call("SET", "other", "1") == "OK"
    for words in (("redis",), ("oracle", "OPEN"), ("redis", "MAYBE")):
        assert isinstance(sidecar.call("SIDECAR", "BREAKER", *words), resp.Error)


def test_help_names_every_subcommand(sidecar):
    text = repr(sidecar.call("SIDECAR", "HELP"))
    for word in ("STATUS", "GET", "EXPLAIN", "KEYS", "FLUSH", "WARM", "BREAKER", "HELP"):
        assert word in text


def test_a_wrong_subcommand_is_an_error(sidecar):
    for words in ((), ("NOSUCH",), ("GET",), ("EXPLAIN",), ("GET", "a", "b")):
        assert isinstance(sidecar.call("SIDECAR", *words), resp.Error), words


def test_everything_works_while_both_are_down(redis, pgbouncer, start_sidecar):
    redis.kill9()
    pgbouncer.kill9()
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url})
    assert sidecar.status()
    assert sidecar.explain("plan:1")
    assert sidecar.call("SIDECAR", "KEYS") == []
    assert sidecar.call("SIDECAR", "FLUSH") == 0
    assert sidecar.call("SIDECAR", "HELP")
