"""The protocol as Redis speaks it, compared with a real one byte by byte."""

import threading

import pytest

import resp
from backends import Redis
from resp import encode
from sidecar import Sidecar

PING = encode("PING")

MALFORMED = {
    "negative bulk length": b"*1\r\n$-5\r\n",
    "negative count": b"*-5\r\n" + PING,
    "count zero": b"*0\r\n" + PING,
    "count minus one": b"*-1\r\n" + PING,
    "empty line": b"\r\n" + PING,
    "huge bulk length": b"*1\r\n$999999999999\r\n",
    "overflowing bulk length": b"*1\r\n$99999999999999999999999\r\n",
    "huge count": b"*2147483648\r\n",
    "overflowing count": b"*99999999999999999999999\r\n",
    "count not a number": b"*abc\r\n",
    "count with junk": b"*1x\r\n$4\r\nPING\r\n",
    "count with a space": b"* 1\r\n$4\r\nPING\r\n",
    "count with a plus": b"*+1\r\n$4\r\nPING\r\n",
    "bulk length not a number": b"*1\r\n$abc\r\n",
    "bulk length with junk": b"*1\r\n$4x\r\nPING\r\n",
    "empty count": b"*\r\n" + PING,
    "empty bulk length": b"*1\r\n$\r\n",
    "not a bulk string": b"*1\r\n4PING\r\n",
    "an integer for a bulk string": b"*1\r\n:4\r\n",
    "an array for a bulk string": b"*1\r\n*1\r\n$4\r\nPING\r\n",
    "second word broken": b"*2\r\n$4\r\nECHO\r\nhello\r\n",
    "missing line end after a word": b"*1\r\n$4\r\nPINGxx" + PING,
    "good commands before a bad one": PING * 3 + b"*1\r\n$-2\r\n" + PING,
    "a bad one behind a transaction": encode("MULTI") + encode("GET", "a") + encode("EXEC") + b"*1\r\n!\r\n",
    "a quote left open in a transaction": encode("MULTI") + encode("GET", "a") + b"GET 'open\r\n",
    "an empty command is skipped, too": encode("CLIENT", "REPLY", "SKIP") + b"\r\n" + PING,
    "an empty array is skipped, too": encode("CLIENT", "REPLY", "SKIP") + b"*0\r\n" + PING,
    "empty command": b"*1\r\n$0\r\n\r\n",
    "zero byte in the command": b"*1\r\n$5\r\nPI\0NG\r\n",
    "line end in an unknown command": b"*1\r\n$6\r\nA\r\nB\r\n\r\n",
    "unknown command": encode("NOSUCH", "one", "two"),
    "unknown command with long words": encode("N" * 200, "w" * 200, "w" * 200),
    "unknown subcommand": encode("CONFIG", "NOSUCH"),
    "wrong number of words": encode("GET") + encode("GET", "a", "b") + encode("SET", "a"),
    "inline": b"PING\r\n",
    "inline with only a newline": b"PING\nPING\n",
    "inline with spaces": b"   PING   \r\n",
    "inline of spaces": b"    \r\n" + PING,
    "inline with quotes": b'ECHO "a b"\r\nECHO \'a b\'\r\n',
    "inline with escapes": b'ECHO "\\x41\\n\\t\\"\\\\"\r\nECHO \'it\\\'s\'\r\n',
    "inline unknown": b"NOSUCH a b\r\n",
    "inline, double quote left open": b'SET a "open\r\n',
    "inline, single quote left open": b"SET a 'open\r\n",
    "inline, text behind a quote": b'SET a "x"y\r\n',
    "inline bulk header": b"$4\r\nPING\r\n",
    "inline too long": b"A" * (65 * 1024),
    "count line too long": b"*" + b"1" * (65 * 1024),
    "bulk line too long": b"*1\r\n$" + b"1" * (65 * 1024),
    "http get": b"GET / HTTP/1.1\r\n\r\n",
    "http post": b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "http host": b"Host: localhost\r\n",
    "nothing but a star": b"*",
    "zeros": b"\0\0\0\0\r\n",
}


