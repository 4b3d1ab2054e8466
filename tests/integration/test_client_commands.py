"""CLIENT, HELLO, AUTH and RESET: about the sidecar's own clients, on whichever
thread they are, in the words of the real Redis that runs beside it."""

import re
import time

import pytest

import resp
from processes import eventually
from resp import encode

PROTOCOLS = pytest.mark.parametrize("protocol", (2, 3))

FIELDS = ("id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem "
          "multi-mem rbs rbp obl oll omem tot-mem events cmd user redir resp").split()


@pytest.fixture
def proxy(start_sidecar, redis):
    """Two threads, so that clients in a row are on different ones; one link each."""
    return start_sidecar(maps={}, redis={"url": redis.url, "connections": 1})


def direct(redis, **options):
    return resp.Client(("127.0.0.1", redis.port), **options)


def lines(reply):
    assert isinstance(reply, bytes), reply
    text = reply.decode().removeprefix("txt:")
    return [dict(word.split("=", 1) for word in line.split(" ")) for line in text.splitlines()]


def listed(client, *words):
    return lines(client.call("CLIENT", "LIST", *words))


def own(client):
    return client.call("CLIENT", "ID")


def of(asker, client_id):
    """What LIST says of one client."""
    found = listed(asker, "ID", client_id)
    assert len(found) == 1, found
    return found[0]


def is_closed(client):
    try:
        return client.socket.recv(1) == b""
    except ConnectionResetError:
        return True


def conversation(client, script):
    """Everything that comes back for "A;B c;D", sent at once, as bytes."""
    end = b"the-end-of-it"
    words = [line.split() for line in script.split(";")]
    client.send_raw(b"".join(encode(*line) for line in words + [["CLIENT", "REPLY", "ON"],
                                                               ["ECHO", end]]))
    said = b""
    while not said.endswith(end + b"\r\n"):
        try:
            chunk = client.socket.recv(65536)
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            return said + b"<closed>"
        said += chunk
    return said


# What is answered alike, byte for byte

SMALL = """CLIENT
CLIENT FOO
CLIENT FOO BAR
CLIENT HELP x
CLIENT ID 1
CLIENT INFO x
CLIENT LIST TYPE foo
CLIENT LIST TYPE
CLIENT LIST TYPE replica
CLIENT LIST TYPE slave
CLIENT LIST TYPE master
CLIENT LIST TYPE pubsub
CLIENT LIST ID
CLIENT LIST ID abc
CLIENT LIST ID 0
CLIENT LIST ID 999999
CLIENT LIST FOO
CLIENT LIST TYPE normal ID 3
CLIENT KILL
CLIENT KILL foo
CLIENT KILL 1.2.3.4:5
CLIENT KILL ID
CLIENT KILL ID abc
CLIENT KILL ID 0
CLIENT KILL ID -1
CLIENT KILL ID 999999
CLIENT KILL FOO 1
CLIENT KILL TYPE foo
CLIENT KILL TYPE replica
CLIENT KILL USER foo
CLIENT KILL USER default SKIPME foo
CLIENT KILL SKIPME maybe
CLIENT KILL ADDR 1.2.3.4:5
CLIENT KILL LADDR 1.2.3.4:5
CLIENT KILL ID 999999 ADDR
CLIENT NO-EVICT ON
CLIENT NO-EVICT off
CLIENT NO-EVICT foo
CLIENT NO-EVICT
CLIENT REPLY foo
CLIENT REPLY
CLIENT REPLY ON
CLIENT SETNAME
CLIENT SETNAME a b
CLIENT SETNAME abc
CLIENT GETNAME
CLIENT SETNAME \u00e9
CLIENT GETNAME
CLIENT GETNAME x
CLIENT UNBLOCK
CLIENT UNBLOCK abc
CLIENT UNBLOCK 999999
CLIENT UNBLOCK 999999 FOO
CLIENT UNBLOCK 999999 TIMEOUT x
CLIENT GETREDIR
CLIENT GETREDIR x
CLIENT TRACKINGINFO
CLIENT TRACKING
CLIENT TRACKING foo
CLIENT TRACKING ON
CLIENT TRACKINGINFO
CLIENT TRACKING ON REDIRECT
CLIENT TRACKING ON REDIRECT abc
CLIENT TRACKING ON REDIRECT 999999
CLIENT TRACKING ON REDIRECT 1 REDIRECT 1
CLIENT TRACKING ON BCAST PREFIX a PREFIX b NOLOOP
CLIENT TRACKING OFF
CLIENT TRACKING ON BCAST PREFIX a PREFIX b NOLOOP
CLIENT TRACKINGINFO
CLIENT GETREDIR
CLIENT TRACKING OFF
CLIENT GETREDIR
CLIENT CACHING yes
CLIENT CACHING
CLIENT PAUSE
CLIENT PAUSE abc
CLIENT PAUSE -1
CLIENT PAUSE 0 foo
CLIENT PAUSE 0 ALL
CLIENT PAUSE 0 ALL x
CLIENT UNPAUSE
CLIENT UNPAUSE x
HELLO 4
HELLO abc
HELLO 3 FOO
HELLO 3 SETNAME
HELLO 3 SETNAME \u00e9
HELLO 3 AUTH default
HELLO 3 AUTH foo x
AUTH
AUTH x
AUTH default x
AUTH foo x
AUTH a b c
RESET x
RESET
CLIENT GETNAME""".splitlines()


