"""Clients that ask for mapped keys at a steady rate, and check every answer.

A process of its own, so that nothing in pytest slows it down. One thread and
one poll loop over `connections` sockets; each tick sends what is due by the
clock in small pipelined batches, whether earlier answers have come or not (an
open loop: a stall shows as latency, not as a lower rate). Latency runs from
send to the arrival of the reply in this process, less the time for which this
process, or a thread of the program that it asks, wanted a processor meanwhile and
was given none: that is the machine's noise, of which `gap_ms` and `starved_ms` tell
the longest.

Run with a JSON object of settings; stops at end of file on standard input,
waits for the last answers and prints one JSON object.
"""

import collections
import gc
import glob
import json
import os
import random
import selectors
import socket
import sys
import time

TICK = 0.002


def plan(number):
    return b'{"tier":"%s","n":%d}' % (b"plus" if number % 20 == 0 else b"basic", number)


class Starved:
    """How long the threads of a process have waited for a processor, by the kernel's own count.

    What a thread waits for by itself (a lock, a backend, a disk) is not in it, nor what it computes.
    """

    def __init__(self, pid):
        # Nothing where the kernel does not tell.
        self.files = [open(path, "rb", buffering=0)
                      for path in glob.glob(f"/proc/{pid}/task/*/schedstat")] if pid else []
        self.steal = open("/proc/stat", "rb", buffering=0)
        self.tick = os.sysconf("SC_CLK_TCK")
        self.last = self.read()

    def read(self):
        """Seconds since each thread began, and of the whole machine while its host ran others."""
        self.at = time.monotonic()
        waited = [int(os.pread(file.fileno(), 99, 0).split()[1]) / 1e9 for file in self.files]
        return waited, int(os.pread(self.steal.fileno(), 199, 0).split()[8]) / self.tick

    def now(self, age=0.0):
        """What read() says, no older than that."""
        if time.monotonic() - self.at >= age:
            self.last = self.read()
        return self.last

    @staticmethod
    def between(before, after):
        """Of the thread that waited longest."""
        waited = max((b - a for a, b in zip(before[0], after[0])), default=0.0)
        return waited + after[1] - before[1]


class Connection:
    def __init__(self, address):
        self.socket = socket.create_connection(tuple(address))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.waiting = collections.deque()  # (number, time sent, self.stalled and starved then)
        self.buffer = b""
        self.unsent = b""
        self.is_open = True


