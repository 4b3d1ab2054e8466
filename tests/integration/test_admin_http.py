"""/metrics, /healthz, /readyz, /status.json and the status page."""

import socket
import time

import pytest

from processes import eventually

NAMES = {
    "sidecar_answers_total": "counter", "sidecar_requests_total": "counter",
    "sidecar_request_seconds": "histogram", "sidecar_backend_up": "gauge",
    "sidecar_breaker_state": "gauge", "sidecar_backend_seconds": "histogram",
    "sidecar_backend_commands_total": "counter", "sidecar_backend_errors_total": "counter",
    "sidecar_postgres_pool_size": "gauge", "sidecar_postgres_pool_in_use": "gauge",
    "sidecar_postgres_batch_ids": "histogram", "sidecar_cache_entries": "gauge",
    "sidecar_cache_bytes": "gauge", "sidecar_cache_evictions_total": "counter",
    "sidecar_cache_hits_total": "counter", "sidecar_cache_misses_total": "counter",
    "sidecar_invalidations_total": "counter",
    "sidecar_clients": "gauge",
    "sidecar_connections_total": "counter", "sidecar_connections_refused_total": "counter",
    "sidecar_journal_pending": "gauge",
    "sidecar_build_info": "gauge",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_of_the_contract_is_there_from_the_start(name, start_sidecar):
    metrics = start_sidecar().metrics()
    assert metrics.types.get(name) == NAMES[name]
    sample = name + "_count" if NAMES[name] == "histogram" else name
    assert metrics.has(sample)


def test_labels_of_the_contract_are_there_from_the_start(start_sidecar):
    text = start_sidecar().metrics().text
    for rung in ("memory", "redis", "postgres", "stale", "free", "error"):
        assert f'sidecar_answers_total{{rung="{rung}"}}' in text
    for kind in ("read", "write", "session", "local"):
        assert f'sidecar_requests_total{{class="{kind}"}}' in text
    for backend in ("redis", "postgres"):
        assert f'sidecar_backend_up{{backend="{backend}"}}' in text
        assert f'sidecar_breaker_state{{backend="{backend}"}}' in text


def test_the_process_metrics_are_there(start_sidecar):
    metrics = start_sidecar().metrics()
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
                 "process_start_time_seconds"):
        assert metrics.sum(name) > 0
    assert abs(metrics.sum("process_start_time_seconds") - time.time()) < 60


def test_histograms_are_sound(sidecar, plans):
    for number in range(1, 101):
        sidecar.get(f"plan:{number}")
    metrics = sidecar.metrics()
    series = {}
    for (name, labels), value in metrics.samples.items():
        if name.endswith("_bucket"):
            rest = frozenset(pair for pair in labels if pair[0] != "le")
            series.setdefault((name, rest), []).append((float(dict(labels)["le"]), value))
    assert series
    for (name, labels), buckets in series.items():
        counts = [count for _, count in sorted(buckets)]
        assert counts == sorted(counts), name
        assert sorted(buckets)[-1][0] == float("inf")
        total = metrics.samples[name[:-len("_bucket")] + "_count", labels]
        assert counts[-1] == total, name
    assert metrics.sum("sidecar_request_seconds_count") >= 100


def test_answers_are_counted_by_rung_each_once(sidecar, redis, plans):
    eventually(lambda: sidecar.status()["coherence"] == "tracking", what="tracking")
    redis.call("SET", "plan:1", plans.text(1))
    # What Redis tells of it must not come after the copy has been made.
    eventually(lambda: sidecar.metric("sidecar_invalidations_total", source="redis") == 1)
    sidecar.get("plan:1")
    sidecar.get("plan:2"), sidecar.get("plan:3")
    for _ in range(5):
        sidecar.get("plan:1")
    metrics = sidecar.metrics()
    counts = {rung: metrics.sum("sidecar_answers_total", rung=rung)
              for rung in ("memory", "redis", "postgres", "stale", "free", "error")}
    assert counts == {"memory": 5, "redis": 1, "postgres": 2, "stale": 0, "free": 0, "error": 0}
    assert metrics.sum("sidecar_cache_hits_total") == 5
    assert metrics.sum("sidecar_cache_misses_total") == 3
    assert metrics.sum("sidecar_cache_entries") == 3


def test_requests_are_counted_by_class(sidecar):
    before = sidecar.metrics()
    sidecar.get("plan:1"), sidecar.call("SET", "a", "1"), sidecar.call("PING")
    sidecar.client().pipeline([("MULTI",), ("EXEC",)])
    after = sidecar.metrics()
    for kind in ("read", "write", "session", "local"):
        assert after.sum("sidecar_requests_total", **{"class": kind}) > before.sum(
            "sidecar_requests_total", **{"class": kind}), kind


