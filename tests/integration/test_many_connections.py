"""Thousands of connections: let in, spread, refused, gone again; what they leave behind.

About what happens and what it takes in memory, never about how fast. As many as
SIDECAR_TEST_CONNECTIONS says; `make bench ONLY=storm` tells the times.
"""

import glob
import os
import re
import resource
import socket
import time

import pytest

import resp
from processes import eventually
from sidecar import slowness

MANY = int(os.environ.get("SIDECAR_TEST_CONNECTIONS") or 2000)


@pytest.fixture(scope="module", autouse=True)
def _enough_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def crowd():
    """crowd(sidecar, count) -> so many plain sockets, closed when the test ends."""
    opened = []

    def open_all(sidecar, count, receive_buffer=None):
        before = len(opened)
        for number in range(count):
            opened.append(socket.socket())
            if receive_buffer:
                opened[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            # From many addresses: the ports of one might not do for all.
            opened[-1].bind((f"127.0.0.{2 + number % 50}", 0))
            opened[-1].settimeout(20)
            opened[-1].connect(sidecar.address)
        return opened[before:]

    yield open_all
    for client in opened:
        client.close()


def ask_all(clients, request=resp.encode("PING"), answer=b"+PONG\r\n"):
    """Everybody asks before anybody reads."""
    for client in clients:
        client.sendall(request)
    for client in clients:
        assert read_exactly(client, len(answer)) == answer


def read_exactly(client, size):
    parts = []
    while size > 0:
        parts.append(client.recv(size))
        assert parts[-1], "hung up"
        size -= len(parts[-1])
    return b"".join(parts)


def sockets_watched(sidecar):
    """How many sockets each event loop watches, by its descriptor: what /proc tells of epoll."""
    own = set()
    for path in glob.glob(f"/proc/{sidecar.pid}/fd/*"):
        try:
            own.add((os.path.basename(path), os.readlink(path)))
        except FileNotFoundError:
            pass  # of a moment ago
    sockets = {int(number) for number, target in own if target.startswith("socket:")}
    watched = {}
    for number, target in own:
        if target == "anon_inode:[eventpoll]":
            with open(f"/proc/{sidecar.pid}/fdinfo/{number}") as file:
                watched[number] = len({int(fd) for fd in re.findall(r"tfd:\s*(\d+)", file.read())} & sockets)
    return watched


def spread_over(sidecar, threads, alone):
    """Clients on each worker; `alone`: what sockets_watched() said before anybody came."""
    grown = [count - alone[number] for number, count in sockets_watched(sidecar).items()]
    return sorted(grown, reverse=True)[:threads]


# Let in, and spread


@pytest.mark.parametrize("threads", [2, 4])
def test_connections_spread_evenly_and_newcomers_even_out_who_has_gone(threads, start_sidecar, crowd):
    sidecar = start_sidecar(server={"threads": threads})
    eventually(lambda: sidecar.metric("sidecar_clients") == 0)
    alone = sockets_watched(sidecar)
    clients = crowd(sidecar, 10 * threads + 1)
    ask_all(clients)
    spread = spread_over(sidecar, threads, alone)
    assert sum(spread) == len(clients) and max(spread) - min(spread) <= 1, spread

    # All that were let in second, sixth ...: of one worker, if they had come in turn.
    gone = clients[1::threads]
    for client in gone:
        client.close()
    eventually(lambda: sidecar.metric("sidecar_clients") == len(clients) - len(gone))
    spread = spread_over(sidecar, threads, alone)
    assert max(spread) - min(spread) >= 9, f"{spread}: they were not of one worker"
    ask_all(crowd(sidecar, len(gone)))
    spread = spread_over(sidecar, threads, alone)
    assert sum(spread) == len(clients) and max(spread) - min(spread) <= 1, spread


def test_all_who_come_at_once_are_served_and_those_before_them_go_on(sidecar, plans, crowd):
    old = sidecar.client()
    assert old.call("GET", "plan:20") == plans.bytes(20)
    eventually(lambda: sidecar.metric("sidecar_clients") == 1)
    before = sidecar.metrics()
    clients = [socket.socket() for _ in range(MANY)]
    try:
        for number, client in enumerate(clients):
            client.setblocking(False)
            client.bind((f"127.0.0.{2 + number % 50}", 0))
            client.connect_ex(sidecar.address)
            if number % 100 == 0:
                assert old.call("GET", "plan:20") == plans.bytes(20)
        for client in clients:
            client.settimeout(20)
        ask_all(clients, resp.encode("GET", "plan:20"), b"$%d\r\n%s\r\n" % (
            len(plans.bytes(20)), plans.bytes(20)))
        after = sidecar.metrics()
        for name in ("sidecar_clients", "sidecar_connections_total"):
            assert after.sum(name) - before.sum(name) == MANY, name
        assert after.sum("sidecar_connections_refused_total") == 0
    finally:
        for client in clients:
            client.close()
    eventually(lambda: sidecar.metric("sidecar_clients") == before.sum("sidecar_clients"))


def test_beyond_max_clients_each_is_told_and_counted_and_the_places_come_back(start_sidecar, crowd):
    sidecar = start_sidecar(listen={"max_clients": 100})
    eventually(lambda: sidecar.metric("sidecar_clients") == 0)
    for _ in range(3):
        refused = sidecar.metric("sidecar_connections_refused_total")
        clients = crowd(sidecar, 100)
        ask_all(clients)
        for client in crowd(sidecar, 50):
            answer = b"-ERR max number of clients reached\r\n"
            assert read_exactly(client, len(answer)) == answer
            assert client.recv(1) == b""
        ask_all(clients)
        assert sidecar.metric("sidecar_connections_refused_total") == refused + 50
        assert sidecar.metric("sidecar_clients") == 100
        for client in clients:
            client.close()
        eventually(lambda: sidecar.metric("sidecar_clients") == 0)


# What they leave behind

needs_plain_memory = pytest.mark.skipif(slowness() > 1, reason="a sanitizer's memory is not the program's")
# What may come and go: pages half used, a worker's own buffers.
SPARE = (6 << 20) + max(0, MANY - 2000) * 500


def settled_bytes(sidecar, limit):
    """Resident memory once it is below the limit, or at last."""
    until = time.monotonic() + 10
    while sidecar.memory_bytes() >= limit and time.monotonic() < until:
        time.sleep(0.1)
    return sidecar.memory_bytes()


@needs_plain_memory
def test_a_connection_costs_next_to_nothing_and_gives_back_what_it_took(redis, start_sidecar, crowd):
    sidecar = start_sidecar(redis={"url": redis.url, "timeout": "60s"}, cache={"keys": "!*"})
    redis.call("SET", "value", "v" * 1000)
    empty = sidecar.memory_bytes()
    clients = crowd(sidecar, MANY, receive_buffer=4096)
    ask_all(clients)
    idle = sidecar.memory_bytes()
    assert idle - empty < MANY * 600 + (1 << 20), f"{(idle - empty) / MANY:.0f} bytes each"

    # Half a command of 60 KB from each.
    request = resp.encode("SET", "large", "x" * 60_000)
    for client in clients:
        client.sendall(request[:50_000])
    most = MANY * 50_000
    eventually(lambda: sidecar.memory_bytes() - idle > most * 0.8, what="the halves in memory")
    assert sidecar.memory_bytes() - idle < most * 2 + SPARE
    for client in clients:
        client.sendall(request[50_000:])
    for client in clients:
        assert read_exactly(client, 5) == b"+OK\r\n"

    # Many replies at a time that have to wait for each other, read slowly.
    count = 100
    answer = b"$1000\r\n" + b"v" * 1000 + b"\r\n"
    for client in clients:
        client.sendall(resp.encode("GET", "value") * count)
    for client in clients:
        assert read_exactly(client, count * len(answer)) == answer * count
    left = settled_bytes(sidecar, idle + SPARE) - idle
    assert left < SPARE, f"{left >> 20} MB stay resident"
    ask_all(clients)


@needs_plain_memory
def test_what_is_dropped_from_memory_is_given_back(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, cache={"max_memory": "256mb"})
    before = sidecar.memory_bytes()
    with redis.client(timeout=20) as client:
        for at in range(0, 60_000, 1000):
            client.pipeline([("SET", f"k:{number}", "v" * 1000) for number in range(at, at + 1000)])
    client = sidecar.client(timeout=20)
    for at in range(0, 60_000, 1000):
        client.pipeline([("GET", f"k:{number}") for number in range(at, at + 1000)])
    assert sidecar.memory_bytes() - before > 40 << 20
    assert client.call("SIDECAR", "FLUSH") > 40_000
    left = settled_bytes(sidecar, before + 2 * SPARE) - before
    assert left < 2 * SPARE, f"{left >> 20} MB stay resident"


# Out of descriptors


def busy_share(sidecar, seconds=0.5):
    """Of one core, while nobody asks it for anything."""
    def spent():
        with open(f"/proc/{sidecar.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    before, started = spent(), time.monotonic()
    time.sleep(seconds)
    return (spent() - before) / (time.monotonic() - started)


def test_descriptors_are_kept_back_for_backends_and_the_admin_port(redis, pgbouncer, plans, start_sidecar, crowd):
    sidecar = start_sidecar(prefix=["prlimit", "--nofile=120"], redis={"url": redis.url},
                            postgres={"url": pgbouncer.url})
    assert sidecar.log_lines("max_clients", "the limit is 120", "60 are let in")
    eventually(lambda: sidecar.metric("sidecar_clients") == 0)
    clients = crowd(sidecar, 60)
    ask_all(clients)
    for client in crowd(sidecar, 100):
        answer = b"-ERR max number of clients reached\r\n"
        assert read_exactly(client, len(answer)) == answer
    ask_all(clients, resp.encode("GET", "plan:20"), b"$%d\r\n%s\r\n" % (
        len(plans.bytes(20)), plans.bytes(20)))
    assert sidecar.http("/healthz") == (200, "ok\n")
    assert sidecar.metric("sidecar_connections_refused_total") >= 100


def test_without_a_descriptor_newcomers_wait_quietly_and_the_rest_goes_on(redis, start_sidecar, crowd):
    sidecar = start_sidecar(redis={"url": redis.url})
    old = crowd(sidecar, 20)
    ask_all(old)
    eventually(lambda: sidecar.metric("sidecar_clients") == 20)
    limits = resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE)
    highest = max(int(number) for number in os.listdir(f"/proc/{sidecar.pid}/fd"))
    resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    waiting = crowd(sidecar, 30)
    for client in waiting:
        client.sendall(resp.encode("PING"))
    with socket.create_connection(("127.0.0.1", sidecar.admin_port)) as scrape:
        scrape.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        eventually(lambda: sidecar.log_lines("accept:", "Too many open files"))
        assert busy_share(sidecar) < 0.3, "it spins"
        ask_all(old)
        assert len(sidecar.log_lines("accept")) == 1, "once in ten seconds"
        resource.prlimit(sidecar.pid, resource.RLIMIT_NOFILE, limits)
        for client in waiting:
            assert read_exactly(client, 7) == b"+PONG\r\n"
        assert scrape.recv(100).startswith(b"HTTP/1.0 200")
