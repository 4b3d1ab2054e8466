"""What memory answers, in the same order and with the same words as what it does not."""

import os
import random
import signal
import socket
import struct

import pytest

import resp
from processes import eventually
from sidecar import slowness


@pytest.fixture
def sidecar(redis, start_sidecar):
    return start_sidecar(redis={"url": redis.url}, cache={"coherence": "ttl", "max_value": "2mb"},
                         maps={}, server={"threads": 1})


def fill(sidecar, redis, values):
    """In Redis, and by reading them in memory."""
    with redis.client() as client:
        client.pipeline([("SET", key, value) for key, value in values.items()])
    with sidecar.client() as client:
        assert client.pipeline([("GET", key) for key in values]) == list(values.values())
    before = redis.commands_seen().get("get", 0)
    with sidecar.client() as client:
        assert client.pipeline([("GET", key) for key in values]) == list(values.values())
    assert redis.commands_seen().get("get", 0) == before, "they are in memory"
    turn_over(sidecar)


def plain(count, size=100):
    return {f"k:{number}": b"%d " % number * size for number in range(count)}


@pytest.mark.parametrize("protocol", [2, 3])
def test_hits_misses_and_other_commands_are_answered_in_order(protocol, sidecar, redis):
    values = plain(200)
    fill(sidecar, redis, values)
    dice = random.Random(7)
    for _ in range(20):
        commands, expected = [], []
        for number in range(300):
            kind = dice.random()
            key = f"k:{dice.randrange(200)}"
            if kind < 0.9:
                commands.append((dice.choice(["GET", "get", "Get"]), key))
                expected.append(values[key])
            elif kind < 0.93:
                commands.append(("GET", f"none:{dice.random()}"))
                expected.append(None)
            elif kind < 0.96:
                commands.append(("ECHO", f"e{number}"))
                expected.append(b"e%d" % number)
            else:
                commands.append(("MGET", key, "k:1", "none"))
                expected.append([values[key], values["k:1"], None])
        with sidecar.client(protocol=protocol) as client:
            assert client.pipeline(commands) == expected


def test_a_write_in_a_pipeline_is_read_by_those_behind_it(sidecar, redis):
    fill(sidecar, redis, plain(40))
    with sidecar.client() as client:
        for turn in range(10):
            answers = client.pipeline(
                [("GET", f"k:{number}") for number in range(40)] + [("SET", "k:1", f"new {turn}")] +
                [("GET", "k:1")] * 40)
            assert answers[41:] == [b"new %d" % turn] * 40


def test_pieces_of_any_size_are_the_same_commands(sidecar, redis):
    values = plain(50, size=1)
    fill(sidecar, redis, values)
    whole = b"".join(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key.encode()) for key in values)
    expected = b"".join(b"$%d\r\n%s\r\n" % (len(value), value) for value in values.values())
    for size in (1, 7, 22, 64, 1000):
        with sidecar.client() as client:
            for at in range(0, len(whole), size):
                client.socket.sendall(whole[at:at + size])
            got = b""
            while len(got) < len(expected):
                got += client.socket.recv(65536)
            assert got == expected, size


def test_large_values_and_a_reader_that_does_not_read(sidecar, redis):
    values = {f"k:{size}": bytes([65 + size % 26]) * size for size in
              (0, 1, 4095, 4096, 4097, 100_000, 1_500_000)}
    fill(sidecar, redis, values)
    with sidecar.client(timeout=30) as client:
        assert client.pipeline([("GET", key) for key in values] * 20) == list(values.values()) * 20
        assert client.call("MGET", *values) == list(values.values())


def get(key):
    return b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key.encode())


