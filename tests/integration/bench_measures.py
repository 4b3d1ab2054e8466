"""What the README claims in numbers, measured: `make bench`.

Not collected with the tests: here nothing fails because a machine is slow.
"""

import time

from processes import eventually

USERS = 300_000
ENTRIES = 50_000


def row(name, *values):
    print(f"\n{name:34}" + "".join(f"{value:>16}" for value in values), end="")


def test_memory_of_50000_entries(redis, pgbouncer, plans, start_sidecar):
    plans.fill(1, USERS)
    sidecar = start_sidecar(
        redis={"url": redis.url, "ttl": "0"}, cache={"max_entries": ENTRIES, "ttl": "1h"},
        postgres={"url": pgbouncer.url, "budget": "5s"}, ladder={"deadline": "10s"})
    empty = sidecar.memory_bytes()
    client = sidecar.client(timeout=60)
    for first in range(1, USERS + 1, 1000):
        numbers = range(first, first + 1000)
        values = client.call("MGET", *(f"plan:{number}" for number in numbers))
        assert values == [plans.bytes(number) for number in numbers]
    row("300,000 users read once each", "entries", "cache bytes", "RSS")
    row("before", 0, 0, f"{empty / 1e6:.1f} MB")
    row("after", int(sidecar.metric("sidecar_cache_entries")),
        f"{sidecar.metric('sidecar_cache_bytes') / 1e6:.1f} MB",
        f"{sidecar.memory_bytes() / 1e6:.1f} MB")
    assert sidecar.metric("sidecar_cache_entries") == ENTRIES
    print()


def test_how_soon_a_write_elsewhere_is_seen(redis, start_sidecar):
    """From the moment that the writer has its answer; the reader asks memory without a pause."""
    row("a write elsewhere is seen after", "writes", "median ms", "p99 ms", "longest ms")
    for coherence in ("tracking", "broadcast"):
        here, other = (start_sidecar(redis={"url": redis.url}, maps={}, cache={"coherence": coherence, "ttl": "1h"})
                       for _ in range(2))
        for sidecar in (here, other):
            eventually(lambda: sidecar.status()["coherence"] == coherence)
        reader = here.client()
        # Past the sidecars where Redis tells of it, through the other where that one does.
        writer = redis.client() if coherence == "tracking" else other.client()
        waits = []
        for number in range(1000):
            writer.call("SET", "k", number)
            written = time.monotonic()
            while reader.call("GET", "k") != b"%d" % number:
                pass
            waits.append(1000 * (time.monotonic() - written))
            reader.call("GET", "k")  # in memory, for the next one
        waits.sort()
        row(coherence, len(waits), f"{waits[500]:.2f}", f"{waits[990]:.2f}", f"{waits[-1]:.2f}")
        for sidecar in (here, other):
            sidecar.terminate()
    print()
