"""Each metric moves when what it counts happens."""

import pytest

import faults
from processes import eventually

RUNGS = ("memory", "redis", "postgres", "stale", "free", "error")


def test_the_answers_and_times_of_every_rung(start_sidecar, redis, pgbouncer, plans):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache={"ttl": "300ms"})
    redis.call("SET", "plan:1", plans.text(1))
    sidecar.get("plan:1"), sidecar.get("plan:2")
    eventually(lambda: sidecar.get("plan:1") and sidecar.metric("sidecar_answers_total", rung="memory"),
               what="an answer of memory")
    redis.kill9()
    pgbouncer.kill9()
    sidecar.wait_backend("redis", False)
    sidecar.wait_backend("postgres", False)
    eventually(lambda: sidecar.rung("plan:1")[1] == "stale", what="an old copy")
    sidecar.get("plan:1"), sidecar.get("plan:400"), sidecar.get("unmapped")
    metrics = sidecar.metrics()
    for rung in RUNGS:
        assert metrics.sum("sidecar_answers_total", rung=rung) >= 1, rung
        assert metrics.sum("sidecar_request_seconds_count", rung=rung) >= 1, rung
        assert metrics.sum("sidecar_request_seconds_sum", rung=rung) > 0, rung


def test_what_is_sent_to_backends(sidecar, plans):
    before = sidecar.metrics()
    for number in range(10, 20):
        sidecar.get(f"plan:{number}")
    after = sidecar.metrics()
    for name in ("sidecar_backend_commands_total", "sidecar_backend_seconds_count"):
        for backend in ("redis", "postgres"):
            assert after.sum(name, backend=backend) - before.sum(name, backend=backend) >= 10
    for name in ("sidecar_postgres_batch_ids_count", "sidecar_postgres_batch_ids_sum"):
        assert after.sum(name) - before.sum(name) == 10
    assert after.sum("sidecar_postgres_pool_size") >= 1


def test_a_connection_is_in_use_while_its_query_runs(start_sidecar, pgbouncer, proxy_for, plans):
    proxy = proxy_for(pgbouncer)
    sidecar = start_sidecar(postgres={"url": pgbouncer.postgres.url_for(proxy.port), "budget": "20s"},
                            ladder={"deadline": "30s"})
    client = sidecar.client()
    proxy.stall()
    client.send("GET", "plan:1")
    eventually(lambda: sidecar.metric("sidecar_postgres_pool_in_use") >= 1)
    proxy.resume()
    assert client.read() == plans.text(1).encode()
    eventually(lambda: sidecar.metric("sidecar_postgres_pool_in_use") == 0)


def test_memory_fills_and_evicts(start_sidecar, redis):
    sidecar = start_sidecar(redis={"url": redis.url},
                            cache={"max_entries": 100, "coherence": "ttl"})
    before = sidecar.metrics()
    for number in range(300):
        redis.call("SET", f"k:{number}", "x" * 100)
        sidecar.get(f"k:{number}")
    after = sidecar.metrics()
    assert before.sum("sidecar_cache_entries") == 0 and after.sum("sidecar_cache_entries") == 100
    assert after.sum("sidecar_cache_bytes") > 100 * 100
    assert after.sum("sidecar_cache_evictions_total") == 200
    assert after.sum("sidecar_cache_misses_total") == 300
    sidecar.get("k:299")
    eventually(lambda: sidecar.metric("sidecar_cache_hits_total") == 1)


def test_invalidations_by_each_source(sidecar, redis):
    def moves(source, cause):
        sidecar.call("SET", "k", "1")
        sidecar.keep("k")
        before = sidecar.metric("sidecar_invalidations_total", source=source)
        cause()
        eventually(lambda: sidecar.metric("sidecar_invalidations_total", source=source) > before,
                   what=source)
    moves("write", lambda: sidecar.call("DEL", "k"))
    moves("redis", lambda: redis.call("SET", "k", "2"))
    moves("flush", lambda: sidecar.call("FLUSHALL"))


def test_the_journal_fills_and_empties(sidecar, redis):
    sidecar.wait_backend("redis", True)
    redis.kill9()
    sidecar.wait_backend("redis", False)
    for number in range(1, 6):
        assert sidecar.call("SET", f"plan:{number}", "x") == "OK"
    assert sidecar.metric("sidecar_journal_pending") == 5
    redis.start()
    sidecar.wait_backend("redis", True)
    eventually(lambda: sidecar.metric("sidecar_journal_pending") == 0)


