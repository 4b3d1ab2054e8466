"""Writes to mapped keys while Redis is away: they succeed, and no old copy comes back."""

import os
import threading
import time

import pytest

from processes import eventually


@pytest.fixture
def cut_off(redis, pgbouncer, proxy_for, plans, start_sidecar):
    """(sidecar, proxy): Redis lives on with its copies, and cannot be reached."""
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url}, postgres={"url": pgbouncer.url})
    for number in range(1, 41):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)
    eventually(lambda: redis.call("DBSIZE") == 40)
    proxy.cut()
    sidecar.wait_backend("redis", False)
    return sidecar, proxy


@pytest.mark.parametrize("words, reply", [
    (("SET", "plan:20", "mine"), ("OK",)), (("SETEX", "plan:20", "100", "mine"), ("OK",)),
    (("PSETEX", "plan:20", "100000", "mine"), ("OK",)), (("DEL", "plan:20"), (0, 1)),
    (("UNLINK", "plan:20"), (0, 1)), (("EXPIRE", "plan:20", "0"), (0, 1)),
    (("DEL", "plan:20", "plan:21"), (0, 1, 2)),
], ids=lambda value: value[0] if isinstance(value[0], str) else "")
def test_a_write_succeeds_and_no_copy_from_before_is_served_afterwards(
        words, reply, cut_off, redis, plans):
    sidecar, proxy = cut_off
    plans.set(20, "basic", body="what Postgres says now")
    assert sidecar.call(*words) in reply
    expected = b"mine" if "mine" in words else b"what Postgres says now"
    assert sidecar.get("plan:20") == expected
    assert sidecar.metric("sidecar_journal_pending") >= 1
    proxy.resume()
    sidecar.wait_backend("redis", True)
    assert redis.call("GET", "plan:20") != plans.bytes(20)
    sidecar.call("SIDECAR", "FLUSH")
    assert sidecar.get("plan:20") == b"what Postgres says now"
    eventually(lambda: sidecar.metric("sidecar_journal_pending") == 0)
    assert redis.call("GET", "plan:7") == plans.bytes(7), "other keys stay"


def test_a_write_to_another_key_is_refused(cut_off, redis):
    sidecar, proxy = cut_off
    assert sidecar.call("SET", "other", "1").startswith("REDISDOWN")
    assert sidecar.call("DEL", "plan:1", "other").startswith("REDISDOWN"), "all or nothing"


def test_with_postgres_down_too_the_written_value_is_what_there_is(cut_off, postgres, plans):
    sidecar, proxy = cut_off
    postgres.kill9()
    assert sidecar.call("SET", "plan:20", "mine") == "OK"
    assert sidecar.get("plan:20") == b"mine"
    sidecar.call("DEL", "plan:20")
    assert sidecar.get("plan:20") == plans.FREE.encode()


def test_no_reader_sees_an_old_copy_at_any_moment_of_the_recovery(cut_off, redis, plans):
    """Memory is emptied all the time, so every read asks below."""
    sidecar, proxy = cut_off
    for number in range(1, 41):
        plans.set(number, "plus", body=f"new {number}")
        sidecar.call("DEL", f"plan:{number}")
    wrong = []
    is_over = threading.Event()

    def read():
        client = sidecar.client()
        while not is_over.is_set():
            client.call("SIDECAR", "FLUSH")
            replies = client.pipeline([("GET", f"plan:{number}") for number in range(1, 41)])
            wrong.extend(reply for number, reply in enumerate(replies, 1)
                         if reply not in (b"new %d" % number, plans.FREE.encode()))
    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    time.sleep(0.2)
    proxy.resume()
    sidecar.wait_backend("redis", True)
    time.sleep(0.5)
    is_over.set()
    for reader in readers:
        reader.join()
    assert not wrong, wrong[:5]
    old = [number for number in range(1, 41)
           if redis.call("GET", f"plan:{number}") not in (None, b"new %d" % number)]
    assert not old


def test_a_set_that_lay_in_the_buffers_of_a_stopped_redis_is_not_served_afterwards(
        redis, pgbouncer, plans, start_sidecar):
    """SIGSTOP, a SET that the kernel has taken, a newer fact, SIGCONT: Redis then runs
    the old SET, from a connection that was closed long ago."""
    sidecar = start_sidecar(redis={"url": redis.url, "budget": "400ms", "timeout": "30s"},
                            postgres={"url": pgbouncer.url})
    numbers = range(1, 31)
    for number in numbers:
        sidecar.get(f"plan:{number}")
    redis.stop()
    client = sidecar.client(timeout=40)
    for number in numbers:
        reply, seconds = client.timed("SET", f"plan:{number}", f"buffered {number}")
        assert reply == "OK" and seconds < 10, "its budget, and not the timeout"
    for number in numbers:
        plans.set(number, "plus", body=f"newest {number}")
        assert client.call("DEL", f"plan:{number}") in (0, 1)
        assert client.call("GET", f"plan:{number}") == b"newest %d" % number
    sidecar.wait_backend("redis", False)
    redis.cont()
    sidecar.wait_backend("redis", True)
    stop = time.monotonic() + 1.5
    while time.monotonic() < stop:
        client.call("SIDECAR", "FLUSH")
        for number in numbers:
            assert client.call("GET", f"plan:{number}") == b"newest %d" % number
        time.sleep(0.02)
    for number in numbers:
        assert redis.call("GET", f"plan:{number}") in (None, b"newest %d" % number)


