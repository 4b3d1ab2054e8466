"""The servers that are measured beside each other: each on core 0, with one thread."""

import os
import resource
import shutil
import socket
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from backends import Redis  # noqa: E402
from processes import Process, eventually, free_port  # noqa: E402
from sidecar import Sidecar  # noqa: E402

SERVER_CORE, LOAD_CORE = 0, os.cpu_count() - 1

# Each connection costs the server a descriptor and the load generator one: whose limit is low has fewer.
DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
MAX_CONNECTIONS = min(20_000, DESCRIPTORS - 300)


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


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Floor(Process):
    """build/bench/floor: answers without looking anything up."""

    modes = ("get", "mget")

    def __init__(self, session):
        super().__init__(session, "floor")
        self.port = free_port()

    def start(self):
        self.spawn([os.path.join(ROOT, "build", "bench", "floor"), str(self.port)])
        eventually(lambda: listens(self.port), what="the floor")
        pin(self, SERVER_CORE)
        return self


class Memcached(Process):
    """It sends each answer to a pipelined get by itself; a batch is one get of many keys there."""

    modes = ("get", "mget")
    options = {"protocol": "memcached"}

    def __init__(self, session):
        super().__init__(session, "memcached")
        self.port = free_port()

    def start(self):
        self.spawn(["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-t", "1", "-m", "512", "-u", "root",
                    "-c", str(min(12_000, MAX_CONNECTIONS))])
        eventually(lambda: listens(self.port), what="memcached")
        pin(self, SERVER_CORE)
        return self

    def fill(self, keys):
        """With what the load generator stores elsewhere: values of 128 bytes."""
        alphabet = bytes(97 + place % 26 for place in range(128 + 26))
        with socket.create_connection(("127.0.0.1", self.port)) as client:
            for first in range(0, keys, 1000):
                client.sendall(b"".join(
                    b"set key:%016d 0 0 128 noreply\r\n%s\r\n" % (key, alphabet[key * 7 % 26:][:128])
                    for key in range(first, min(first + 1000, keys))))
            client.sendall(b"version\r\n")
            assert client.recv(100).startswith(b"VERSION")


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
        eventually(lambda: listens(self.port), what="twemproxy")
        pin(self, SERVER_CORE)
        return self


def start_redis(session, core=SERVER_CORE):
    """Protected mode takes 127.0.0.2 for a stranger."""
    redis = Redis(session, settings=["--maxclients", str(DESCRIPTORS - 64), "--protected-mode", "no"]).start()
    pin(redis, core)
    return redis


def start_sidecar(session, redis, threads=1, maps=None, cache=None, **sections):
    """Pinned beside the others where it has one thread; what it needs of the machine where it has more."""
    sidecar = Sidecar(
        session, maps=maps or {}, redis={"url": f"redis://127.0.0.1:{redis.port}", "timeout": "60s", "budget": "10s"},
        server={"threads": threads},
        cache={"max_entries": 20_000_000, "max_memory": "8gb", "max_value": "4mb", "ttl": "1h", **(cache or {})},
        listen={"max_clients": 20000}, **sections)
    # Its configuration names the port; start() of the tests adds its own.
    sidecar.sections["listen"]["port"] = sidecar.port
    sidecar.start()
    if threads == 1:
        pin(sidecar, SERVER_CORE)
    return sidecar


def has(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is not None
