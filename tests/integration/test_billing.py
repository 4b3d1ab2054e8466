"""Upstash bills each command: what reaches Redis is counted truly, and a trace costs what it must.

Redis's own count (refused commands included) is compared with sidecar_backend_commands_total
after every step, and both with what the step is to cost: a miss one, a write one, a hit nothing.
"""

import time

import pytest

import faults
from processes import eventually

USER, PASSWORD = "app", "token-of-the-app"
WITH_END, WITHOUT_END = "QUERY", "QUERY_WITHOUT_END"

# (words, what it costs, what it costs more where the map's query gives a valid_until). In this
# order, on one connection, where Redis has SET a 1, HSET h f 1 and plan:1 and 2 only.
TRACE = [
    ("GET a", 1, 0), ("GET a", 0, 0), ("GET a", 0, 0),
    ("GET none", 1, 0), ("GET none", 0, 0),
    ("STRLEN a", 1, 0), ("STRLEN a", 0, 0),
    ("HGETALL h", 1, 0), ("HGETALL h", 0, 0), ("HSET h f 2", 1, 0), ("HGETALL h", 1, 0),
    ("GET plan:1", 1, 1), ("GET plan:1", 0, 0), ("GET plan:1", 0, 0),
    ("MGET plan:1 plan:2 a", 1, 1), ("MGET plan:1 plan:2 a", 0, 0),
    ("MGET a b none c", 1, 0),  # one command, for b and c
    ("SET a 2", 1, 0), ("GET a", 1, 0), ("GET a", 0, 0),
    ("INCR n", 1, 0), ("GET n", 1, 0), ("INCR n", 1, 0), ("GET n", 1, 0), ("GET n", 0, 0),
    ("MSET b 1 c 2", 1, 0), ("MGET a b c", 1, 0), ("MGET a b c", 0, 0),
    ("DEL b c", 1, 0), ("GET b", 1, 0),
    ("SET brief 1 PX 2000", 1, 0), ("GET brief", 1, 0), ("wait", 0, 0), ("GET brief", 1, 0),
    ("GET a b", 1, 0),  # an error is Redis's own
    ("PING", 0, 0), ("CLIENT ID", 0, 0), ("CLIENT LIST", 0, 0), ("SELECT 0", 0, 0),
    ("HELLO 2", 0, 0), ("SIDECAR STATUS", 0, 0), ("SIDECAR GET a", 0, 0),
    ("INFO server", 1, 0), ("TTL a", 1, 0), ("EVAL return(1) 0", 1, 0),
]
# A connection of its own says HELLO when it is made, and is used again.
SESSIONS = [
    ("MULTI|GET a|EXEC", 4, 0), ("MULTI|SET a 3|GET a|EXEC", 4, 0), ("GET a", 1, 0),
    ("BLPOP q 0.05", 1, 0), ("SUBSCRIBE news|UNSUBSCRIBE news", 2, 0),
]
# Not in Redis: the answer comes from Postgres, and is written to Redis for all.
FILLS = [("GET plan:3", 2, 1), ("MGET plan:1 plan:4 plan:5", 3, 2), ("MGET plan:3 plan:4", 0, 0),
         ("SET plan:3 mine", 1, 0), ("GET plan:3", 1, 1), ("GET plan:3", 0, 0)]


class Bill:
    """What Redis has counted since the start, without the questions of this test."""

    def __init__(self, redis):
        self.asker = redis.client()
        self.asked = 0
        self.before = self.read()

    def read(self):
        seen = {}
        for line in self.asker.call("INFO", "commandstats").decode().splitlines():
            if line.startswith("cmdstat_"):
                name, _, rest = line[len("cmdstat_"):].partition(":")
                numbers = dict(one.split("=") for one in rest.split(","))
                seen[name] = int(numbers["calls"]) + int(numbers["rejected_calls"])
        seen["info"] = seen.get("info", 0) - self.asked
        self.asked += 1
        return seen

    def items(self):
        return {name: count - self.before.get(name, 0) for name, count in self.read().items()
                if count > self.before.get(name, 0)}

    @property
    def total(self):
        return sum(self.items().values())


def run(trace, has_end, sidecar, bill):
    """Each step, and what both sides count after it."""
    client = sidecar.client(timeout=10)
    for step, cost, cost_of_end in trace:
        before = bill.total
        for words in step.split("|"):
            if words == "wait":
                time.sleep(2.05)
            else:
                client.call(*words.split())
        due = before + cost + (cost_of_end if has_end else 0)
        eventually(lambda: bill.total >= due, what=f"the cost of {step}")
        assert bill.total == due, f"{step}: {bill.items()}"
        assert sidecar.metric("sidecar_backend_commands_total", backend="redis") == due, step
    client.close()


def settle(sidecar, bill):
    """Until what is sent at the start, or later by itself, has been sent."""
    last = []

    def is_quiet():
        last.append(bill.total)
        return len(last) > 5 and len(set(last[-5:])) == 1
    eventually(is_quiet, every=0.05)
    assert sidecar.metric("sidecar_backend_commands_total", backend="redis") == bill.total


def fill(redis, plans):
    redis.call("MSET", "a", "1", "plan:1", plans.text(1), "plan:2", plans.text(2))
    redis.call("HSET", "h", "f", "1")