def test_a_set_that_was_not_answered_in_time_goes_into_the_journal(
        redis, pgbouncer, proxy_for, plans, start_sidecar):
    """Redis is up, and one write's reply is late: it may have run, or not."""
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url, "budget": "400ms", "timeout": "30s"},
                            postgres={"url": pgbouncer.url}, server={"threads": 1})
    sidecar.get("plan:20")
    plans.set(20, "basic", body="newest")
    proxy.hold(b"late")
    reply, seconds = sidecar.client(timeout=40).timed("SET", "plan:20", "late")
    assert reply == "OK" and seconds < 10, "its budget, and not the timeout"
    sidecar.call("DEL", "plan:20")
    proxy.release()
    sidecar.wait_backend("redis", True)
    eventually(lambda: sidecar.metric("sidecar_journal_pending") == 0, 10)
    sidecar.call("SIDECAR", "FLUSH")
    assert sidecar.get("plan:20") == b"newest"


def test_the_journal_survives_a_restart_in_its_file(
        redis, pgbouncer, proxy_for, plans, session, start_sidecar):
    journal = os.path.join(session.directory("journal"), "journal")
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url}, postgres={"url": pgbouncer.url},
                            ladder={"journal": journal})
    if not sidecar.offers("ladder"):
        pytest.skip("this version has no journal file yet")
    sidecar.get("plan:20")
    eventually(lambda: redis.call("GET", "plan:20"))
    proxy.cut()
    sidecar.wait_backend("redis", False)
    plans.set(20, "basic", body="newest")
    sidecar.call("DEL", "plan:20")
    assert sidecar.metric("sidecar_journal_pending") >= 1
    sidecar.restart()
    assert sidecar.metric("sidecar_journal_pending") >= 1
    proxy.resume()
    sidecar.wait_backend("redis", True)
    sidecar.call("SIDECAR", "FLUSH")
    assert sidecar.get("plan:20") == b"newest"
    assert redis.call("GET", "plan:20") in (None, b"newest")


def test_the_journal_survives_kill_9_in_its_file(
        redis, pgbouncer, proxy_for, plans, session, start_sidecar):
    journal = os.path.join(session.directory("journal"), "journal")
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url}, postgres={"url": pgbouncer.url},
                            ladder={"journal": journal})
    if not sidecar.offers("ladder"):
        pytest.skip("this version has no journal file yet")
    sidecar.get("plan:20")
    eventually(lambda: redis.call("GET", "plan:20"))
    proxy.cut()
    sidecar.wait_backend("redis", False)
    plans.set(20, "basic", body="newest")
    sidecar.call("DEL", "plan:20")
    time.sleep(0.3)  # written by another thread
    sidecar.close_clients()
    sidecar.kill9()
    sidecar.child = None
    proxy.resume()
    sidecar.start()
    sidecar.wait_backend("redis", True)
    assert sidecar.get("plan:20") == b"newest"


def test_hash_writes_to_mapped_keys_succeed_too(
        redis, pgbouncer, proxy_for, plans, start_sidecar):
    person = "11111111-2222-3333-4444-555555555555"
    plans.execute("INSERT INTO billing.people VALUES (%s, 'Ann', 'plus', 3)", (person,))
    proxy = proxy_for(redis)
    sidecar = start_sidecar(
        redis={"url": proxy.url}, postgres={"url": pgbouncer.url},
        maps={"person": {
            "key": "person:{id:uuid}", "type": "hash", "free": '{"tier":"free"}',
            "query": "SELECT person, tier FROM billing.people WHERE person = ANY($1::uuid[])"}})
    key = f"person:{person}"
    assert sidecar.call("HGET", key, "tier") == b"plus"
    eventually(lambda: redis.call("EXISTS", key))
    proxy.cut()
    sidecar.wait_backend("redis", False)
    plans.execute("UPDATE billing.people SET tier = 'basic'")
    assert sidecar.call("DEL", key) in (0, 1)
    assert sidecar.call("HGET", key, "tier") == b"basic"
    proxy.resume()
    sidecar.wait_backend("redis", True)
    sidecar.call("SIDECAR", "FLUSH")
    assert sidecar.call("HGET", key, "tier") == b"basic"