@PROTOCOLS
def test_small_answers_and_errors_are_those_of_redis(redis, proxy, protocol):
    theirs, ours = direct(redis, protocol=protocol), proxy.client(protocol=protocol)
    for line in SMALL:
        assert ours.raw(*line.split()) == theirs.raw(*line.split()), line


@PROTOCOLS
def test_help_is_an_array_of_lines(proxy, protocol):
    told = proxy.client(protocol=protocol).call("CLIENT", "HELP")
    assert told[0].startswith("CLIENT <subcommand>") and "KILL <ip:port>" in told


PASSWORD = """HELLO
HELLO 3
HELLO 4
HELLO x
HELLO 3 FOO
HELLO 3 SETNAME \u00e9
HELLO 3 AUTH default bad;CLIENT ID
HELLO 3 AUTH default sec SETNAME \u00e9;PING;CLIENT GETNAME
HELLO 3 SETNAME \u00e9 AUTH default sec;PING
HELLO 3 AUTH default sec FOO;PING;CLIENT GETNAME
HELLO 3 AUTH default bad SETNAME \u00e9;PING
HELLO 3 SETNAME x;AUTH sec;CLIENT GETNAME
AUTH sec;HELLO 2 SETNAME \u00e9;CLIENT GETNAME
AUTH sec;HELLO 3 AUTH default bad;CLIENT GETNAME
AUTH bad;PING
AUTH default bad
AUTH foo sec
AUTH sec;AUTH bad;PING
AUTH sec;RESET;PING
AUTH sec;CLIENT SETNAME a;RESET;AUTH sec;CLIENT GETNAME
AUTH
CLIENT ID
AUTH sec;HELLO 3 SETNAME a;RESET;AUTH sec;CLIENT GETNAME
AUTH sec;HELLO 3 SETNAME;CLIENT GETNAME""".splitlines()


def without_id(said):
    return re.sub(rb"\$2\r\nid\r\n:\d+", b"id", said)


@pytest.mark.parametrize("script", PASSWORD)
def test_hello_auth_and_reset_go_as_with_redis(start_redis, start_sidecar, script):
    redis = start_redis(password="sec")
    proxy = start_sidecar(maps={}, listen={"password": "sec"}, redis={"url": redis.url})
    theirs = conversation(direct(redis), script + ";AUTH sec")
    assert without_id(conversation(proxy.client(), script + ";AUTH sec")) == without_id(theirs)


# CLIENT REPLY, and everybody else's commands around it