def test_large_values_wait_for_their_reader_as_references(redis, start_sidecar):
    """900 answers of 100 KB, read late; meanwhile the value is another one."""
    sidecar = start_sidecar(redis={"url": redis.url}, server={"threads": 1},
                            listen={"output_limit": "200mb"}, cache={"coherence": "ttl"})
    large = os.urandom(100_000)
    fill(sidecar, redis, {"large": large, "small": b"s"})
    before = sidecar.memory_bytes()
    with sidecar.client(timeout=30) as client, sidecar.client() as other:
        client.socket.sendall((get("large") + get("small")) * 900)
        eventually(lambda: sidecar.metrics().sum("sidecar_answers_total", rung="memory") >= 1800,
                   what="all are answered")
        if slowness() == 1:
            assert sidecar.memory_bytes() - before < 20 << 20, "of 90 MB"
        assert other.call("SET", "large", "new") == "OK"
        assert other.call("GET", "large") == b"new"
        for _ in range(900):
            assert client.read() == large
            assert client.read() == b"s"
        assert client.call("GET", "large") == b"new"


def test_who_reads_no_large_values_is_asked_for_no_more_and_may_leave(sidecar, redis):
    fill(sidecar, redis, {"large": b"x" * 500_000})
    for _ in range(3):
        with sidecar.client() as client:
            asked = sidecar.metrics().sum("sidecar_answers_total", rung="memory")
            client.socket.sendall(get("large") * 400)
            with sidecar.client() as other:
                assert other.call("GET", "large") == b"x" * 500_000
            answered = sidecar.metrics().sum("sidecar_answers_total", rung="memory") - asked
            assert answered < 60, "8 MB may wait for it, and what its socket takes"
    with sidecar.client() as client:
        assert client.pipeline([("GET", "large")] * 40) == [b"x" * 500_000] * 40


def test_room_for_a_burst_of_large_replies_is_given_back(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, server={"threads": 1}, cache={"coherence": "ttl"})
    fill(sidecar, redis, {"k": b"v" * 16_000})
    before = sidecar.memory_bytes()
    with sidecar.client(timeout=30) as client:
        for _ in range(3):
            assert client.pipeline([("GET", "k")] * 400) == [b"v" * 16_000] * 400
        if slowness() == 1:
            eventually(lambda: sidecar.memory_bytes() - before < 2 << 20, what="it is given back")


def test_an_mget_of_many_is_whole_whether_memory_has_all_or_one_is_missing(sidecar, redis):
    values = plain(1000, size=3)
    fill(sidecar, redis, values)
    with sidecar.client() as client:
        for keys in (["k:1"], list(values), ["k:1"] * 33 + ["none"], ["none"], ["none"] * 40):
            assert client.call("MGET", *keys) == [values.get(key) for key in keys]


def test_a_denied_get_is_denied_though_memory_has_it(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, maps={}, cache={"coherence": "ttl"})
    redis.call("SET", "k", "v")
    with sidecar.client() as client:
        assert client.pipeline([("GET", "k")] * 2) == [b"v"] * 2
        sidecar.sections["commands"] = {"deny": "GET"}
        sidecar.write_file()
        os.kill(sidecar.pid, signal.SIGHUP)
        eventually(lambda: str(client.call("GET", "k")).startswith("NOPERM"), what="NOPERM")
        assert [str(answer) for answer in client.pipeline([("GET", "k")] * 2)] == [
            "NOPERM this sidecar denies GET ([commands] deny)"] * 2


def test_a_client_that_wants_no_replies_gets_none_from_memory(sidecar, redis):
    fill(sidecar, redis, plain(3))
    with sidecar.client() as client:
        client.socket.sendall(b"CLIENT REPLY SKIP\r\n*2\r\n$3\r\nGET\r\n$3\r\nk:0\r\n"
                              b"*2\r\n$3\r\nGET\r\n$3\r\nk:1\r\n")
        assert client.read() == plain(3)["k:1"]
        client.socket.sendall(b"CLIENT REPLY OFF\r\n*2\r\n$3\r\nGET\r\n$3\r\nk:0\r\n"
                              b"CLIENT REPLY ON\r\n")
        assert client.read() == "OK"


def test_every_hit_is_counted_once_also_in_pipelines_and_in_mget(sidecar, redis):
    fill(sidecar, redis, plain(100))
    before = sidecar.metrics()
    with sidecar.client() as client:
        client.pipeline([("GET", f"k:{number}") for number in range(100)] * 10)
        client.call("GET", "k:1")
        client.call("MGET", *[f"k:{number}" for number in range(50)])
    turn_over(sidecar)
    after = sidecar.metrics()

    def grown(name, **labels):
        return after.sum(name, **labels) - before.sum(name, **labels)

    assert grown("sidecar_answers_total", rung="memory") == 1051
    assert grown("sidecar_request_seconds_count", rung="memory") == 1051
    assert grown("sidecar_cache_hits_total") == 1051
    assert grown("sidecar_cache_misses_total") == 0
    assert grown("sidecar_requests_total", **{"class": "read"}) == 1002


