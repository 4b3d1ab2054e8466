"""How servers are compared: many short rounds in turns, and what is told of them.

This machine is not alone on its hardware, so one long run of each says little. The servers take
turns of half a second; told are the first quartile of the CPU time a request (the rounds that
nobody else disturbed, without trusting the single best), and the median over the rounds of
throughput and of each percentile of the latencies. The spread is what the middle half of the
rounds covers, in percent of their median.
"""

import json
import os
import statistics
import subprocess
import sys

from figures import table
from servers import LOAD_CORE, ROOT

LOAD = os.path.join(ROOT, "build", "bench", "load")
ROUNDS = int(os.environ.get("SIDECAR_BENCH_ROUNDS") or 8)
SECONDS = float(os.environ.get("SIDECAR_BENCH_SECONDS") or 0.5)
KEYS = 100_000


def say(text):
    print(text, file=sys.stderr, flush=True)


def load(port, check=True, core=LOAD_CORE, **options):
    """One run of the load generator; its report."""
    argv = ["taskset", "-c", str(core), LOAD, str(port), *(f"{name}={value}" for name, value in options.items())]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"{' '.join(argv)}: no report, status {done.returncode}")
    report = json.loads(done.stdout)
    if check and (report["wrong"] or report["errors"] or done.returncode or not report["requests"]):
        raise SystemExit(f"{' '.join(argv)}: wrong answers: {report}")
    return report


def fill(server, keys=KEYS, **options):
    load(server.port, mode="fill", keys=keys, connections=10, pipeline=depth(options), **options)


def warm(sidecar, keys=KEYS, **options):
    """Each key once, from redis, until memory has them all."""
    load(sidecar.port, **{"mode": "warm", "keys": keys, "connections": 10, "pipeline": depth(options), **options})


def depth(options):
    return 200 if options.get("value", 128) <= 1024 else 20


def one_round(server, seconds=SECONDS, **options):
    """A report with the server's CPU microseconds for each request."""
    report = load(server.port, seconds=seconds, pid=server.pid, **options)
    report["rate"] = report["requests"] / report["seconds"]
    return report


def in_turns(running, shapes, rounds=None, measure=one_round, **common):
    """{(shape, server): reports of all rounds}; a server is asked what it says that it can do."""
    reports, rounds = {}, rounds or ROUNDS
    for turn in range(rounds):
        say(f"round {turn + 1} of {rounds}: {', '.join(shape for shape, _ in shapes)}; {', '.join(running)}")
        for shape, options in shapes:
            for name, server in running.items():
                if options.get("mode", "get") in getattr(server, "modes", ("get", "mget", "set", "profile")):
                    more = getattr(server, "options", {})
                    reports.setdefault((shape, name), []).append(measure(server, **common, **options, **more))
    return reports


def quartile(rounds, what):
    """The first: a quarter of the rounds was quicker."""
    return sorted(report[what] for report in rounds)[len(rounds) // 4]


def median(rounds, what):
    return statistics.median(report[what] for report in rounds)


def spread(rounds, what):
    """What the middle half of the rounds covers, in percent."""
    values = sorted(report[what] for report in rounds)
    share = len(values) // 4
    return 100 * (values[-1 - share] - values[share]) / statistics.median(values)


def compare(reports, shapes, names, base="redis"):
    rows = []
    for shape, _ in shapes:
        base_cpu = quartile(reports[shape, base], "cpu_us")
        for name in names:
            rounds = reports.get((shape, name))
            if not rounds:
                continue
            cpu = quartile(rounds, "cpu_us")
            rows.append((shape, name, f"{cpu:.2f}", f"{base_cpu / cpu:.2f}x", f"{median(rounds, 'rate'):,.0f}",
                         *(f"{median(rounds, what):,.0f}" if what in rounds[0] else ""
                           for what in ("p50_us", "p99_us", "p999_us")),
                         f"{spread(rounds, 'cpu_us'):.0f} %", f"{spread(rounds, 'p99_us'):.0f} %"))
    table(("what", "server", "CPU µs/request", f"{base} = 1", "requests/s", "p50 µs", "p99 µs", "p99.9 µs",
           "spread of CPU", "of p99"), rows)