REPLY = """CLIENT REPLY OFF;PING;SET {k} b;GET {k};FOO;CLIENT REPLY foo;CLIENT REPLY ON;PING;GET {k}
GET {k};CLIENT REPLY OFF;GET {k};CLIENT REPLY ON;GET {k};SET {k} 2;GET {k}
CLIENT REPLY SKIP;PING 1;PING 2;CLIENT REPLY SKIP;CLIENT REPLY SKIP;PING 3;PING 4
CLIENT REPLY SKIP;CLIENT REPLY ON;PING 5
CLIENT REPLY SKIP;GET {k};GET {k};CLIENT REPLY SKIP;INCR {k};GET {k}
CLIENT REPLY OFF;CLIENT REPLY SKIP;PING;CLIENT REPLY ON;PING;CLIENT REPLY SKIP;FOO;PING
CLIENT REPLY SKIP;CLIENT REPLY foo;PING
CLIENT REPLY OFF;MULTI;SET {k} c;EXEC;CLIENT REPLY ON;GET {k}
CLIENT REPLY SKIP;MULTI;PING;EXEC;PING
MULTI;CLIENT REPLY SKIP;PING;EXEC;PING 1;PING 2
MULTI;PING;CLIENT REPLY OFF;PING;EXEC;PING;CLIENT REPLY ON;PING
MULTI;CLIENT ID x;EXEC;PING
MULTI;CLIENT SETNAME foo;CLIENT GETNAME;GET {k};CLIENT NO-EVICT on;EXEC;CLIENT GETNAME
MULTI;CLIENT KILL ID 999999;CLIENT LIST ID 999999;SET {k} 1;CLIENT UNBLOCK 999999;GET {k};EXEC
MULTI;CLIENT SETNAME a;DISCARD;CLIENT GETNAME;MULTI;GET {k};CLIENT GETNAME;EXEC
MULTI;CLIENT KILL foo;CLIENT LIST FOO;AUTH a;HELLO 7;NOSUCH;EXEC;PING
MULTI;CLIENT KILL foo;CLIENT LIST FOO;AUTH a;HELLO 7;EXEC;PING
CLIENT REPLY SKIP;MULTI;CLIENT SETNAME b;CLIENT REPLY SKIP;EXEC;CLIENT GETNAME;CLIENT GETNAME
SUBSCRIBE a;UNSUBSCRIBE a;CLIENT GETNAME
CLIENT REPLY OFF;SUBSCRIBE ch;UNSUBSCRIBE;CLIENT REPLY ON;PING
CLIENT REPLY OFF;PING;RESET;PING
CLIENT REPLY SKIP;RESET;PING
CLIENT REPLY OFF;BLPOP {k}-list 0.05;CLIENT REPLY ON;PING
CLIENT REPLY OFF;SELECT 3;SET {k} x;GET {k};CLIENT REPLY ON;GET {k};SELECT 0;DEL {k}
CLIENT REPLY OFF;HELLO 3;CLIENT REPLY ON;CLIENT GETNAME
CLIENT REPLY OFF;EVAL return{{1,2,3}} 0;CLIENT REPLY SKIP;CLIENT REPLY ON;EVAL return{{1}} 0
CLIENT REPLY OFF;MGET {k} {k} {k};INFO;CLIENT LIST;CLIENT ID;CLIENT REPLY ON;MGET {k}""".splitlines()


@PROTOCOLS
@pytest.mark.parametrize("script", REPLY)
def test_reply_off_and_skip_go_as_with_redis(redis, proxy, script, protocol):
    script = script.format(k="key")
    redis.call("FLUSHALL")
    theirs = conversation(direct(redis, protocol=protocol), script)
    redis.call("FLUSHALL")
    assert conversation(proxy.client(protocol=protocol), script) == theirs


@PROTOCOLS
def test_messages_come_under_reply_off_and_what_monitor_shows_does_not(redis, proxy, protocol):
    told, clients = [], []
    for client in (direct(redis, protocol=protocol), proxy.client(protocol=protocol)):
        client.send("CLIENT", "REPLY", "OFF")
        client.send("SUBSCRIBE", "news")
        clients.append(client)
        told.append([client.read_raw()])
    redis.call("PUBLISH", "news", "good")
    for client, said in zip(clients, told):
        said.append(client.read_raw())
    assert told[0] == told[1]

    watching, asker = proxy.client(protocol=protocol), proxy.client()
    watching_id = own(watching)
    watching.send_raw(encode("CLIENT", "REPLY", "OFF") + encode("MONITOR"))
    eventually(lambda: "O" in of(asker, watching_id)["flags"])
    redis.call("SET", "a", "b")
    watching.socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        watching.socket.recv(100)


def test_quit_and_garbage_under_reply_off_are_silent_and_the_end(proxy):
    for last in (encode("QUIT"), b"*x\r\n"):
        client = proxy.client()
        client.send_raw(encode("CLIENT", "REPLY", "OFF") + encode("PING") + last)
        assert is_closed(client)


