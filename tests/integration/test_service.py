"""What the service manager hears: sd_notify's protocol on a socket of the test's own."""

import ctypes
import os
import signal
import socket
import time

import pytest

from processes import eventually


class Manager:
    """The far end of NOTIFY_SOCKET: a datagram socket at a path, or '@' for an abstract name."""

    def __init__(self, name):
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1))
        self.socket.setblocking(False)
        self.messages = []

    def heard(self):
        """All messages so far, each as {"READY": "1"}."""
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self.messages
            self.messages.append(dict(line.split("=", 1) for line in text.split("\n")))

    def count(self, name):
        return sum(name in message for message in self.heard())

    def wait(self, name, value=None, after=0, seconds=5):
        """The first message of this kind behind the first `after`."""
        def look():
            return [message for message in self.heard()[after:]
                    if name in message and value in (None, message[name])]
        return eventually(look, seconds, what=f"{name}={value} in {self.messages}")[0]

    def is_silent(self, name, seconds):
        before = self.count(name)
        time.sleep(seconds)
        return self.count(name) == before

    def forget(self):
        self.heard()
        self.messages.clear()


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    name = str(tmp_path / "notify") if request.param == "path" else f"@sidecar-test-{os.getpid()}"
    manager = Manager(name)
    yield manager
    manager.socket.close()


def start(start_sidecar, manager, redis, env=None, **sections):
    return start_sidecar(redis={"url": redis.url}, env={"NOTIFY_SOCKET": manager.name,
                                                        **(env or {})}, **sections)


def test_it_is_ready_when_it_serves_and_says_what_it_does(redis, manager, start_sidecar):
    sidecar = start(start_sidecar, manager, redis)
    first = manager.wait("READY")
    assert manager.heard()[0] is first and first == {"READY": "1"}
    manager.wait("STATUS", "serving, redis up")
    assert not manager.count("WATCHDOG")
    redis.kill9()
    sidecar.wait_backend("redis", False)
    manager.wait("STATUS", "serving, redis down")
    os.kill(sidecar.pid, signal.SIGTERM)
    manager.wait("STOPPING", "1")
    manager.wait("STATUS", "draining, redis down")
    sidecar.wait_exit(time.monotonic())


def test_a_reload_begins_and_ends_even_when_it_is_refused(redis, manager, start_sidecar):
    sidecar = start(start_sidecar, manager, redis)
    manager.wait("READY")
    for text in (None, "nonsense\n"):
        manager.forget()
        if text:
            with open(sidecar.file, "w") as file:
                file.write(text)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        os.kill(sidecar.pid, signal.SIGHUP)
        manager.wait("READY", "1")
        reloading = manager.heard()[0]
        assert reloading["RELOADING"] == "1"
        assert before <= int(reloading["MONOTONIC_USEC"]) <= before + 5_000_000
    assert "refused" in sidecar.log()


class Threads:
    """Hangs single threads of a process, as no signal can."""

    ATTACH, DETACH = 16, 17

    def __init__(self, pid):
        self.ids = [int(name) for name in os.listdir(f"/proc/{pid}/task") if int(name) != pid]
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def _trace(self, request, thread):
        assert self.libc.ptrace(request, thread, None, None) == 0, os.strerror(ctypes.get_errno())

    def __enter__(self):
        for thread in self.ids:
            self._trace(self.ATTACH, thread)
            os.waitpid(thread, 0x40000000)  # __WALL
        return self

    def __exit__(self, *error):
        for thread in self.ids:
            self._trace(self.DETACH, thread)


def test_the_watchdog_is_fed_while_all_workers_turn(redis, manager, start_sidecar):
    sidecar = start(start_sidecar, manager, redis, env={"WATCHDOG_USEC": "400000"})
    before = manager.count("WATCHDOG")
    eventually(lambda: manager.count("WATCHDOG") >= before + 3, what="three pings")
    with Threads(sidecar.pid):
        eventually(lambda: manager.is_silent("WATCHDOG", 0.6), what="no ping")
        hungry = manager.count("WATCHDOG")
        assert sidecar.http("/healthz")[0] == 200  # its main thread knows nothing of it
    eventually(lambda: manager.count("WATCHDOG") > hungry, what="a ping after that")


def test_another_process_s_watchdog_is_none_of_ours(redis, manager, start_sidecar):
    start(start_sidecar, manager, redis, env={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"})
    manager.wait("READY")
    time.sleep(0.3)
    assert not manager.count("WATCHDOG")


@pytest.mark.parametrize("name", ["relative", "/nonexistent/notify", "@" + "a" * 200])
def test_a_socket_that_cannot_be_had_is_said_once_and_harms_nothing(name, redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, env={"NOTIFY_SOCKET": name})
    assert sidecar.call("PING") == "PONG"
    assert len(sidecar.log_lines("NOTIFY_SOCKET")) == 1


def test_a_manager_that_does_not_read_stops_nothing(redis, manager, start_sidecar):
    sidecar = start(start_sidecar, manager, redis, env={"WATCHDOG_USEC": "8000"})
    time.sleep(1.5)  # the socket's queue is full long since
    assert sidecar.call("PING") == "PONG"
    assert sidecar.http("/healthz")[0] == 200
