"""Redis dies and comes back while clients read: they do not notice."""

import time

import pytest

from processes import eventually
from sidecar import BUSY_CACHE

pytestmark = pytest.mark.alone


@pytest.mark.seconds(90)
def test_ten_crashes_of_redis_under_10000_reads_a_second_harm_no_read(
        redis, pgbouncer, plans, start_sidecar, start_readers):
    plans.fill(1, 5000)
    sidecar = start_sidecar(is_in_time=True, redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache=BUSY_CACHE)
    readers = start_readers(sidecar, ids=5000, hot=500)
    time.sleep(0.5)
    for _ in range(10):
        redis.kill9()
        sidecar.wait_backend("redis", False)
        time.sleep(0.2)
        redis.start()
        sidecar.wait_backend("redis", True)
        time.sleep(0.3)
    report = readers.finish_in_time()

    # Postgres was there all the time: the free value is an emergency, not an answer.
    # (Where the machine lets it wait for 90 ms, it is answered so as well.)
    assert report["free"] <= report["sent"] // 200, report
    answers = sidecar.metrics()
    for rung in ("memory", "redis", "postgres"):
        assert answers.sum("sidecar_answers_total", rung=rung) > 1000, f"{rung} was hardly asked"


@pytest.mark.parametrize("name", ["redis", "postgres"])
def test_an_outage_and_its_end_are_noticed_without_any_traffic(name, redis, pgbouncer, sidecar):
    server = {"redis": redis, "postgres": pgbouncer}[name]

    def is_up():
        return sidecar.metric("sidecar_backend_up", backend=name) == 1
    eventually(is_up)
    server.kill9()
    eventually(lambda: not is_up(), 10, what=f"{name} counting as down")
    server.start()
    eventually(is_up, 10, what=f"{name} counting as up")


def test_replies_that_break_off_in_the_middle_are_never_taken_for_values(
        redis, pgbouncer, plans, proxy_for, start_sidecar, start_readers):
    """The connection closes after half a reply, again and again."""
    plans.fill(1, 2000)
    proxy = proxy_for(redis)
    sidecar = start_sidecar(is_in_time=True, redis={"url": proxy.url}, postgres={"url": pgbouncer.url},
                            cache=BUSY_CACHE)
    readers = start_readers(sidecar, ids=2000, rate=2000)
    for _ in range(8):
        proxy.resume()
        time.sleep(0.3)
        proxy.maim()
        time.sleep(0.1)
    proxy.resume()
    readers.finish_in_time()
    assert len(proxy.accepted) > 8


def test_after_a_crash_of_redis_it_is_filled_again(redis, sidecar, plans):
    assert sidecar.get("plan:7") == plans.bytes(7)
    eventually(lambda: redis.call("GET", "plan:7") == plans.bytes(7))
    redis.restart()
    assert redis.call("GET", "plan:7") is None

    def is_filled():
        sidecar.call("SIDECAR", "FLUSH")
        assert sidecar.get("plan:7") == plans.bytes(7)
        return redis.call("GET", "plan:7") == plans.bytes(7)
    eventually(is_filled, 10)
