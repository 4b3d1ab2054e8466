"""Both backends are down after warm reads: stale copies, and no longer than allowed."""

import time

import pytest

from processes import eventually

TTL = 0.3
STALE = 4.0


@pytest.fixture
def warm(redis, pgbouncer, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache={"ttl": "300ms", "stale": "4s", "negative_ttl": "300ms"})
    return sidecar


def take_down(redis, postgres, sidecar):
    redis.kill9()
    postgres.kill9()
    sidecar.wait_backend("redis", False)


def test_a_stale_copy_is_served_and_says_so_with_its_age(warm, redis, postgres, plans):
    asked_at = time.monotonic()
    assert warm.get("plan:20") == plans.bytes(20)
    read_at = time.monotonic()
    take_down(redis, postgres, warm)
    eventually(lambda: warm.rung("plan:20")[1] == "stale")
    time.sleep(0.5)
    earliest = (time.monotonic() - read_at) * 1000
    value, rung, age = warm.rung("plan:20")
    latest = (time.monotonic() - asked_at) * 1000
    assert (value, rung) == (plans.bytes(20), "stale")
    assert earliest - 5 <= age <= latest + 5, f"{earliest} <= {age} <= {latest}"
    assert warm.get("plan:20") == plans.bytes(20)
    assert warm.metric("sidecar_answers_total", rung="stale") >= 1


def test_past_the_stale_time_the_answer_is_free(warm, redis, postgres, plans):
    asked_at = time.monotonic()
    warm.get("plan:20")
    end = time.monotonic() + TTL * 1.1 + STALE
    take_down(redis, postgres, warm)
    served = 0
    while True:
        value = warm.get("plan:20")
        if time.monotonic() > asked_at + TTL * 0.9 + STALE - 0.3:
            break  # whatever it was: this one may have been late
        assert value == plans.bytes(20)
        served += 1
        time.sleep(0.02)
    assert served > 0
    time.sleep(max(0.0, end - time.monotonic()) + 0.1)
    assert warm.rung("plan:20")[:2] == (plans.FREE.encode(), "free")
    assert warm.get("plan:20") == plans.FREE.encode()


def test_a_free_answer_to_one_does_not_replace_the_stale_copy_of_another(
        warm, redis, postgres, plans):
    warm.get("plan:20")
    take_down(redis, postgres, warm)
    time.sleep(TTL * 1.1)
    assert warm.call("MGET", "plan:20", "plan:40") == [plans.bytes(20), plans.FREE.encode()]
    assert warm.call("MGET", "plan:40", "plan:20") == [plans.FREE.encode(), plans.bytes(20)]


def test_stale_is_only_for_when_postgres_cannot_answer(warm, redis, plans):
    warm.get("plan:20")
    redis.kill9()
    plans.set(20, "basic")
    time.sleep(TTL * 1.1 + 0.05)
    assert warm.get("plan:20") == plans.bytes(20, "basic")


def test_a_missing_row_stays_missing_when_both_are_down(warm, redis, postgres, plans):
    """That Postgres said "no such row" is knowledge too; it is not turned into free."""
    assert warm.get("plan:99999") is None
    take_down(redis, postgres, warm)
    assert warm.get("plan:99999") in (None, plans.FREE.encode())


def test_fresh_copies_are_answered_from_memory_while_both_are_down(
        redis, postgres, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url})
    sidecar.get("plan:20")
    redis.kill9()
    postgres.kill9()
    assert sidecar.rung("plan:20")[:2] == (plans.bytes(20), "memory")


def test_a_hash_is_stale_as_well(redis, postgres, pgbouncer, plans, start_sidecar):
    plans.execute("INSERT INTO billing.people VALUES "
                  "('11111111-2222-3333-4444-555555555555', 'Zoë', 'plus', 3)")
    sidecar = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url}, cache={"ttl": "300ms"},
        maps={"person": {
            "key": "person:{id:uuid}", "type": "hash", "free": '{"tier":"free"}',
            "query": "SELECT person AS id, name, tier, seats FROM billing.people "
                     "WHERE person = ANY($1::uuid[])"}})
    key = "person:11111111-2222-3333-4444-555555555555"
    assert sidecar.call("HGET", key, "tier") == b"plus"
    redis.kill9()
    postgres.kill9()
    time.sleep(TTL * 1.1 + 0.1)
    assert sidecar.call("HMGET", key, "tier", "seats") == [b"plus", b"3"]
    assert sidecar.call("HGET", key, "tier") == b"plus"
