"""What clients see of an outage: connections that work, and errors that say what is wrong."""

import time

import pytest
import redis as redis_py

import faults
import resp
from processes import eventually


@pytest.fixture
def dark(redis, pgbouncer, start_sidecar):
    """Both backends are down."""
    redis.kill9()
    pgbouncer.kill9()
    return start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url})


@pytest.fixture
def without_redis(sidecar, redis):
    redis.kill9()
    sidecar.wait_backend("redis", False)
    return sidecar


@pytest.mark.parametrize("protocol", [2, 3])
def test_commands_of_the_connection_work_while_both_are_down(dark, protocol):
    client = dark.client(protocol=protocol)
    assert client.call("PING") == "PONG"
    assert client.call("PING", "hi") == b"hi"
    assert client.call("ECHO", "hi") == b"hi"
    assert client.call("SELECT", "0") == "OK"
    assert client.call("CLIENT", "SETNAME", "app") == "OK"
    assert client.call("CLIENT", "GETNAME") == b"app"
    assert client.call("CLIENT", "SETINFO", "LIB-NAME", "x") == "OK"
    assert isinstance(client.call("CLIENT", "ID"), int)
    assert b"name=app" in client.call("CLIENT", "LIST")
    assert client.call("CLIENT", "NO-EVICT", "on") == "OK"
    assert not isinstance(client.call("HELLO", protocol), resp.Error)
    assert client.call("RESET") == "RESET"
    assert client.call("QUIT") == "OK"


def test_info_is_ours_while_redis_is_down_and_has_what_clients_look_for(dark):
    info = dark.call("INFO").decode()
    assert "redis_version:" in info and "# Sidecar" in info
    assert "loading:0" in info, "ioredis waits for this before it is ready"
    assert "redis_mode:" in info
    assert "role:" in info
    assert b"# Sidecar" in dark.call("INFO", "sidecar")


def test_info_is_redis_own_with_a_section_of_ours_while_it_is_up(sidecar, redis):
    info = sidecar.call("INFO").decode()
    assert f"tcp_port:{redis.port}" in info
    assert info.count("# Sidecar") == 1
    assert "# Server" in sidecar.call("INFO", "server").decode()


def test_redis_py_with_default_settings_works_while_both_are_down(dark, plans):
    client = redis_py.Redis(port=dark.port)
    assert client.ping()
    assert client.get("plan:20") == plans.FREE.encode()
    assert client.mget(["plan:1", "plan:2"]) == [plans.FREE.encode()] * 2
    assert client.info()["redis_version"]
    assert client.client_id() > 0
    assert client.client_setname("app")
    assert client.echo("x") == b"x"
    with client.pipeline(transaction=False) as pipe:
        pipe.get("plan:1").get("plan:2").ping()
        assert pipe.execute() == [plans.FREE.encode(), plans.FREE.encode(), True]
    with pytest.raises(redis_py.ResponseError, match="^REDISDOWN"):
        client.set("other", "1")
    with pytest.raises(redis_py.ResponseError, match="^REDISDOWN"):
        client.get("other")
    assert client.set("plan:1", "x")
    assert client.delete("plan:1") in (0, 1)
    client.close()


def test_redis_py_with_default_settings_works_while_both_are_up(sidecar, plans):
    client = redis_py.Redis(port=sidecar.port, decode_responses=True)
    assert client.get("plan:20") == plans.text(20)
    assert client.set("a", "1", ex=100) and client.get("a") == "1"
    assert client.hset("h", mapping={"x": 1, "y": 2}) == 2 and client.hgetall("h") == {"x": "1", "y": "2"}
    with client.pipeline() as pipe:
        pipe.incr("n").incr("n").get("n")
        assert pipe.execute() == [1, 2, "2"]
    with client.lock("lock", timeout=5):
        assert client.exists("lock")
    subscription = client.pubsub()
    subscription.subscribe("news")
    assert subscription.get_message(timeout=2)["type"] == "subscribe"
    client.publish("news", "hello")
    assert subscription.get_message(timeout=2)["data"] == "hello"
    subscription.close()
    assert client.register_script("return ARGV[1]")(args=["x"]) == "x"
    client.close()


