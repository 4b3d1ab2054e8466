#!/usr/bin/python3
"""sidecar beside redis-server (and memcached, twemproxy where they are installed), in one run.

    side_by_side.py [ONLY...]       of: hits peer forward rate memory connections entries work threads lookups storm

The server is on one core, the load on another; servers take turns (rounds.py says how, and what
is told). Every answer is compared with what was stored, but for `peer`, whose load generator is
redis-benchmark. Tables on standard output, pictures in var/bench/.
"""

import os
import sys
import time

import servers

sys.path.insert(0, os.path.join(servers.HERE, "..", "integration"))
from beside import forward, hits, peer, rate  # noqa: E402
from footprint import connections, memory  # noqa: E402
from growth import entries, threads, work  # noqa: E402
from lookups import lookups  # noqa: E402
from processes import Session  # noqa: E402
from rounds import say  # noqa: E402
from storm import storm  # noqa: E402

PARTS = {part.__name__: part for part in (hits, peer, forward, rate, memory, connections, entries, work, threads,
                                          lookups, storm)}


def main(names):
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: no such part; there are {' '.join(PARTS)}")
    for name in ("memcached", "nutcracker"):
        if not servers.has(name):
            say(f"{name} is not installed: its rows are left out (Debian has it)")
    session = Session()
    try:
        for name in names or PARTS:
            started = time.monotonic()
            PARTS[name](session)
            say(f"{name}: {time.monotonic() - started:.0f} s")
    finally:
        session.close()


if __name__ == "__main__":
    main(sys.argv[1:])
