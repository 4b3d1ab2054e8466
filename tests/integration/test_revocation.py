"""A plus that was taken away stays away, also when its old value was under way."""

import time

import pytest

from processes import eventually

PATIENT = {"ladder": {"deadline": "8s"}, "server": {"threads": 2}}


def another_link(sidecar, proxy):
    """A client whose commands do not wait behind the reply that the proxy holds."""
    for _ in range(40):
        client = sidecar.client(timeout=0.3)
        client.send("TTL", "no-such-key")
        try:
            assert client.read() == -2
        except TimeoutError:
            continue
        client.socket.settimeout(5)
        return client
    raise AssertionError("every client is on the link that is held")


def test_after_the_row_changed_and_the_copy_was_deleted_the_next_read_is_new(
        sidecar, redis, plans):
    assert sidecar.get("plan:20") == plans.bytes(20, "plus")
    plans.set(20, "basic")
    assert sidecar.call("DEL", "plan:20") == 1
    assert sidecar.get("plan:20") == plans.bytes(20, "basic")
    eventually(lambda: redis.call("GET", "plan:20") == plans.bytes(20, "basic"))


@pytest.mark.parametrize("command", ["DEL", "UNLINK", "GETDEL", "EXPIRE", "PEXPIRE", "RENAME"])
def test_each_way_of_deleting_drops_the_copy_in_memory(command, sidecar, plans):
    assert sidecar.get("plan:20") == plans.bytes(20, "plus")
    plans.set(20, "basic")
    rest = {"EXPIRE": (0,), "PEXPIRE": (0,), "RENAME": ("elsewhere",)}.get(command, ())
    sidecar.call(command, "plan:20", *rest)
    assert sidecar.get("plan:20") == plans.bytes(20, "basic")


@pytest.mark.parametrize("words", [
    ("SET", "plan:20", "written"), ("SETEX", "plan:20", 100, "written"),
    ("MSET", "other", "1", "plan:20", "written"), ("GETSET", "plan:20", "written"),
    ("EVAL", "return redis.call('set', KEYS[1], 'written')", 1, "plan:20"),
], ids=lambda words: words[0])
def test_each_way_of_writing_is_read_back(words, sidecar, plans):
    assert sidecar.get("plan:20") == plans.bytes(20, "plus")
    sidecar.call(*words)
    assert sidecar.get("plan:20") == b"written"


def test_a_delete_in_a_transaction_drops_the_copy(sidecar, plans):
    assert sidecar.get("plan:20") == plans.bytes(20, "plus")
    plans.set(20, "basic")
    client = sidecar.client()
    assert client.pipeline([("MULTI",), ("DEL", "plan:20"), ("EXEC",)]) == ["OK", "QUEUED", [1]]
    assert client.call("GET", "plan:20") == plans.bytes(20, "basic")
    assert sidecar.get("plan:20") == plans.bytes(20, "basic")


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
def test_flushing_redis_drops_every_copy(command, sidecar, plans):
    assert sidecar.get("plan:20") == plans.bytes(20, "plus")
    plans.set(20, "basic")
    assert sidecar.call(command) == "OK"
    assert sidecar.get("plan:20") == plans.bytes(20, "basic")


def test_a_delete_during_the_read_from_redis_voids_what_the_read_brings(
        redis, pgbouncer, proxy_for, plans, start_sidecar):
    proxy = proxy_for(redis)
    sidecar = start_sidecar(
        redis={"url": proxy.url, "budget": "6s", "connections": 2},
        postgres={"url": pgbouncer.url}, **PATIENT)
    redis.call("SET", "plan:20", plans.text(20, "plus"))
    # Every link is up before one of them is held.
    for _ in range(20):
        sidecar.client().call("TTL", "no-such-key")

    proxy.hold(b"plan:20")
    reader = sidecar.client(timeout=10)
    reader.send("GET", "plan:20")
    proxy.wait_held()
    writer = another_link(sidecar, proxy)
    plans.set(20, "basic")
    assert writer.call("DEL", "plan:20") == 1
    assert writer.call("GET", "plan:20") == plans.bytes(20, "basic"), "read before the old reply"
    proxy.release()
    assert reader.read() in (plans.bytes(20, "plus"), plans.bytes(20, "basic"))
    for _ in range(20):
        assert sidecar.client().call("GET", "plan:20") == plans.bytes(20, "basic")
    eventually(lambda: redis.call("GET", "plan:20") == plans.bytes(20, "basic"))


def test_a_delete_during_the_read_from_redis_counts_also_when_nobody_reads_between(
        redis, pgbouncer, proxy_for, plans, start_sidecar):
    proxy = proxy_for(redis)
    sidecar = start_sidecar(
        redis={"url": proxy.url, "budget": "6s", "connections": 2},
        postgres={"url": pgbouncer.url}, **PATIENT)
    redis.call("SET", "plan:20", plans.text(20, "plus"))
    for _ in range(20):
        sidecar.client().call("TTL", "no-such-key")
    proxy.hold(b"plan:20")
    reader = sidecar.client(timeout=10)
    reader.send("GET", "plan:20")
    proxy.wait_held()
    writer = another_link(sidecar, proxy)
    plans.set(20, "basic")
    assert writer.call("DEL", "plan:20") == 1
    proxy.release()
    reader.read()
    assert sidecar.get("plan:20") == plans.bytes(20, "basic")


