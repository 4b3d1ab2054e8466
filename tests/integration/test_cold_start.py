"""Both backends are down before the first read: the sidecar starts and answers free."""

import time

import pytest

from processes import eventually

pytestmark = pytest.mark.alone

NUMBERS = range(1, 201)


@pytest.fixture
def start_cold(redis, pgbouncer, start_sidecar):
    """start_cold() -> a sidecar that was started while nothing else runs."""
    redis.kill9()
    pgbouncer.kill9()

    def start(**options):
        return start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url}, **options)
    return start


@pytest.fixture
def cold(start_cold):
    return start_cold()


def read_all(sidecar):
    return sidecar.client().pipeline([("GET", f"plan:{number}") for number in NUMBERS])


def test_every_mapped_read_is_the_free_value(cold, plans):
    assert read_all(cold) == [plans.FREE.encode()] * len(NUMBERS)
    assert cold.rung("plan:5")[:2] == (plans.FREE.encode(), "free")
    assert cold.call("MGET", "plan:1", "plan:2") == [plans.FREE.encode()] * 2


def test_at_10000_reads_a_second_every_read_is_the_free_value(start_cold, start_readers):
    readers = start_readers(start_cold(is_in_time=True), ids=5000, expect="free")
    time.sleep(1.5)
    readers.finish_in_time()


def test_free_is_not_kept_when_both_come_up(cold, redis, pgbouncer, plans):
    read_all(cold)
    assert cold.metric("sidecar_cache_entries") == 0
    redis.start()
    pgbouncer.start()
    cold.wait_backend("postgres", True)
    cold.wait_backend("redis", True)
    assert read_all(cold) == [plans.bytes(number) for number in NUMBERS]
    eventually(lambda: redis.call("MGET", "plan:1", "plan:20") == [plans.bytes(1), plans.bytes(20)])


def test_free_is_not_kept_when_only_postgres_comes_up(cold, pgbouncer, plans):
    read_all(cold)
    pgbouncer.start()
    cold.wait_backend("postgres", True)
    assert read_all(cold) == [plans.bytes(number) for number in NUMBERS]


def test_free_is_not_written_to_redis_when_only_redis_comes_up(cold, redis, plans):
    read_all(cold)
    redis.start()
    cold.wait_backend("redis", True)
    assert read_all(cold) == [plans.FREE.encode()] * len(NUMBERS)
    assert redis.call("DBSIZE") == 0
    redis.call("SET", "plan:3", plans.text(3))
    assert cold.get("plan:3") == plans.bytes(3), "what Redis has is asked for at the next read"


def test_caching_works_after_redis_was_down_at_the_start(cold, redis, pgbouncer, plans):
    read_all(cold)
    redis.start()
    pgbouncer.start()
    cold.wait_backend("redis", True)
    cold.wait_backend("postgres", True)
    read_all(cold)
    eventually(lambda: cold.rung("plan:5")[:2] == (plans.bytes(5), "memory"))


def test_it_is_ready_and_healthy_although_everything_is_down(cold):
    assert cold.http("/healthz")[0] == 200
    assert cold.http("/readyz")[0] == 200
