#!/usr/bin/python3
"""sidecar beside redis-server (and memcached, twemproxy where they are installed), in one run.

    side_by_side.py [ONLY...]       of: hits forward rate memory connections work threads

The server is on one core, the load on another; servers take turns for several rounds, and what
is told is the best round of each, its ratio to redis, and how far the rounds lay apart. Every
answer is compared with what was stored. A table each on standard output, and a picture in
var/bench/.
"""

import json
import os
import socket
import subprocess
import sys
import time

import servers
from servers import LOAD_CORE, SERVER_CORE, cpu_ns, pin, resident_bytes, start_redis, start_sidecar

sys.path.insert(0, os.path.join(servers.HERE, "..", "integration"))
from processes import Session  # noqa: E402

ROOT = os.path.abspath(os.path.join(servers.HERE, "..", ".."))
LOAD = os.path.join(ROOT, "build", "bench", "load")
ROUNDS = int(os.environ.get("SIDECAR_BENCH_ROUNDS") or 3)
SECONDS = float(os.environ.get("SIDECAR_BENCH_SECONDS") or 2)
KEYS = 100_000


def say(text):
    print(text, file=sys.stderr, flush=True)


def load(port, check=True, **options):
    argv = ["taskset", "-c", str(LOAD_CORE), LOAD, str(port),
            *(f"{name}={value}" for name, value in options.items())]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    report = json.loads(done.stdout)
    if check and (report["wrong"] or report["errors"] or done.returncode):
        raise SystemExit(f"{' '.join(argv)}: wrong answers: {report}")
    return report


def measure(server, **options):
    """A report with CPU microseconds of the server for each request."""
    report = load(server.port, seconds=SECONDS, pid=server.pid, **options)
    report["rate"] = report["requests"] / report["seconds"]
    return report


def table(head, rows):
    rows = [head, *rows]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(head))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(flush=True)


# Hits

SHAPES = [("GET, pipeline 1", {"mode": "get", "pipeline": 1}),
          ("GET, pipeline 16", {"mode": "get", "pipeline": 16}),
          ("GET, pipeline 64", {"mode": "get", "pipeline": 64}),
          ("MGET of 100", {"mode": "mget", "pipeline": 1, "connections": 20})]


def in_turns(running, shapes):
    """{(shape, server): reports of all rounds}"""
    reports = {}
    for turn in range(ROUNDS):
        for shape, options in shapes:
            for name, server in running.items():
                if options["mode"] != "get" and name == "memcached":
                    continue
                protocol = {"protocol": "memcached"} if name == "memcached" else {}
                say(f"round {turn + 1} of {ROUNDS}: {shape}, {name}")
                reports.setdefault((shape, name), []).append(measure(server, **options, **protocol))
    return reports


def compare(reports, shapes, names, base="redis"):
    rows = []
    for shape, _ in shapes:
        base_cpu = min(report["cpu_us"] for report in reports[shape, base])
        for name in names:
            rounds = reports.get((shape, name))
            if not rounds:
                continue
            best = min(rounds, key=lambda report: report["cpu_us"])
            spread = max(report["cpu_us"] for report in rounds) / best["cpu_us"]
            rows.append((shape, name, f"{best['cpu_us']:.2f}", f"{base_cpu / best['cpu_us']:.2f}x",
                         f"{best['rate']:,.0f}", f"{best['p50_us']:.0f}", f"{best['p99_us']:.0f}",
                         f"{best['p999_us']:.0f}", f"{100 * (spread - 1):.0f} %"))
    table(("what", "server", "CPU µs/request", f"{base} = 1", "requests/s", "p50 µs", "p99 µs", "p99.9 µs",
           "spread"), rows)


