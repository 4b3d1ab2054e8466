"""A value with an end: past it, it is never served again, on any rung."""

import time

import pytest

import resp
from processes import eventually

# The clocks of Postgres and the sidecar are the same; this is scheduling.
GRACE = 0.06


def assert_never_past(sidecar, key, plus, end, watch=0.5):
    """Plus until the end, then never again; watched for a while after it."""
    seen_before = False
    while time.monotonic() < end - GRACE:
        seen_before |= sidecar.get(key) == plus
        time.sleep(0.02)
    assert seen_before, "it was not served before its end either"
    time.sleep(max(0, end + GRACE - time.monotonic()))
    stop = time.monotonic() + watch
    while time.monotonic() < stop:
        assert sidecar.get(key) != plus, f"served {time.monotonic() - end:.3f} s past its end"
        assert sidecar.rung(key)[0] != plus
        time.sleep(0.02)


def set_ending(plans, number, seconds):
    """Plus for some seconds; returns when that is over for certain (monotonic)."""
    plans.set(number, "plus", ends_in=seconds)
    return time.monotonic() + seconds


def test_memory_does_not_serve_it_past_its_end(sidecar, plans):
    end = set_ending(plans, 7, 2.0)
    assert_never_past(sidecar, "plan:7", plans.bytes(7, "plus"), end)


def test_the_stale_rung_does_not_serve_it_past_its_end(
        redis, postgres, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache={"ttl": "200ms"})
    end = set_ending(plans, 7, 3.0)
    assert sidecar.get("plan:7") == plans.bytes(7, "plus")
    redis.kill9()
    postgres.kill9()
    eventually(lambda: sidecar.rung("plan:7")[1] == "stale")
    assert_never_past(sidecar, "plan:7", plans.bytes(7, "plus"), end)
    assert sidecar.rung("plan:7")[:2] == (plans.FREE.encode(), "free")


def test_the_copy_in_redis_ends_with_it(sidecar, redis, plans):
    end = set_ending(plans, 7, 2.0)
    assert sidecar.get("plan:7") == plans.bytes(7, "plus")
    eventually(lambda: redis.call("EXISTS", "plan:7"))
    asked = time.monotonic()
    left = redis.call("PTTL", "plan:7")
    assert 0 < left <= (end - asked) * 1000 + 1000 * GRACE
    time.sleep(max(0, end - time.monotonic()) + GRACE)
    assert redis.call("GET", "plan:7") is None


@pytest.mark.parametrize("when", ["both_up", "both_down"])
def test_a_second_sidecar_that_read_it_from_redis_does_not_serve_it_past_its_end(
        when, redis, postgres, pgbouncer, plans, start_sidecar):
    backends = {"redis": {"url": redis.url}, "postgres": {"url": pgbouncer.url}}
    first, second = start_sidecar(**backends), start_sidecar(**backends)
    end = set_ending(plans, 7, 2.5)
    assert first.get("plan:7") == plans.bytes(7, "plus")
    # Its first reply may cross the news of the fill, and is then not kept.
    eventually(lambda: second.rung("plan:7")[:2] == (plans.bytes(7, "plus"), "memory"))
    if when == "both_down":
        redis.kill9()
        postgres.kill9()
    assert_never_past(second, "plan:7", plans.bytes(7, "plus"), end)


def test_a_second_sidecar_without_postgres_does_not_serve_it_past_its_end(
        redis, pgbouncer, plans, start_sidecar):
    """All that it knows comes from Redis."""
    first = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url})
    second = start_sidecar(redis={"url": redis.url}, cache={"ttl": "200ms"})
    eventually(lambda: first.get("plan:8") == plans.bytes(8), what="Postgres")
    end = set_ending(plans, 7, 2.5)
    assert first.get("plan:7") == plans.bytes(7, "plus")
    eventually(lambda: second.rung("plan:7")[:2] == (plans.bytes(7, "plus"), "memory"))
    redis.kill9()
    while time.monotonic() < end + 0.5:
        is_past = time.monotonic() > end + GRACE
        value = second.get("plan:7")
        assert not (is_past and value == plans.bytes(7, "plus"))
        time.sleep(0.02)


