"""What a request costs and how long it takes, beside other servers: hits, peer, forward, rate."""

import csv
import io
import subprocess

import resp
import servers
from figures import draw_bars
from rounds import KEYS, compare, fill, in_turns, quartile, warm
from servers import LOAD_CORE, cpu_ns, start_redis, start_sidecar


def end_all(running):
    for server in running.values():
        server.end()


def start_full(session):
    """redis, and a sidecar that has all of its keys in memory."""
    redis = start_redis(session)
    fill(redis)
    sidecar = start_sidecar(session, redis)
    warm(sidecar)
    return redis, sidecar


# Our own generator

HITS = [("GET, pipeline 1", {"mode": "get", "pipeline": 1}),
        ("GET, pipeline 16", {"mode": "get", "pipeline": 16}),
        ("GET, pipeline 64", {"mode": "get", "pipeline": 64}),
        ("MGET of 100", {"mode": "mget", "connections": 20})]


def hits(session):
    print(f"\n## Hits: {KEYS:,} keys of 20 bytes, values of 128, 50 connections, one thread on a core of its own\n")
    redis, sidecar = start_full(session)
    running = {"redis": redis, "sidecar": sidecar, "floor": servers.Floor(session).start()}
    if servers.has("memcached"):
        running["memcached"] = servers.Memcached(session).start()
        running["memcached"].fill(KEYS)
    reports = in_turns(running, HITS)
    compare(reports, HITS, running)
    draw_bars("hits.svg", [(shape, {name: quartile(reports[shape, name], "cpu_us") for name in running
                                    if (shape, name) in reports}) for shape, _ in HITS], "µs of CPU a request")
    end_all(running)


def forward(session):
    print("\n## Forwarding: the proxy on one core, redis and the load on the other; nothing is kept in memory\n")
    shapes = [(f"{mode.upper()}, pipeline {pipeline}", {"mode": mode, "pipeline": pipeline})
              for mode in ("set", "get") for pipeline in (1, 16)]
    redis, alone = start_redis(session, LOAD_CORE), start_redis(session)
    for server in (redis, alone):
        fill(server)
    running = {"redis": alone, "sidecar": start_sidecar(session, redis, cache={"keys": "!*"})}
    if servers.has("nutcracker"):
        running["twemproxy"] = servers.Twemproxy(session, redis).start()
    compare(in_turns(running, shapes), shapes, running)
    end_all({**running, "behind": redis})


def rate(session):
    print("\n## Latency at 20,000 GET/s, open loop (counted from when a request was due)\n")
    redis, sidecar = start_full(session)
    running = {"redis": redis, "sidecar": sidecar, "floor": servers.Floor(session).start()}
    shapes = [(f"{count:,} connections", {"mode": "get", "rate": 20_000, "connections": count})
              for count in (50, 1000, 10_000)]
    compare(in_turns(running, shapes, seconds=1), shapes, running)
    end_all(running)


# A generator that is not ours

PEER_REQUESTS = {1: 40_000, 16: 400_000, 64: 800_000}  # about half a second each
PEER_MGETS = 10_000


def peer(session):
    print("\n## The same, measured by redis-benchmark (it does not look at the values; latencies are of a batch)\n")
    redis = start_redis(session)
    with resp.Client(("127.0.0.1", redis.port), timeout=60) as client:
        names = ["key:%012d" % number for number in range(KEYS)]
        for first in range(0, KEYS, 1000):
            client.pipeline([("SET", name, "v" * 128) for name in names[first:first + 1000]])
    sidecar = start_sidecar(session, redis)
    with resp.Client(("127.0.0.1", sidecar.port), timeout=60) as client:
        for first in range(0, KEYS, 1000):
            client.pipeline([("GET", name) for name in names[first:first + 1000]])
    misses = sidecar.metric("sidecar_cache_misses_total")
    running = {"redis": redis, "sidecar": sidecar, "floor": servers.Floor(session).start()}
    shapes = [(f"GET, pipeline {pipeline}", {"pipeline": pipeline, "requests": requests, "command": ["-t", "get"]})
              for pipeline, requests in PEER_REQUESTS.items()]
    shapes.append(("MGET of 100 at random", {"pipeline": 1, "requests": PEER_MGETS,
                                             "command": ["MGET", *["key:__rand_int__"] * 100]}))
    compare(in_turns(running, shapes, measure=redis_benchmark), shapes, running)
    assert sidecar.metric("sidecar_cache_misses_total") == misses, "memory did not hold every key"
    end_all(running)


def redis_benchmark(server, pipeline, requests, command):
    argv = ["taskset", "-c", str(LOAD_CORE), "redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port),
            "--threads", "1", "-c", "50", "-n", str(requests), "-r", str(KEYS), "-d", "128", "-P", str(pipeline),
            "--csv", *command]
    before = cpu_ns(server)
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    spent = cpu_ns(server) - before
    row = next(csv.DictReader(io.StringIO(said[said.index('"test"'):])))
    return {"cpu_us": spent / 1000 / requests, "rate": float(row["rps"]),
            "p50_us": 1000 * float(row["p50_latency_ms"]), "p99_us": 1000 * float(row["p99_latency_ms"])}
