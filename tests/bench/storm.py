"""Many connections: all at once, coming and going, few of them busy, and what a burst leaves behind."""

import json
import os
import resource
import socket
import subprocess
import time

from figures import table
from rounds import ROUNDS, fill, one_round, say, warm
from servers import LOAD_CORE, ROOT, SERVER_CORE, Redis, cpu_ns, pin, resident_bytes, start_sidecar

STORM = os.path.join(ROOT, "build", "bench", "storm")
MANY = int(os.environ.get("SIDECAR_BENCH_CONNECTIONS") or 10_000)
BURST_BYTES = 100_000


def argv_of(server, **options):
    return ["taskset", "-c", str(LOAD_CORE), STORM, str(server.port),
            *(f"{name}={value}" for name, value in options.items())]


def one_storm(server, **options):
    """The report, with CPU microseconds of the server for each connection."""
    before = cpu_ns(server)
    done = subprocess.run(argv_of(server, **options), stdout=subprocess.PIPE, text=True, check=False)
    report = json.loads(done.stdout)
    if report["failed"]:
        raise SystemExit(f"{report['failed']} connections failed: {report}")
    report["cpu_us"] = (cpu_ns(server) - before) / 1000 / report["count"]
    time.sleep(0.3)  # until the server has seen them all go
    return report


def in_turns(running, what, **options):
    """{name: reports of all rounds}"""
    reports = {name: [] for name in running}
    for turn in range(ROUNDS):
        for name, server in running.items():
            say(f"round {turn + 1} of {ROUNDS}: {what}, {name}")
            reports[name].append(one_storm(server, **options))
    return reports


def middle(reports, figure):
    values = sorted(report[figure] for report in reports)
    return values[len(values) // 2]


def at_once(running):
    print(f"\n## {MANY:,} connections at once, each sends PING: the middle of the rounds, CPU the best\n")
    plain = in_turns(running, "at once", connections=MANY)
    probed = in_turns(running, "at once, with 50 at work", connections=MANY, probes=50, quiet=0.5)
    table(("server", "CPU µs/connection", "the last is answered after", "p99 of all", "50 at work: p99 before",
                 "meanwhile"),
                [(name, f"{min(report['cpu_us'] for report in plain[name]):.1f}",
                  f"{1000 * middle(plain[name], 'seconds'):.0f} ms", f"{middle(plain[name], 'p99_us') / 1000:.1f} ms",
                  f"{middle(probed[name], 'quiet_p99_us') / 1000:.2f} ms",
                  f"{middle(probed[name], 'probe_p99_us') / 1000:.2f} ms") for name in running])


def churn(running):
    print("\n## Coming and going: connect, GET, close, 50 at a time\n")
    reports = in_turns(running, "churn", mode="churn", connections=50)
    table(("server", "CPU µs/connection", "connections/s", "p50", "p99"),
                [(name, f"{min(report['cpu_us'] for report in reports[name]):.1f}",
                  f"{max(report['count'] / report['seconds'] for report in reports[name]):,.0f}",
                  f"{middle(reports[name], 'p50_us') / 1000:.2f} ms", f"{middle(reports[name], 'p99_us') / 1000:.2f} ms")
                 for name in running])


def few_active(running):
    print(f"\n## 50 connections at work, alone and beside {MANY:,} that are idle: 20,000 GET/s\n")
    options = {"mode": "get", "rate": 20000, "connections": 50, "keys": 1000}
    rows = []
    for name, server in running.items():
        say(f"few active, {name}")
        alone = one_round(server, **options)
        holder = subprocess.Popen(argv_of(server, connections=MANY, hold="yes"), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        holder.stdout.readline()
        beside = one_round(server, **options)
        holder.communicate()
        rows.append((name, *(f"{report['cpu_us']:.2f} µs, p99 {report['p99_us']:.0f} µs" for report in (alone, beside))))
    table(("server", "alone", "beside the idle ones"), rows)


def burst(running):
    print(f"\n## Memory of {MANY:,} connections: each sends a SET of {BURST_BYTES // 1000} KB, in two halves\n")
    request = b"*3\r\n$3\r\nSET\r\n$5\r\nlarge\r\n$%d\r\n%s\r\n" % (BURST_BYTES, b"x" * BURST_BYTES)
    half, rows = len(request) // 2, []
    for name, server in running.items():
        say(f"burst, {name}")
        empty = resident_bytes(server)
        clients = [socket.create_connection(("127.0.0.1", server.port), 60, (f"127.0.0.{2 + number % 50}", 0))
                   for number in range(MANY)]
        for client in clients:
            client.sendall(b"*1\r\n$4\r\nPING\r\n")
        for client in clients:
            client.recv(100)
        idle = peak = resident_bytes(server)
        for part in (request[:half], request[half:]):
            for client in clients:
                client.sendall(part)
            time.sleep(0.2)
            peak = max(resident_bytes(server), peak)
        for client in clients:
            client.recv(100)
        time.sleep(5)
        after = resident_bytes(server)
        rows.append((name, f"{(idle - empty) / MANY:.0f} B", f"{(peak - empty) / MANY / 1000:.0f} kB",
                     f"{(after - empty) / MANY:.0f} B"))
        for client in clients:
            client.close()
    table(("server", "a connection idle", "at the peak", "5 s after"), rows)


def storm(session):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    redis = Redis(session, settings=["--maxclients", "25000", "--protected-mode", "no"]).start()
    running = {"redis": redis, "sidecar": start_sidecar(session, redis)}
    fill(redis, 1000)
    warm(running["sidecar"], 1000)
    for server in running.values():
        pin(server, SERVER_CORE)
    for part in (burst, at_once, churn, few_active):
        part(running)
    for server in running.values():
        server.end()
