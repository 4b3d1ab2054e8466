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
