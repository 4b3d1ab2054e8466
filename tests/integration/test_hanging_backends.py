"""Backends that hang, drip, lie or hang up: every read is still answered in time."""

import os
import socket
import statistics
import subprocess
import time

import pytest

import faults
import resp
from processes import eventually
from sidecar import BUSY_CACHE

pytestmark = pytest.mark.alone

# One reply of Postgres: "no TLS", "authenticated", "ready"; for the drip.
POSTGRES_GREETING = b"N" + b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"

LIARS = {
    "accepts_and_never_answers": (faults.AcceptsAndNeverAnswers,),
    "answers_a_byte_a_second": (faults.AnswersAByteASecond,),
    "answers_garbage": (faults.AnswersGarbage,),
    "closes_at_once": (faults.ClosesAfter, 0),
    "closes_after_ten_bytes": (faults.ClosesAfter, 10),
}


@pytest.fixture(params=LIARS)
def liar(request, fake):
    return fake(*LIARS[request.param])


def hang_twice(server, seconds=1.2):
    for _ in range(2):
        server.stop()
        time.sleep(seconds)
        server.cont()
        time.sleep(0.8)


def assert_true_again(sidecar, plans, first=1, last=200):
    sidecar.wait_backend("redis", True)
    sidecar.wait_backend("postgres", True)
    for number in range(first, last + 1):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)


def test_a_hanging_redis_delays_no_read_past_the_deadline(
        redis, pgbouncer, plans, start_sidecar, start_readers):
    plans.fill(1, 5000)
    sidecar = start_sidecar(is_in_time=True, redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache=BUSY_CACHE)
    readers = start_readers(sidecar, ids=5000, hot=500)
    time.sleep(0.5)
    hang_twice(redis)
    report = readers.finish_in_time()
    assert report["free"] <= report["sent"] // 100, report
    assert sidecar.metric("sidecar_backend_errors_total", backend="redis", kind="timeout") > 0
    assert_true_again(sidecar, plans)


@pytest.mark.parametrize("which", ["postgres", "pgbouncer"])
def test_a_hanging_database_delays_no_read_past_the_deadline(
        which, redis, postgres, pgbouncer, plans, start_sidecar, start_readers):
    plans.fill(1, 5000)
    # What Redis holds is soon gone, so that many reads ask the database.
    sidecar = start_sidecar(is_in_time=True, redis={"url": redis.url, "ttl": "300ms"},
                            postgres={"url": pgbouncer.url}, cache=BUSY_CACHE)
    readers = start_readers(sidecar, ids=5000, hot=500)
    time.sleep(0.5)
    hang_twice({"postgres": postgres, "pgbouncer": pgbouncer}[which])
    readers.finish_in_time()
    assert sidecar.metric("sidecar_backend_errors_total", backend="postgres") > 0
    assert_true_again(sidecar, plans)


def test_both_hanging_at_once_delays_no_read_past_the_deadline(
        redis, pgbouncer, postgres, plans, start_sidecar, start_readers):
    plans.fill(1, 5000)
    sidecar = start_sidecar(is_in_time=True, redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache=BUSY_CACHE)
    readers = start_readers(sidecar, ids=5000, hot=500)
    time.sleep(0.5)
    redis.stop()
    postgres.stop()
    time.sleep(1.5)
    redis.cont()
    postgres.cont()
    report = readers.finish_in_time()
    assert report["free"] > 0, "cold reads had nothing but the free value"
    assert_true_again(sidecar, plans)


def test_a_redis_that_lies_leaves_every_read_to_postgres(
        liar, pgbouncer, plans, start_sidecar, start_readers):
    plans.fill(1, 2000)
    sidecar = start_sidecar(is_in_time=True, redis={"url": liar.url}, postgres={"url": pgbouncer.url},
                            cache=BUSY_CACHE)
    readers = start_readers(sidecar, ids=2000, hot=200)
    time.sleep(1.5)
    report = readers.finish_in_time()
    assert report["free"] <= report["sent"] // 100, report
    assert liar.accepted, "it was never tried"
    assert len(liar.accepted) < 60, "no backoff"
    assert sidecar.metric("sidecar_backend_up", backend="redis") == 0
    assert sidecar.metric("sidecar_answers_total", rung="redis") == 0


def test_a_postgres_that_lies_leaves_redis_and_the_free_value(
        liar, redis, plans, start_sidecar, start_readers):
    if isinstance(liar, faults.AnswersAByteASecond):
        liar.text = POSTGRES_GREETING
    for number in range(1, 101):
        redis.call("SET", f"plan:{number}", plans.text(number))
    url = f"postgresql://someone:secret@127.0.0.1:{liar.port}/shop"
    sidecar = start_sidecar(is_in_time=True, redis={"url": redis.url}, postgres={"url": url}, cache=BUSY_CACHE)
    readers = start_readers(sidecar, ids=2000, hot=100)
    time.sleep(1.5)
    report = readers.finish_in_time()
    assert report["free"] > 1000, "most ids are nowhere but in Postgres"
    assert liar.accepted, "it was never tried"
    assert len(liar.accepted) < 60, "no backoff"
    for number in range(1, 101):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)
    assert redis.call("EXISTS", "plan:1500") == 0, "a free value went into Redis"


