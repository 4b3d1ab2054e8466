"""SIGTERM with TLS and pipelines under way, and two sidecars restarted one after the other:
clients that connect again read on, and every read is right."""

import itertools
import os
import signal
import socket
import ssl
import threading
import time

import pytest
import redis as redis_py
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

import resp
from processes import eventually
from wire import Wire

pytestmark = pytest.mark.alone

# How long the load goes on at each step; the full proof takes 20.
SECONDS = float(os.environ.get("SIDECAR_ROLLING_SECONDS", "1"))


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.sign("rolling")


@pytest.fixture(scope="module")
def context(authority):
    return ssl.create_default_context(cafile=authority.file)


def is_served(sidecar, context=None):
    assert sidecar.is_running(), sidecar.log()
    try:
        with resp.Client(sidecar.address, tls=context) as client:
            return client.call("PING") == "PONG" and sidecar.http("/readyz")[0] == 200
    except (OSError, resp.Closed):
        return False


# Draining


def test_what_tls_clients_have_sent_is_answered_and_they_are_told_goodbye(
        redis, proxy_for, start_sidecar, certificate, context):
    """Pipelines that wait for a slow Redis; each client gets all its replies, then the end."""
    proxy = proxy_for(redis)
    sidecar = start_sidecar(
        wait=False, redis={"url": proxy.url, "timeout": "50s"}, server={"drain": "60s"},
        listen={"tls_cert": certificate.cert, "tls_key": certificate.key})
    eventually(lambda: is_served(sidecar, context), 10)
    eventually(lambda: sidecar.metric("sidecar_backend_up", backend="redis") == 1)
    wires = [Wire(sidecar.address, context).shake() for _ in range(10)]
    idle = [Wire(sidecar.address, context).shake() for _ in range(3)]
    half = Wire(sidecar.address, context)  # in the middle of its handshake
    half.socket.sendall(half.first_words()[:50])
    for wire in wires + idle:
        assert wire.call("PING", size=7) == b"+PONG\r\n"
    proxy.delay = 0.4
    for at, wire in enumerate(wires):
        wire.socket.sendall(wire.encrypted(
            b"".join(resp.encode("SET", f"k:{at}:{n}", n) for n in range(200))))
    time.sleep(0.15)
    start = time.monotonic()
    os.kill(sidecar.pid, signal.SIGTERM)
    for wire in wires:
        assert wire.read_exactly(5 * 200) == b"+OK\r\n" * 200
    for wire in wires + idle:
        with pytest.raises(ssl.SSLZeroReturnError):  # a goodbye, not a mere end
            wire.read_exactly(1)
        wire.socket.close()
    half.socket.close()
    sidecar.wait_exit(start)
    assert redis.call("DBSIZE") == 10 * 200


def test_a_tls_client_that_takes_its_time_gets_all_of_it(
        redis, start_sidecar, certificate, context):
    sidecar = start_sidecar(
        wait=False, redis={"url": redis.url}, server={"drain": "60s"},
        listen={"tls_cert": certificate.cert, "tls_key": certificate.key})
    eventually(lambda: is_served(sidecar, context), 10)
    value = os.urandom(1 << 20)
    redis.call("SET", "large", value)
    with resp.Client(sidecar.address, tls=context, timeout=10) as client:
        client.send_raw(resp.encode("GET", "large") * 8)
        assert client.read() == value
        start = time.monotonic()
        os.kill(sidecar.pid, signal.SIGTERM)
        time.sleep(0.3)
        assert [client.read() for _ in range(7)] == [value] * 7
        assert client.is_closed()
    sidecar.wait_exit(start)


def test_who_has_connected_and_asked_is_answered_though_not_accepted_yet(sidecar, plans):
    """The moment of SIGTERM: connections that only the kernel knows of count as well."""
    sidecar.get("plan:1")
    sidecar.stop()
    waiting = [socket.create_connection(sidecar.address, 5) for _ in range(200)]
    for one in waiting:
        one.sendall(resp.encode("GET", "plan:1"))
    start = time.monotonic()
    os.kill(sidecar.pid, signal.SIGTERM)
    sidecar.cont()
    expected = b"$%d\r\n%s\r\n" % (len(plans.bytes(1)), plans.bytes(1))
    for one in waiting:
        assert one.recv(1000) == expected
        one.close()
    sidecar.wait_exit(start)