def test_a_hash_in_an_mget_is_nil_and_no_hit(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, cache={"coherence": "ttl"}, limits={"per_user": "0"},
                            server={"threads": 1}, maps={"hash": {"key": "h:{id}", "type": "hash", "free": "{}",
                                           "query": "SELECT $1::text[]"}})
    redis.call("HSET", "h:1", "field", "value")
    fill(sidecar, redis, plain(3))
    before = sidecar.metrics()
    with sidecar.client() as client:
        assert client.call("MGET", "h:1", "k:1", "h:1", "h:2") == [None, plain(3)["k:1"], None, None]
    turn_over(sidecar)
    after = sidecar.metrics()
    for name, labels in (("sidecar_cache_hits_total", {}), ("sidecar_answers_total", {"rung": "memory"}),
                         ("sidecar_request_seconds_count", {"rung": "memory"})):
        assert after.sum(name, **labels) - before.sum(name, **labels) == 1, name


def test_an_idle_connection_costs_little_and_gives_back_what_a_burst_took(redis, start_sidecar):
    """As its own memory grows; a first crowd has set up what is common to all."""
    sidecar = start_sidecar(redis={"url": redis.url}, maps={}, server={"threads": 1},
                            cache={"coherence": "ttl"})
    values = plain(64, size=400)
    fill(sidecar, redis, values)

    def crowd(count):
        clients = [sidecar.client() for _ in range(count)]
        for client in clients:
            assert client.call("PING") == "PONG"
        return clients

    first = crowd(300)
    before = sidecar.memory_bytes()
    clients = crowd(1500)
    if slowness() == 1:  # sanitizers take more, and keep what was freed. Measured: 340 bytes
        assert sidecar.memory_bytes() - before < 1500 * 450

    for client in clients[:200]:  # a command in two pieces, and a long reply from Redis
        for key in values:
            client.send("GET", key)
        client.send_raw(b"*2\r\n$3\r\nGET\r\n$3\r\nk")
    for client in clients[:200]:
        client.send_raw(b":1\r\n")
        assert [client.read() for _ in range(65)] == [*values.values(), values["k:1"]]
        client.call("GETSET", "w", b"x" * 15_000)
    if slowness() == 1:
        eventually(lambda: sidecar.memory_bytes() - before < 1500 * 450 + 1_000_000,
                   what="what the burst took given back")
    assert sidecar.metric("sidecar_clients") >= 1800
    for client in first + clients:
        client.close()


def at_once(sidecar, sent):
    """Each (client, bytes) is there before the sidecar looks: one turn of its loop."""
    sidecar.stop()
    for client, data in sent:
        client.send_raw(data)
    sidecar.cont()


def turn_over(sidecar):
    """Until all that its one thread has answered is counted, too: answers go out first."""
    with sidecar.client() as client:
        assert client.call("PING") == "PONG"