def test_a_delete_during_the_read_from_postgres_voids_what_the_read_brings(
        redis, pgbouncer, proxy_for, plans, start_sidecar):
    proxy = proxy_for(pgbouncer)
    sidecar = start_sidecar(
        redis={"url": redis.url}, ladder={"deadline": "8s"},
        postgres={"url": pgbouncer.postgres.url_for(proxy.port), "budget": "6s"})
    plans.set(7777, "plus")
    sidecar.call("MGET", *(f"plan:{number}" for number in range(1, 50)))
    proxy.hold(b"7777")
    reader = sidecar.client(timeout=10)
    reader.send("GET", "plan:7777")
    proxy.wait_held()
    plans.set(7777, "basic")
    sidecar.call("DEL", "plan:7777")
    assert sidecar.get("plan:7777") == plans.bytes(7777, "basic"), "read before the old reply"
    proxy.release()
    assert reader.read() in (plans.bytes(7777, "plus"), plans.bytes(7777, "basic"))
    for _ in range(20):
        assert sidecar.client().call("GET", "plan:7777") == plans.bytes(7777, "basic")
    eventually(lambda: redis.call("GET", "plan:7777") == plans.bytes(7777, "basic"))


def test_a_delete_during_the_read_from_postgres_counts_also_when_nobody_reads_between(
        redis, pgbouncer, proxy_for, plans, start_sidecar):
    """The late fill may neither land in memory nor in Redis."""
    proxy = proxy_for(pgbouncer)
    sidecar = start_sidecar(
        redis={"url": redis.url}, ladder={"deadline": "8s"},
        postgres={"url": pgbouncer.postgres.url_for(proxy.port), "budget": "6s"})
    plans.set(7777, "plus")
    sidecar.get("plan:1")
    proxy.hold(b"7777")
    reader = sidecar.client(timeout=10)
    reader.send("GET", "plan:7777")
    proxy.wait_held()
    plans.set(7777, "basic")
    sidecar.call("DEL", "plan:7777")
    proxy.release()
    reader.read()
    time.sleep(0.1)
    assert redis.call("GET", "plan:7777") in (None, plans.bytes(7777, "basic"))
    assert sidecar.get("plan:7777") == plans.bytes(7777, "basic")


def test_a_late_reply_of_postgres_past_the_deadline_respects_a_delete_too(
        redis, pgbouncer, proxy_for, plans, start_sidecar):
    """The reader was given the free value; the old row arrives after a delete."""
    proxy = proxy_for(pgbouncer)
    sidecar = start_sidecar(is_in_time=True, redis={"url": redis.url},
                            postgres={"url": pgbouncer.postgres.url_for(proxy.port)})
    plans.set(7777, "plus")
    sidecar.get("plan:1")
    proxy.hold(b"7777")
    assert sidecar.get("plan:7777") == plans.FREE.encode()
    plans.set(7777, "basic")
    sidecar.call("DEL", "plan:7777")
    proxy.release()
    time.sleep(0.2)
    sidecar.wait_backend("postgres", True)

    def read():
        value = sidecar.get("plan:7777")
        assert value in (plans.bytes(7777, "basic"), plans.FREE.encode())
        return value == plans.bytes(7777, "basic")
    eventually(read)


def test_a_change_made_in_redis_directly_is_seen_within_a_second(sidecar, redis, plans):
    """Tracking: nobody tells the sidecar but Redis. Of three seconds, on a machine that is busy."""
    assert sidecar.get("plan:20") == plans.bytes(20, "plus")
    redis.call("SET", "plan:20", "changed")
    eventually(lambda: sidecar.get("plan:20") == b"changed", 1)


def test_a_delete_through_one_sidecar_reaches_the_other_within_a_second(
        redis, pgbouncer, plans, start_sidecar):
    backends = {"redis": {"url": redis.url}, "postgres": {"url": pgbouncer.url}}
    one, two = start_sidecar(**backends), start_sidecar(**backends)
    assert one.get("plan:20") == two.get("plan:20") == plans.bytes(20, "plus")
    plans.set(20, "basic")
    one.call("DEL", "plan:20")
    eventually(lambda: two.get("plan:20") == plans.bytes(20, "basic"), 1)


def test_a_delete_reaches_the_other_sidecar_by_broadcast(redis, pgbouncer, plans, start_sidecar):
    """As on a service without tracking."""
    backends = {"redis": {"url": redis.url}, "postgres": {"url": pgbouncer.url},
                "cache": {"coherence": "broadcast"}}
    one, two = start_sidecar(**backends), start_sidecar(**backends)
    for sidecar in (one, two):
        eventually(lambda sidecar=sidecar: sidecar.status()["coherence"] == "broadcast",
                   what="the subscription")
    assert one.get("plan:20") == two.get("plan:20") == plans.bytes(20, "plus")
    plans.set(20, "basic")
    one.call("DEL", "plan:20")
    eventually(lambda: two.get("plan:20") == plans.bytes(20, "basic"), 1)
