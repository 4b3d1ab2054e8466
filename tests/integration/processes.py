"""Processes that never outlive the tests.

Every process is started through setpriv with a parent-death signal, in a
directory below one session root, and is ended by its pid in a finalizer. The
reaper is the last net: it waits for pytest to die (end of file on its
standard input), then kills what still has its working directory below the
root (also stopped children of Postgres, which no signal reaches otherwise)
and removes the root.
"""

import fcntl
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
IS_ROOT = os.geteuid() == 0


class Session:
    """The temporary directory of one pytest run, and its reaper."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="sidecar-test-")
        os.chmod(self.root, 0o755)  # the user postgres must get through
        self.reaper = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "reaper.py"), self.root],
            stdin=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
        self._count = 0

    def directory(self, name, owner=None):
        self._count += 1
        path = os.path.join(self.root, f"{self._count:03d}-{name}")
        os.mkdir(path, 0o755)
        if owner and IS_ROOT:
            shutil.chown(path, owner, owner)
        return path

    def close(self):
        self.reaper.stdin.close()
        self.reaper.wait(20)


class _Ports:
    """Ports that this process has for itself among all pytests of this user.

    A killed server's port is free until it is started again; a lock on one byte
    of a common file keeps others off it meanwhile. The locks end with the process.
    """

    file = None

    @classmethod
    def claim(cls, port):
        if cls.file is None:
            path = os.path.join(tempfile.gettempdir(), f"sidecar-test-ports-{os.geteuid()}")
            cls.file = open(path, "a+b")
            cls.mine = set()
        if port in cls.mine:
            return False
        try:
            fcntl.lockf(cls.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        cls.mine.add(port)
        return True


def free_port():
    """A port of 127.0.0.1 that stays free while a server is restarted.

    Below the ephemeral range, so that no outgoing connection takes it in
    between.
    """
    while True:
        port = random.randint(10000, 31999)
        if not _Ports.claim(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


# How many times longer than it should take a condition may be awaited: no test is about how fast
# the machine is, and one that passes does not wait.
PATIENCE = 3


def eventually(check, seconds=5.0, every=0.02, what="the condition"):
    """Polls until `check` returns something true, and returns that."""
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s: last {result!r}")
        time.sleep(every)


def stat_fields(pid):
    """(state, parent pid) of a process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            rest = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return rest[0], int(rest[1])


def children_of(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            fields = stat_fields(int(name))
            if fields and fields[1] == pid:
                found.append(int(name))
    return found


class Process:
    """One server process: start, kill9, stop (SIGSTOP), cont, end."""

    def __init__(self, session, name, user=None):
        self.session = session
        self.name = name
        self.user = user if IS_ROOT else None
        self.directory = session.directory(name, self.user)
        self.child = None
        self.is_stopped = False

    @property
    def pid(self):
        return self.child.pid

    def is_running(self):
        return self.child is not None and self.child.poll() is None

    def spawn(self, argv, env=None, stdout=None, stderr=None):
        assert not self.is_running(), f"{self.name} runs already"
        command = ["setpriv", "--pdeathsig", "KILL"]
        if self.user:
            command += ["--reuid", self.user, "--regid", self.user, "--init-groups"]
        self.child = subprocess.Popen(
            command + ["--"] + argv,
            cwd=self.directory,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout if stdout is not None else self._open("stdout"),
            stderr=stderr if stderr is not None else self._open("stderr"),
            start_new_session=True,
        )
        self.is_stopped = False

    def _open(self, name):
        return open(os.path.join(self.directory, name), "ab", buffering=0)

    def output(self, name):
        try:
            with open(os.path.join(self.directory, name), errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def family(self):
        """The pids that make up this server, parent first."""
        return [self.pid] + children_of(self.pid)

    def stop(self):
        """Hangs it: SIGSTOP to the server and each of its children."""
        for pid in self.family():
            os.kill(pid, signal.SIGSTOP)
        for pid in self.family():
            eventually(lambda pid=pid: (stat_fields(pid) or "T")[0] in "Tt", what="SIGSTOP")
        self.is_stopped = True

    def cont(self):
        for pid in reversed(self.family()):
            os.kill(pid, signal.SIGCONT)
        self.is_stopped = False

    def wait(self, seconds):
        """Its exit code; None when it still runs after so many seconds."""
        descriptor = os.pidfd_open(self.pid)
        try:
            select.select([descriptor], [], [], seconds)
        finally:
            os.close(descriptor)
        return self.child.poll()

    def kill9(self):
        """Ends it without warning, with its children; returns when they are gone."""
        if not self.is_running():
            return
        family = self.family()
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.wait(10)
        for pid in family[1:]:
            eventually(lambda pid=pid: stat_fields(pid) is None or stat_fields(pid)[0] == "Z")
        self.is_stopped = False

    def end(self):
        self.kill9()