def hits(session):
    print(f"\n## Hits: {KEYS:,} keys of 20 bytes, values of 128, one thread on a core of its own\n")
    redis = start_redis(session)
    running = {"redis": redis}
    load(redis.port, mode="fill", keys=KEYS, connections=10, pipeline=50)
    running["sidecar"] = sidecar = start_sidecar(session, redis)
    load(sidecar.port, mode="warm", keys=KEYS, connections=10, pipeline=50)
    pin(sidecar, SERVER_CORE)
    if servers.has("memcached"):
        running["memcached"] = servers.Memcached(session).start()
        time.sleep(0.5)
        fill_memcached(running["memcached"].port)
        pin(running["memcached"], SERVER_CORE)
    reports = in_turns(running, SHAPES)
    compare(reports, SHAPES, running)
    draw(reports, SHAPES, list(running))
    for server in running.values():
        server.end()


def fill_memcached(port):
    value = [bytes(97 + (key * 7 + place) % 26 for place in range(128)) for key in range(26)]
    with socket.create_connection(("127.0.0.1", port)) as client:
        for key in range(KEYS):
            client.sendall(b"set key:%016d 0 0 128 noreply\r\n%s\r\n" % (key, value[key % 26]))
        client.sendall(b"version\r\n")
        client.recv(100)


def draw(reports, shapes, names):
    """Bars: CPU of the server for each request, less is better."""
    bars, y = [], 30
    for shape, _ in shapes:
        best = {name: min(r["cpu_us"] for r in reports[shape, name]) for name in names if (shape, name) in reports}
        bars.append(f'<text x="10" y="{y}" font-weight="bold">{shape}</text>')
        for name, value in best.items():
            y += 20
            width = 380 * value / max(best.values())
            color = "#1a7f5a" if name == "sidecar" else "#9aa5b1"
            bars.append(f'<text x="20" y="{y}">{name}</text><rect x="110" y="{y - 11}" width="{width:.0f}" '
                        f'height="14" fill="{color}"/><text x="{118 + width:.0f}" y="{y}">{value:.2f} µs</text>')
        y += 32
    path = os.path.join(ROOT, "var", "bench", "hits.svg")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="600" height="{y}" font-family="sans-serif" '
                   f'font-size="13">{"".join(bars)}</svg>\n')
    say(f"picture: {os.path.relpath(path, ROOT)}")


# Forwarding

def forward(session):
    print("\n## Forwarding: SET of 128 bytes, the proxy on one core, redis and the load on the other\n")
    shapes = [("SET, pipeline 1", {"mode": "set", "pipeline": 1}), ("SET, pipeline 16", {"mode": "set", "pipeline": 16})]
    redis = start_redis(session, LOAD_CORE)
    alone = start_redis(session)
    running = {"redis": alone, "sidecar": start_sidecar(session, redis, cache={"keys": "!*"})}
    if servers.has("nutcracker"):
        running["twemproxy"] = servers.Twemproxy(session, redis).start()
        time.sleep(0.5)
    for name in running:
        pin(running[name], SERVER_CORE)
    compare(in_turns(running, shapes), shapes, running)
    for server in (*running.values(), redis):
        server.end()


# Latency at a fixed rate

def rate(session):
    print("\n## Latency at 20,000 requests/s, open loop (counted from when a request was due)\n")
    redis = start_redis(session)
    load(redis.port, mode="fill", keys=KEYS, connections=10, pipeline=50)
    sidecar = start_sidecar(session, redis)
    load(sidecar.port, mode="warm", keys=KEYS, connections=10, pipeline=50)
    pin(sidecar, SERVER_CORE)
    shapes = [(f"{connections:,} connections", {"mode": "get", "rate": 20000, "connections": connections})
              for connections in (50, 1000, 10000)]
    running = {"redis": redis, "sidecar": sidecar}
    compare(in_turns(running, shapes), shapes, running)
    for server in running.values():
        server.end()


# Memory