@pytest.mark.parametrize("words", [
    ("SET", "other", "1"), ("GET", "other"), ("DEL", "other"), ("INCR", "other"),
    ("HGETALL", "other"), ("LPUSH", "l", "x"), ("PUBLISH", "c", "m"), ("EVAL", "return 1", "0"),
    ("DBSIZE",), ("KEYS", "*"), ("SCAN", "0"), ("MULTI",), ("SUBSCRIBE", "c"),
    ("BLPOP", "q", "5"), ("SELECT", "1"), ("MGET", "other", "plan:1"), ("CONFIG", "GET", "*"),
    ("NOSUCHCOMMAND",), ("FLUSHALL",), ("WAIT", "0", "0"), ("TIME",), ("RANDOMKEY",),
], ids=" ".join)
def test_what_only_redis_can_answer_is_refused_at_once(words, without_redis):
    def ask():
        client = without_redis.client()
        reply, seconds = client.timed(*words)
        assert isinstance(reply, resp.Error) and reply.startswith("REDISDOWN "), reply
        return client, seconds
    quickest = min(seconds for _, seconds in (ask() for _ in range(5)))
    assert quickest < 0.5
    client, _ = ask()
    # What would follow MULTI or SUBSCRIBE must not be taken for something else.
    if words[0] not in ("MULTI", "SUBSCRIBE"):
        assert client.call("PING") == "PONG", "the connection lives on"


def test_no_command_waits_for_a_redis_that_hangs_once_the_breaker_is_open(
        redis, pgbouncer, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url, "timeout": "500ms"}, is_brief=True,
                            postgres={"url": pgbouncer.url},
                            breaker={"open": "60s", "max_open": "60s"})
    sidecar.call("SET", "other", "1")
    redis.stop()
    client = sidecar.client()
    first, seconds = client.timed("SET", "other", "2")
    assert first.startswith("REDISDOWN") and seconds < 5
    for number in range(1, 30):
        client.call("GET", f"plan:{number}")
    eventually(lambda: sidecar.metric("sidecar_breaker_state", backend="redis") == 2)
    for words in (("SET", "other", "3"), ("INCR", "n"), ("MULTI",)):
        asked = [sidecar.client().timed(*words) for _ in range(5)]
        assert all(reply.startswith("REDISDOWN") for reply, _ in asked), asked
        assert min(seconds for _, seconds in asked) < 0.1


def test_a_write_whose_connection_broke_may_have_run_and_is_never_sent_twice(
        redis, proxy_for, start_sidecar):
    proxy = proxy_for(redis)
    sidecar = start_sidecar(redis={"url": proxy.url})
    redis.call("SET", "counter", "0")
    assert sidecar.call("INCR", "counter") == 1
    proxy.hold(b"counter")
    client = sidecar.client()
    client.send("INCR", "counter")
    proxy.wait_held()
    proxy.cut()
    reply = client.read()
    assert reply.startswith("REDISDOWN") and "may or may not have run" in reply
    proxy.release()
    proxy.resume()
    sidecar.wait_backend("redis", True)
    time.sleep(0.3)
    assert redis.call("GET", "counter") == b"2", "once before, and once"
    assert sidecar.get("counter") == b"2"


def test_commands_work_again_after_redis_came_back(without_redis, redis):
    client = without_redis.client()
    assert client.call("SET", "other", "1").startswith("REDISDOWN")
    redis.start()
    without_redis.wait_backend("redis", True)
    assert client.call("SET", "other", "1") == "OK"
    assert client.call("GET", "other") == b"1"
    assert client.pipeline([("MULTI",), ("INCR", "other"), ("EXEC",)]) == ["OK", "QUEUED", [2]]


def test_a_crash_ends_a_transaction_with_an_error_and_not_with_silence(sidecar, redis):
    client = sidecar.client()
    assert client.pipeline([("MULTI",), ("SET", "a", "1")]) == ["OK", "QUEUED"]
    redis.kill9()
    try:
        reply = client.call("EXEC")
        assert isinstance(reply, resp.Error)
    except resp.Closed:
        pass  # as Redis itself would end it
    redis.start()
    sidecar.wait_backend("redis", True)
    assert redis.call("GET", "a") is None