@PROTOCOLS
def test_a_subscriber_is_refused_what_redis_refuses(redis, proxy, protocol):
    script = "SUBSCRIBE a;CLIENT GETNAME;AUTH x;SELECT 1;SELECT 0;PING;GET a;RESET;PING"
    theirs = conversation(direct(redis, protocol=protocol), script)
    assert conversation(proxy.client(protocol=protocol), script) == theirs
    asker = proxy.client()
    asker.call("SUBSCRIBE", "a")
    for words in (("CLIENT", "ID"), ("CLIENT", "LIST"), ("HELLO", "3")):
        assert "only (P|S)SUBSCRIBE" in asker.call(*words)


# CLIENT LIST and INFO


@PROTOCOLS
def test_list_and_info_have_redis_7s_fields_in_their_order(redis, proxy, protocol):
    theirs, ours = direct(redis, protocol=protocol), proxy.client(protocol=protocol)
    for words in (("INFO",), ("LIST", "ID", own(ours)), ("LIST", "TYPE", "normal")):
        reply = ours.call("CLIENT", *words)
        assert isinstance(reply, resp.Verbatim) == (protocol == 3)
        line = lines(reply)[-1]
        assert list(line) == FIELDS + ["lib-name", "lib-ver"]
    assert list(lines(theirs.call("CLIENT", "INFO"))[0]) == FIELDS
    host, port = ours.socket.getsockname()
    assert line["addr"] == f"{host}:{port}" and line["laddr"] == f"127.0.0.1:{proxy.port}"
    assert reply.endswith(b"\n") and not reply.endswith(b"\n\n")


SAME = "name flags db sub psub ssub multi qbuf argv-mem obl oll omem events cmd user redir resp"

STATES = """CLIENT INFO
CLIENT SETNAME me;CLIENT INFO
SELECT 5;GET a;CLIENT INFO
CLIENT TRACKING ON;CLIENT INFO
CLIENT TRACKING ON BCAST NOLOOP;CLIENT INFO
CLIENT NO-EVICT on;WATCH a;CLIENT INFO""".splitlines()


@PROTOCOLS
@pytest.mark.parametrize("script", STATES)
def test_what_info_says_of_oneself_is_what_redis_says(redis, proxy, script, protocol):
    said = []
    for client in (direct(redis, protocol=protocol), proxy.client(protocol=protocol)):
        for line in script.split(";"):
            reply = client.call(*line.split())
        said.append({name: lines(reply)[0][name] for name in SAME.split()})
    assert said[0] == said[1]


OTHERS = """MULTI;GET a;SET b 2
MULTI
WATCH a
SUBSCRIBE a b;PSUBSCRIBE c;SSUBSCRIBE d
BLPOP nothing 0
XREAD BLOCK 0 STREAMS nothing $
MONITOR
SELECT 9;GET a
CONFIG GET maxmemory
OBJECT HELP
GET a
NOSUCH x""".splitlines()


@PROTOCOLS
@pytest.mark.parametrize("script", OTHERS)
def test_what_list_says_of_others_is_what_redis_says(redis, proxy, script, protocol):
    names = [name for name in SAME.split() if name not in ("qbuf", "argv-mem")]
    # Redis forgets what NOSUCH was, we know no better.
    names = [name for name in names if name != "cmd" or not script.startswith("NOSUCH")]
    askers, clients, ids = [], [], []
    for connect in (lambda **options: direct(redis, **options), proxy.client):
        askers.append(connect())
        clients.append(connect(protocol=protocol))
        ids.append(own(clients[-1]))
        for line in script.split(";"):
            clients[-1].send(*line.split())
    time.sleep(0.1)  # what may come late is waited for, and is the same then

    def said():
        lines = [of(asker, client_id) for asker, client_id in zip(askers, ids)]
        return [[line[name] for name in names] for line in lines]
    stop = time.monotonic() + 10
    while len({tuple(one) for one in said()}) > 1 and time.monotonic() < stop:
        time.sleep(0.02)
    theirs, ours = said()
    assert dict(zip(names, ours)) == dict(zip(names, theirs))
    for client in clients:
        client.close()


def test_list_shows_the_clients_of_all_threads_by_age(proxy):
    clients = [proxy.client() for _ in range(9)]
    ids = [own(client) for client in clients]
    assert ids == sorted(ids)
    for asker in clients[:4]:
        assert [int(line["id"]) for line in listed(asker)][-9:] == ids
    wanted = [ids[5], ids[2], ids[5], 999999, ids[0]]
    assert ([int(line["id"]) for line in listed(clients[0], "ID", *wanted)] ==
            [ids[5], ids[2], ids[5], ids[0]])
    clients[3].close()
    eventually(lambda: listed(clients[0], "ID", ids[3]) == [])


