"""Connections: many, slow, half closed, nameless, unwelcome."""

import os
import socket
import time

import pytest

import resp
from processes import eventually


def cpu_seconds(sidecar):
    with open(f"/proc/{sidecar.pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_unix_socket_serves_like_the_port(redis, pgbouncer, plans, session, start_sidecar):
    path = os.path.join(session.directory("listen"), "sidecar.sock")
    sidecar = start_sidecar(listen={"socket": path}, redis={"url": redis.url},
                            postgres={"url": pgbouncer.url})
    client = sidecar.client(address=path)
    assert client.call("GET", "plan:20") == plans.bytes(20)
    assert client.call("SET", "a", "1") == "OK"
    assert sidecar.get("a") == b"1"
    sidecar.restart()  # the file that is left behind does not stop it
    assert sidecar.client(address=path).call("PING") == "PONG"


def test_one_client_too_many_is_told_so_and_closed(start_sidecar):
    sidecar = start_sidecar(listen={"max_clients": 5})
    eventually(lambda: sidecar.metric("sidecar_clients") == 0)
    clients = [sidecar.client() for _ in range(5)]
    assert all(client.call("PING") == "PONG" for client in clients)
    extra = sidecar.client()
    assert extra.read_to_end(15) == (b"-ERR max number of clients reached\r\n", True)
    assert all(client.call("PING") == "PONG" for client in clients)
    clients[0].close()
    eventually(lambda: sidecar.metric("sidecar_clients") == 4)
    assert sidecar.client().call("PING") == "PONG"


def test_out_of_descriptors_existing_clients_live_on(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(prefix=["prlimit", "--nofile=64"], redis={"url": redis.url},
                            postgres={"url": pgbouncer.url})
    old = sidecar.client()
    assert old.call("GET", "plan:20") == plans.bytes(20)
    assert old.call("SET", "a", "1") == "OK"
    crowd = []
    for _ in range(100):
        try:
            crowd.append(sidecar.client(timeout=0.5))
        except OSError:
            break
    time.sleep(0.2)
    before, started = cpu_seconds(sidecar), time.monotonic()
    for number in range(1, 100):
        assert old.call("GET", f"plan:{number}") == plans.bytes(number)
        time.sleep(0.01)
    busy = (cpu_seconds(sidecar) - before) / (time.monotonic() - started)
    assert busy < 0.5, "it spins on accept"
    for client in crowd:
        client.close()
    assert sidecar.client().call("PING") == "PONG"
    assert sidecar.client().call("GET", "plan:7") == plans.bytes(7)


def test_a_client_that_does_not_read_grows_no_memory_and_gets_all_in_the_end(
        redis, start_sidecar):
    """200 MB of replies are asked for; what is not read is not made."""
    sidecar = start_sidecar(redis={"url": redis.url})
    value = b"v" * 10_000
    redis.call("SET", "large", value)
    sidecar.get("large")
    lazy = sidecar.client(timeout=20, receive_buffer=4096)
    lazy.socket.setblocking(False)
    command, asked = resp.encode("GET", "large"), 20_000
    data, sent = command * asked, 0
    before = sidecar.memory_bytes()
    quiet = 0
    while sent < len(data) and quiet < 20:
        try:
            sent += lazy.socket.send(data[sent:sent + 65536])
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.02)
    assert sidecar.memory_bytes() - before < 32 << 20
    assert sidecar.client().call("GET", "large") == value, "others wait for it"
    lazy.socket.settimeout(20)
    whole = sent // len(command)
    for _ in range(whole):
        assert lazy.read() == value
    if sent % len(command):
        lazy.send_raw(command[sent % len(command):])
        assert lazy.read() == value
    assert lazy.call("PING") == "PONG"


def test_a_client_that_does_not_read_large_values_of_redis_grows_no_memory(redis, start_sidecar):
    """Back-pressure all the way: 100 replies of 5 MB from Redis."""
    sidecar = start_sidecar(redis={"url": redis.url})
    redis.call("SET", "huge", b"v" * 5_000_000)
    lazy = sidecar.client(timeout=20, receive_buffer=4096)
    before = sidecar.memory_bytes()
    lazy.send_raw(resp.encode("GET", "huge") * 100)
    highest = 0
    for _ in range(20):
        time.sleep(0.05)
        highest = max(highest, sidecar.memory_bytes() - before)
    assert highest < 150 << 20, f"{highest >> 20} MB"
    assert sidecar.client().call("PING") == "PONG"


def test_a_half_closed_client_still_gets_its_replies(sidecar, plans):
    client = sidecar.client()
    client.send_raw(b"".join(resp.encode("GET", f"plan:{number}") for number in range(1, 101)))
    client.half_close()
    assert [client.read() for _ in range(100)] == [plans.bytes(number) for number in range(1, 101)]
    assert client.is_closed()


def test_a_half_closed_client_still_gets_a_reply_that_redis_owes(redis, proxy_for, start_sidecar):
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url})
    sidecar.wait_backend("redis", True)
    proxy.delay = 0.3
    client = sidecar.client()
    client.send("SET", "a", "1")
    client.half_close()
    assert client.read() == "OK"
    assert client.is_closed()


