"""How cost grows with the work: entries, values, connections, keys of an MGET, threads."""

import json
import os
import subprocess
import time

from figures import draw_curves, table
from rounds import KEYS, LOAD, SECONDS, fill, in_turns, median, one_round, quartile, say, warm
from servers import MAX_CONNECTIONS, resident_bytes, start_redis, start_sidecar

ROUNDS = int(os.environ.get("SIDECAR_BENCH_ROUNDS") or 4)
MOST_ENTRIES = int(os.environ.get("SIDECAR_BENCH_ENTRIES") or 10_000_000)

ENTRIES = [count for count in (10_000, 100_000, 1_000_000, 10_000_000) if count <= MOST_ENTRIES]
# Length, and how many keys have such a value.
VALUES = [(16, 10_000), (128, 10_000), (1024, 10_000), (16_384, 1000), (262_144, 100), (1_048_576, 50)]
CONNECTIONS = [1, 10, 100, 1000, 10_000, MAX_CONNECTIONS]
KEYS_A_MGET = [1, 10, 100, 1000, 10_000]


def work(session):
    draw(session, "work.svg", (by_value, by_connections, by_keys))


def entries(session):
    """Apart, as filling ten million takes a minute."""
    draw(session, "entries.svg", (by_entries,))


def draw(session, picture, curves):
    """Beside redis. What is proportional to the work stays so, what is not does not grow."""
    print("\n## Cost as work grows: CPU µs of the server a request\n")
    panels = []
    for curve in curves:
        started = time.monotonic()
        lines = {"sidecar": [], "redis": []}
        rows = []
        title, x, unit, head, points = curve(session)
        for size, reports, more in points:
            cost = {name: quartile(reports["", name], "cpu_us") for name in lines}
            for name, line in lines.items():
                line.append((size, cost[name]))
            rows.append((f"{size:,}", f"{cost['sidecar']:.2f}", f"{cost['redis']:.2f}",
                         f"{cost['redis'] / cost['sidecar']:.2f}x", more(cost["sidecar"], reports)))
        table((unit, "sidecar µs", "redis µs", "redis / sidecar", head), rows)
        say(f"{unit}: {time.monotonic() - started:.0f} s")
        panels.append({"title": title, "x": x, "y": "CPU µs a request", "lines": lines})
    draw_curves(picture, panels)


def grow(running, measure=one_round, **options):
    return in_turns(running, [("", options)], ROUNDS, measure)


def settled_round(server, connections, **options):
    """After those of the last round have been closed there, too: both would be more than may be open."""
    time.sleep(connections / 15_000)
    return one_round(server, connections=connections, **options)


def by_entries(session):
    def points():
        redis = start_redis(session)
        sidecar = start_sidecar(session, redis)
        empty, have = resident_bytes(sidecar), 0
        for count in ENTRIES:
            fill(redis, count, first=have)
            warm(sidecar, count, first=have)
            have, held = count, resident_bytes(sidecar) - empty
            yield (count, grow({"sidecar": sidecar, "redis": redis}, mode="get", keys=count, pipeline=16),
                   lambda cost, reports, count=count, held=held: f"{held / count:.0f} B")
        sidecar.end()
        redis.end()
    return "GET of 128 bytes, pipeline 16", "entries in memory", "entries", "resident an entry", points()


def by_value(session):
    def points():
        redis = start_redis(session)
        sidecar = start_sidecar(session, redis)
        for size, keys in VALUES:
            # Through the sidecar, so that it drops what it held of the last size.
            fill(sidecar, keys, value=size)
            warm(sidecar, keys, value=size)
            yield (size, grow({"sidecar": sidecar, "redis": redis}, mode="get", keys=keys, value=size, connections=20),
                   lambda cost, reports, size=size: f"{1000 * cost / size:.2f} ns")
        sidecar.end()
        redis.end()
    return "GET, pipeline 1", "bytes of a value", "bytes of a value", "sidecar, a byte", points()


