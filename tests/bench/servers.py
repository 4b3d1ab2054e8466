"""The servers that are measured beside each other: each on core 0, one thread."""

import os
import shutil
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from backends import Redis  # noqa: E402
from processes import Process, eventually, free_port  # noqa: E402
from sidecar import Sidecar  # noqa: E402

SERVER_CORE, LOAD_CORE = 0, os.cpu_count() - 1


def pin(process, core):
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        os.sched_setaffinity(int(thread), {core})


def cpu_ns(process):
    """CPU time of all its threads so far."""
    total = 0
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total


def resident_bytes(process):
    with open(f"/proc/{process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Memcached(Process):
    def __init__(self, session):
        super().__init__(session, "memcached", user="nobody")
        self.port = free_port()

    def start(self):
        self.spawn(["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-t", "1", "-m", "512",
                    "-c", "20000"])
        return self


class Twemproxy(Process):
    """nutcracker in front of one redis-server."""

    def __init__(self, session, redis):
        super().__init__(session, "nutcracker")
        self.port, self.redis = free_port(), redis

    def start(self):
        path = os.path.join(self.directory, "nutcracker.yml")
        with open(path, "w") as file:
            file.write(f"bench:\n  listen: 127.0.0.1:{self.port}\n  hash: fnv1a_64\n  distribution: ketama\n"
                       f"  redis: true\n  servers:\n   - 127.0.0.1:{self.redis.port}:1\n")
        self.spawn(["nutcracker", "-c", path, "-s", str(free_port()), "-m", "16384"])
        return self


def start_redis(session, core=SERVER_CORE):
    redis = Redis(session, settings=["--maxclients", "25000"]).start()
    pin(redis, core)
    return redis


def start_sidecar(session, redis, threads=1, maps=None, cache=None, **sections):
    sidecar = Sidecar(
        session, maps=maps or {}, redis={"url": f"redis://127.0.0.1:{redis.port}", "timeout": "60s", "budget": "10s"},
        server={"threads": threads},
        cache={"max_entries": 20_000_000, "max_memory": "8gb", "max_value": "4mb", "ttl": "1h", **(cache or {})},
        listen={"max_clients": 25000}, **sections)
    # Its configuration names the port; start() of the tests adds its own.
    sidecar.sections["listen"]["port"] = sidecar.port
    return sidecar.start()


def has(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is not None


__all__ = ["LOAD_CORE", "SERVER_CORE", "Memcached", "Redis", "Twemproxy", "cpu_ns", "eventually", "has", "pin",
           "resident_bytes", "start_redis", "start_sidecar"]
