"""Warm-up: the busiest users are in memory before the instance is ready."""

import time

import pytest

from processes import eventually
from sidecar import slowness

BUSIEST = "SELECT acct FROM billing.plans ORDER BY acct"


@pytest.fixture
def warming(redis, pgbouncer, start_sidecar):
    def start(**options):
        warm = {"query": BUSIEST, "map": "plan", "limit": 300, **options.pop("warm", {})}
        return start_sidecar(redis={"url": redis.url, **options.pop("redis", {})}, warm=warm,
                             **{"postgres": {"url": pgbouncer.url}, **options})
    return start


def wait_ready(sidecar, seconds=10):
    eventually(lambda: sidecar.http("/readyz")[0] == 200, seconds, what="/readyz")


def test_after_ready_the_first_read_is_a_hit(warming, plans):
    sidecar = warming()
    wait_ready(sidecar)
    assert sidecar.metric("sidecar_cache_entries") == 300
    for number in (1, 150, 300):
        assert sidecar.rung(f"plan:{number}")[:2] == (plans.bytes(number), "memory")
    assert sidecar.rung("plan:301")[1] != "memory", "beyond the limit"
    status = sidecar.status()
    assert status["warm"] == "300/300" and status["warm_state"] == "done"
    assert sidecar.status_json()["warm"] == "300/300"
    assert sidecar.log_lines("warm-up 300/300 in ")
    # A load is no read: nobody has asked for anything.
    assert sidecar.metric("sidecar_requests_total", **{"class": "read"}) == 0


def test_reads_of_the_warm_up_count_as_nobody_s(warming):
    sidecar = warming(limits={"per_user": "2/min"})
    wait_ready(sidecar)
    metrics = sidecar.metrics()
    assert metrics.sum("sidecar_answers_total") == 0
    assert metrics.sum("sidecar_cache_hits_total") + metrics.sum("sidecar_cache_misses_total") == 0
    replies = sidecar.client().pipeline([("GET", "plan:1")] * 3)
    assert [isinstance(reply, bytes) for reply in replies] == [True, True, False]


def test_it_serves_while_it_warms_and_is_not_ready_yet(warming, pgbouncer, proxy_for, plans):
    proxy = proxy_for(pgbouncer)
    proxy.hold(b"ORDER BY acct")
    sidecar = warming(postgres={"url": pgbouncer.postgres.url_for(proxy.port)})
    proxy.wait_held()
    assert sidecar.call("PING") == "PONG"
    assert sidecar.http("/healthz")[0] == 200
    assert sidecar.http("/readyz") == (503, "warming up\n")
    assert sidecar.status()["warm_state"] in ("reading ids", "loading")
    proxy.release()
    wait_ready(sidecar)


def test_it_gives_up_when_postgres_is_down_and_is_ready(warming, pgbouncer):
    pgbouncer.kill9()
    sidecar = warming()
    wait_ready(sidecar, 15)
    assert sidecar.metric("sidecar_cache_entries") == 0
    assert sidecar.status()["warm_state"] == "waiting for postgres"
    assert sidecar.call("SIDECAR", "WARM").startswith("ERR warm-up: ")
    pgbouncer.start()
    eventually(lambda: sidecar.status()["warm"] == "300/300", 10, what="the warm-up by itself")
    assert sidecar.metric("sidecar_cache_entries") == 300


def test_a_postgres_that_hangs_keeps_it_from_ready_for_a_while_only(warming, pgbouncer):
    pgbouncer.stop()
    try:
        # The breaker takes longer: five attempts to connect are 25 s.
        start = time.monotonic()
        sidecar = warming(warm={"wait": "5s"})
        assert sidecar.http("/readyz")[0] == 503
        wait_ready(sidecar, 15)
        assert 5 <= time.monotonic() - start
        assert sidecar.log_lines("warm-up takes longer than [warm] wait, ready meanwhile")
    finally:
        pgbouncer.cont()
    eventually(lambda: sidecar.status()["warm"] == "300/300", 15, what="the warm-up, late")


def test_it_gives_up_when_the_query_is_wrong_and_says_so(warming):
    sidecar = warming(warm={"query": "SELECT nothing FROM nowhere"})
    wait_ready(sidecar, 15)
    assert sidecar.log_lines("warm-up given up", "nowhere")
    assert sidecar.status()["warm_state"] == "given up"
    reply = sidecar.call("SIDECAR", "WARM")
    assert reply.startswith("ERR warm-up: the query fails: ") and "nowhere" in reply
    assert sidecar.metric("sidecar_breaker_state", backend="postgres") == 0, "postgres is well"


def test_sidecar_warm_runs_it_again(warming, plans):
    sidecar = warming()
    wait_ready(sidecar)
    sidecar.call("SIDECAR", "FLUSH")
    plans.set(1, "plus", body="newer")
    assert sidecar.call("SIDECAR", "WARM") == 300
    assert sidecar.metric("sidecar_cache_entries") == 300


def test_sidecar_warm_for_many_at_once_and_for_who_has_gone(warming):
    sidecar = warming()
    wait_ready(sidecar)
    clients = [sidecar.client() for _ in range(5)]
    for client in clients:
        client.send("SIDECAR", "WARM")
    clients[0].close()
    assert [client.read() for client in clients[1:]] == [300] * 4
    replies = clients[1].pipeline([("PING",), ("SIDECAR", "WARM"), ("PING",)])
    assert replies == ["PONG", 300, "PONG"]


