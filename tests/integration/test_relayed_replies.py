"""Replies that come from Redis in one piece for many clients: each client gets its own, in order.

Redis sleeps while the clients ask in turns, so that all their answers, mixed, come together.
"""

import time

import pytest


NAP_S = 0.6
LARGE = b"x" * 40_000  # more than is sent without a copy


@pytest.fixture
def sidecar(start_sidecar, redis):
    sidecar = start_sidecar(redis={"url": redis.url, "connections": 1}, server={"threads": 1},
                            maps={}, cache={"max_value": "1kb"})
    sidecar.wait_backend("redis", True)
    return sidecar


@pytest.fixture
def nap(redis):
    """nap(): Redis answers nobody for NAP_S."""
    sleeper = redis.client()

    def start():
        sleeper.send("DEBUG", "SLEEP", str(NAP_S))
        time.sleep(0.05)
    yield start
    sleeper.close()


def in_turns(clients, rounds, command):
    """Each client's command by itself, so that no two of a client stand side by side."""
    for number in range(rounds):
        for name, client in clients.items():
            for words in command(name, number):
                client.send(*words)
            time.sleep(0.001)


def test_mixed_replies_find_their_clients_in_order(sidecar, nap):
    clients = {f"c{number}": sidecar.client() for number in range(8)}
    nap()
    in_turns(clients, 20, lambda name, number: [("INCR", name), ("APPEND", name + "log", "x")])
    for client in clients.values():
        assert [client.read() for _ in range(40)] == [n for i in range(1, 21) for n in (i, i)]


def test_large_replies_among_small_ones(sidecar, redis, nap):
    redis.call("SET", "large", LARGE)
    clients = {f"c{number}": sidecar.client(timeout=10) for number in range(3)}
    nap()
    in_turns(clients, 12, lambda name, number: [
        ("INCR", name), ("GETEX", "large") if number % 3 == 1 else ("INCR", name)])
    for client in clients.values():
        last = 0
        for number in range(12):
            assert client.read() == last + 1
            last += 1
            if number % 3 == 1:
                assert client.read() == LARGE
            else:
                assert client.read() == last + 1
                last += 1


def test_one_that_leaves_and_one_that_wants_no_reply(sidecar, redis, nap):
    clients = {name: sidecar.client() for name in ("stays", "leaves", "mute")}
    assert clients["mute"].call("PING") == "PONG"
    clients["mute"].send("CLIENT", "REPLY", "OFF")
    nap()
    in_turns(clients, 10, lambda name, number: [("INCR", name)])
    clients["leaves"].close()
    clients["mute"].send("CLIENT", "REPLY", "ON")
    assert [clients["stays"].read() for _ in range(10)] == list(range(1, 11))
    assert clients["mute"].read() == "OK"
    assert clients["mute"].call("INCR", "mute") == 11
    assert redis.call("GET", "leaves") == b"10"


def test_local_replies_keep_their_place_among_those_of_redis(sidecar, nap):
    clients = {f"c{number}": sidecar.client() for number in range(4)}
    nap()
    in_turns(clients, 10, lambda name, number: [
        ("INCR", name), ("ECHO", f"{name} {number}"), ("INCR", name)])
    for name, client in clients.items():
        for number in range(10):
            assert [client.read() for _ in range(3)] == [
                2 * number + 1, b"%s %d" % (name.encode(), number), 2 * number + 2]


def test_a_client_that_reads_late_gets_all(sidecar, redis, nap):
    redis.call("SET", "large", LARGE[:9000])
    client = sidecar.client(receive_buffer=4096, timeout=20)
    other = sidecar.client()
    nap()
    in_turns({"client": client, "other": other}, 100, lambda name, number: [
        ("GETEX", "large"), ("INCR", name)] if name == "client" else [("INCR", name)])
    assert [other.read() for _ in range(100)] == list(range(1, 101))
    for number in range(100):
        assert client.read() == LARGE[:9000]
        assert client.read() == number + 1