def test_a_row_whose_end_has_passed_is_not_served(sidecar, redis, plans):
    plans.set(7, "plus", ends_in=-1)
    assert sidecar.get("plan:7") in (None, plans.FREE.encode())
    assert redis.call("GET", "plan:7") is None


def test_a_reply_that_arrives_after_the_end_is_not_served(
        redis, pgbouncer, proxy_for, plans, start_sidecar):
    """Postgres answered in time, but its answer was under way for too long."""
    proxy = proxy_for(pgbouncer)
    sidecar = start_sidecar(
        redis={"url": redis.url}, ladder={"deadline": "5s"},
        postgres={"url": pgbouncer.postgres.url_for(proxy.port), "budget": "4s"})
    sidecar.get("plan:1")
    end = set_ending(plans, 7777, 0.5)
    proxy.hold(b"7777")
    client = sidecar.client(timeout=8)
    client.send("GET", "plan:7777")
    proxy.wait_held()
    time.sleep(max(0, end - time.monotonic()) + 0.2)
    proxy.release()
    assert client.read() != plans.bytes(7777, "plus")
    assert redis.call("GET", "plan:7777") is None
    assert sidecar.get("plan:7777") != plans.bytes(7777, "plus")


def test_a_later_end_takes_the_place_of_an_earlier_one(sidecar, plans):
    """A renewed plus: once the row is new, the old end means nothing."""
    plans.set(7, "plus", ends_in=1.5)
    assert sidecar.get("plan:7") == plans.bytes(7, "plus")
    plans.set(7, "plus", ends_in=100)
    sidecar.call("DEL", "plan:7")
    time.sleep(1.7)
    assert sidecar.get("plan:7") == plans.bytes(7, "plus")


def test_a_null_end_is_no_end(sidecar, plans):
    plans.set(7, "plus", ends_in=None)
    assert sidecar.get("plan:7") == plans.bytes(7, "plus")
    assert sidecar.rung("plan:7")[1] == "memory"


def test_a_hash_ends_as_well(redis, postgres, pgbouncer, plans, start_sidecar):
    person = "11111111-2222-3333-4444-555555555555"
    sidecar = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url},
        maps={"person": {
            "key": "person:{id:uuid}", "type": "hash", "free": '{"tier":"free"}',
            "query": "SELECT person, tier, ends AS valid_until FROM billing.people "
                     "WHERE person = ANY($1::uuid[])"}})
    plans.execute("INSERT INTO billing.people VALUES "
                  "(%s, 'Ann', 'plus', 3, now() + interval '2 seconds')", (person,))
    end = time.monotonic() + 2
    assert sidecar.call("HGETALL", f"person:{person}") == [b"tier", b"plus"]
    redis.kill9()
    postgres.kill9()
    time.sleep(max(0, end - time.monotonic()) + GRACE)
    assert sidecar.call("HGET", f"person:{person}", "tier") == b"free"


def test_memory_does_not_serve_it_behind_a_command_that_took_until_its_end(redis, start_sidecar):
    """All in one batch: an MGET of half a million keys, what time it is by then, and the value."""
    sidecar = start_sidecar(redis={"url": redis.url}, maps={}, cache={"coherence": "ttl"})
    life, keys = 0.3, 500_000
    batch, whole = resp.encode("MGET", *["many"] * keys), len("*500000__") + keys * len("$1__v__")
    behind = resp.encode("SIDECAR", "GET", "clock") + resp.encode("GET", "key")
    with sidecar.client(timeout=30) as client:
        client.call("SET", "many", "v")
        assert client.call("GET", "many") == b"v"
        for lead in (0.01, 0.03, 0.06, 0.1):
            client.call("SET", "key", "v", "PX", int(life * 1000))
            end = time.monotonic() + life
            client.call("SET", "clock", "v")
            for key in ("clock", "key") * 2:
                client.call("GET", key)
            client.send_raw(batch[:-1])
            time.sleep(max(0, end - lead - time.monotonic()))
            client.send_raw(batch[-1:] + behind)
            while len(client.buffer) < whole:
                client.buffer += client.socket.recv(1 << 20)
            del client.buffer[:whole]
            age_ms, value = client.read()[2], client.read()
            assert value is None or age_ms <= life * 1000
