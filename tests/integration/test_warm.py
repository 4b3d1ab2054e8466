"""Warm-up: the busiest users are in memory before the instance is ready."""

import time

import pytest

from processes import eventually

BUSIEST = "SELECT acct FROM billing.plans ORDER BY acct"


@pytest.fixture
def warming(redis, pgbouncer, start_sidecar):
    def start(**options):
        warm = {"query": BUSIEST, "map": "plan", "limit": 300, **options.pop("warm", {})}
        sidecar = start_sidecar(redis={"url": redis.url}, warm=warm,
                                **{"postgres": {"url": pgbouncer.url}, **options})
        if not sidecar.offers("warm"):
            pytest.skip("this version has no warm-up yet")
        return sidecar
    return start


def test_after_ready_the_first_read_is_a_hit(warming, plans):
    sidecar = warming()
    eventually(lambda: sidecar.http("/readyz")[0] == 200, 10)
    assert sidecar.metric("sidecar_cache_entries") == 300
    for number in (1, 150, 300):
        assert sidecar.rung(f"plan:{number}")[:2] == (plans.bytes(number), "memory")
    assert sidecar.rung("plan:301")[1] != "memory", "beyond the limit"


def test_it_serves_while_it_warms_and_is_not_ready_yet(warming, pgbouncer, proxy_for, plans):
    proxy = proxy_for(pgbouncer)
    proxy.delay = 0.5
    sidecar = warming(postgres={"url": pgbouncer.postgres.url_for(proxy.port)})
    assert sidecar.call("PING") == "PONG"
    assert sidecar.http("/healthz")[0] == 200
    assert sidecar.http("/readyz")[0] == 503
    proxy.delay = 0
    eventually(lambda: sidecar.http("/readyz")[0] == 200, 10)


def test_it_gives_up_when_postgres_is_down_and_is_ready(warming, pgbouncer):
    pgbouncer.kill9()
    sidecar = warming()
    eventually(lambda: sidecar.http("/readyz")[0] == 200, 15)
    assert sidecar.metric("sidecar_cache_entries") == 0


def test_it_gives_up_when_the_query_is_wrong_and_says_so(warming):
    sidecar = warming(warm={"query": "SELECT nothing FROM nowhere"})
    eventually(lambda: sidecar.http("/readyz")[0] == 200, 15)
    assert sidecar.log_lines("nowhere")


def test_sidecar_warm_runs_it_again(warming, plans):
    sidecar = warming()
    eventually(lambda: sidecar.http("/readyz")[0] == 200, 10)
    sidecar.call("SIDECAR", "FLUSH")
    plans.set(1, "plus", body="newer")
    assert sidecar.call("SIDECAR", "WARM") == 300
    assert sidecar.metric("sidecar_cache_entries") == 300


def test_warm_up_writes_no_old_value_over_a_newer_one(warming, redis, plans):
    """Redis may know better than the row that was read for the warm-up."""
    redis.call("SET", "plan:1", "of Redis")
    sidecar = warming()
    eventually(lambda: sidecar.http("/readyz")[0] == 200, 10)
    assert redis.call("GET", "plan:1") == b"of Redis"