def test_list_by_type_and_of_a_unix_socket(session, redis, start_sidecar):
    path = session.directory("listen") + "/s.sock"
    proxy = start_sidecar(maps={}, listen={"socket": path}, redis={"url": redis.url})
    asker, local, subscriber = proxy.client(), proxy.client(address=path), proxy.client()
    subscriber_id = own(subscriber)
    subscriber.call("SUBSCRIBE", "a")
    assert [int(line["id"]) for line in listed(asker, "TYPE", "pubsub")] == [subscriber_id]
    normal = [int(line["id"]) for line in listed(asker, "TYPE", "normal")]
    assert own(local) in normal and own(asker) in normal and subscriber_id not in normal
    line = lines(local.call("CLIENT", "INFO"))[0]
    assert line["addr"] == line["laddr"] == path + ":0" and line["flags"] == "U"
    assert asker.call("CLIENT", "KILL", "ADDR", path + ":0") == 1
    assert is_closed(local)


def test_age_and_idle_are_seconds_since(proxy):
    asker, sleeper = proxy.client(), proxy.client()
    before = time.monotonic()
    sleeper_id = own(sleeper)
    time.sleep(1.2)
    asker.call("PING")
    line = of(asker, sleeper_id)
    most = time.monotonic() - before + 1  # it came a moment before, and seconds are whole
    assert 1 <= int(line["age"]) <= most and 1 <= int(line["idle"]) <= most
    for _ in range(3):
        sleeper.call("PING")
        if of(asker, sleeper_id)["idle"] == "0":
            break
    else:
        raise AssertionError("it is not idle")


def test_setinfo_names_and_switches_show(proxy):
    client, asker = proxy.client(), proxy.client()
    assert client.call("CLIENT", "SETINFO", "LIB-NAME", "ioredis") == "OK"
    assert client.call("CLIENT", "SETINFO", "lib-ver", "5.4.1") == "OK"
    assert client.call("CLIENT", "NO-TOUCH", "ON") == "OK"
    assert client.call("CLIENT", "SETINFO", "FOO", "x") == "ERR Unrecognized option 'FOO'"
    assert "cannot contain spaces" in client.call("CLIENT", "SETINFO", "LIB-VER", "a b")
    line = of(asker, own(client))
    assert (line["lib-name"], line["lib-ver"], line["flags"]) == ("ioredis", "5.4.1", "T")


def test_client_commands_work_while_redis_is_down(start_sidecar):
    proxy = start_sidecar(maps={}, redis={"url": "redis://127.0.0.1:1"})
    one, two = proxy.client(), proxy.client()
    ids = {own(one), own(two)}
    assert {int(line["id"]) for line in listed(one)} >= ids
    assert two.call("CLIENT", "UNBLOCK", own(one)) == 0
    for _ in range(3):  # found out now, and known then
        assert "REDISDOWN" in two.call("CLIENT", "TRACKING", "ON", "REDIRECT", own(one))
    assert "REDISDOWN" in two.call("CLIENT", "PAUSE", "1")
    assert two.call("PING") == "PONG"
    assert two.call("CLIENT", "KILL", "ID", own(one)) == 1
    assert is_closed(one)


def test_500_clients_are_listed_and_killed_in_one_pipeline(proxy):
    clients = [proxy.client() for _ in range(500)]
    ids = {own(client) for client in clients}
    asker = proxy.client(timeout=20)
    before, killed, after = asker.pipeline([("CLIENT", "LIST"), ("CLIENT", "KILL", "SKIPME", "yes"),
                                            ("CLIENT", "LIST")])
    assert ids <= {int(line["id"]) for line in lines(before)}
    assert killed >= 500 and [int(line["id"]) for line in lines(after)] == [own(asker)]
    assert all(is_closed(client) for client in clients)
    eventually(lambda: proxy.metric("sidecar_clients") == 1)


# CLIENT KILL


