"""Rate limits, decided locally: the same up or down."""

import re
import time

import pytest

import resp


@pytest.fixture(autouse=True)
def only_if_offered(redis, start_sidecar):
    """Redis answers a command that the sidecar does not know."""
    reply = start_sidecar(redis={"url": redis.url}).call("CL.THROTTLE", "probe", 1, 1, 1)
    if isinstance(reply, resp.Error) and "unknown command" in reply:
        pytest.skip("this version has no limits yet")


def test_a_user_over_the_limit_is_told_when_to_come_back(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "5/min"})
    client = sidecar.client()
    replies = client.pipeline([("GET", "plan:20")] * 8)
    assert replies[:5] == [plans.bytes(20)] * 5
    for reply in replies[5:]:
        assert re.fullmatch(r"RATELIMITED retry in \d+ ms \(per_user 5/min\)", reply), reply
    wait = int(re.search(r"in (\d+) ms", replies[5])[1])
    assert 10_000 < wait <= 12_500, "one in 12 s"
    assert client.call("GET", "plan:21") == plans.bytes(21), "another user"
    assert sidecar.client().call("GET", "plan:20").startswith("RATELIMITED"), "another client"
    assert sidecar.metric("sidecar_limited_total", scope="per_user") == 4


def test_who_waits_as_told_is_served(redis, start_sidecar, plans):
    redis.call("SET", "plan:20", plans.text(20))
    sidecar = start_sidecar(redis={"url": redis.url}, limits={"per_user": "600/min"})
    client = sidecar.client()
    replies = client.pipeline([("GET", "plan:20")] * 650)
    refused = [reply for reply in replies if isinstance(reply, resp.Error)]
    assert 20 <= len(refused) <= 50
    time.sleep(int(re.search(r"in (\d+) ms", refused[-1])[1]) / 1000 + 0.02)
    assert client.call("GET", "plan:20") == plans.bytes(20)


def test_limits_hold_while_both_backends_are_down(redis, pgbouncer, plans, start_sidecar):
    redis.kill9()
    pgbouncer.kill9()
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "3/min"})
    replies = sidecar.client().pipeline([("GET", "plan:20")] * 5)
    assert replies[:3] == [plans.FREE.encode()] * 3
    assert all(reply.startswith("RATELIMITED") for reply in replies[3:])


def test_zero_is_off_and_a_map_may_be_exempt(redis, pgbouncer, plans, start_sidecar):
    off = start_sidecar(redis={"url": redis.url}, limits={"per_user": "0"})
    assert not any(isinstance(reply, resp.Error)
                   for reply in off.client().pipeline([("GET", "plan:20")] * 3000))
    exempt = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url}, limits={"per_user": "3/min"},
        maps={"plan": {"key": "plan:{id:int}", "query": plans.QUERY, "free": plans.FREE,
                       "limit": "no"}})
    assert exempt.client().pipeline([("GET", "plan:20")] * 50) == [plans.bytes(20)] * 50


def test_an_mget_counts_against_each_of_its_users(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            limits={"per_user": "2/min"})
    client = sidecar.client()
    for _ in range(2):
        assert client.call("MGET", "plan:1", "plan:2") == [plans.bytes(1), plans.bytes(2)]
    assert client.call("GET", "plan:1").startswith("RATELIMITED")


def test_loopback_is_not_limited_per_ip(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, limits={"per_ip": "5/min"})
    assert not any(isinstance(reply, resp.Error)
                   for reply in sidecar.client().pipeline([("PING",)] * 100))


@pytest.mark.parametrize("redis_is", ["up", "down"])
def test_cl_throttle_answers_redis_cells_five_integers(redis_is, redis, start_sidecar):
    if redis_is == "down":
        redis.kill9()
    sidecar = start_sidecar(redis={"url": redis.url})
    call = sidecar.client().call
    # key, max_burst 2 (so a limit of 3), 3 in 60 s
    first = call("CL.THROTTLE", "job", "2", "3", "60")
    assert first[:4] == [0, 3, 2, -1] and 19 <= first[4] <= 20
    assert call("CL.THROTTLE", "job", "2", "3", "60")[:4] == [0, 3, 1, -1]
    assert call("CL.THROTTLE", "job", "2", "3", "60")[:4] == [0, 3, 0, -1]
    refused = call("CL.THROTTLE", "job", "2", "3", "60")
    assert refused[:3] == [1, 3, 0] and 19 <= refused[3] <= 20 and 59 <= refused[4] <= 60
    assert call("CL.THROTTLE", "other", "2", "3", "60")[0] == 0


def test_cl_throttle_with_a_quantity_and_wrong_words(start_sidecar):
    call = start_sidecar().client().call
    assert call("CL.THROTTLE", "job", "9", "10", "60", "10")[:3] == [0, 10, 0]
    assert call("CL.THROTTLE", "job", "9", "10", "60", "1")[0] == 1
    assert call("CL.THROTTLE", "peek", "9", "10", "60", "0")[:3] == [0, 10, 10]
    for words in (("job",), ("job", "a", "1", "60"), ("job", "1", "0", "60"),
                  ("job", "1", "1", "0"), ("job", "-1", "1", "60"), ("job", "1", "1", "60", "x")):
        assert isinstance(call("CL.THROTTLE", *words), resp.Error), words


def test_cl_throttle_at_rates_at_which_redis_cell_fails(start_sidecar):
    call = start_sidecar().client().call
    assert call("CL.THROTTLE", "fast", "1000", "5000", "1")[0] == 0
    assert call("CL.THROTTLE", "user", "1000", "1000", "60")[:3] == [0, 1001, 1000]
    # A raised rate denies nobody.
    for _ in range(3):
        call("CL.THROTTLE", "raised", "2", "3", "60")
    assert call("CL.THROTTLE", "raised", "2", "3", "60")[0] == 1
    assert call("CL.THROTTLE", "raised", "200", "300", "60")[0] == 0