def start(redis, plans, query, pgbouncer, start_sidecar, coherence):
    return start_sidecar(
        redis={"url": redis.url, "connections": 1}, postgres={"url": pgbouncer.url},
        server={"threads": 1},
        cache={"coherence": coherence},
        maps={"plan": {"key": "plan:{id:int}", "query": getattr(plans, query), "free": plans.FREE}})


@pytest.mark.parametrize("query", [WITH_END, WITHOUT_END])
def test_where_commands_are_billed_only_misses_and_writes_cost(
        query, start_redis, pgbouncer, plans, start_sidecar):
    """A Redis that forbids CLIENT, as Upstash does not have CLIENT TRACKING."""
    redis = start_redis(password=PASSWORD, user=USER)
    fill(redis, plans)
    redis.call("ACL", "SETUSER", USER, "-client")
    bill = Bill(redis)
    sidecar = start(redis, plans, query, pgbouncer, start_sidecar, "ttl")
    settle(sidecar, bill)
    assert bill.items() == {"hello": 1, "info": 1}, "the prober's"
    sidecar.get("x")
    settle(sidecar, bill)
    assert bill.items() == {"hello": 2, "info": 1, "get": 1}, "a link is opened when it is needed"
    run(TRACE + SESSIONS + FILLS, query == WITH_END, sidecar, bill)
    settle(sidecar, bill)


def test_tracking_costs_its_connection_and_a_read_of_what_was_filled(
        redis, pgbouncer, plans, start_sidecar):
    fill(redis, plans)
    bill = Bill(redis)
    sidecar = start(redis, plans, WITHOUT_END, pgbouncer, start_sidecar, "tracking")
    settle(sidecar, bill)
    assert bill.items() == {"hello": 2, "info": 1, "client|tracking": 1}
    sidecar.get("x")
    settle(sidecar, bill)
    run(TRACE + SESSIONS, False, sidecar, bill)
    settle(sidecar, bill)
    before = bill.items()
    assert sidecar.client().call("MGET", "plan:3", "plan:4") == [plans.bytes(3), plans.bytes(4)]
    # Redis tells of what was filled as of any write: were they ours? One MGET for those of a second.
    eventually(lambda: bill.items()["mget"] == before["mget"] + 2)
    settle(sidecar, bill)
    assert bill.total == sum(before.values()) + 4, "MGET, two SETs, MGET"


def test_a_warm_up_costs_a_command_a_batch_and_one_for_each_that_redis_has_not(
        redis, pgbouncer, plans, start_sidecar):
    cost = {"mget": 3}  # of one id, of 256, of the rest
    for has_redis, fills in ((False, {"set": 300}), (True, {})):
        bill = Bill(redis)
        sidecar = start_sidecar(
            redis={"url": redis.url}, postgres={"url": pgbouncer.url}, cache={"coherence": "ttl"},
            warm={"query": "SELECT acct FROM billing.plans ORDER BY acct", "map": "plan", "limit": 300},
            maps={"plan": {"key": "plan:{id:int}", "query": plans.QUERY_WITHOUT_END, "free": plans.FREE}})
        eventually(lambda: sidecar.status().get("warm") == "300/300")
        settle(sidecar, bill)
        assert bill.items() == {"hello": 2, "info": 1, **cost, **fills}
        sidecar.terminate()


@pytest.mark.parametrize("fields, hsets", [(3, 1), (500, 1), (501, 2)])
def test_a_script_is_one_command_here_and_redis_counts_what_is_in_it_too(
        fields, hsets, redis, pgbouncer, plans, start_sidecar):
    """Also our own, by which the row of a map of hashes is stored."""
    columns = ", ".join(f"{number} AS f{number}" for number in range(fields))
    bill = Bill(redis)
    sidecar = start_sidecar(
        redis={"url": redis.url, "connections": 1}, postgres={"url": pgbouncer.url},
        server={"threads": 1}, cache={"coherence": "ttl"},
        maps={"card": {"key": "card:{id:int}", "type": "hash", "free": "{}",
                       "query": f"SELECT acct, {columns} FROM billing.plans "
                                "WHERE acct = ANY($1::bigint[])"}})
    sidecar.get("x")
    settle(sidecar, bill)
    before = bill.items()
    assert len(sidecar.call("HGETALL", "card:3")) == 2 * fields
    due = {**before, "hgetall": 1, "eval": 1, "exists": 1, "hset": hsets, "pexpireat": 1}
    eventually(lambda: bill.items() == due, what=f"{due}")
    assert (sidecar.metric("sidecar_backend_commands_total", backend="redis") ==
            sum(before.values()) + 2), "HGETALL and EVAL"
    assert redis.call("HLEN", "card:3") == fields and redis.call("PTTL", "card:3") > 0


def test_what_was_never_sent_is_not_counted(pgbouncer, start_sidecar):
    sidecar = start_sidecar(redis={"url": f"redis://127.0.0.1:{faults.closed_port()}"},
                            postgres={"url": pgbouncer.url})
    client = sidecar.client()
    for words in (("GET", "x"), ("SET", "x", "1"), ("GET", "plan:1"), ("MULTI",)):
        client.call(*words)
    assert sidecar.metric("sidecar_backend_commands_total", backend="redis") == 0
