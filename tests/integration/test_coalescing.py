"""Many misses share few queries, and one key is asked for once."""

import pytest

import resp
from processes import eventually

CLIENTS = 200
IDS = 10_000
# As far as a database in another building is away: 10 ms.
DISTANCE = 0.010
THREADS = 2


def ask_at_once(sidecar, asked):
    """All of it is there before the sidecar looks, however slowly it is sent."""
    sidecar.stop()
    for connection, number in asked:
        connection.send("GET", f"plan:{number}")
    sidecar.cont()


@pytest.fixture
def run(redis, pgbouncer, plans, proxy_for, start_sidecar):
    """run(max_batch=..., ids=...) -> (queries by the metric, ids by the metric,
    queries by PgBouncer's own count), with Redis down."""
    plans.fill(1, IDS)
    redis.kill9()
    proxy = proxy_for(pgbouncer)
    proxy.delay = DISTANCE

    def run(ids=IDS, **postgres):
        sidecar = start_sidecar(
            redis={"url": redis.url}, ladder={"deadline": "20s"},
            postgres={"url": pgbouncer.postgres.url_for(proxy.port), "budget": "10s", **postgres})
        before = pgbouncer.queries()
        connections = [sidecar.client(timeout=20) for _ in range(CLIENTS)]
        numbers = iter(range(1, ids + 1))
        for _ in range(ids // CLIENTS):
            asked = [(connection, next(numbers)) for connection in connections]
            ask_at_once(sidecar, asked)
            for connection, number in asked:
                assert connection.read() == plans.bytes(number)
        metrics = sidecar.metrics()
        return (metrics.sum("sidecar_postgres_batch_ids_count"),
                metrics.sum("sidecar_postgres_batch_ids_sum"),
                pgbouncer.queries() - before)

    return run


def test_10000_ids_from_200_connections_take_few_queries(run):
    queries, ids, seen_by_pgbouncer = run()
    single_queries, single_ids, single_seen = run(ids=1000, max_batch=1)
    print(f"{ids:.0f} ids: {queries:.0f} queries; one a key: {single_ids:.0f} ids in "
          f"{single_queries:.0f} queries")
    assert ids == IDS and single_ids == 1000
    assert single_queries == 1000, "max_batch = 1 is one query a key"
    # 50 rounds of 200 ids over 2 connections; twice that leaves room for late ones.
    assert queries <= IDS / 50
    # The metric tells the truth: PgBouncer counts the same, and its pings.
    assert queries <= seen_by_pgbouncer <= queries + 20
    assert 1000 <= single_seen <= 1020


def test_no_query_has_more_ids_than_max_batch(run):
    queries, ids, _ = run(ids=2000, max_batch=16)
    assert ids == 2000
    assert queries >= 2000 / 16


@pytest.mark.parametrize("redis_is", ["up", "down"])
def test_one_key_asked_by_200_at_once_is_one_query(
        redis_is, redis, pgbouncer, plans, proxy_for, start_sidecar):
    if redis_is == "down":
        redis.kill9()
    proxy = proxy_for(pgbouncer)
    proxy.delay = 0.03
    sidecar = start_sidecar(
        redis={"url": redis.url}, server={"threads": 1}, cache={"coherence": "ttl"},
        postgres={"url": pgbouncer.postgres.url_for(proxy.port)})
    connections = [sidecar.client() for _ in range(CLIENTS)]
    for connection in connections:
        connection.send("GET", "plan:20")
    assert [connection.read() for connection in connections] == [plans.bytes(20)] * CLIENTS
    assert sidecar.metric("sidecar_postgres_batch_ids_sum") == 1
    if redis_is == "up":
        assert redis.commands_seen().get("get", 0) == 1


def test_threads_share_the_queries_too(redis, pgbouncer, plans, proxy_for, start_sidecar):
    """Two workers, one pool: misses of both leave in the same batches."""
    redis.kill9()
    proxy = proxy_for(pgbouncer)
    proxy.delay = 0.02
    sidecar = start_sidecar(redis={"url": redis.url}, server={"threads": THREADS},
                            postgres={"url": pgbouncer.postgres.url_for(proxy.port)})
    connections = [sidecar.client() for _ in range(40)]
    numbered = list(zip(connections, range(1, 41)))
    ask_at_once(sidecar, numbered)
    for connection, number in numbered:
        assert connection.read() == plans.bytes(number)
    assert sidecar.metric("sidecar_postgres_batch_ids_count") <= 6


def test_more_waiting_ids_than_max_waiting_get_the_free_value_at_once(
        redis, pgbouncer, plans, proxy_for, start_sidecar):
    redis.kill9()
    proxy = proxy_for(pgbouncer)
    sidecar = start_sidecar(
        redis={"url": redis.url}, ladder={"deadline": "10s"}, server={"threads": 1},
        postgres={"url": pgbouncer.postgres.url_for(proxy.port), "budget": "10s",
                  "pool": 2, "max_waiting": 50, "max_batch": 10})
    connections = [sidecar.client(timeout=15) for _ in range(200)]
    # No query ends before all have been read: however slow the machine, the queue is full.
    proxy.stall()
    for number, connection in enumerate(connections, 1):
        connection.send("GET", f"plan:{number}")
    eventually(lambda: sidecar.metric("sidecar_answers_total", rung="free") >= 130, 5,
               what="those that do not fit are answered while the others wait")
    proxy.resume()
    replies = [connection.read() for connection in connections]
    true = [reply for number, reply in enumerate(replies, 1) if reply == plans.bytes(number)]
    free = [reply for reply in replies if reply == plans.FREE.encode()]
    assert len(true) + len(free) == 200
    assert 50 <= len(true) <= 70, "those that fit in the queue and in the queries under way"


def test_the_pool_has_no_more_connections_than_it_may(redis, pgbouncer, plans, start_sidecar):
    redis.kill9()
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url, "pool": 2})
    client = sidecar.client()
    client.pipeline([("GET", f"plan:{number}") for number in range(1, 401)])
    assert 1 <= len(pgbouncer.clients()) <= 2
    assert 1 <= sidecar.metric("sidecar_postgres_pool_size") <= 2
    eventually(lambda: sidecar.metric("sidecar_postgres_pool_in_use") == 0)


def test_a_redis_that_is_up_is_asked_once_for_a_key_that_many_want(
        redis, pgbouncer, plans, start_sidecar):
    # News of the key, and where tracking begins, have what was asked before asked again.
    redis.call("SET", "plan:20", plans.text(20))
    sidecar = start_sidecar(redis={"url": redis.url}, server={"threads": THREADS},
                            postgres={"url": pgbouncer.url})
    eventually(lambda: sidecar.status()["coherence"] == "tracking", 10, what="tracking")
    connections = [sidecar.client() for _ in range(50)]
    for connection in connections:
        connection.send_raw(resp.encode("GET", "plan:20") * 20)
    for connection in connections:
        assert [connection.read() for _ in range(20)] == [plans.bytes(20)] * 20
    # One for each worker, and one more of whom the other's answer overtakes between looking
    # at memory and asking: what was asked before that answer came is no longer good enough.
    assert redis.commands_seen().get("get", 0) <= 2 * THREADS