def memory(session):
    print("\n## Memory of an entry: key and value as given, resident bytes over those of an empty server\n")
    rows = []
    for count, value in ((100_000, 128), (1_000_000, 128), (100_000, 1024)):
        redis = start_redis(session)
        empty = resident_bytes(redis)
        load(redis.port, mode="fill", keys=count, value=value, connections=10, pipeline=50)
        full = resident_bytes(redis)
        sidecar = start_sidecar(session, redis)
        before = resident_bytes(sidecar)
        load(sidecar.port, mode="warm", keys=count, value=value, connections=10, pipeline=50)
        after = resident_bytes(sidecar)
        rows.append((f"{count:,} of 20 + {value} bytes", f"{(full - empty) / count:.0f} B",
                     f"{(after - before) / count:.0f} B", f"{sidecar.metric('sidecar_cache_bytes') / count:.0f} B"))
        sidecar.end()
        redis.end()
    table(("entries", "redis", "sidecar", "as sidecar counts"), rows)


def connections(session):
    print("\n## Memory of a connection, resident in the process\n")
    rows = []
    redis = start_redis(session)
    sidecar = start_sidecar(session, redis)
    for name, server in (("redis", redis), ("sidecar", sidecar)):
        before = resident_bytes(server)
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8000)]
        time.sleep(1)
        idle = resident_bytes(server)
        for client in clients:
            client.sendall(b"*1\r\n$4\r\nPING\r\n")
        for client in clients:
            client.recv(100)
        asked = resident_bytes(server)
        for client in clients:
            client.close()
        rows.append((name, f"{(idle - before) / len(clients):.0f} B", f"{(asked - before) / len(clients):.0f} B"))
        server.end()
    table(("server", "idle", "after a command"), rows)


# How cost grows

def work(session):
    print("\n## Cost as work grows: CPU µs of the sidecar a request, pipeline 16\n")
    rows = []
    for entries in (10_000, 100_000, 1_000_000):
        rows.append((f"{entries:,} entries", *cost(session, keys=entries)))
    for value in (16, 1024, 16_384, 262_144, 1_048_576):
        rows.append((f"values of {value:,} bytes",
                     *cost(session, keys=10_000 if value < 10_000 else 200, value=value, pipeline=1)))
    for count in (1, 100, 1000, 10_000):
        rows.append((f"{count:,} connections", *cost(session, keys=10_000, connections=count)))
    table(("what", "CPU µs/request", "ns a byte of the answer"), rows)


def cost(session, keys, value=128, connections=50, pipeline=16):
    redis = start_redis(session, LOAD_CORE)
    load(redis.port, mode="fill", keys=keys, value=value, connections=10, pipeline=20)
    sidecar = start_sidecar(session, redis)
    load(sidecar.port, mode="warm", keys=keys, value=value, connections=10, pipeline=20)
    pin(sidecar, SERVER_CORE)
    best = min(measure(sidecar, mode="get", keys=keys, value=value, connections=connections,
                       pipeline=pipeline)["cpu_us"] for _ in range(ROUNDS))
    sidecar.end()
    redis.end()
    return f"{best:.2f}", f"{1000 * best / value:.2f}"


def threads(session):
    print("\n## Threads: two load generators on both cores beside it\n")
    rows = []
    for count in (1, 2):
        redis = start_redis(session)
        load(redis.port, mode="fill", keys=KEYS, connections=10, pipeline=50)
        sidecar = start_sidecar(session, redis, threads=count)
        load(sidecar.port, mode="warm", keys=KEYS, connections=10, pipeline=50)
        before = cpu_ns(sidecar)
        argv = [LOAD, str(sidecar.port), "mode=mget", "connections=20", f"seconds={SECONDS}"]
        both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        reports = [json.loads(each.communicate()[0]) for each in both]
        spent = (cpu_ns(sidecar) - before) / 1e9
        total = sum(report["requests"] for report in reports)
        rows.append((count, f"{total / SECONDS:,.0f}", f"{spent / SECONDS:.2f}", f"{1e6 * spent / total:.1f}"))
        sidecar.end()
        redis.end()
    table(("threads", "MGET of 100 a second", "cores used", "CPU µs/request"), rows)


PARTS = {part.__name__: part for part in (hits, forward, rate, memory, connections, work, threads)}


def main(names):
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: no such part; there are {' '.join(PARTS)}")
    session = Session()
    try:
        for name in names or PARTS:
            PARTS[name](session)
    finally:
        session.close()


if __name__ == "__main__":
    main(sys.argv[1:])