@PROTOCOLS
def test_kill_by_each_filter_on_whichever_thread(proxy, protocol):
    asker = proxy.client(protocol=protocol)
    for number in range(2):  # one on each thread
        def victim():
            return proxy.client(protocol=protocol)
        one = victim()
        one.call("PING")  # now it is certainly known
        address = "%s:%d" % one.socket.getsockname()
        assert asker.call("CLIENT", "KILL", address) == "OK"
        two = victim()
        assert asker.call("CLIENT", "KILL", "ID", own(two), "TYPE", "pubsub") == 0
        assert asker.call("CLIENT", "KILL", "ID", own(two), "TYPE", "normal", "USER",
                          "default", "LADDR", f"127.0.0.1:{proxy.port}", "SKIPME", "yes") == 1
        three = victim()
        three.call("SUBSCRIBE", "a")
        assert asker.call("CLIENT", "KILL", "TYPE", "pubsub") == 1
        four = victim()
        four.call("PING")
        assert asker.call("CLIENT", "KILL", "ADDR", "%s:%d" % four.socket.getsockname()) == 1
        assert all(is_closed(client) for client in (one, two, three, four))
        proxy.client()  # the next victims are on the other thread
    assert asker.call("PING") == "PONG"


def test_kill_maxage_spares_the_young(proxy):
    asker, old = proxy.client(), proxy.client()
    assert asker.call("CLIENT", "KILL", "MAXAGE", "1000") == 0
    time.sleep(3.2)
    young = proxy.client()
    assert asker.call("CLIENT", "KILL", "MAXAGE", "3") >= 1
    assert is_closed(old) and young.call("PING") == "PONG"
    assert "should be greater" in asker.call("CLIENT", "KILL", "MAXAGE", "0")


KILLS_ITSELF = ("CLIENT KILL ID {id} SKIPME no", "CLIENT KILL {address}",
                "CLIENT KILL ADDR {address} SKIPME no")


@PROTOCOLS
@pytest.mark.parametrize("words", KILLS_ITSELF)
def test_who_kills_itself_is_answered_first_and_asks_nothing_more(redis, proxy, words, protocol):
    said = []
    for client in (direct(redis, protocol=protocol), proxy.client(protocol=protocol)):
        line = words.format(id=own(client), address="%s:%d" % client.socket.getsockname())
        said.append(conversation(client, f"GET a;{line};SET a after"))
    assert said[0] == said[1] and said[1].endswith(b"<closed>")
    assert redis.call("GET", "a") is None
    survivor = proxy.client()
    assert survivor.call("CLIENT", "KILL", "ID", own(survivor)) == 0


def test_kill_type_normal_never_means_our_own_connections(redis, proxy):
    clients = [proxy.client() for _ in range(4)]
    for number, client in enumerate(clients):
        client.call("SET", f"a{number}", 1)
    before = {line["id"] for line in lines(redis.call("CLIENT", "LIST"))
              if line["name"].startswith("sidecar")}
    assert len(before) >= 2
    assert clients[0].call("CLIENT", "KILL", "TYPE", "normal") == 3
    assert clients[0].call("CLIENT", "KILL", "USER", "default") == 0
    after = {line["id"] for line in lines(redis.call("CLIENT", "LIST"))}
    assert before <= after and clients[0].call("GET", "a0") == b"1"


def test_whoever_is_killed_while_blocked_or_in_multi_frees_its_connection(redis, proxy):
    asker, blocked, inside = proxy.client(), proxy.client(), proxy.client()
    ids = [own(blocked), own(inside)]
    blocked.send("BLPOP", "list", 0)
    assert inside.pipeline([("MULTI",), ("SET", "a", "never")]) == ["OK", "QUEUED"]
    eventually(lambda: of(asker, ids[0])["flags"] == "b")
    for client_id in ids:
        assert asker.call("CLIENT", "KILL", "ID", client_id) == 1
    assert is_closed(blocked) and is_closed(inside)
    eventually(lambda: b"blocked_clients:0" in redis.call("INFO", "clients"))
    assert redis.call("GET", "a") is None


# CLIENT UNBLOCK


@PROTOCOLS
def test_unblock_finds_the_client_on_any_thread(redis, proxy, protocol):
    blocked, asker = proxy.client(protocol=protocol), [proxy.client(), proxy.client()]
    blocked_id = own(blocked)
    for number in range(4):
        how = ((), ("TIMEOUT",), ("ERROR",), ("error",))[number]
        blocked.send("BLPOP", "list", 0)
        eventually(lambda: b"blocked_clients:1" in redis.call("INFO", "clients"))
        assert asker[number % 2].call("CLIENT", "UNBLOCK", blocked_id, *how) == 1
        reply = blocked.read()
        assert reply is None if number < 2 else reply.startswith("UNBLOCKED client unblocked")
        assert own(blocked) == blocked_id
    assert asker[0].call("CLIENT", "UNBLOCK", blocked_id) == 0
    assert asker[0].call("CLIENT", "UNBLOCK", own(asker[1])) == 0


