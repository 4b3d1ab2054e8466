"""Start, SIGTERM, SIGHUP: no reply is lost, no change is silent."""

import os
import signal
import socket
import threading
import time

import pytest

import resp
from processes import eventually, free_port

pytestmark = pytest.mark.alone


def refuses(sidecar):
    with socket.socket() as probe:
        return probe.connect_ex(sidecar.address) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_clients_do_not_delay_the_end(number, sidecar):
    idle = [sidecar.client() for _ in range(50)]
    assert idle[0].call("PING") == "PONG"
    assert "server.drain has changed" in sidecar.reload(server={"drain": "60s"})
    start = time.monotonic()
    os.kill(sidecar.pid, number)
    sidecar.wait_exit(start)
    assert all(client.is_closed() for client in idle)


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGHUP],
                         ids=["who cannot wait", "a reload while it ends"])
def test_signals_again_and_again_while_it_ends_spoil_nothing(again, sidecar):
    for _ in range(5):
        os.kill(sidecar.pid, signal.SIGTERM)
        stop = time.monotonic() + 10
        while sidecar.is_running() and time.monotonic() < stop:
            os.kill(sidecar.pid, again)
            time.sleep(0.0005)
        assert sidecar.child.returncode == 0
        sidecar.start()


def test_signals_that_come_while_it_starts_wait_for_it(start_sidecar):
    for _ in range(5):
        sidecar = start_sidecar(wait=False)
        eventually(lambda: sidecar.log_lines("no Redis is configured"), every=0.0002)
        os.kill(sidecar.pid, signal.SIGHUP)
        os.kill(sidecar.pid, signal.SIGTERM)
        assert sidecar.wait(10) == 0
        assert sidecar.log_lines("draining")


def test_what_is_in_flight_is_answered_before_the_end(redis, proxy_for, start_sidecar):
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url, "timeout": "50s"}, server={"drain": "60s"})
    sidecar.wait_backend("redis", True)
    clients = [sidecar.client() for _ in range(20)]
    for client in clients:
        client.call("ECHO", "ready")
    proxy.delay = 0.4
    for at, client in enumerate(clients):
        client.send_raw(b"".join(resp.encode("SET", f"k:{at}:{n}", n) for n in range(50)))
    time.sleep(0.15)
    start = time.monotonic()
    os.kill(sidecar.pid, signal.SIGTERM)
    eventually(lambda: refuses(sidecar), what="an end of accepting")
    for client in clients:
        data, is_closed = client.read_to_end(15)
        assert (data, is_closed) == (b"+OK\r\n" * 50, True)
    sidecar.wait_exit(start)
    assert redis.call("DBSIZE") == 20 * 50


def test_while_it_drains_it_is_healthy_and_not_ready(redis, proxy_for, start_sidecar):
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url, "timeout": "50s"}, server={"drain": "60s"})
    client = sidecar.client()
    assert client.call("SET", "a", "1") == "OK"
    proxy.hold(b"late")
    client.send("SET", "late", "1")
    proxy.wait_held()
    start = time.monotonic()
    os.kill(sidecar.pid, signal.SIGTERM)
    eventually(lambda: sidecar.http("/readyz")[0] == 503)
    assert sidecar.http("/healthz")[0] == 200
    proxy.release()
    assert client.read() == "OK"
    sidecar.wait_exit(start)


def test_the_drain_ends_what_takes_too_long(redis, proxy_for, start_sidecar):
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url, "timeout": "50s"}, server={"drain": "700ms"})
    client = sidecar.client()
    proxy.hold(b"late")
    client.send("SET", "late", "1")
    proxy.wait_held()
    start = time.monotonic()
    os.kill(sidecar.pid, signal.SIGTERM)
    assert sidecar.wait_exit(start) >= 0.69
    proxy.release()
    assert client.is_closed()


def test_who_blocks_is_not_waited_for(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, server={"drain": "60s"})
    client = sidecar.client()
    client.send("BLPOP", "queue", "0")
    eventually(lambda: b"blocked_clients:1" in redis.call("INFO", "clients"))
    start = time.monotonic()
    os.kill(sidecar.pid, signal.SIGTERM)
    sidecar.wait_exit(start)
    assert client.is_closed()


