"""MGET: each key by its own rungs, in one command to each backend."""

import pytest


@pytest.fixture
def sidecar(redis, pgbouncer, start_sidecar):
    """Without tracking, which reads its own fills once more: commands are counted here."""
    return start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                         cache={"coherence": "ttl"})


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


def test_an_mget_of_a_wrong_type_is_nil_as_in_redis(sidecar, redis):
    redis.call("RPUSH", "list", "x")
    redis.call("SET", "text", "t")
    for _ in range(2):
        assert sidecar.call("MGET", "list", "text", "none") == [None, b"t", None]
    assert sidecar.get("list").startswith("WRONGTYPE")