def test_unblock_takes_no_ids_of_redis(redis, proxy):
    blocked = redis.client()
    theirs = own(blocked)
    blocked.send("BLPOP", "list", 0)
    eventually(lambda: b"blocked_clients:1" in redis.call("INFO", "clients"))
    asker = proxy.client()
    assert asker.call("CLIENT", "UNBLOCK", theirs) == 0
    assert b"blocked_clients:1" in redis.call("INFO", "clients")


def test_a_subscriber_is_not_blocked(proxy):
    subscriber, asker = proxy.client(), proxy.client()
    subscriber_id = own(subscriber)
    subscriber.call("SUBSCRIBE", "a")
    assert asker.call("CLIENT", "UNBLOCK", subscriber_id) == 0


# CLIENT TRACKING with REDIRECT


@PROTOCOLS
def test_redirect_to_a_subscriber_on_another_thread(redis, proxy, protocol):
    target, asker = proxy.client(), proxy.client(protocol=protocol)
    target_id = own(target)
    target.call("SUBSCRIBE", "__redis__:invalidate")
    redis.call("SET", "a", "1")
    assert asker.call("CLIENT", "TRACKING", "ON", "REDIRECT", target_id) == "OK"
    assert asker.call("GET", "a") == b"1"
    redis.call("SET", "a", "2")
    assert target.read() == [b"message", b"__redis__:invalidate", [b"a"]]
    assert asker.call("CLIENT", "GETREDIR") == target_id
    info = asker.call("CLIENT", "TRACKINGINFO")
    assert target_id in (info.values() if isinstance(info, dict) else info)
    assert lines(asker.call("CLIENT", "INFO"))[0]["redir"] == str(target_id)


@PROTOCOLS
def test_redirect_to_a_client_that_has_no_session_yet(redis, proxy, protocol):
    asker, target = proxy.client(protocol=protocol), proxy.client(protocol=3)
    redis.call("SET", "a", "1")
    assert asker.call("CLIENT", "TRACKING", "ON", "REDIRECT", own(target)) == "OK"
    asker.call("GET", "a")
    redis.call("SET", "a", "2")
    assert target.read() == [b"invalidate", [b"a"]]
    assert target.call("GET", "a") == b"2"
    assert target.call("PING") == "PONG"


@PROTOCOLS
def test_redirect_to_oneself(redis, proxy, protocol):
    client = proxy.client(protocol=protocol)
    assert client.pipeline([("GET", "a"), ("CLIENT", "TRACKING", "ON", "REDIRECT", own(client)),
                            ("GET", "a"), ("CLIENT", "GETREDIR")]) == [
        None, "OK", None, own(client)]


def test_redirect_in_multi_and_in_a_pipeline(proxy):
    asker, target = proxy.client(), proxy.client()
    words = ("CLIENT", "TRACKING", "ON", "REDIRECT", own(target))
    assert asker.pipeline([("PING",), words, ("CLIENT", "GETREDIR"), ("PING",)]) == [
        "PONG", "OK", own(target), "PONG"]
    assert asker.call("CLIENT", "TRACKING", "OFF") == "OK"
    assert asker.pipeline([("MULTI",), words, ("EXEC",), ("CLIENT", "GETREDIR")]) == [
        "OK", "QUEUED", ["OK"], own(target)]


def test_a_broken_redirection_names_our_id(redis, proxy):
    asker, target = proxy.client(protocol=3), proxy.client()
    target_id = own(target)
    redis.call("SET", "a", "1")
    assert asker.call("CLIENT", "TRACKING", "ON", "REDIRECT", target_id) == "OK"
    asker.call("GET", "a")
    target.close()
    eventually(lambda: not listed(asker, "ID", target_id))
    redirected = int(eventually(lambda: re.search(rb" redir=([1-9]\d*)", redis.call("CLIENT", "LIST")))[1])
    # Until Redis has seen it, too.
    eventually(lambda: redis.call("CLIENT", "LIST", "ID", redirected).strip() == b"")
    redis.call("SET", "a", "2")
    assert asker.read() == [b"tracking-redir-broken", target_id]