def test_under_load_sigterm_breaks_no_reply_in_the_middle_and_loses_none(sidecar, plans):
    """Each client's replies are whole and right up to the end of its stream; and what it
    sent before the signal is answered."""
    problems, counts = [], []
    signalled = threading.Event()

    def ask(number):
        client = resp.Client(sidecar.address)
        batch = resp.encode("GET", f"plan:{number}") * 50
        answered = batches = 0
        try:
            while True:
                was_before = not signalled.is_set()
                client.send_raw(batch)
                batches += 1
                for at in range(50):
                    value = client.read()
                    if value != plans.bytes(number):
                        problems.append(f"{value!r}")
                    answered += 1
        except resp.Closed as end:
            if "b''" not in str(end):
                problems.append(f"half a reply: {end}")
            if was_before and not signalled.is_set():
                problems.append("closed before the signal")
            if answered % 50:
                problems.append(f"{answered % 50} of a batch's 50 replies")
        except (ConnectionError, BrokenPipeError):
            if answered % 50:
                problems.append(f"reset after {answered % 50} of 50 replies")
        counts.append(answered)
    for number in range(1, 11):
        sidecar.get(f"plan:{number}")
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 11)]
    for thread in threads:
        thread.start()
    eventually(lambda: sidecar.metric("sidecar_answers_total", rung="memory") > 2000, 10)
    start = time.monotonic()
    signalled.set()
    os.kill(sidecar.pid, signal.SIGTERM)
    sidecar.wait_exit(start)
    for thread in threads:
        thread.join(10)
    assert not problems, problems[:5]
    assert sum(counts) > 1000


def test_it_ends_while_both_backends_hang(redis, postgres, pgbouncer, start_sidecar):
    sidecar = start_sidecar(is_brief=True, redis={"url": redis.url},
                            postgres={"url": pgbouncer.url}, server={"drain": "5s"})
    sidecar.get("plan:1")
    redis.stop()
    postgres.stop()
    client = sidecar.client()
    client.send_raw(resp.encode("GET", "plan:2") + resp.encode("SET", "other", "1"))
    start = time.monotonic()
    os.kill(sidecar.pid, signal.SIGTERM)
    sidecar.wait_exit(start)
    data, _ = client.read_to_end(1)
    assert b"tier" in data
    redis.cont()
    postgres.cont()


def test_it_can_be_started_again_at_once_on_the_same_port(sidecar):
    for _ in range(3):
        client = sidecar.client()
        client.call("PING")
        sidecar.restart()
        assert sidecar.call("PING") == "PONG"


def test_a_port_that_is_taken_is_exit_code_1(sidecar, start_sidecar):
    second = sidecar.run_out("-c", sidecar.file, "-o", f"admin.port={free_port()}")
    assert second.returncode == 1
    assert str(sidecar.port) in second.stderr + second.stdout


def test_sighup_takes_a_new_ttl(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache={"ttl": "1h", "coherence": "ttl"})
    redis.call("SET", "a", "1")
    assert sidecar.get("a") == b"1"
    time.sleep(0.4)
    assert sidecar.rung("a")[1] == "memory"
    sidecar.sections["cache"]["ttl"] = "200ms"
    assert "ttl" in sidecar.reload()
    redis.call("SET", "b", "1")
    assert sidecar.get("b") == b"1"
    redis.call("SET", "b", "2")
    time.sleep(0.3)
    assert sidecar.get("b") == b"2"


def test_sighup_takes_a_new_map_and_deny_list(sidecar, plans):
    sidecar.sections["map other"] = {"key": "other:{id:int}", "query": plans.QUERY,
                                     "free": plans.FREE}
    sidecar.sections["commands"] = {"deny": "FLUSHALL"}
    client = sidecar.client()
    assert client.call("GET", "other:20") is None
    sidecar.reload()
    sidecar.call("SIDECAR", "FLUSH")
    assert client.call("GET", "other:20") == plans.bytes(20)
    assert client.call("GET", "plan:20") == plans.bytes(20)
    assert client.call("FLUSHALL").startswith("NOPERM")


@pytest.mark.parametrize("fault", [
    "[cache]\nttl = abc\n", "[nosuch]\na = b\n", "[cache]\nnosuch = 1\n", "nonsense\n"])
def test_sighup_with_a_bad_file_changes_nothing_and_says_so(fault, sidecar, plans):
    sidecar.get("plan:20")
    sidecar.write_file = lambda: None  # but this
    with open(sidecar.file, "w") as file:
        file.write(fault)
    assert "sidecar.ini" in sidecar.reload()
    assert sidecar.rung("plan:20")[1] == "memory"
    assert sidecar.get("plan:7") == plans.bytes(7)
    assert sidecar.client().call("PING") == "PONG"
    assert sidecar.http("/readyz")[0] == 200


def test_sighup_says_what_needs_a_restart(sidecar):
    sidecar.sections["listen"]["port"] = sidecar.port + 1
    said = sidecar.reload()
    assert "port" in said and "restart" in said
    assert sidecar.client().call("PING") == "PONG"
    sidecar.sections["listen"]["port"] = sidecar.port


def test_sighup_under_load_harms_no_read(sidecar, plans, start_readers):
    readers = start_readers(sidecar, ids=500, hot=50)
    for ttl in ("1s", "2s", "3s", "30s"):
        sidecar.reload(cache={"ttl": ttl})
        time.sleep(0.2)
    report = readers.finish_in_time()
    assert report["free"] <= report["sent"] // 100