def test_billed_commands_are_counted_truly(redis, start_sidecar):
    """Each command is paid for: the count agrees with Redis's own."""
    sidecar = start_sidecar(redis={"url": redis.url}, maps={})
    sidecar.wait_backend("redis", True)
    for number in range(200):
        sidecar.call("SET", f"k:{number}", "x")
    counted = sidecar.metric("sidecar_backend_commands_total", backend="redis")
    # Not the sidecar's: this harness asks with PING and INFO, on its own connections.
    seen = redis.commands_seen()
    theirs = sum(count for name, count in seen.items() if name not in ("info", "ping"))
    assert theirs <= counted <= theirs + seen.get("ping", 0)


def test_a_hit_costs_no_backend_a_command(sidecar, redis):
    # Of Redis: what was filled from Postgres is read once more by tracking, a second later.
    eventually(lambda: sidecar.status()["coherence"] == "tracking", what="tracking")
    redis.call("SET", "plan:20", "x")
    sidecar.keep("plan:20")
    before = redis.commands_seen()
    for _ in range(500):
        sidecar.get("plan:20")
    after = redis.commands_seen()
    assert {name: after[name] - before.get(name, 0) for name in after
            if name not in ("info", "ping")
            and after[name] != before.get(name, 0)} == {}


@pytest.mark.parametrize("query, most", [("QUERY_WITHOUT_END", 2), ("QUERY", 3)])
def test_a_miss_costs_redis_one_read_and_a_fill_one_write(
        query, most, redis, pgbouncer, plans, start_sidecar):
    """A helper command a miss doubles the bill; only a value with an end may need one.

    Without tracking, as where commands are billed; tracking reads each fill once more.
    """
    sidecar = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url}, cache={"coherence": "ttl"},
        maps={"plan": {"key": "plan:{id:int}", "query": getattr(plans, query),
                       "free": plans.FREE}})
    sidecar.get("plan:1")

    def billed():
        return sum(count for name, count in redis.commands_seen().items()
                   if name not in ("info", "ping"))
    before = billed()
    for number in range(101, 201):
        sidecar.get(f"plan:{number}")
    eventually(lambda: billed() - before >= 200, what="a read and a write each")
    time.sleep(0.2)
    assert billed() - before <= 100 * most + 5


def test_healthz_and_readyz(sidecar):
    assert sidecar.http("/healthz")[0] == 200
    assert sidecar.http("/readyz")[0] == 200


def test_backends_being_down_makes_it_not_unready(sidecar, redis, pgbouncer):
    redis.kill9()
    pgbouncer.kill9()
    sidecar.wait_backend("redis", False)
    assert sidecar.http("/readyz")[0] == 200
    assert sidecar.http("/healthz")[0] == 200


def test_status_json_is_json_and_follows_the_backends(sidecar, redis):
    sidecar.get("plan:20")
    assert "redis" in repr(sidecar.status_json())
    redis.kill9()
    sidecar.wait_backend("redis", False)
    text = sidecar.http("/status.json")[1]
    assert "plan:20" not in text and "plan:" not in text.replace("plan:{id", "")


def test_unknown_paths_and_methods_are_refused(sidecar):
    assert sidecar.http("/nothing")[0] == 404
    with socket.create_connection(("127.0.0.1", sidecar.admin_port), timeout=5) as raw:
        raw.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert int(raw.recv(1000).split(b" ")[1]) in (405, 501)
    assert sidecar.http("/healthz")[0] == 200


def test_garbage_and_slow_visitors_do_not_stop_the_admin_port(sidecar):
    slow = [socket.create_connection(("127.0.0.1", sidecar.admin_port)) for _ in range(20)]
    for visitor in slow:
        visitor.sendall(b"GET /metr")
    with socket.create_connection(("127.0.0.1", sidecar.admin_port)) as raw:
        raw.sendall(bytes(range(256)) * 20 + b"\r\n\r\n")
    assert sidecar.http("/metrics")[0] == 200
    assert sidecar.get("plan:20") is not None
    for visitor in slow:
        visitor.close()


def test_invalidations_are_counted_by_source(sidecar, redis):
    sidecar.get("plan:20")
    sidecar.call("DEL", "plan:20")
    eventually(lambda: sidecar.metric("sidecar_invalidations_total") >= 1)
    sidecar.get("plan:20")
    before = sidecar.metric("sidecar_invalidations_total")
    redis.call("SET", "plan:20", "x")
    eventually(lambda: sidecar.metric("sidecar_invalidations_total") > before)
