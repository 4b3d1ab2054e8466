"""MGET: each key by its own rungs, in one command to each backend."""

import pytest

from processes import eventually
from sidecar import PLAN_MAP


@pytest.fixture
def sidecar(redis, pgbouncer, start_sidecar):
    """Without tracking, which reads its own fills once more: commands are counted here."""
    return start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                         cache={"coherence": "ttl", "negative_ttl": "5m"})


@pytest.fixture
def mixed(sidecar, redis, plans):
    """(keys, values): 100 keys; 20 each in memory, in Redis, in Postgres, nowhere, unmapped."""
    keys, values = [], []
    for number in range(1, 61):
        keys.append(f"plan:{number}")
        values.append(plans.bytes(number))
    for number in range(1, 21):  # memory
        sidecar.get(f"plan:{number}")
    for number in range(21, 41):  # Redis only
        redis.call("SET", f"plan:{number}", plans.text(number))
    for number in range(90_001, 90_021):  # no such row
        keys.append(f"plan:{number}")
        values.append(None)
    for number in range(20):  # unmapped, each second one exists
        keys.append(f"other:{number}")
        values.append(b"o%d" % number if number % 2 else None)
        if number % 2:
            redis.call("SET", f"other:{number}", f"o{number}")
    order = [(number * 37) % 100 for number in range(100)]
    return [keys[at] for at in order], [values[at] for at in order]


@pytest.mark.parametrize("protocol", [2, 3])
def test_100_mixed_keys_are_right_and_in_order(protocol, mixed, sidecar):
    keys, values = mixed
    client = sidecar.client(protocol=protocol)
    for _ in range(3):
        assert client.call("MGET", *keys) == values


def test_100_mixed_keys_take_one_command_for_each_backend(mixed, sidecar, redis):
    keys, values = mixed
    before, metrics = redis.commands_seen(), sidecar.metrics()
    assert sidecar.call("MGET", *keys) == values
    after = redis.commands_seen()
    reads = sum(after.get(name, 0) - before.get(name, 0) for name in ("get", "mget"))
    assert reads == 1
    now = sidecar.metrics()
    queries, ids = (now.sum(name) - metrics.sum(name) for name in (
        "sidecar_postgres_batch_ids_count", "sidecar_postgres_batch_ids_sum"))
    assert (queries, ids) == (1, 40), "20 from their rows and 20 that have none"

    assert sidecar.call("MGET", *keys) == values
    again = redis.commands_seen()
    assert again.get("get", 0) == after.get("get", 0)
    assert again["mget"] <= after["mget"] + 1, "at most what is not in memory"
    assert sidecar.metric("sidecar_postgres_batch_ids_count") == now.sum(
        "sidecar_postgres_batch_ids_count")


def test_the_same_key_twice(sidecar, plans):
    assert sidecar.call("MGET", "plan:20", "plan:7", "plan:20", "none", "none") == [
        plans.bytes(20), plans.bytes(7), plans.bytes(20), None, None]


def test_while_redis_is_down_mapped_keys_are_answered_and_others_say_so(
        mixed, sidecar, redis, plans):
    redis.kill9()
    sidecar.wait_backend("redis", False)
    keys, values = mixed
    mapped = [(key, value) for key, value in zip(keys, values) if key.startswith("plan:")]
    assert sidecar.call("MGET", *(key for key, _ in mapped)) == [value for _, value in mapped]
    assert sidecar.call("MGET", "plan:1", "other:1").startswith("REDISDOWN")


def test_while_both_are_down_it_is_stale_and_free_key_by_key(
        redis, postgres, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url})
    sidecar.get("plan:20")
    redis.kill9()
    postgres.kill9()
    assert sidecar.call("MGET", "plan:20", "plan:40", "plan:20") == [
        plans.bytes(20), plans.FREE.encode(), plans.bytes(20)]


def test_10000_keys_in_one_mget(redis, pgbouncer, plans, start_sidecar):
    plans.fill(1, 10_000)
    sidecar = start_sidecar(redis={"url": redis.url, "budget": "5s"},
                            postgres={"url": pgbouncer.url, "budget": "5s"},
                            ladder={"deadline": "8s"})
    client = sidecar.client(timeout=20)
    keys = [f"plan:{number}" for number in range(1, 10_001)]
    expected = [plans.bytes(number) for number in range(1, 10_001)]
    assert client.call("MGET", *keys) == expected
    assert sidecar.metric("sidecar_postgres_batch_ids_count") <= 10_000 / 256 + 10
    assert client.call("MGET", *keys) == expected


@pytest.fixture
def remembering(redis, start_sidecar):
    """Remembers nil for as long as the test takes; tells what it asks of Redis."""
    return start_sidecar(redis={"url": redis.url},
                         cache={"coherence": "ttl", "negative_ttl": "5m", "ttl": "5m"})


