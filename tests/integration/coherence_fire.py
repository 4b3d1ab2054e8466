"""Writers and readers of a few counters through several sidecars and past them.

    coherence_fire.py SETTINGS      JSON: sidecars, redis, seconds, keys, writers

Counters only grow, in the order that Redis gives them, so any two answers can be
compared. Says "started", and at the end one line of JSON: what was answered, and

    older      answers older than what the same sidecar had acknowledged before they were
               asked for, to whomever (a read or a write)
    stale_ms   for each write and sidecar: how long after the acknowledgement a read was
               sent that did not see it yet
"""

import json
import random
import statistics
import sys
import threading
import time

import resp


class Counter:
    """What is known of one key, by all threads."""

    def __init__(self, name, sidecars):
        self.name = name
        self.acknowledged = {}                 # value -> when
        self.floor = [0] * sidecars            # the newest that each sidecar has told
        self.stale = [{} for _ in range(sidecars)]  # value that was not seen yet -> seconds

    def wrote(self, value, sidecar):
        self.acknowledged[value] = time.monotonic()
        if sidecar is not None:
            self.told(value, sidecar)

    def told(self, value, sidecar):
        if value > self.floor[sidecar]:
            self.floor[sidecar] = value

    def note_staleness(self, value, sidecar, sent):
        next_at = self.acknowledged.get(value + 1)
        if next_at is not None and next_at < sent:
            stale = self.stale[sidecar]
            stale[value + 1] = max(stale.get(value + 1, 0), sent - next_at)


class Client(threading.Thread):
    def __init__(self, fire, address, sidecar, protocol=2, writes=0.0):
        super().__init__(daemon=True)
        self.fire, self.address, self.sidecar, self.protocol = fire, address, sidecar, protocol
        self.writes = writes  # share of its commands
        self.random = random.Random()
        self.answered = self.errors = 0
        self.client = None

    def run(self):
        try:
            while time.monotonic() < self.fire.until:
                self.turn()
                time.sleep(self.random.random() * 0.002)
        except Exception as error:  # a thread's death must not pass for a success
            self.fire.broken.append(repr(error))

    def call(self, words):
        if self.client is None:
            self.client = resp.Client(self.address, timeout=20, protocol=self.protocol)
        return self.client.call(*words)

    def turn(self):
        counters = self.fire.counters
        if self.random.random() < self.writes:
            self.write(self.random.choice(counters))
        elif self.random.random() < 0.2:
            some = self.random.sample(counters, min(4, len(counters)))
            self.read(some, ["MGET", *(counter.name for counter in some)])
        else:
            one = self.random.choice(counters)
            self.read([one], ["GET", one.name])

    def write(self, counter):
        reply = self.call(["INCR", counter.name])
        if isinstance(reply, resp.Error):
            self.errors += 1
        else:
            counter.wrote(reply, self.sidecar)
            self.answered += 1

    def read(self, counters, words):
        floors = [counter.floor[self.sidecar] for counter in counters]
        sent = time.monotonic()
        reply = self.call(words)
        if isinstance(reply, resp.Error):
            self.errors += 1
            return
        for counter, floor, text in zip(counters, floors, reply if len(words) > 2 else [reply]):
            if isinstance(text, resp.Error):
                continue
            value = int(text or 0)
            if value < floor:
                self.fire.older.append(f"{words[0]} {counter.name}: {value} after {floor}, sidecar {self.sidecar}")
            counter.told(value, self.sidecar)
            counter.note_staleness(value, self.sidecar, sent)
        self.answered += 1


class Fire:
    def __init__(self, sidecars, redis, seconds, keys=8, writers=("redis", "sidecars"), readers=3):
        self.counters = [Counter(f"counter:{number}", len(sidecars)) for number in range(keys)]
        self.redis = redis
        self.older, self.broken = [], []
        self.until = time.monotonic() + seconds
        self.clients = []
        if "redis" in writers:
            self.clients.append(Client(self, redis, None, writes=1.0))
        for number, address in enumerate(sidecars):
            if "sidecars" in writers:
                self.clients.append(Client(self, address, number, writes=0.5))
            for reader in range(readers):
                self.clients.append(Client(self, address, number, protocol=2 + reader % 2))

    def run(self):
        with resp.Client(self.redis) as client:  # "not there" has a ttl of its own
            for counter in self.counters:
                counter.acknowledged[client.call("INCR", counter.name)] = time.monotonic()
        for client in self.clients:
            client.start()
        for client in self.clients:
            client.join()
        stale = [1000 * by_write.get(value, 0) for counter in self.counters
                 for by_write in counter.stale for value in counter.acknowledged]
        stale.sort()
        return {
            "answered": sum(client.answered for client in self.clients),
            "errors": sum(client.errors for client in self.clients),
            "writes": sum(len(counter.acknowledged) for counter in self.counters),
            "older": self.older[:10], "older_count": len(self.older), "broken": self.broken,
            "stale_ms": {"median": statistics.median(stale) if stale else 0,
                         "p99": stale[int(len(stale) * 0.99)] if stale else 0,
                         "max": stale[-1] if stale else 0},
        }


def main():
    settings = json.loads(sys.argv[1])
    for name in ("sidecars", "redis"):
        value = settings[name]
        settings[name] = [tuple(each) for each in value] if name == "sidecars" else tuple(value)
    fire = Fire(**settings)
    print("started", flush=True)
    print(json.dumps(fire.run()), flush=True)


if __name__ == "__main__":
    main()
