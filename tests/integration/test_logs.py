"""The log: one line an event, none a request, and nobody's data."""

import json
import re
import time

import pytest

import privacy
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


# What tests/integration/privacy.py looks for at the end of every test


@pytest.mark.parametrize("text", [
    "fill of plan:17 refused", "plan:x", "dropped k:5", 'row {"tier":"plus","n":3}',
    "cannot log in with door-secret", "token its-own-token", "key of user_account:-3"])
def test_what_operators_must_not_see_is_found(text):
    sections = {"map plan": {"key": "plan:{id:int}"}, "redis": {"token": "its-own-token"}}
    assert list(privacy.findings(sections, f"2026-11-22T17:00:00.000Z info {text}\n"))


@pytest.mark.parametrize("text", [
    "plan:#9f2c41 refused", "every copy of plan:* in redis",
    "postgres map plan: the query works", "key plan:{id:int}",
    "redis down: localhost:6379 refused", "redis://127.0.0.1:6379", "sidecar.ini:12: [cache] ttl",
    'sidecar_answers_total{rung="memory"} 17', '{"key":"plan:#9f2c41","hits":12,"bytes":3}'])
def test_what_they_may_see_is_not(text):
    assert not list(privacy.findings({"map plan": {"key": "plan:{id:int}"}}, text + "\n"))


def test_an_error_of_our_own_is_looked_through_too(start_sidecar):
    sidecar = start_sidecar()
    assert sidecar.call("GET", "plan:17") is not None
    assert sidecar.call("INCR", "plan:17").startswith("REDISDOWN")
    privacy.note_error(b"REDISDOWN cannot read plan:17")
    with pytest.raises(AssertionError, match="an error tells"):
        privacy.check(sidecar.sections, {})


def test_json_lines_have_the_fields_of_text_lines(start_sidecar, redis):
    def lines(log_format):
        sidecar = start_sidecar(redis={"url": redis.url}, server={"log_format": log_format})
        eventually(lambda: sidecar.log_lines("redis up") and sidecar.log_lines("coherence=tracking"))
        sidecar.terminate()
        return sidecar.output("stderr").splitlines()
    texts = [line.split(" ", 2) for line in lines("text")]
    jsons = [json.loads(line) for line in lines("json")]
    assert all(list(line) == ["time", "level", "message"] for line in jsons)

    def shape(level, message):
        return level, re.sub(r"\d+", "0", message)
    assert {shape(*text[1:]) for text in texts} == {
        shape(line["level"], line["message"]) for line in jsons}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
               for line in jsons)