class Load:
    def __init__(self, address, rate, ids, first=1, hot=0, connections=20, batch=4,
                 free='{"tier":"free"}', expect="plan", seed=1, pid=None):
        self.rate = rate
        self.batch = batch
        self.free = free.encode()
        self.random = random.Random(seed)
        self.numbers = range(first, first + ids)
        self.hot = hot  # so many ids get half of the reads
        self.commands = {}
        self.expected = {}
        for number in self.numbers:
            key = b"plan:%d" % number
            self.commands[number] = b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key)
            self.expected[number] = plan(number) if expect == "plan" else self.free
        self.connections = [Connection(address) for _ in range(connections)]
        self.selector = selectors.DefaultSelector()
        for connection in self.connections:
            self.selector.register(connection.socket, selectors.EVENT_READ, connection)
        self.sent = self.answered = self.free_answers = 0
        self.errors, self.wrong, self.closed = [], [], 0
        self.latencies = []
        self.slow = []  # (seconds since start, latency in ms, number)
        self.gap = 0.0
        self.last_turn = 0.0
        self.stalled = 0.0  # how long in all this process was not let run
        self.starved = Starved(pid)
        self.longest_starved = 0.0

    def note_turn(self, waited):
        """Between two turns lies `waited` by intention; the rest is the machine's noise."""
        now = time.monotonic()
        lost = now - self.last_turn - waited
        if lost > 0.005:
            self.stalled += lost
            self.gap = max(self.gap, lost)
        self.last_turn = now

    def choose(self):
        if self.hot and self.random.random() < 0.5:
            return self.numbers[self.random.randrange(self.hot)]
        return self.numbers[self.random.randrange(len(self.numbers))]

    def send_due(self, due):
        turn = self.sent // self.batch
        while due > 0:
            connection = self.connections[turn % len(self.connections)]
            turn += 1
            count = min(due, self.batch)
            due -= count
            numbers = [self.choose() for _ in range(count)]
            now, starved = time.monotonic(), self.starved.now(0.01)
            connection.waiting.extend((number, now, self.stalled, starved) for number in numbers)
            self.sent += count
            if not connection.is_open:
                continue
            connection.unsent += b"".join([self.commands[number] for number in numbers])
            self.push(connection)

    def push(self, connection):
        try:
            taken = connection.socket.send(connection.unsent)
            connection.unsent = connection.unsent[taken:]
        except BlockingIOError:
            pass
        except OSError:
            self.lose(connection)

    def lose(self, connection):
        self.closed += 1
        connection.is_open = False
        self.selector.unregister(connection.socket)

    def receive(self, connection):
        try:
            data = connection.socket.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.lose(connection)
            return
        now = time.monotonic()
        data = connection.buffer + data
        at = 0
        waiting = connection.waiting
        while True:
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            kind = data[at]
            if kind == 36 and data[at + 1] != 45:  # "$", and not "$-1"
                stop = end + 2 + int(data[at + 1 : end])
                if len(data) < stop + 2:
                    break
                value = data[end + 2 : stop]
                at = stop + 2
            else:
                value = None
                line = data[at:end]
                at = end + 2
            number, sent, stalled, starved = waiting.popleft()
            latency = now - sent - (self.stalled - stalled)
            if latency > 0.1:
                lost = self.starved.between(starved, self.starved.now(0.001))
                self.longest_starved = max(self.longest_starved, lost)
                latency = max(0.0, latency - lost)
            self.answered += 1
            self.latencies.append(latency)
            if latency > 0.1:
                self.slow.append((round(sent - self.start, 3), round(latency * 1000), number))
            if value == self.expected[number]:
                continue
            if value == self.free:
                self.free_answers += 1
            elif value is None:
                self.errors.append(f"{number}: {line!r}")
            else:
                self.wrong.append(f"{number}: {value!r}")
        connection.buffer = data[at:]

    def turn(self, seconds):
        started = time.monotonic()
        ready = self.selector.select(seconds)
        self.note_turn(min(seconds, time.monotonic() - started))
        for key, _ in ready:
            if key.data is not None:
                self.receive(key.data)
        for connection in self.connections:
            if connection.unsent and connection.is_open:
                self.push(connection)

    def run(self):
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)
        self.start = self.last_turn = time.monotonic()
        print("started", flush=True)
        while True:
            self.note_turn(0)
            now = time.monotonic()
            self.send_due(int((now - self.start) * self.rate) - self.sent)
            ready = self.selector.select(0)
            for key, _ in ready:
                if key.data is None:
                    self.seconds = now - self.start
                    self.selector.unregister(sys.stdin)
                    return self.finish()
                self.receive(key.data)
            wait = now + TICK - time.monotonic()
            if wait > 0:
                self.turn(wait)

    def finish(self):
        deadline = time.monotonic() + 3
        while self.answered < self.sent and time.monotonic() < deadline:
            self.turn(0.02)

    def report(self):
        ordered = sorted(self.latencies) or [0.0]

        def at(share):
            return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)
        return {
            "sent": self.sent, "answered": self.answered, "free": self.free_answers,
            "rate": round(self.sent / self.seconds), "seconds": round(self.seconds, 2),
            "errors": len(self.errors), "wrong": len(self.wrong), "closed": self.closed,
            "examples": (self.errors + self.wrong)[:5], "slow": self.slow[:5] + self.slow[-5:],
            "over_100_ms": len(self.slow), "gap_ms": round(self.gap * 1000, 1),
            "starved_ms": round(self.longest_starved * 1000, 1),
            "p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": at(1),
        }


def main():
    load = Load(**json.loads(sys.argv[1]))
    gc.disable()
    load.run()
    print(json.dumps(load.report()), flush=True)


if __name__ == "__main__":
    main()