def test_a_breaker_is_seen_open_half_open_and_closed(start_sidecar, redis, proxy_for):
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url}, maps={})

    def state():
        return sidecar.metric("sidecar_breaker_state", backend="redis")
    sidecar.wait_backend("redis", True)
    assert state() == 0
    proxy.cut()
    sidecar.wait_backend("redis", False)
    eventually(lambda: state() == 2)
    # A probe that is accepted and never answered is under way for a while.
    proxy.resume()
    proxy.stall()
    eventually(lambda: state() == 1, every=0.005, what="half-open")
    proxy.resume()
    eventually(lambda: state() == 0)
    assert sidecar.metric("sidecar_backend_up", backend="redis") == 1


def says(text):
    return lambda words: text


REDIS_FAILURES = {
    "connect": None,
    "lost": (faults.ClosesAfter, 1),
    "timeout": (faults.AcceptsAndNeverAnswers,),
    "protocol": (faults.AnswersGarbage,),
    "loading": (faults.ScriptedRedis, says(b"-LOADING Redis is loading\r\n")),
    "auth": (faults.ScriptedRedis, says(b"-WRONGPASS invalid\r\n")),
    "quota": (faults.ScriptedRedis, says(b"-ERR max requests limit exceeded\r\n")),
    "tls": (faults.AnswersGarbage,),
}


@pytest.mark.parametrize("kind", REDIS_FAILURES)
def test_failures_of_redis_are_counted_by_kind(kind, start_sidecar, fake):
    how = REDIS_FAILURES[kind]
    port = fake(*how).port if how else faults.closed_port()
    scheme = "rediss" if kind == "tls" else "redis"
    sidecar = start_sidecar(wait=False, maps={}, redis={"url": f"{scheme}://127.0.0.1:{port}"})
    eventually(sidecar._answers, 10)
    sidecar.call("GET", "k")
    eventually(lambda: sidecar.metric("sidecar_backend_errors_total", backend="redis", kind=kind),
               10, what=kind)


def test_failures_of_postgres_are_counted_by_kind(start_sidecar, pgbouncer, plans):
    for kind, url, query in (
            ("connect", f"postgres://u:p@127.0.0.1:{faults.closed_port()}/d", plans.QUERY),
            ("auth", pgbouncer.url.replace(":reader-secret", ":wrong"), plans.QUERY),
            ("query", pgbouncer.url, "SELECT id, nothing FROM nowhere WHERE id = ANY($1)")):
        sidecar = start_sidecar(
            postgres={"url": url},
            maps={"plan": {"key": "plan:{id}", "query": query, "free": plans.FREE}})
        sidecar.get("plan:1")
        eventually(lambda: sidecar.metric("sidecar_backend_errors_total", backend="postgres",
                                          kind=kind), 10, what=kind)


def test_clients_and_their_descriptors_are_counted(sidecar):
    eventually(lambda: sidecar.metric("sidecar_clients") == 0)
    before = sidecar.metrics()
    clients = [sidecar.client() for _ in range(20)]
    for client in clients:
        client.call("PING")
    for name in ("sidecar_clients", "process_open_fds"):
        eventually(lambda: sidecar.metric(name) - before.sum(name) == 20, what=f"20 more of {name}")
    for client in clients:
        client.close()
    eventually(lambda: sidecar.metric("sidecar_clients") == before.sum("sidecar_clients"))


def test_the_process_metrics_tell_the_truth(sidecar):
    before = sidecar.metric("process_cpu_seconds_total")
    pipeline = [("ECHO", "x" * 100)] * 2000
    for _ in range(5):
        sidecar.client().pipeline(pipeline)
    after = sidecar.metrics()
    assert after.sum("process_cpu_seconds_total") > before
    assert 0.5 < after.sum("process_resident_memory_bytes") / sidecar.memory_bytes() < 2
    assert after.sum("process_open_fds") == pytest.approx(sidecar.descriptors_open(), abs=3)
    with open(f"/proc/{sidecar.pid}/limits") as file:
        limit = next(line for line in file if line.startswith("Max open files")).split()[3]
    assert after.sum("process_max_fds") == int(limit)


def test_the_version_is_told(sidecar):
    version = sidecar.run_out("--version").stdout.split()[-1]
    assert sidecar.metric("sidecar_build_info", version=version) == 1
