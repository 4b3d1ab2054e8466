"""The log: one line an event, none a request, and nobody's data."""

import json
import time

import pytest

from processes import eventually

SECRET_ID = 918273645
SECRET_VALUE = "value-of-somebody"
SECRETS = (str(SECRET_ID), SECRET_VALUE, "redis-secret", "reader-secret", "door-secret",
           "unmapped-key-of-somebody", "name-of-a-client")


def test_requests_leave_no_line(sidecar):
    sidecar.get("plan:1")
    time.sleep(0.1)
    before = len(sidecar.log().splitlines())
    for number in range(1, 301):
        sidecar.get(f"plan:{number}")
        sidecar.call("SET", f"k:{number}", "x")
        sidecar.call("NOSUCH")
        sidecar.client().close()
    time.sleep(0.1)
    assert len(sidecar.log().splitlines()) - before <= 2


def test_each_outage_leaves_one_line_when_it_begins_and_one_when_it_ends(
        sidecar, redis, pgbouncer):
    sidecar.wait_backend("redis", True)
    sidecar.wait_backend("postgres", True)
    for name, server in (("redis", redis), ("postgres", pgbouncer)):
        time.sleep(0.2)
        at_start = len(sidecar.log_lines(name))
        server.kill9()
        stop = time.monotonic() + 2
        while time.monotonic() < stop:
            sidecar.call("SIDECAR", "FLUSH")
            for number in range(1, 20):
                sidecar.get(f"plan:{number}")
        sidecar.wait_backend(name, False)
        down = len(sidecar.log_lines(name)) - at_start
        server.start()
        sidecar.wait_backend(name, True)
        time.sleep(0.3)
        up = len(sidecar.log_lines(name)) - at_start - down
        lines = sidecar.log_lines(name)[at_start:]
        assert 1 <= down <= 3, lines  # the loss, and perhaps the breaker's opening
        assert 1 <= up <= 3, lines


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_ids_values_or_passwords_are_in_the_log_not_even_at_debug(
        log_format, start_redis, pgbouncer, proxy_for, plans, start_sidecar):
    """Every kind of trouble, caused with data that must not show."""
    redis = start_redis(password="redis-secret")
    proxy = proxy_for(redis)
    plans.set(SECRET_ID, "plus", body=SECRET_VALUE)
    sidecar = start_sidecar(
        redis={"url": f"redis://default:redis-secret@127.0.0.1:{proxy.port}"},
        postgres={"url": pgbouncer.url}, listen={"password": "door-secret"},
        server={"log_level": "debug", "log_format": log_format},
        limits={"per_user": "50/min"}, cache={"max_value": "4kb"},
        maps={"plan": {"key": "plan:{id:int}", "query": plans.QUERY, "free": plans.FREE},
              "broken": {"key": "broken:{id}", "free": "x",
                         "query": "SELECT $1::int[]::text, 'x'"}})
    client = sidecar.client(password="door-secret")
    key = f"plan:{SECRET_ID}"

    def trouble():
        for words in (
                ("GET", key), ("MGET", key, "unmapped-key-of-somebody"), ("DEL", key),
                ("SET", key, SECRET_VALUE), ("SET", "unmapped-key-of-somebody", SECRET_VALUE),
                ("GET", f"broken:{SECRET_ID}x"), ("LPUSH", key, SECRET_VALUE), ("NOSUCH", key),
                ("EVAL", f"return redis.error_reply('{SECRET_VALUE}')", "1", key),
                ("CLIENT", "SETNAME", "name-of-a-client"), ("SIDECAR", "EXPLAIN", key),
                ("SIDECAR", "GET", key), ("SIDECAR", "FLUSH", key), ("AUTH", "door-secret")):
            client.call(*words)
        sidecar.client().call("AUTH", "door-secret-wrong")
        for _ in range(60):
            client.call("GET", key)
        broken = sidecar.client(password="door-secret")
        broken.send_raw(f"*2\r\n$3\r\nGET\r\n${key}\r\n".encode())
        broken.read_to_end(1)
    trouble()
    proxy.cut()
    trouble()
    pgbouncer.kill9()
    trouble()
    proxy.resume()
    pgbouncer.start()
    sidecar.wait_backend("redis", True)
    sidecar.wait_backend("postgres", True)
    trouble()
    log = sidecar.log()
    assert len(log.splitlines()) > 5, "there is something to be looked through"
    for secret in SECRETS:
        assert secret not in log, [line for line in log.splitlines() if secret in line][:3]
    if log_format == "json":
        for line in sidecar.output("stderr").splitlines():
            json.loads(line)


def test_a_failing_query_is_logged_once_in_a_while_and_not_each_time(
        redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url},
        maps={"plan": {"key": "plan:{id}", "free": plans.FREE,
                       "query": "SELECT acct, no_such_column FROM billing.plans "
                                "WHERE acct = ANY($1::bigint[])"}})
    for number in range(1, 200):
        assert sidecar.get(f"plan:{number}") == plans.FREE.encode()
    named = eventually(lambda: sidecar.log_lines("no_such_column"))
    assert 1 <= len(named) <= 5


def test_the_log_says_at_the_start_what_it_serves(sidecar):
    log = sidecar.log()
    assert str(sidecar.port) in log


def test_log_level_error_is_quiet(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, server={"log_level": "error"})
    sidecar.call("PING")
    assert sidecar.log() == ""
