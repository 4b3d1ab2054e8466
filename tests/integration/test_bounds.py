"""The cache keeps to its bounds, exactly."""

import pytest

from sidecar import slowness


def read_all(sidecar, keys, expected, window=500):
    client = sidecar.client(timeout=20)
    for at in range(0, len(keys), window):
        some = keys[at:at + window]
        assert client.pipeline([("GET", key) for key in some]) == expected(some)


@pytest.mark.parametrize("max_entries", [1, 2, 10, 1000, 5000])
def test_after_three_times_as_many_users_there_are_exactly_max_entries(
        max_entries, redis, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url, "budget": "5s"},
                            cache={"max_entries": max_entries, "coherence": "ttl"}, ladder={"deadline": "5s"})
    numbers = range(1, 3 * max_entries + 1)
    with redis.client(timeout=20) as client:
        client.pipeline([("SET", f"plan:{number}", plans.text(number)) for number in numbers])
    read_all(sidecar, [f"plan:{number}" for number in numbers],
             lambda keys: [plans.bytes(int(key[5:])) for key in keys])
    assert sidecar.metric("sidecar_cache_entries") == max_entries
    assert int(sidecar.status()["entries"]) == max_entries
    assert sidecar.metric("sidecar_cache_evictions_total") == 2 * max_entries


def test_the_users_of_postgres_are_bounded_as_well(redis, pgbouncer, plans, start_sidecar):
    redis.kill9()
    sidecar = start_sidecar(redis={"url": redis.url}, cache={"max_entries": 100, "coherence": "ttl"},
                            postgres={"url": pgbouncer.url, "budget": "5s"},
                            ladder={"deadline": "5s"})
    read_all(sidecar, [f"plan:{number}" for number in range(1, 301)],
             lambda keys: [plans.bytes(int(key[5:])) for key in keys], window=50)
    assert sidecar.metric("sidecar_cache_entries") == 100


def test_missing_rows_are_bounded_as_well(redis, pgbouncer, start_sidecar):
    """Whoever asks for ids that do not exist fills no memory."""
    sidecar = start_sidecar(redis={"url": redis.url, "budget": "5s"},
                            cache={"max_entries": 100, "coherence": "ttl"}, ladder={"deadline": "5s"},
                            postgres={"url": pgbouncer.url, "budget": "5s"})
    read_all(sidecar, [f"plan:{number}" for number in range(10_000, 10_300)],
             lambda keys: [None] * len(keys), window=50)
    assert sidecar.metric("sidecar_cache_entries") <= 100


def test_the_hottest_stay(redis, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, cache={"max_entries": 200, "coherence": "ttl"},
                            server={"threads": 1})
    with redis.client() as client:
        client.pipeline([("SET", f"plan:{number}", plans.text(number)) for number in range(1, 2001)])
    client = sidecar.client()
    for number in range(1, 2001):
        client.call("GET", f"plan:{number}")
        client.call("GET", "plan:1")
    before = redis.commands_seen()["get"]
    assert client.call("GET", "plan:1") == plans.bytes(1)
    assert redis.commands_seen()["get"] == before, "the hottest of all was thrown out"


@pytest.mark.parametrize("size", [10, 1000, 50_000, "mixed"])
def test_bytes_stay_within_max_memory(size, redis, start_sidecar):
    limit = 1 << 20
    sizes = [10, 300, 5000, 60_000] if size == "mixed" else [size]
    sidecar = start_sidecar(redis={"url": redis.url, "budget": "5s"},
                            cache={"max_memory": "1mb", "coherence": "ttl"}, ladder={"deadline": "5s"})
    count = max(100, 3 * limit // (sum(sizes) // len(sizes) + 60))  # an entry itself has fewer
    keys = [f"blob:{number}" for number in range(count)]
    with redis.client(timeout=20) as client:
        client.pipeline([("SET", key, key[-1] * sizes[at % len(sizes)])
                         for at, key in enumerate(keys)])
    client = sidecar.client(timeout=20)
    highest = 0
    for at in range(0, count, 200):
        client.pipeline([("GET", key) for key in keys[at:at + 200]])
        if at % 1000 == 0:
            highest = max(highest, sidecar.metric("sidecar_cache_bytes"))
    highest = max(highest, sidecar.metric("sidecar_cache_bytes"))
    assert highest <= limit
    assert highest >= limit / 2, "it hardly caches at all"
    assert sidecar.metric("sidecar_cache_evictions_total") > 0


def test_memory_of_the_process_follows_max_memory(redis, start_sidecar):
    """The count of bytes is not a claim only: 160 MB are read through 8 MB."""
    sidecar = start_sidecar(redis={"url": redis.url, "budget": "5s"},
                            cache={"max_memory": "8mb", "coherence": "ttl"}, ladder={"deadline": "5s"})
    with redis.client(timeout=20) as client:
        client.pipeline([("SET", f"blob:{number}", "x" * 20_000) for number in range(2000)])
    before = sidecar.memory_bytes()
    client = sidecar.client(timeout=20)
    for _ in range(4):
        for at in range(0, 2000, 50):
            client.pipeline([("GET", f"blob:{number}") for number in range(at, at + 50)])
    assert sidecar.metric("sidecar_cache_bytes") <= 8 << 20
    if slowness() == 1:  # sanitizers keep what was freed
        assert sidecar.memory_bytes() - before < 40 << 20


def test_larger_than_max_value_passes_through_uncached(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, cache={"max_value": "1kb", "coherence": "ttl"})
    redis.call("SET", "small", "s" * 1024)
    redis.call("SET", "large", "l" * 1025)
    for _ in range(3):
        assert sidecar.get("small") == b"s" * 1024
        assert sidecar.get("large") == b"l" * 1025
    assert redis.commands_seen()["get"] == 1 + 3
    assert sidecar.metric("sidecar_cache_entries") == 1


def test_what_keys_excludes_is_not_cached(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, cache={"keys": "a:* b:* !a:secret:*", "coherence": "ttl"})
    for key in ("a:1", "b:1", "a:secret:1", "c:1"):
        redis.call("SET", key, "v")
    for _ in range(3):
        for key in ("a:1", "b:1", "a:secret:1", "c:1"):
            assert sidecar.get(key) == b"v"
    assert redis.commands_seen()["get"] == 1 + 1 + 3 + 3
    assert sidecar.metric("sidecar_cache_entries") == 2