def by_connections(session):
    def points():
        redis = start_redis(session)
        sidecar = start_sidecar(session, redis)
        fill(redis, 10_000)
        warm(sidecar, 10_000)
        for count in CONNECTIONS:
            yield (count, grow({"sidecar": sidecar, "redis": redis}, mode="get", keys=10_000, connections=count,
                               sources=8, measure=settled_round),
                   lambda cost, reports: f"{median(reports['', 'sidecar'], 'rate'):,.0f}")
        sidecar.end()
        redis.end()
    return "GET, pipeline 1, all connections busy", "connections", "connections", "sidecar, requests/s", points()


def by_keys(session):
    def points():
        redis = start_redis(session)
        sidecar = start_sidecar(session, redis)
        fill(redis)
        warm(sidecar)
        for count in KEYS_A_MGET:
            yield (count, grow({"sidecar": sidecar, "redis": redis}, mode="mget", mget=count,
                               connections=20 if count < 10_000 else 4),
                   lambda cost, reports, count=count: f"{1000 * cost / count:.0f} ns")
        sidecar.end()
        redis.end()
    return "MGET, values of 128 bytes", "keys of an MGET", "keys of an MGET", "sidecar, a key", points()


# Threads

THREADS_KEYS = 1_000_000


def threads(session):
    """The load shares both cores with the server. So that it is not the limit: MGETs of 1,000 of a million
    keys with values of 8 bytes, of whose answers one in 100 is compared, the others by their length. It takes some of
    the cores all the same: what a CPU second of the server answers tells whether threads hinder each other."""
    print(f"\n## Threads: MGET of 1,000 of {THREADS_KEYS:,} keys, values of 8 bytes, "
          "server and load on the same cores\n")
    running = {}
    for count in (1, 2):
        redis = start_redis(session)
        fill(redis, THREADS_KEYS, value=8)
        running[count] = start_sidecar(session, redis, threads=count)
        warm(running[count], THREADS_KEYS, value=8)
        redis.end()
    rounds = {count: [] for count in running}
    for _ in range(ROUNDS):
        for count, sidecar in running.items():
            rounds[count].append(thread_round(sidecar))
    told = {count: {what: median(reports, what) for what in ("rate", "cores", "cpu_us", "load_cores")}
            for count, reports in rounds.items()}
    rows = [(count, f"{each['rate']:,.0f}", f"{each['rate'] / told[1]['rate']:.2f}x", f"{each['cores']:.2f}",
             f"{each['load_cores']:.2f}", f"{each['cpu_us']:.0f}", f"{2 * told[1]['cpu_us'] / each['cpu_us']:.2f}x",
             rounds[count][-1]["shares"]) for count, each in told.items()]
    rows[0] = (*rows[0][:6], "", rows[0][7])
    table(("threads", "requests/s", "", "cores of the server", "of the load", "CPU µs/request", "two whole cores would give",
           "shares of the threads"), rows)
    for sidecar in running.values():
        sidecar.end()


def thread_round(sidecar):
    """Many connections; nobody is pinned. The generator is a batch process (sched(7)), so that it does
    not take a core from the server for each single answer that has come."""
    argv = [LOAD, str(sidecar.port), "mode=mget", "mget=1000", f"keys={THREADS_KEYS}", "value=8", "check=100",
            "connections=32", f"seconds={2 * SECONDS}"]
    before, load_before = thread_cpu(sidecar), os.times()
    report = json.loads(subprocess.check_output(["chrt", "--batch", "0", *argv]))
    after, load_after = thread_cpu(sidecar), os.times()
    assert not report["wrong"] and not report["errors"], report
    spent = sorted((after[thread] - before[thread] for thread in after), reverse=True)
    requests, seconds = report["requests"], report["seconds"]
    load_cpu = load_after.children_user + load_after.children_system \
        - load_before.children_user - load_before.children_system
    return {"rate": requests / seconds, "cores": sum(spent) / 1e9 / seconds, "cpu_us": sum(spent) / 1000 / requests,
            "load_cores": load_cpu / seconds,
            "shares": " ".join(f"{100 * each / sum(spent):.0f} %" for each in spent if each > sum(spent) / 100)}


def thread_cpu(process):
    """{thread: nanoseconds of CPU so far}"""
    spent = {}
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        with open(f"/proc/{process.pid}/task/{thread}/schedstat") as file:
            spent[thread] = int(file.read().split()[0])
    return spent