def test_clients_that_vanish_in_the_middle_harm_nobody(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url})
    for number in range(1, 200):
        client = sidecar.client()
        client.send_raw(resp.encode("GET", f"plan:{number}") * 3 + b"*2\r\n$3\r\nGET\r\n$100\r\nab")
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert sidecar.get("plan:20") == plans.bytes(20)
    eventually(lambda: sidecar.metric("sidecar_clients") == 1)


def test_descriptors_are_given_back(sidecar, plans):
    sidecar.get("plan:1")
    before = sidecar.descriptors_open()
    for _ in range(3):
        clients = [sidecar.client() for _ in range(100)]
        for client in clients:
            client.call("GET", "plan:1")
            client.close()
    eventually(lambda: sidecar.descriptors_open() <= before + 2)


def test_a_listener_with_a_password(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(listen={"password": "door-secret"}, redis={"url": redis.url},
                            postgres={"url": pgbouncer.url})
    client = sidecar.client()
    for words in (("GET", "plan:20"), ("PING",), ("SIDECAR", "STATUS"), ("SET", "a", "1"),
                  ("CLIENT", "LIST"), ("INFO",), ("SUBSCRIBE", "c"), ("MULTI",)):
        assert client.call(*words) == "NOAUTH Authentication required.", words
    assert client.call("AUTH", "wrong").startswith("WRONGPASS")
    assert client.call("GET", "plan:20").startswith("NOAUTH")
    assert client.call("AUTH", "door-secret") == "OK"
    assert client.call("GET", "plan:20") == plans.bytes(20)

    third = sidecar.client()
    assert third.call("HELLO", 3, "AUTH", "default", "wrong").startswith("WRONGPASS")
    assert third.call("HELLO", 3, "AUTH", "default", "door-secret")[b"proto"] == 3
    assert third.call("GET", "plan:20") == plans.bytes(20)
    assert third.call("RESET") == "RESET"
    assert third.call("GET", "plan:20").startswith("NOAUTH"), "RESET takes the login back"
    assert "door-secret" not in sidecar.log()


@pytest.mark.parametrize("protocol", [2, 3])
def test_clients_have_ids_and_names(sidecar, protocol):
    one, two = sidecar.client(protocol=protocol), sidecar.client(protocol=protocol)
    first, second = one.call("CLIENT", "ID"), two.call("CLIENT", "ID")
    assert isinstance(first, int) and first != second
    assert one.call("CLIENT", "GETNAME") in (None, b"")
    assert one.call("CLIENT", "SETNAME", "worker-1") == "OK"
    assert one.call("CLIENT", "GETNAME") == b"worker-1"
    assert one.call("CLIENT", "SETINFO", "LIB-NAME", "redis-py") == "OK"
    assert one.call("CLIENT", "SETINFO", "LIB-VER", "9.9") == "OK"
    listed = one.call("CLIENT", "LIST")
    assert b"name=worker-1" in listed and b"id=%d" % second in listed
    assert b"id=%d " % first in one.call("CLIENT", "INFO") + b" "
    assert one.call("CLIENT", "KILL", "ID", second) == 1
    assert two.is_closed()
    assert one.call("CLIENT", "KILL", "ID", 999_999) == 0


def test_client_reply_off_and_skip(sidecar):
    client = sidecar.client()
    client.send_raw(resp.encode("CLIENT", "REPLY", "SKIP") + resp.encode("ECHO", "unheard")
                    + resp.encode("ECHO", "heard"))
    assert client.read() == b"heard"
    client.send_raw(resp.encode("CLIENT", "REPLY", "OFF") + resp.encode("SET", "a", "1")
                    + resp.encode("PING") + resp.encode("CLIENT", "REPLY", "ON")
                    + resp.encode("GET", "a"))
    assert client.read() == "OK"
    assert client.read() == b"1"


def test_quit_says_ok_and_closes(sidecar):
    client = sidecar.client()
    client.send_raw(resp.encode("PING") + resp.encode("QUIT") + resp.encode("PING"))
    assert client.read_to_end(15) == (b"+PONG\r\n+OK\r\n", True)


def test_500_clients_at_once_are_served(sidecar, plans):
    clients = [sidecar.client() for _ in range(500)]
    sidecar.call("GET", "plan:20")
    for client in clients:
        client.send("GET", "plan:20")
    assert all(client.read() == plans.bytes(20) for client in clients)
    assert sidecar.metric("sidecar_clients") >= 500
