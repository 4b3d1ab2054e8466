"""What a command does to a connection of Redis stays with the client that sent it."""

import pytest

from processes import eventually


@pytest.mark.parametrize("words", ["SYNC", "PSYNC ? -1", "REPLCONF capa eof"])
@pytest.mark.parametrize("first", [None, "WATCH a", "SELECT 9"])
def test_a_replica_is_not_served_and_harms_nobody(words, first, sidecar):
    """What Redis sends to a replica is no RESP: it must not be taken for somebody's answer."""
    other = sidecar.client()
    other.call("SET", "a", "1")
    for _ in range(8):
        client = sidecar.client()
        if first:
            assert client.call(*first.split()) == "OK"
        answer = client.call(*words.split())
        assert answer.startswith("ERR ") and "connects to Redis itself" in answer
        assert client.call("PING") == "PONG" and other.call("SET", "a", "1") == "OK"
    assert sidecar.metric("sidecar_backend_errors_total", backend="redis", kind="protocol") == 0
    assert other.call("MULTI") == "OK" and other.call("EXEC") == []


def test_who_debugs_scripts_is_alone(sidecar):
    """SCRIPT DEBUG lets the connection's next EVAL stop at its first line."""
    debugger = sidecar.client()
    assert debugger.call("SCRIPT", "DEBUG", "YES") == "OK"
    for _ in range(3):
        other = sidecar.client()
        other.send("MULTI")
        other.send("EVAL", "return 5", "0")
        other.send("EXEC")
        assert [other.read(), other.read(), other.read()] == ["OK", "QUEUED", [5]]
    assert debugger.call("PING") == "PONG"


def test_what_redis_refuses_leaves_nothing(sidecar):
    """node-redis says READONLY when it connects, if so told; memory answers it all the same."""
    client = sidecar.client()
    assert client.call("READONLY").startswith("ERR ")
    client.call("SET", "a", "1")
    eventually(lambda: client.call("GET", "a") == b"1" and client.call("SIDECAR", "GET", "a")[1] == b"memory")
    before = sidecar.metrics().sum("sidecar_requests_total", **{"class": "session"})
    client.call("GET", "a")
    assert sidecar.metrics().sum("sidecar_requests_total", **{"class": "session"}) == before


@pytest.mark.parametrize("end", ["QUIT", "CLIENT KILL ID"])
def test_who_is_told_to_go_leaves_redis_at_once(end, sidecar, redis):
    """Whether or not it hangs up itself."""
    client, other = sidecar.client(), sidecar.client()
    own = client.call("CLIENT", "ID")
    client.call("SUBSCRIBE", "news")
    assert redis.call("PUBSUB", "NUMSUB", "news") == [b"news", 1]
    if end == "QUIT":
        assert client.call("QUIT") == "OK"
    else:
        assert other.call(*end.split(), str(own)) == 1
    eventually(lambda: redis.call("PUBSUB", "NUMSUB", "news") == [b"news", 0], 1.5)


@pytest.fixture
def replica(redis, start_redis):
    replica = start_redis(settings=["--replicaof", "127.0.0.1", str(redis.port),
                                    "--repl-diskless-sync-delay", "0"])
    eventually(lambda: b"master_link_status:up" in replica.call("INFO", "replication"), 20)
    yield replica
    if replica.is_stopped:
        replica.cont()


@pytest.mark.parametrize("is_pooled", [False, True])
def test_wait_is_about_what_this_client_wrote(is_pooled, redis, replica, sidecar):
    client = sidecar.client(timeout=10)
    if is_pooled:  # a connection that has seen nothing of the write
        assert client.call("BLPOP", "nothing", "0.01") is None
    assert client.call("SET", "a", "1") == "OK" and client.call("WAIT", "1", "5000") == 1
    replica.stop()
    assert client.call("SET", "a", "2") == "OK"
    assert client.call("WAIT", "1", "100") == 0, "the replica has not got it"
    replica.cont()
    assert client.call("WAIT", "1", "5000") == 1


@pytest.mark.parametrize("kill", ["SCRIPT KILL", "FUNCTION KILL"])
def test_a_script_is_killed_from_beside_it(kill, start_redis, start_sidecar):
    """On the one link there is, the command would stand behind the script."""
    redis = start_redis(settings=["--lua-time-limit", "50"])
    sidecar = start_sidecar(redis={"url": redis.url, "connections": 1, "timeout": "20s"}, maps={},
                            server={"threads": 1})
    runner, killer = sidecar.client(timeout=20), sidecar.client(timeout=20)
    if kill == "SCRIPT KILL":
        runner.send("EVAL", "while true do end", "0")
    else:
        assert runner.call("FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', "
                           "function() while true do end end)") == b"l"
        runner.send("FCALL", "f", "0")
    eventually(lambda: str(redis.call("GET", "x")).startswith("BUSY"), what="busy")
    for _ in range(6):  # until it counts as down, too
        sidecar.client().call("MULTI")
    assert killer.call(*kill.split()) == "OK"
    assert "killed" in runner.read()
    eventually(lambda: killer.call("GET", "x") is None)


@pytest.mark.parametrize("change", ["RESET", "HELLO 2"])
def test_who_changes_the_protocol_still_reads_what_it_has_written(change, redis, start_sidecar):
    """The reads go over other connections to Redis than the write that is still under way."""
    sidecar = start_sidecar(redis={"url": redis.url}, cache={"keys": "nothing"})
    with sidecar.client(protocol=3) as client, sidecar.client() as other:
        assert client.call("SET", "k", "old") == "OK"
        assert other.call("GET", "k") == b"old"  # that connection stands
        redis.call("CLIENT", "PAUSE", "300", "WRITE")  # not through the sidecar: it does not know
        answers = client.pipeline([("SET", "k", "new"), change.split(), ("GET", "k"), ("MGET", "k")])
        assert answers[0] == "OK" and answers[2:] == [b"new", [b"new"]]