# CLIENT PAUSE


@PROTOCOLS
def test_a_write_waits_for_the_end_of_the_pause_and_holds_nobody_up(redis, proxy, protocol):
    redis.call("SET", "a", "1")
    clients = [proxy.client(protocol=protocol, timeout=10) for _ in range(6)]
    asker = clients[0]
    assert asker.call("CLIENT", "PAUSE", "100000", "WRITE") == "OK"
    for client in clients[2:]:
        client.send("INCR", "a")
    eventually(lambda: b"blocked_clients:4" in asker.call("INFO", "clients"))
    for number in range(20):
        assert clients[1].call("EXISTS", f"b{number}") == 0
    assert asker.call("CLIENT", "UNPAUSE") == "OK"
    assert sorted(client.read() for client in clients[2:]) == [2, 3, 4, 5]
    assert clients[2].call("SET", "a", "9") == "OK"
    assert asker.call("GET", "a") == b"9"


def test_a_pause_of_all_ends_by_itself(redis, proxy):
    one, two = proxy.client(), proxy.client()
    started = time.monotonic()
    assert one.call("CLIENT", "PAUSE", "300") == "OK"
    assert two.call("SET", "a", "1") == "OK"
    assert time.monotonic() - started > 0.29
    assert one.call("GET", "a") == b"1"


def test_transactions_and_scripts_wait_for_the_end_of_a_pause_as_well(redis, proxy):
    asker, one, two = (proxy.client() for _ in range(3))
    asker.call("CLIENT", "PAUSE", "100000", "WRITE")
    one.send_raw(encode("MULTI") + encode("INCR", "a") + encode("EXEC"))
    two.send("EVAL", "return redis.call('INCR', KEYS[1])", 1, "a")
    eventually(lambda: b"blocked_clients:2" in asker.call("INFO", "clients"))
    asker.call("CLIENT", "UNPAUSE")
    assert [one.read(), one.read()] == ["OK", "QUEUED"]
    assert sorted([one.read()[0], two.read()]) == [1, 2]


# In MULTI


@PROTOCOLS
def test_in_multi_client_means_the_sidecars_client(redis, proxy, protocol):
    asker, victim = proxy.client(protocol=protocol), proxy.client()
    asker_id, victim_id = own(asker), own(victim)
    replies = asker.pipeline([
        ("MULTI",), ("CLIENT", "ID"), ("SET", "a", "1"), ("CLIENT", "LIST"),
        ("CLIENT", "KILL", "ID", victim_id), ("GET", "a"), ("CLIENT", "INFO"), ("EXEC",),
        ("PING",)])
    assert replies[:7] == ["OK"] + ["QUEUED"] * 6 and replies[8] == "PONG"
    found = replies[7]
    assert found[0] == asker_id and found[1] == "OK" and found[3:5] == [1, b"1"]
    assert {int(line["id"]) for line in lines(found[2])} >= {asker_id, victim_id}
    assert lines(found[5])[0]["id"] == str(asker_id)
    assert is_closed(victim)


def test_pushes_never_come_inside_of_execs_answer(redis, proxy):
    asker = proxy.client(protocol=3)
    asker.call("CLIENT", "TRACKING", "ON", "BCAST")
    writer = redis.client()
    for number in range(50):
        for key in range(5):
            writer.send("SET", f"k{key}", number)
        asker.send_raw(encode("MULTI") + encode("CLIENT", "LIST") + encode("GET", "k1") +
                       encode("CLIENT", "LIST") + encode("EXEC") + encode("ECHO", number))
        replies = []
        while not replies or replies[-1] != str(number).encode():
            reply = asker.read()
            if not isinstance(reply, resp.Push):
                replies.append(reply)
        assert replies[:4] == ["OK"] + ["QUEUED"] * 3
        assert isinstance(replies[4], list) and len(replies[4]) == 3 and len(replies) == 6


# The end


def test_a_drain_waits_for_no_roll_call(start_sidecar, redis):
    proxy = start_sidecar(maps={}, redis={"url": redis.url}, server={"drain": "60s"})
    asker = proxy.client()
    asker.send_raw(encode("CLIENT", "LIST") * 200)
    proxy.terminate()