def test_a_subscriber_is_not_left_in_silence_after_a_crash(sidecar, redis):
    """Closed, or subscribed again: never connected and deaf."""
    client = sidecar.client(timeout=5)
    client.send("SUBSCRIBE", "news")
    client.read()
    redis.restart()
    sidecar.wait_backend("redis", True)
    try:
        for _ in range(50):
            redis.call("PUBLISH", "news", "hello")
            time.sleep(0.05)
        assert b"hello" in client.read_raw()
    except (resp.Closed, ConnectionError):
        pass


def test_who_subscribes_again_during_an_outage_sees_the_connection_close(sidecar, redis):
    """And no error: ioredis does this by itself, and dies of one that nobody awaits."""
    subscriber = sidecar.client()
    subscriber.call("SUBSCRIBE", "news")
    redis.kill9()
    sidecar.wait_backend("redis", False)
    with pytest.raises((resp.Closed, ConnectionError)):
        subscriber.read()
    for command in ("SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"):
        again = sidecar.client()
        assert again.call("PING") == "PONG"
        again.send(command, "news")
        with pytest.raises((resp.Closed, ConnectionError)):
            again.read()
    assert sidecar.client().call("MULTI").startswith("REDISDOWN")


@pytest.mark.parametrize("command", ["SHUTDOWN", "REPLICAOF", "SLAVEOF", "FAILOVER", "shutdown"])
def test_dangerous_commands_are_denied_by_default(command, sidecar, redis):
    words = (command, "127.0.0.1", "1") if "OF" in command else (command,)
    assert sidecar.call(*words) == (
        f"NOPERM this sidecar denies {command.upper()} ([commands] deny)")
    assert redis.call("PING") == "PONG"


def test_the_deny_list_can_be_chosen(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, commands={"deny": "FLUSHALL EVAL"})
    assert sidecar.call("FLUSHALL") == "NOPERM this sidecar denies FLUSHALL ([commands] deny)"
    client = sidecar.client()
    replies = client.pipeline([("MULTI",), ("EVAL", "return 1", "0"), ("EXEC",)])
    assert replies[0] == "OK", replies
    assert replies[1].startswith("NOPERM"), "also inside a transaction"
    assert not sidecar.call("REPLICAOF", "NO", "ONE").startswith("NOPERM")


@pytest.mark.parametrize("error, kind", [
    (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
    (b"-READONLY You can't write against a read only replica.\r\n", "loading"),
    (b"-MASTERDOWN Link with MASTER is down\r\n", "loading"),
    (b"-ERR max requests limit exceeded. Limit: 10000, Usage: 10001.\r\n", "quota"),
    (b"-ERR max daily request limit exceeded\r\n", "quota"),
    (b"-NOAUTH Authentication required.\r\n", "auth"),
    (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", "auth"),
], ids=lambda value: value if isinstance(value, str) else value[1:12].decode())
def test_errors_that_mean_redis_cannot_serve_go_down_the_ladder(
        error, kind, fake, pgbouncer, plans, start_sidecar):
    scripted = fake(faults.ScriptedRedis, lambda words: (
        b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:2\r\n"
        b"$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n"
        b"$7\r\nmodules\r\n*0\r\n" if words[0].upper() == b"HELLO"
        else b"+PONG\r\n" if words[0].upper() == b"PING" else error))
    sidecar = start_sidecar(redis={"url": scripted.url}, postgres={"url": pgbouncer.url})
    for number in range(1, 30):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)
    assert sidecar.metric("sidecar_backend_errors_total", backend="redis", kind=kind) >= 1
    if kind in ("quota", "auth"):  # but for the moments in which it probes
        eventually(lambda: sidecar.metric("sidecar_breaker_state", backend="redis") == 2)


def test_an_error_about_the_command_is_an_answer(sidecar, redis):
    redis.call("RPUSH", "plan:1", "not a string")
    for _ in range(30):
        assert sidecar.get("plan:1").startswith("WRONGTYPE")
    assert sidecar.metric("sidecar_backend_up", backend="redis") == 1


def test_without_tracking_a_copy_lives_no_longer_than_its_ttl(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache={"coherence": "ttl", "ttl": "300ms"})
    assert sidecar.get("plan:20") == plans.bytes(20)
    redis.call("SET", "plan:20", "changed")
    eventually(lambda: sidecar.get("plan:20") == b"changed")
    assert sidecar.status()["coherence"] == "ttl"