def test_without_a_query_there_is_nothing_to_run(start_sidecar):
    sidecar = start_sidecar()
    assert sidecar.http("/readyz")[0] == 200
    assert sidecar.status()["warm_state"] == "off"
    assert sidecar.call("SIDECAR", "WARM") == "ERR warm-up: none is configured ([warm] query)"
    assert sidecar.status()["warm_state"] == "off"


def test_nothing_is_evicted_for_it(warming):
    sidecar = warming(cache={"max_entries": 100})
    wait_ready(sidecar)
    assert sidecar.metric("sidecar_cache_entries") == 100
    assert sidecar.metric("sidecar_cache_evictions_total") == 0
    assert sidecar.rung("plan:1")[1] == "memory", "the busiest are in"
    assert sidecar.status()["warm"] == "100/300"
    assert sidecar.log_lines("memory is full")
    assert sidecar.call("SIDECAR", "WARM") == 100


def test_a_query_may_end_as_people_end_it(warming, plans):
    """With ';' and a comment; its order decides who is in."""
    sidecar = warming(warm={"query": "SELECT acct FROM billing.plans ORDER BY acct DESC "
                                     "-- the newest ;", "limit": 10})
    wait_ready(sidecar)
    assert sidecar.rung("plan:500")[1] == "memory"
    assert sidecar.metric("sidecar_cache_entries") == 10
    sidecar = warming(warm={"query": BUSIEST + " ; ", "limit": 10})
    wait_ready(sidecar)
    assert sidecar.rung("plan:10")[1] == "memory"


def test_hashes_and_ids_without_a_row(warming, redis, pgbouncer, plans):
    plans.execute("INSERT INTO billing.people VALUES "
                  "('00000000-0000-4000-8000-000000000001', 'ann', 'plus', 2, NULL)")
    sidecar = warming(
        warm={"query": "SELECT '00000000-0000-4000-8000-00000000000' || n "
                       "FROM generate_series(1, 3) n", "map": "person"},
        maps={"person": {"key": "person:{id:uuid}", "free": '{"tier":"free"}', "type": "hash",
                         "query": "SELECT person AS id, name, tier FROM billing.people "
                                  "WHERE person = ANY($1::uuid[])"}})
    wait_ready(sidecar)
    assert sidecar.status()["warm"] == "3/3"
    assert sidecar.rung("person:00000000-0000-4000-8000-000000000001")[1] == "memory"


def test_postgres_that_goes_in_the_middle(warming, pgbouncer, proxy_for):
    proxy = proxy_for(pgbouncer)
    sidecar = warming(postgres={"url": pgbouncer.postgres.url_for(proxy.port), "max_batch": 10},
                      redis={"ttl": "0"})
    wait_ready(sidecar)
    sidecar.call("SIDECAR", "FLUSH")
    proxy.delay = 0.3
    client = sidecar.client(timeout=20)
    client.send("SIDECAR", "WARM")
    eventually(lambda: sidecar.status()["warm_state"] == "loading", what="loading")
    sidecar.call("SIDECAR", "BREAKER", "postgres", "OPEN")
    sidecar.call("SIDECAR", "BREAKER", "redis", "OPEN")
    assert client.read().startswith("ERR warm-up: postgres went down")
    assert sidecar.http("/readyz")[0] == 200
    proxy.delay = 0
    sidecar.call("SIDECAR", "BREAKER", "redis", "AUTO")
    sidecar.call("SIDECAR", "BREAKER", "postgres", "AUTO")
    eventually(lambda: sidecar.status()["warm"] == "300/300", 15, what="the warm-up by itself")


def test_it_stops_in_the_middle(warming, pgbouncer, proxy_for):
    proxy = proxy_for(pgbouncer)
    sidecar = warming(postgres={"url": pgbouncer.postgres.url_for(proxy.port), "max_batch": 1},
                      redis={"ttl": "0"})
    wait_ready(sidecar)
    sidecar.call("SIDECAR", "FLUSH")
    proxy.delay = 0.05
    sidecar.client().send("SIDECAR", "WARM")
    eventually(lambda: sidecar.status()["warm_state"] == "loading", what="loading")
    sidecar.terminate()


def test_ten_thousand_users_in_a_fraction_of_a_second(warming, plans):
    plans.fill(1, 10000)
    sidecar = warming(warm={"limit": 10000})
    wait_ready(sidecar)
    assert sidecar.metric("sidecar_cache_entries") == 10000
    line, = sidecar.log_lines("warm-up 10,000/10,000 in ")
    took = int(line.split(" in ")[1].split(" ms")[0])
    print(f"10,000 users in {took} ms")
    assert took < 3000 * slowness(), "some 300 ms on a machine that has nothing else to do"


def test_warm_up_writes_no_old_value_over_a_newer_one(warming, redis, plans):
    """Redis may know better than the row that was read for the warm-up."""
    redis.call("SET", "plan:1", "of Redis")
    sidecar = warming()
    wait_ready(sidecar)
    assert redis.call("GET", "plan:1") == b"of Redis"