def looked_up(redis):
    """Keys that Redis has looked for, ever."""
    stats = redis.call("INFO", "stats").decode()
    return sum(int(line.split(":")[1]) for line in stats.splitlines()
               if line.startswith(("keyspace_hits:", "keyspace_misses:")))


@pytest.mark.parametrize("protocol", [2, 3])
def test_only_what_memory_has_not_is_asked_for(protocol, remembering, redis):
    client = remembering.client(protocol=protocol)
    keys = [f"k:{number}" for number in range(1000)]
    values = [b"v%d" % number for number in range(1000)]
    redis.call("MSET", *(word for pair in zip(keys, values) for word in pair))
    assert client.call("MGET", *keys[:400], *keys[410:]) == values[:400] + values[410:]
    before, seen = looked_up(redis), redis.commands_seen().get("mget", 0)
    assert client.call("MGET", *keys) == values
    assert looked_up(redis) - before == 10
    assert redis.commands_seen()["mget"] == seen + 1
    assert client.call("MGET", *reversed(keys)) == values[::-1]
    assert looked_up(redis) - before == 10


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_an_mget_found_missing_is_remembered(protocol, remembering, redis):
    client = remembering.client(protocol=protocol)
    redis.call("SET", "there", "1")
    keys, values = ["no:1", "there", "no:2", "no:1"], [None, b"1", None, None]
    assert client.call("MGET", *keys) == values
    before, hits = looked_up(redis), remembering.metric("sidecar_cache_hits_total")
    for _ in range(3):
        assert client.call("MGET", *keys) == values
    assert looked_up(redis) == before
    eventually(lambda: remembering.metric("sidecar_cache_hits_total") == hits + 12)


def test_a_remembered_nil_of_get_answers_an_mget(remembering, redis):
    assert remembering.get("no:1") is None
    before = looked_up(redis)
    assert remembering.get("no:1") is None
    assert remembering.call("MGET", "no:1", "no:1") == [None, None]
    assert looked_up(redis) == before


def test_a_remembered_nil_gives_way_to_a_write(redis, start_sidecar):
    remembering = start_sidecar(redis={"url": redis.url},
                                cache={"coherence": "tracking", "negative_ttl": "5m"})
    assert remembering.call("MGET", "a", "b") == [None, None]
    assert remembering.call("SET", "a", "1") == "OK"
    assert remembering.call("MGET", "a", "b") == [b"1", None]
    redis.call("SET", "b", "2")  # past us
    eventually(lambda: remembering.call("MGET", "a", "b") == [b"1", b"2"])
    redis.call("DEL", "a")
    eventually(lambda: remembering.call("MGET", "a", "b") == [None, b"2"])


def test_what_mget_says_of_another_type_is_not_said_by_get(remembering, redis):
    redis.call("RPUSH", "list", "x")
    for _ in range(2):
        assert remembering.call("MGET", "list", "none") == [None, None]
        assert remembering.get("list").startswith("WRONGTYPE")
        assert remembering.call("LLEN", "list") == 1
        assert remembering.call("TYPE", "list") == "list"


def test_nothing_is_remembered_without_negative_ttl(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url},
                            cache={"coherence": "ttl", "negative_ttl": "0s"})
    assert sidecar.call("MGET", "a", "b") == [None, None]
    redis.call("SET", "b", "2")
    assert sidecar.call("MGET", "a", "b") == [None, b"2"]


def test_a_user_without_a_row_gets_what_the_map_says_from_memory_too(
        redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url},
        cache={"negative_ttl": "5m"}, maps={"plan": {**PLAN_MAP, "missing": "free"}})
    free = plans.FREE.encode()
    for _ in range(2):
        assert sidecar.call("MGET", "plan:90001", "plan:1", "plan:90001") == [
            free, plans.bytes(1), free]
        assert sidecar.get("plan:90001") == free


def test_10000_keys_of_which_100_are_missing(remembering, redis):
    client = remembering.client(timeout=20)
    keys = [f"k:{number}" for number in range(10_000)]
    values = [b"x" * (number % 300) if number % 100 else None for number in range(10_000)]
    redis.call("MSET", *(word for pair in zip(keys, values) if pair[1] is not None
                         for word in pair))
    some = [at for at in range(10_000) if at % 100]
    assert client.call("MGET", *(keys[at] for at in some)) == [values[at] for at in some]
    before = looked_up(redis)
    for _ in range(3):
        assert client.call("MGET", *keys) == values
    assert looked_up(redis) - before == 100


def test_an_mget_of_a_wrong_type_is_nil_as_in_redis(sidecar, redis):
    redis.call("RPUSH", "list", "x")
    redis.call("SET", "text", "t")
    for _ in range(2):
        assert sidecar.call("MGET", "list", "text", "none") == [None, b"t", None]
    assert sidecar.get("list").startswith("WRONGTYPE")