def test_many_clients_in_one_turn_get_each_its_own_answer(sidecar, redis):
    """Hits wait for each other within a turn: what is asked beside them is not mixed up with them."""
    values = plain(60, size=3)
    fill(sidecar, redis, values)
    clients = [sidecar.client() for _ in range(60)]
    try:
        for turn in range(5):
            sent, expected = [], []
            for number, client in enumerate(clients):
                key = f"k:{(number * 7 + turn) % 60}"
                words, answer = {
                    0: (("GET", f"none:{turn}"), [None]),
                    1: (("SET", f"other:{number}", "x"), ["OK"]),
                    2: (("MGET", key, "none"), [[values[key], None]]),
                    3: (("ECHO", "e"), [b"e"]),
                }.get(number % 11, (("GET", key), [values[key]]))
                data = resp.encode(*words)
                if number % 11 == 4:
                    data, answer = data * 3, answer * 3
                if number % 11 == 5:
                    data = data[:-4]
                sent.append((client, data))
                expected.append((answer, resp.encode(*words)[len(data):] if number % 11 == 5 else b""))
            at_once(sidecar, sent)
            for client, (answers, rest) in zip(clients, expected):
                if rest:
                    client.send_raw(rest)
                assert [client.read() for _ in answers] == answers
    finally:
        for client in clients:
            client.close()


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def test_clients_that_go_within_the_turn_take_nobody_along(sidecar, redis):
    """A reset, a half close and CLIENT KILL, all between the GET and its answer."""
    values = plain(40, size=3)
    fill(sidecar, redis, values)
    clients = [sidecar.client() for _ in range(40)]
    ids = [client.call("CLIENT", "ID") for client in clients]
    sidecar.stop()
    for number, client in enumerate(clients):
        if number == 15:
            client.send_raw(b"".join(resp.encode("CLIENT", "KILL", "ID", str(ids[other]))
                                     for other in (3, 30)))
            continue
        client.send_raw(resp.encode("GET", f"k:{number}"))
        if number % 10 == 7:
            reset(client)
        elif number % 10 == 8:
            client.half_close()
    sidecar.cont()
    assert [clients[15].read(), clients[15].read()] == [1, 1]
    for number, client in enumerate(clients):
        if number in (3, 30):
            assert client.is_closed()
        elif number % 10 != 7 and number != 15:
            assert client.read() == values[f"k:{number}"]
    for number in (8, 18, 28, 38):
        assert clients[number].is_closed()
    for client in clients:
        client.close()
    with sidecar.client() as client:
        assert client.call("GET", "k:1") == values["k:1"]
    eventually(lambda: sidecar.metric("sidecar_clients") == 0, 5, what="all have gone")


def test_a_drain_answers_who_is_waiting_in_its_turn(sidecar, redis):
    values = plain(30, size=3)
    fill(sidecar, redis, values)
    clients = [sidecar.client() for _ in range(30)]
    sidecar.stop()
    for number, client in enumerate(clients):
        client.send_raw(resp.encode("GET", f"k:{number}"))
    os.kill(sidecar.pid, signal.SIGTERM)
    sidecar.cont()
    for number, client in enumerate(clients):
        assert client.read() == values[f"k:{number}"]
        assert client.is_closed()
        client.close()


def test_hits_of_one_turn_count_each(sidecar, redis):
    values = plain(20, size=3)
    fill(sidecar, redis, values)
    clients = [sidecar.client() for _ in range(20)]
    before = sidecar.metrics()
    at_once(sidecar, [(client, resp.encode("GET", f"k:{number}")) for number, client in enumerate(clients)])
    for number, client in enumerate(clients):
        assert client.read() == values[f"k:{number}"]
        client.close()
    turn_over(sidecar)
    after = sidecar.metrics()
    for name, labels in (("sidecar_cache_hits_total", {}), ("sidecar_requests_total", {"class": "read"}),
                         ("sidecar_answers_total", {"rung": "memory"}),
                         ("sidecar_request_seconds_count", {"rung": "memory"})):
        assert after.sum(name, **labels) - before.sum(name, **labels) == 20, name


def is_refusal(reply):
    return isinstance(reply, resp.Error) and reply.startswith("RATELIMITED")


@pytest.fixture
def limited(redis, start_sidecar):
    """A sidecar of one thread, five reads a minute of a `plan:` key, and what both kinds of keys hold in
    memory: filling it took two of the five."""
    sidecar = start_sidecar(redis={"url": redis.url}, server={"threads": 1}, limits={"per_user": "5/min"},
                            cache={"coherence": "ttl", "max_value": "2mb"})
    values = {**plain(20, size=3), "k:large": b"L" * 100_000,
              **{f"plan:{number}": b"plan %d" % number for number in range(12)}}
    fill(sidecar, redis, values)
    return sidecar, values


