#!/usr/bin/python3
"""The rollout of a growing product: 10k, 50k, 100k, 200k and 300k users, each phase with more clients.

    rollout.py [PHASE...]           of 1 to 5

Mapped keys, Zipf 0.99 over the users of the phase, 50,000 entries in memory, redis-server and
Postgres (through PgBouncer) behind; a closed loop as fast as it goes, then an open loop at a
fixed rate, whose latencies are told. Stops at a phase that breaks a promise. Every answer is
compared with the row.
"""

import os
import sys

import servers
from figures import table
from rounds import load, say

sys.path.insert(0, os.path.join(servers.HERE, "..", "integration"))
from backends import PgBouncer, Plans, Postgres  # noqa: E402
from processes import Session  # noqa: E402

SECONDS = float(os.environ.get("SIDECAR_LOAD_SECONDS") or 10)
RATE = int(os.environ.get("SIDECAR_LOAD_RATE") or 20_000)
ENTRIES = 50_000
PHASES = [(10_000, 1_000), (50_000, 2_000), (100_000, 5_000), (200_000, 10_000), (300_000, 10_000)]

# What was promised: no more than so many milliseconds, errors in percent; and at least so many percent of
# the answers from memory or Redis.
PROMISE = {"mean": 45, "p95": 120, "p99": 250, "errors": 0.05}
PROMISED_HITS = 95
RUNGS = ("memory", "redis", "postgres")

MAP = {"key": "profile:{id:int}", "query": Plans.QUERY_WITHOUT_END, "free": Plans.FREE}


def phase(sidecar, number, users, clients):
    say(f"phase {number} of {len(PHASES)}: {users:,} users, {clients:,} clients")
    load(sidecar.port, check=False, mode="profile", keys=users, zipf=0.99, connections=200, seconds=SECONDS)
    before = counts(sidecar)
    report = load(sidecar.port, check=False, mode="profile", keys=users, zipf=0.99, connections=clients, rate=RATE,
                  seconds=SECONDS, seed=number)
    after = counts(sidecar)
    spent = {name: after[name] - before[name] for name in after}
    failed = 100 * (report["errors"] + report["wrong"]) / max(1, report["requests"])
    told = {"mean": report["mean_us"] / 1000, "p95": report["p95_us"] / 1000, "p99": report["p99_us"] / 1000,
            "errors": failed}
    answers = max(1, spent["answers"])
    told["hits"] = 100 * (spent["memory"] + spent["redis"]) / answers
    row = (f"{users:,}", f"{clients:,}", f"{report['requests'] / report['seconds']:,.0f}",
           *(f"{100 * spent[rung] / answers:.1f}" for rung in RUNGS), *(f"{told[name]:.2f}" for name in PROMISE),
           f"{spent['to redis']:,.0f}", f"{spent['queries']:,.0f}")
    say("  " + ", ".join(f"{name} {value:.2f}" for name, value in told.items()))
    broken = [name for name in PROMISE if told[name] > PROMISE[name]]
    return row, broken + (["hits"] if told["hits"] < PROMISED_HITS else [])


def counts(sidecar):
    metrics = sidecar.metrics()
    return {"answers": metrics.sum("sidecar_answers_total"),
            "to redis": metrics.sum("sidecar_backend_commands_total", backend="redis"),
            "queries": metrics.sum("sidecar_backend_commands_total", backend="postgres"),
            **{rung: metrics.sum("sidecar_answers_total", rung=rung) for rung in RUNGS}}


def main(chosen):
    session = Session()
    rows, broken = [], []
    try:
        postgres = Postgres(session)
        postgres.create().start()
        Plans(postgres).create().fill(1, max(users for users, _ in PHASES))
        pgbouncer = PgBouncer(session, postgres).start()
        redis = servers.start_redis(session)
        sidecar = servers.start_sidecar(
            session, redis, threads=0, maps={"profile": MAP}, cache={"max_entries": ENTRIES, "ttl": "30s"},
            postgres={"url": pgbouncer.url})
        for number, (users, clients) in enumerate(PHASES, 1):
            if chosen and str(number) not in chosen:
                continue
            row, broken = phase(sidecar, number, users, clients)
            rows.append(row)
            if broken:
                break
        postgres.end()
    finally:
        rows.append(("promise", "10,000", "", f"both > {PROMISED_HITS}", "", "",
                     *(f"< {limit}" for limit in PROMISE.values()), "", ""))
        table(("users", "clients", "requests/s", "memory %", "redis %", "postgres %", "mean ms", "p95 ms", "p99 ms",
               "errors %", "commands to redis", "queries"), rows)
        session.close()
    if broken:
        raise SystemExit(f"stopped: {', '.join(broken)} broke the promise")


if __name__ == "__main__":
    main(sys.argv[1:])
