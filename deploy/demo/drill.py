#!/usr/bin/env python3
"""The app of `make drill`: asks for profiles all the time, and prints a line a second.

drill.sh says in DRILL_NOTES/part what it has done to the backends, and ends us with
DRILL_NOTES/done. A read has failed when its answer is an error, or none comes, or it is not a
profile; then the exit status is 1.
"""
import collections
import os
import random
import re
import signal
import socket
import sys
import threading
import time
import urllib.request

ADDRESS = ("127.0.0.1", int(os.environ["DRILL_PORT"]))
METRICS = f"http://127.0.0.1:{os.environ['DRILL_ADMIN_PORT']}/metrics"
NOTES = os.environ["DRILL_NOTES"]
RUNGS = ("memory", "redis", "postgres", "stale", "free")
READERS = 4
PAUSE_S = 0.002
PROFILES, HOT = 300_000, 200  # of three reads, two are for a hot user
PATIENCE_S = 5


class Reader(threading.Thread):
    """One connection of the app's, with one read under way."""

    def __init__(self):
        super().__init__(daemon=True)
        self.times_ms, self.problems = collections.deque(), collections.deque()

    def run(self):
        while True:
            try:
                with socket.create_connection(ADDRESS, timeout=PATIENCE_S) as link:
                    self.read_on(link)
            except OSError as problem:
                self.problems.append(f"connection: {problem}")
                time.sleep(0.1)

    def read_on(self, link):
        file = link.makefile("rb")
        while True:
            user = random.randint(1, HOT if random.random() < 2 / 3 else PROFILES)
            start = time.monotonic()
            link.sendall(b"GET profile:%d\r\n" % user)
            answer = read_reply(file)
            self.times_ms.append((time.monotonic() - start) * 1000)
            if b"subscription_tier" not in answer:
                self.problems.append(f"profile:{user}: {answer[:80]!r}")
            time.sleep(PAUSE_S)


def read_reply(file):
    """A bulk string's bytes; any other reply as it is."""
    line = file.readline()
    if not line.endswith(b"\n"):
        raise OSError("closed by the sidecar")
    if not line.startswith(b"$") or line == b"$-1\r\n":
        return line
    return file.read(int(line[1:]) + 2)


def answers():
    """{"memory": 123, ...} since the sidecar started."""
    with urllib.request.urlopen(METRICS, timeout=PATIENCE_S) as page:
        text = page.read().decode()
    return collections.Counter({
        rung: int(float(count)) for rung, count in
        re.findall(r'^sidecar_answers_total\{rung="(\w+)"\} (\S+)$', text, re.M)})


def note(name):
    try:
        with open(os.path.join(NOTES, name)) as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return None


def drain(queue):
    taken = []
    while queue:
        taken.append(queue.popleft())
    return taken


class Table:
    """A line a second, a heading for each part, and what it all came to."""

    def __init__(self, readers):
        self.readers = readers
        self.before, self.title = answers(), None
        self.seen, self.expected = {}, {}
        self.reads = self.failed = 0
        self.slowest_ms = 0.0
        self.started = time.monotonic()

    def row(self):
        title, expected = note("part")[:2]
        if title != self.title:
            print(f"\n{title}\n{'s':>4} {'reads':>6}" + "".join(f"{rung:>10}" for rung in RUNGS) +
                  f"{'failed':>8}{'p99 ms':>9}{'max ms':>9}")
            self.title, self.expected[title] = title, expected.split()
        now = answers()
        counts, self.before = now - self.before, now
        self.seen.setdefault(title, collections.Counter()).update(counts)
        times = sorted(ms for reader in self.readers for ms in drain(reader.times_ms)) or [0.0]
        problems = [text for reader in self.readers for text in drain(reader.problems)]
        self.reads, self.failed = self.reads + len(times), self.failed + len(problems)
        self.slowest_ms = max(self.slowest_ms, times[-1])
        print(f"{time.monotonic() - self.started:4.0f} {len(times):6}" +
              "".join(f"{counts[rung] or '.':>10}" for rung in RUNGS) +
              f"{len(problems) or '.':>8}{times[len(times) * 99 // 100]:9.1f}{times[-1]:9.1f}")
        for text in problems[:3]:
            print(f"     FAILED {text}")
        sys.stdout.flush()

    def verdict(self):
        print(f"\n{self.reads} reads, {self.failed} failed, the slowest took {self.slowest_ms:.1f} ms")
        for title, rungs in self.expected.items():
            silent = [rung for rung in rungs if not self.seen[title][rung]]
            if silent:
                print(f"unexpected: {title}: nothing from {', '.join(silent)}")
        return self.failed == 0 and self.reads > 0


def wake_what_hangs():
    """drill.sh was killed: nobody else would."""
    for pid in note("hung") or []:
        try:
            os.kill(int(pid), signal.SIGCONT)
        except (ProcessLookupError, PermissionError):
            pass


def main():
    parent = os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    readers = [Reader() for _ in range(READERS)]
    for reader in readers:
        reader.start()
    table = Table(readers)
    try:
        while note("done") is None:
            time.sleep(1)
            table.row()
    finally:
        if os.getppid() != parent:
            wake_what_hangs()
    sys.exit(0 if table.verdict() else 1)


main()