# Two sidecars, one after the other


class Readers:
    """redis-py as apps use it: a pool, and retries with backoff. Around each read, because its
    own leave out pipelines, and connections that end before their first command."""

    def __init__(self, sidecars, plans, certificate_of=None):
        self.plans = plans
        self.is_over = False
        self.problems = []
        self.reads = {}  # by thread: (sidecar, number) -> how many
        self.threads = []
        for sidecar in sidecars:
            host, port = sidecar.address
            client = redis_py.Redis(
                host="localhost" if certificate_of else host, port=port, socket_timeout=5,
                **({"ssl": True, "ssl_ca_certs": certificate_of} if certificate_of else {}))
            for at in range(4):
                work = self._get if at % 2 else self._pipeline
                self.reads[sidecar, at] = 0
                self.threads.append(
                    threading.Thread(target=work, args=(client, (sidecar, at))))
        for thread in self.threads:
            thread.start()

    def wait_back(self, sidecar):
        """Until all clients of this sidecar are there again."""
        before = dict(self.reads)
        eventually(lambda: self.problems or all(
            self.reads[who] > before[who] + 20 for who in before if who[0] is sidecar), 20)

    @staticmethod
    def _retry():
        return Retry(ExponentialBackoff(cap=0.25, base=0.01), 40)

    def _work(self, who, read):
        for start in itertools.count(who[1]):
            if self.is_over:
                break
            numbers = [(start + step) % 400 + 1 for step in range(20)]
            try:
                values = self._retry().call_with_retry(
                    lambda numbers=numbers: read(numbers), lambda problem: None)
            except redis_py.RedisError as problem:
                self.problems.append(problem)
                continue
            wrong = [pair for pair in zip(numbers, values) if pair[1] != self.plans.bytes(pair[0])]
            self.problems += wrong
            self.reads[who] += len(values)

    def _get(self, client, who):
        self._work(who, lambda numbers: [client.get(f"plan:{n}") for n in numbers])

    def _pipeline(self, client, who):
        def read(numbers):
            pipeline = client.pipeline(transaction=False)
            for number in numbers:
                pipeline.get(f"plan:{number}")
            return pipeline.execute()
        self._work(who, read)

    def finish(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(30)
        assert not self.problems, self.problems[:5]
        return sum(self.reads.values())


@pytest.mark.seconds(300)
@pytest.mark.parametrize("kind", ["plain", "tls"])
def test_a_rolling_restart_fails_no_read(
        kind, redis, pgbouncer, plans, start_sidecar, authority, certificate, context):
    is_tls = kind == "tls"
    listen = {"tls_cert": certificate.cert, "tls_key": certificate.key} if is_tls else {}
    trusted = context if is_tls else None
    pair = [start_sidecar(wait=not is_tls, redis={"url": redis.url}, listen=listen,
                          postgres={"url": pgbouncer.url}, cache={"ttl": "300ms"})
            for _ in range(2)]
    for sidecar in pair:
        eventually(lambda sidecar=sidecar: is_served(sidecar, trusted), 10)
        for name in ("redis", "postgres"):
            eventually(lambda sidecar=sidecar, name=name: sidecar.metric(
                "sidecar_backend_up", backend=name) == 1, 10)
    readers = Readers(pair, plans, authority.file if is_tls else None)
    try:
        rounds = 0
        stop = time.monotonic() + 2 * SECONDS
        while rounds < 2 or time.monotonic() < stop:
            for sidecar in pair:
                time.sleep(SECONDS / 4)
                sidecar.terminate()
                sidecar.start(wait=False)
                eventually(lambda sidecar=sidecar: is_served(sidecar, trusted), 10)
                readers.wait_back(sidecar)  # before the next one goes
            rounds += 1
    finally:
        reads = readers.finish()
    print(f"{reads} reads through {2 * rounds} restarts, none failed")
    assert reads > 200