@pytest.fixture(scope="module")
def start_pair(session):
    """start_pair(password) -> (sidecar, redis), the same pair for all of this file."""
    started = {}

    def start(password=None):
        if password not in started:
            redis = Redis(session, password=password).start()
            sidecar = Sidecar(session, redis={"url": redis.url},
                              listen={"password": password} if password else {}).start()
            started[password] = sidecar, redis
            sidecar.wait_backend("redis", True)
        return started[password]

    yield start
    for sidecar, redis in started.values():
        try:
            sidecar.finish()
        finally:
            redis.end()


def what_it_answers(address, data, patience):
    client = resp.Client(address)
    try:
        client.send_raw(data)
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        return client.read_to_end(patience)
    finally:
        client.close()


def compare(sidecar, redis, data):
    def ask_both(patience):
        answers = {}

        def ask(name, address):
            answers[name] = what_it_answers(address, data, patience)
        threads = [threading.Thread(target=ask, args=pair) for pair in
                   (("sidecar", sidecar.address), ("redis", redis.socket_path()))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers["sidecar"], answers["redis"]
    for patience in (0.1, 1.0, 4.0):  # what differs is perhaps only too late
        ours, theirs = ask_both(patience)
        if ours == theirs:
            break
    assert ours == theirs


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_input_is_answered_as_redis_does(name, start_pair):
    sidecar, redis = start_pair()
    compare(sidecar, redis, MALFORMED[name])
    assert sidecar.call("PING") == "PONG"


@pytest.mark.parametrize("data", [
    b"*11\r\n", b"*1\r\n$16385\r\n", PING, encode("GET", "a"), encode("AUTH", "wrong"),
    encode("AUTH", "default", "wrong"), encode("AUTH", "nobody", "secret"), encode("AUTH"),
    encode("AUTH", "default", "secret") + PING, encode("AUTH", "secret") + PING,
    encode("AUTH", "a", "b", "c"),
    encode("HELLO", 3, "AUTH", "default", "wrong"), encode("QUIT"), encode("RESET"),
    encode("CLIENT", "ID"), encode("INFO"), encode("MULTI"),
], ids=lambda data: repr(data)[2:30])
def test_without_the_password_the_listener_answers_as_redis_does(data, start_pair):
    compare(*start_pair("secret"), data)


@pytest.mark.parametrize("words", [
    ("HELLO", "4"), ("HELLO", "1"), ("HELLO", "abc"), ("HELLO", "-3"), ("HELLO", "3", "BAD"),
    ("HELLO", "3", "AUTH", "x"), ("HELLO", "3", "SETNAME"), ("HELLO", "3", "SETNAME", "a b"),
    ("ECHO",), ("ECHO", "a", "b"), ("PING", "a"), ("PING", "a", "b"), ("SELECT", "x"),
    ("SELECT", "-1"), ("SELECT", "99"), ("SELECT",), ("AUTH", "x"), ("AUTH", "default", "x"),
    ("CLIENT", "SETNAME", "a b"), ("CLIENT", "NOSUCH"), ("CLIENT",), ("CLIENT", "GETNAME"),
    ("CLIENT", "KILL", "ID", "x"), ("CLIENT", "KILL", "1.2.3.4:5"), ("CLIENT", "REPLY", "x"),
    ("CLIENT", "NO-EVICT", "x"), ("CLIENT", "NO-EVICT", "on"), ("QUIT",), ("RESET",),
], ids=" ".join)
def test_commands_of_the_connection_answer_as_redis_does(words, start_pair):
    compare(*start_pair(), encode(*words))


def test_hello_changes_the_protocol_both_ways(sidecar):
    client = sidecar.client()
    greeting = client.call("HELLO", 3)
    assert greeting[b"proto"] == 3
    assert set(greeting) >= {b"server", b"version", b"proto", b"id", b"mode", b"role", b"modules"}
    assert client.raw("GET", "no-such-key") == b"_\r\n"
    flat = client.call("HELLO", 2)
    assert dict(zip(flat[::2], flat[1::2]))[b"proto"] == 2
    assert client.raw("GET", "no-such-key") == b"$-1\r\n"
    assert client.call("HELLO", 4).startswith("NOPROTO")
    assert client.raw("GET", "no-such-key") == b"$-1\r\n", "a refused HELLO changed the protocol"


def test_both_protocols_get_a_cached_missing_row_in_their_own_way(sidecar):
    two, three = sidecar.client(), sidecar.client(protocol=3)
    for _ in range(2):
        assert two.raw("GET", "plan:99999") == b"$-1\r\n"
        assert three.raw("GET", "plan:99999") == b"_\r\n"


def test_hello_without_the_password_is_refused(start_pair):
    """Its words differ between versions of Redis."""
    sidecar, _ = start_pair("secret")
    for version in (2, 3):
        assert sidecar.client().call("HELLO", version).startswith(
            "NOAUTH HELLO must be called with the client already authenticated")


def test_10000_commands_in_one_pipeline_are_answered_in_order(
        redis, pgbouncer, plans, start_sidecar):
    """Patient, because this is about order: 10,000 commands at once take Redis a while."""
    sidecar = start_sidecar(
        redis={"url": redis.url, "budget": "10s", "timeout": "20s"}, ladder={"deadline": "20s"},
        postgres={"url": pgbouncer.url, "budget": "10s"})
    commands, expected = [], []
    for number in range(10_000):
        kind = number % 5
        if kind == 0:
            commands.append(("ECHO", f"e{number}"))
            expected.append(b"e%d" % number)
        elif kind == 1:
            commands.append(("GET", f"plan:{number % 300 + 1}"))
            expected.append(plans.bytes(number % 300 + 1))
        elif kind == 2:
            commands.append(("SET", f"key:{number}", f"v{number}"))
            expected.append("OK")
        elif kind == 3:
            commands.append(("GET", f"key:{number - 1}"))
            expected.append(b"v%d" % (number - 1))
        else:
            commands.append(("STRLEN", f"key:{number - 2}"))
            expected.append(len(f"v{number - 2}"))
    client = sidecar.client(timeout=20)
    data = b"".join(encode(*words) for words in commands)
    sender = threading.Thread(target=client.send_raw, args=(data,))
    sender.start()
    got = [client.read() for _ in commands]
    sender.join()
    wrong = [(words, reply) for words, reply, want in zip(commands, got, expected) if reply != want]
    assert not wrong, wrong[:5]


def test_a_client_that_asks_10000_things_at_once_does_not_make_redis_count_as_down(sidecar):
    """It is this client that is slow, not Redis."""
    client = sidecar.client(timeout=20)
    data = b"".join(encode("SET", f"key:{number}", "x") for number in range(10_000))
    for _ in range(3):
        sender = threading.Thread(target=client.send_raw, args=(data,))
        sender.start()
        replies = [client.read() for _ in range(10_000)]
        sender.join()
        assert replies.count("OK") == 10_000, [reply for reply in replies if reply != "OK"][:3]


def test_a_command_that_arrives_byte_by_byte(sidecar, plans):
    client = sidecar.client()
    for byte in encode("GET", "plan:20") + b"ECHO hi\r\n":
        client.send_raw(bytes([byte]))
    assert client.read() == plans.bytes(20)
    assert client.read() == b"hi"


def test_commands_cut_at_any_place_in_the_stream(sidecar, plans):
    stream = encode("GET", "plan:20") + encode("SET", "k", "a\r\nb") + encode("GET", "k")
    sidecar.get("plan:20")
    client = sidecar.client()
    for cut in range(1, len(stream)):
        client.send_raw(stream[:cut])
        client.send_raw(stream[cut:])
        assert [client.read() for _ in range(3)] == [plans.bytes(20), "OK", b"a\r\nb"]


def test_keys_and_values_are_bytes(sidecar, redis):
    key, value = bytes(range(256)), bytes(range(255, -1, -1)) * 3
    assert sidecar.call("SET", key, value) == "OK"
    assert redis.call("GET", key) == value
    assert sidecar.get(key) == value
    assert sidecar.get(key) == value


def test_commands_are_known_in_any_case(sidecar, plans):
    assert sidecar.call("gEt", "plan:20") == plans.bytes(20)
    assert sidecar.call("sidecar", "get", "plan:20")[1] == b"memory"
    assert sidecar.call("ping") == "PONG"
