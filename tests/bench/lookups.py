"""The database path: Redis down, Postgres 10 ms away, many who ask at once, and one who asks alone."""

import json
import subprocess

import faults
from backends import PgBouncer, Plans, Postgres
from figures import table
from rounds import LOAD, load, say
from servers import LOAD_CORE, SERVER_CORE, pin, start_sidecar

USERS = 300_000
CROWD = 1000  # connections, each with one lookup under way
BATCHES = (1, 2, 5, 10, 50, 100, 500)
AWAY_SECONDS = 0.010
SECONDS = 2.0

MAP = {"key": "profile:{id:int}", "query": Plans.QUERY_WITHOUT_END, "free": Plans.FREE, "limit": "no"}


class NoRedis:
    port = faults.closed_port()


def lookups(session):
    print(f"\n## Lookups: Redis down, Postgres {1000 * AWAY_SECONDS:.0f} ms away by two connections, "
          f"{CROWD:,} connections that each wait for a row, and one more beside them\n")
    postgres = Postgres(session)
    rows = []
    try:
        postgres.create().start()
        Plans(postgres).create().fill(1, USERS)
        away = faults.Proxy(PgBouncer(session, postgres).start().port)
        away.delay = AWAY_SECONDS
        away.start()
        for max_batch in BATCHES:
            say(f"max_batch = {max_batch}")
            rows.append(crowd(session, postgres.url_for(away.port), max_batch))
    finally:
        postgres.end()
    table(("max_batch", "lookups/s", "", "queries/s", "ids a query", "of the many: p50 ms", "p99 ms",
           "who asks alone: p50 ms", "p99 ms"),
          [(row["max_batch"], f"{row['rate']:,.0f}", f"{row['rate'] / rows[0]['rate']:.0f}x", *row["told"])
           for row in rows])


def crowd(session, url, max_batch):
    """Nothing is kept in memory, so that each read is a lookup."""
    sidecar = start_sidecar(session, NoRedis, maps={"profile": MAP}, cache={"keys": "!*"}, ladder={"deadline": "60s"},
                            postgres={"url": url, "budget": "50s", "max_batch": max_batch})
    pin(sidecar, SERVER_CORE)
    options = {"mode": "profile", "keys": USERS}
    load(sidecar.port, connections=20, seconds=0.2, check=False, **options)  # until the breaker of Redis is open
    before = sidecar.metrics()
    alone = subprocess.Popen(["taskset", "-c", str(LOAD_CORE), LOAD, str(sidecar.port), "connections=1", "seed=77",
                              f"seconds={SECONDS}", *(f"{name}={value}" for name, value in options.items())],
                             stdout=subprocess.PIPE, text=True)
    many = load(sidecar.port, connections=CROWD, seconds=SECONDS, **options)
    one = json.loads(alone.communicate()[0])
    after = sidecar.metrics()
    sidecar.end()
    queries, ids = (after.sum(f"sidecar_postgres_batch_ids_{what}") - before.sum(f"sidecar_postgres_batch_ids_{what}")
                    for what in ("count", "sum"))
    return {"max_batch": max_batch, "rate": many["requests"] / many["seconds"],
            "told": (f"{queries / many['seconds']:,.0f}", f"{ids / queries:.0f}",
                     f"{many['p50_us'] / 1000:.0f}", f"{many['p99_us'] / 1000:.0f}",
                     f"{one['p50_us'] / 1000:.0f}", f"{one['p99_us'] / 1000:.0f}")}