def test_when_redis_hangs_only_its_budget_is_lost_and_then_nothing(
        redis, pgbouncer, plans, start_sidecar):
    # A budget that is longer than Postgres takes, however busy the machine.
    sidecar = start_sidecar(redis={"url": redis.url, "budget": "500ms"}, postgres={"url": pgbouncer.url},
                            breaker={"failures": 3, "open": "60s", "max_open": "60s"})
    sidecar.get("plan:1")
    redis.stop()
    waited = [sidecar._client.timed("GET", f"plan:{number}") for number in range(10, 60)]
    assert [reply for reply, _ in waited] == [plans.bytes(number) for number in range(10, 60)]
    slow = [seconds for _, seconds in waited if seconds > 0.495]
    assert 1 <= len(slow) <= 6, f"the breaker should end the waiting: {slow}"
    assert sidecar.metric("sidecar_breaker_state", backend="redis") == 2
    redis.cont()


def test_a_slow_redis_opens_the_breaker_as_a_dead_one_does(
        redis, proxy_for, pgbouncer, plans, start_sidecar):
    """Over its cap Upstash delays commands; it does not refuse them."""
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url, "budget": "40ms"}, postgres={"url": pgbouncer.url},
                            breaker={"open": "60s", "max_open": "60s"})
    sidecar.get("plan:1")
    proxy.delay = 0.3
    for number in range(2, 40):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)
    eventually(lambda: sidecar.metric("sidecar_breaker_state", backend="redis") == 2)


def test_one_slow_reply_stalls_no_reply_behind_it_past_its_own_deadline(
        redis, proxy_for, pgbouncer, plans, start_sidecar):
    """A pipeline: a read of Redis that hangs, and memory hits behind it."""
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url, "budget": "100ms", "timeout": "30s"},
                            postgres={"url": pgbouncer.url})
    sidecar.get("plan:1")
    proxy.hold(b"plan:300")
    client = sidecar.client(timeout=40)
    start = time.monotonic()
    replies = client.pipeline([("GET", "plan:300"), ("GET", "plan:1"), ("GET", "plan:1")])
    assert replies == [plans.bytes(300), plans.bytes(1), plans.bytes(1)]
    assert time.monotonic() - start < 5 + 5, "the deadline, and not the timeout"
    proxy.release()


@pytest.mark.parametrize("ttl", ["30s", "100ms"], ids=["fresh", "stale"])
def test_replies_keep_their_order_when_some_end_by_their_deadline(
        ttl, redis, postgres, pgbouncer, plans, start_sidecar):
    """Copies in memory between cold keys that nobody can answer, on several clients."""
    sidecar = start_sidecar(is_in_time=True, redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache={"ttl": ttl})
    warm = range(1, 41)
    for number in warm:
        eventually(lambda: sidecar.get(f"plan:{number}") == plans.bytes(number), what=f"plan:{number}")
    time.sleep(0.15)
    redis.stop()
    postgres.stop()
    clients = [sidecar.client() for _ in range(4)]
    for turn in range(30):
        numbers = [number + (0 if (number + turn) % 3 else 1000) for number in warm]
        for client in clients:
            for at in range(0, len(numbers), 4):
                client.send_raw(b"".join(resp.encode("GET", f"plan:{number}")
                                         for number in numbers[at:at + 4]))
        for client in clients:
            assert [client.read() for _ in numbers] == [
                plans.bytes(number) if number < 1000 else plans.FREE.encode()
                for number in numbers], f"turn {turn}"
    redis.cont()
    postgres.cont()


def assert_nobody_waited(*kinds):
    """For a resolver, which takes its 5 s: the machine may take its time, not half of the times."""
    for waited in kinds:
        assert statistics.median(waited) < 0.1 and max(waited) < 4, sorted(waited)[-5:]


def test_a_resolver_that_never_answers_delays_nobody(session, pgbouncer, plans, start_sidecar):
    """In a mount namespace of its own, /etc/resolv.conf names a server that is silent."""
    directory = session.directory("resolver")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        file = os.path.join(directory, "resolv.conf")
        with open(file, "w") as config:
            config.write(f"nameserver 127.0.0.1:{silent.getsockname()[1]}\n")
        private = ["unshare", "--mount", "sh", "-c",
                   f'mount --bind {file} /etc/resolv.conf && exec "$@"', "sh"]
        if subprocess.run(private + ["true"], capture_output=True).returncode != 0:
            pytest.skip("needs root, for a mount namespace")
        sidecar = start_sidecar(prefix=private, redis={"url": "redis://redis.example:6379"},
                                postgres={"url": pgbouncer.url})
        client = sidecar.client()
        reads, pings = [], []
        for number in range(1, 101):
            reply, seconds = client.timed("GET", f"plan:{number}")
            assert reply == plans.bytes(number)
            reads.append(seconds)
            pings.append(client.timed("PING")[1])
        assert_nobody_waited(reads, pings)
        silent.settimeout(5)
        assert silent.recv(1000), "the name was never asked for"


def test_a_name_that_does_not_exist_delays_nobody(redis, plans, pgbouncer, start_sidecar):
    sidecar = start_sidecar(redis={"url": "redis://no-such-host.invalid:6379"},
                            postgres={"url": pgbouncer.url})
    client = sidecar.client()
    waited = []
    for number in range(1, 101):
        reply, seconds = client.timed("GET", f"plan:{number}")
        assert reply == plans.bytes(number)
        waited.append(seconds)
    assert_nobody_waited(waited)
    url = pgbouncer.url.replace("127.0.0.1", "no-such-host.invalid")
    other = start_sidecar(redis={"url": redis.url}, postgres={"url": url})
    redis.call("SET", "plan:400", plans.text(400))
    waited = []
    for number in range(400, 450):
        reply, seconds = other.client().timed("GET", f"plan:{number}")
        assert reply == (plans.bytes(400) if number == 400 else plans.FREE.encode())
        waited.append(seconds)
    assert_nobody_waited(waited)