@pytest.mark.parametrize("seed", range(3))
def test_who_is_over_its_limit_is_refused_in_its_place_among_hits(seed, limited):
    sidecar, values = limited
    dice = random.Random(seed)
    left = {key: 3 for key in values if key.startswith("plan:")}
    hits = sidecar.metric("sidecar_cache_hits_total")
    answered = refused = 0
    with sidecar.client() as client:
        for _ in range(6):
            # Most of a burst: of all kinds, of one user, or nobody's who counts.
            keys = dice.choice([list(values) + ["none"], list(left), ["plan:0"], ["k:1", "k:large", "none"]])
            asked = [dice.choice(keys if dice.random() < 0.9 else list(values)) for _ in range(70)]
            for key, reply in zip(asked, client.pipeline([("GET", key) for key in asked])):
                if left.get(key) == 0:
                    assert is_refusal(reply), key
                    refused += 1
                    continue
                assert reply == values.get(key), key
                left[key] = left.get(key, 0) - 1
                answered += key in values
    turn_over(sidecar)
    assert sidecar.metric("sidecar_limited_total", scope="per_user") == refused > 0
    assert sidecar.metric("sidecar_cache_hits_total") - hits >= answered, "and what is known not to be there"


def test_of_many_in_one_turn_each_user_gets_what_is_left(limited):
    sidecar, values = limited
    clients = [sidecar.client() for _ in range(60)]
    hits = sidecar.metric("sidecar_cache_hits_total")
    asked = [("plan:1", "plan:2", "k:3", "k:large")[number % 4] for number in range(60)]
    at_once(sidecar, [(client, resp.encode("GET", key)) for client, key in zip(clients, asked)])
    answered, refused = {}, 0
    for client, key in zip(clients, asked):
        reply = client.read()
        if is_refusal(reply):
            refused += 1
            assert key in ("plan:1", "plan:2")
            continue
        assert reply == values[key]
        answered[key] = answered.get(key, 0) + 1
    turn_over(sidecar)
    assert answered == {"plan:1": 3, "plan:2": 3, "k:3": 15, "k:large": 15}
    assert sidecar.metric("sidecar_limited_total", scope="per_user") == refused
    assert sidecar.metric("sidecar_cache_hits_total") - hits == 36
    assert [client.call("PING") for client in clients] == ["PONG"] * 60
    for client in clients:
        client.close()


def test_who_was_refused_is_served_again_when_its_time_has_come(redis, start_sidecar):
    """Alone, in a pipeline, and for another key that does not count."""
    sidecar = start_sidecar(redis={"url": redis.url}, server={"threads": 1}, cache={"coherence": "ttl"},
                            limits={"per_user": "200/min"})
    fill(sidecar, redis, {"plan:1": b"one", "k:1": b"k"})
    lone, many = sidecar.client(), sidecar.client()
    for client, count in ((lone, 1), (many, 4)):
        replies = []
        while not replies or not is_refusal(replies[-1]):
            replies += client.pipeline([("GET", "plan:1")] * count)
            assert len(replies) < 100
        assert client.call("GET", "k:1") == b"k"
    eventually(lambda: lone.call("GET", "plan:1") == b"one", 5, every=0.35, what="one in 300 ms")
    eventually(lambda: many.pipeline([("GET", "plan:1"), ("GET", "k:1")]) == [b"one", b"k"], 5, every=0.35)


def test_who_is_refused_is_owed_no_more_than_others_before_it_is_read_for(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, server={"threads": 1}, limits={"per_user": "5/min"},
                            listen={"output_limit": "64kb"}, cache={"coherence": "ttl", "max_value": "2mb"})
    fill(sidecar, redis, {"k:large": b"L" * 1_500_000, "plan:1": b"plan"})
    answered = sidecar.metric("sidecar_cache_hits_total")
    with sidecar.client(timeout=30) as client:
        client.socket.sendall(get("plan:1") * 4 + get("k:large") * 28)
        with sidecar.client() as other:
            assert other.call("PING") == "PONG"
        assert sidecar.metric("sidecar_cache_hits_total") - answered < 3 + 14, "its socket takes some MB"
        assert [client.read() for _ in range(3)] == [b"plan"] * 3
        assert is_refusal(client.read())
        for _ in range(28):
            assert client.read() == b"L" * 1_500_000
