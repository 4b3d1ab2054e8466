"""Everything Redis offers passes through, with Redis's own answer."""

import time

import pytest

import resp
from processes import eventually

# Each list runs in order on one connection; no answer depends on time or chance.
CONVERSATIONS = {
    "strings": """
        SET s hello|GET s|GET s|APPEND s -world|GET s|STRLEN s|GETRANGE s 0 4|SETRANGE s 0 J
        GET s|INCR n|INCRBY n 41|GET n|DECR n|INCRBYFLOAT n 0.5|GET n|MSET a 1 b 2 c 3
        MGET a b c nothing|MGET a b c nothing|SETNX a 9|GET a|GETSET a 5|GET a|GETDEL a|GET a
        SET s x NX|SET s x XX GET|GET s|INCR s|GETEX b PERSIST|SUBSTR b 0 0|LCS b c|SET e 1 EX 100
        TTL e|PERSIST e|TTL e|TTL nothing|EXPIRE e 100|OBJECT ENCODING n|TYPE s|EXISTS s b nothing
        """,
    "hashes": """
        HSET h f1 a f2 b f3 3|HGET h f1|HGET h f1|HGET h none|HMGET h f1 f2 none|HGETALL h|HGETALL h
        HLEN h|HKEYS h|HVALS h|HEXISTS h f1|HSTRLEN h f2|HINCRBY h f3 4|HGET h f3
        HINCRBYFLOAT h f3 0.5|HDEL h f1|HGETALL h|HSETNX h f9 z|HGETALL nothing|HSCAN h 0
        """,
    "lists": """
        RPUSH l a b c d|LRANGE l 0 -1|LRANGE l 0 -1|LPUSH l z|LRANGE l 0 -1|LINDEX l 1|LLEN l|LPOP l
        RPOP l 2|LRANGE l 0 -1|LINSERT l BEFORE b x|LSET l 0 y|LREM l 0 x|LTRIM l 0 0|LRANGE l 0 -1
        LPOS l y|LMOVE l l2 LEFT RIGHT|LRANGE l2 0 -1|RPOPLPUSH l2 l|LPOP nothing|LPOP nothing 2
        """,
    "sets": """
        SADD i 1 2 3|SMEMBERS i|SMEMBERS i|SCARD i|SISMEMBER i 2|SMISMEMBER i 1 9|SADD j 2 3 4
        SINTER i j|SUNION i j|SDIFF i j|SINTERCARD 2 i j|SINTERSTORE k i j|SMEMBERS k|SREM i 1
        SMEMBERS i|SMOVE i j 2|SMEMBERS j|SPOP nothing|SSCAN i 0
        """,
    "sorted sets": """
        ZADD z 1 a 2 b 3.5 c|ZSCORE z a|ZSCORE z c|ZSCORE z none|ZMSCORE z a none|ZRANGE z 0 -1
        ZRANGE z 0 -1 WITHSCORES|ZRANGE z 0 -1 WITHSCORES|ZRANGEBYSCORE z (1 +inf WITHSCORES
        ZREVRANGE z 0 1|ZRANK z b|ZCARD z|ZCOUNT z 1 2|ZINCRBY z 10 a|ZRANGE z 0 -1 WITHSCORES
        ZPOPMIN z|ZPOPMAX z 1|ZREM z none|ZADD z GT CH 5 a|ZADD z INCR 2 a|ZRANGESTORE y z 0 -1
        ZRANGE y 0 -1|ZUNION 2 z y WITHSCORES|ZLEXCOUNT z - +|ZSCAN z 0
        """,
    "bits, geo and counting": """
        SETBIT b 7 1|GETBIT b 7|BITCOUNT b|BITPOS b 1|BITFIELD b SET u8 0 255 GET u8 0|PFADD p a b c
        PFCOUNT p|PFCOUNT p|GEOADD g 13.361389 38.115556 Palermo|GEOPOS g Palermo
        GEODIST g Palermo Palermo|GEOHASH g Palermo
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ASC WITHDIST
        """,
    "streams": """
        XADD x 1-1 f v|XADD x 2-1 f w|XLEN x|XRANGE x - +|XRANGE x - +|XREVRANGE x + -|XADD x 1-1 f v
        XREAD COUNT 1 STREAMS x 0|XGROUP CREATE x grp 0|XREADGROUP GROUP grp me COUNT 1 STREAMS x >
        XACK x grp 1-1|XPENDING x grp|XDEL x 1-1|XLEN x|XTRIM x MAXLEN 0|XRANGE x - +
        """,
    "keys": """
        MSET a 1 b 2|RENAME a c|GET a|GET c|RENAMENX c b|COPY b d|GET d|DEL b none|GET b|UNLINK c d
        EXISTS c|GET c|KEYS *|DBSIZE|SORT nothing|TYPE nothing|OBJECT HELP|DUMP nothing|TOUCH none
        RENAME none other|PEXPIRE none 5|EXPIRETIME none|OBJECT ENCODING none
        """,
    "scripts": """
        EVAL 'return 1' 0|EVAL 'return KEYS[1]' 1 k|EVAL 'return {1,"a",false,{2}}' 0
        EVAL 'return redis.call("set",KEYS[1],ARGV[1])' 1 k v|GET k|EVAL 'return redis.error_reply("MY x")' 0
        EVAL 'return redis.status_reply("FINE")' 0|EVAL 'nonsense(' 0|SCRIPT LOAD 'return 7'
        EVALSHA ffffffffffffffffffffffffffffffffffffffff 0|SCRIPT EXISTS ffffffffffffffffffffffffffffffffffffffff
        EVAL_RO 'return redis.call("get",KEYS[1])' 1 k|FUNCTION LIST|EVAL 'redis.setresp(3);return {double=1.5}' 0
        """,
    "errors": """
        SET s x|LPUSH s a|HGET s f|INCR s|GET|SET s|SET s x BAD|EXPIRE s abc|ZADD s 1 a|LINDEX s 0
        GETRANGE s a b|NOSUCH x y|CONFIG NOSUCH|OBJECT NOSUCH s|XADD s * f v|SETRANGE s -1 x|HSET h f
        RESTORE s 0 bad|SETBIT s 4294967296 1|GETEX s EX -1|ZRANGE s 0 a
        """,
    "server": """
        CONFIG SET lfu-log-factor 11|CONFIG GET lfu-log-factor|COMMAND COUNT|COMMAND GETKEYS MSET a 1 b 2
        PUBSUB CHANNELS|PUBSUB NUMSUB c|PUBLISH c m|SLOWLOG LEN|LATENCY HELP|MEMORY HELP|WAIT 0 0
        LOLWUT VERSION 0|ACL WHOAMI|ACL CAT nonsense|COMMAND DOCS get|COMMAND INFO get nosuch|DEBUG HELP
        """,
}


def split_line(line):
    words, word, quote = [], "", None
    for letter in line:
        if quote:
            if letter == quote:
                quote = None
            else:
                word += letter
        elif letter == "'":
            quote = letter
        elif letter == " ":
            words.append(word)
            word = ""
        else:
            word += letter
    return words + [word]


def conversation(name):
    lines = [part.strip() for line in CONVERSATIONS[name].strip().splitlines()
             for part in line.strip().split("|")]
    return [split_line(line) for line in lines if line]


def is_same(words, ours, theirs):
    """Both are asked at different moments: of whole seconds, some may have passed."""
    if words[0] == "TTL" and int(ours[1:]) > 0 and int(theirs[1:]) > 0:
        return abs(int(ours[1:]) - int(theirs[1:])) <= 10
    return ours == theirs


@pytest.fixture
def pair(start_redis, start_sidecar):
    """(a client of Redis itself, a client of the sidecar before another Redis)"""
    alone, behind = start_redis(), start_redis()
    sidecar = start_sidecar(redis={"url": behind.url}, maps={})
    sidecar.wait_backend("redis", True)

    def clients(protocol):
        return (resp.Client(alone.socket_path(), protocol=protocol),
                sidecar.client(protocol=protocol))
    return clients


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_answers_are_those_of_redis_byte_by_byte(name, protocol, pair):
    direct, through = pair(protocol)
    for words in conversation(name):
        ours, theirs = through.raw(*words), direct.raw(*words)
        assert is_same(words, ours, theirs), (words, ours, theirs)


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_same_in_one_pipeline(name, protocol, pair):
    direct, through = pair(protocol)
    commands = conversation(name)
    data = b"".join(resp.encode(*words) for words in commands)
    for client in (direct, through):
        client.send_raw(data)
    for words in commands:
        ours, theirs = through.read_raw(), direct.read_raw()
        assert is_same(words, ours, theirs), (words, ours, theirs)


def test_more_than_a_hundred_commands_are_compared():
    assert len({words[0] for name in CONVERSATIONS for words in conversation(name)}) > 100


def test_a_value_of_20_megabytes_passes_both_ways(sidecar, redis):
    client = sidecar.client(timeout=30)
    value = b"0123456789abcdef" * (20 << 16)
    assert client.call("SET", "huge", value) == "OK"
    assert redis.call("STRLEN", "huge") == len(value)
    for _ in range(2):
        assert client.call("GET", "huge") == value
    assert sidecar.client(protocol=3, timeout=30).call("GET", "huge") == value
    assert sidecar.metric("sidecar_cache_bytes") < 1 << 20


def test_many_elements_pass(sidecar):
    client = sidecar.client(timeout=30)
    elements = [b"element-%d" % number for number in range(100_000)]
    assert client.call("RPUSH", "list", *elements) == len(elements)
    for _ in range(2):
        assert client.call("LRANGE", "list", 0, -1) == elements


def test_a_deep_reply_passes(pair):
    direct, through = pair(2)
    script = "local t={} ; for i=1,30 do t={t} end ; return t"
    assert through.raw("EVAL", script, 0) == direct.raw("EVAL", script, 0)


def test_one_clients_commands_stay_in_order(sidecar):
    """Read-your-writes for every way of writing, and on one connection."""
    client = sidecar.client()
    for number in range(300):
        replies = client.pipeline([("SET", "k", number), ("GET", "k"), ("INCR", "k"), ("GET", "k")])
        assert replies == ["OK", b"%d" % number, number + 1, b"%d" % (number + 1)]


# Commands with state


def test_transactions(sidecar):
    client = sidecar.client()
    assert client.pipeline([("MULTI",), ("SET", "a", "1"), ("INCR", "a"), ("GET", "a"), ("EXEC",)]
                           ) == ["OK", "QUEUED", "QUEUED", "QUEUED", ["OK", 2, b"2"]]
    assert client.call("GET", "a") == b"2"
    assert client.pipeline([("MULTI",), ("SET", "a", "9"), ("DISCARD",), ("GET", "a")]
                           ) == ["OK", "QUEUED", "OK", b"2"]
    assert client.call("EXEC") == "ERR EXEC without MULTI"
    assert client.call("DISCARD") == "ERR DISCARD without MULTI"
    replies = client.pipeline([("MULTI",), ("NOSUCH",), ("EXEC",)])
    assert replies[2].startswith("EXECABORT")
    assert client.pipeline([("MULTI",), ("GET", "plan:20"), ("EXEC",)])[2] == [None], (
        "inside a transaction Redis alone answers")


def test_watch_sees_what_others_write(sidecar):
    one, two = sidecar.client(), sidecar.client()
    assert one.call("WATCH", "a") == "OK"
    assert two.call("SET", "a", "theirs") == "OK"
    assert one.pipeline([("MULTI",), ("SET", "a", "mine"), ("EXEC",)])[2] is None
    assert sidecar.get("a") == b"theirs"
    assert one.call("WATCH", "a") == "OK"
    assert one.pipeline([("MULTI",), ("SET", "a", "mine"), ("EXEC",)])[2] == ["OK"]
    assert sidecar.get("a") == b"mine"


def test_publish_and_subscribe_in_resp2(sidecar, redis):
    client = sidecar.client()
    client.send("SUBSCRIBE", "news", "more")
    assert [client.read(), client.read()] == [[b"subscribe", b"news", 1], [b"subscribe", b"more", 2]]
    assert redis.call("PUBLISH", "news", "hello") == 1
    assert client.read() == [b"message", b"news", b"hello"]
    assert client.call("PING") == [b"pong", b""]
    assert "only (P|S)SUBSCRIBE" in client.call("GET", "a")
    assert sidecar.call("PUBLISH", "more", "through") == 1
    assert client.read() == [b"message", b"more", b"through"]
    client.send("UNSUBSCRIBE")
    client.read(), client.read()
    assert client.call("SET", "a", "1") == "OK"
    assert client.call("GET", "a") == b"1"


@pytest.mark.parametrize("protocol", [2, 3])
def test_who_is_not_subscribed_may_leave_everything(protocol, sidecar):
    client = sidecar.client(protocol=protocol)
    for kind in ("P", "", "S", "P"):
        reply = client.call(f"{kind}UNSUBSCRIBE")
        assert reply[:2] == [f"{kind}unsubscribe".lower().encode(), None]
    assert client.call("PING") == "PONG"


def test_publish_and_subscribe_in_resp3(sidecar, redis):
    client = sidecar.client(protocol=3)
    client.send("PSUBSCRIBE", "n*")
    assert client.read() == resp.Push([b"psubscribe", b"n*", 1])
    assert client.call("SET", "a", "1") == "OK", "RESP3 may ask while it is subscribed"
    redis.call("PUBLISH", "news", "hello")
    pushed = client.read()
    assert isinstance(pushed, resp.Push) and pushed == [b"pmessage", b"n*", b"news", b"hello"]


def test_a_blocking_pop_waits_longer_than_any_time_limit(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url, "timeout": "1s"})
    client = sidecar.client()
    client.send("BLPOP", "queue", "60")
    time.sleep(1.5)
    assert sidecar.call("PING") == "PONG"
    assert sidecar.call("RPUSH", "queue", "job") == 1
    assert client.read() == [b"queue", b"job"]
    reply, seconds = client.timed("BLPOP", "queue", "1.5")
    assert reply is None and seconds >= 1.45
    assert client.call("SET", "a", "1") == "OK"


def test_blocking_clients_do_not_block_each_other(sidecar):
    waiting = [sidecar.client() for _ in range(20)]
    for number, client in enumerate(waiting):
        client.send("BRPOP", f"queue:{number}", "60")
    time.sleep(0.1)
    for number in reversed(range(20)):
        assert sidecar.call("LPUSH", f"queue:{number}", "x") == 1
        assert waiting[number].read() == [b"queue:%d" % number, b"x"]


def test_a_client_that_leaves_takes_its_blocking_pop_with_it(sidecar, redis):
    client = sidecar.client()
    client.send("BLPOP", "queue", "0")
    eventually(lambda: b"blocked_clients:1" in redis.call("INFO", "clients"))
    client.close()
    eventually(lambda: b"blocked_clients:0" in redis.call("INFO", "clients"))
    assert redis.call("RPUSH", "queue", "job") == 1
    assert redis.call("LLEN", "queue") == 1, "a dead client took the job"


def test_another_database_is_another_world(sidecar, redis, plans):
    assert sidecar.get("plan:20") == plans.bytes(20)
    client = sidecar.client()
    assert client.call("SET", "a", "zero") == "OK"
    assert client.call("SELECT", "1") == "OK"
    assert client.call("GET", "a") is None
    assert client.call("SET", "a", "one") == "OK"
    assert client.call("GET", "a") == b"one"
    assert sidecar.get("a") == b"zero"
    assert client.call("SELECT", "0") == "OK"
    assert client.call("GET", "a") == b"zero"
    assert client.call("GET", "plan:20") == plans.bytes(20)


def test_flushall_from_another_database_drops_the_copies_too(sidecar, plans):
    sidecar.call("SET", "a", "1")
    assert sidecar.get("a") == b"1"
    client = sidecar.client()
    client.call("SELECT", "3")
    assert client.call("FLUSHALL") == "OK"
    assert sidecar.get("a") is None


def test_swapdb_drops_the_copies(sidecar, redis):
    sidecar.call("SET", "a", "zero")
    assert sidecar.get("a") == b"zero"
    with redis.client() as client:
        client.pipeline([("SELECT", 1), ("SET", "a", "one")])
    assert sidecar.call("SWAPDB", "0", "1") == "OK"
    assert sidecar.get("a") == b"one"


def test_monitor_shows_what_redis_gets(sidecar, redis):
    client = sidecar.client()
    assert client.call("MONITOR") == "OK"
    redis.call("SET", "watched", "1")
    for _ in range(50):
        if "watched" in client.read():
            break
    else:
        raise AssertionError("MONITOR did not show the command")


def test_scan_walks_over_every_key(sidecar, redis):
    with redis.client() as client:
        client.pipeline([("SET", f"scan:{number}", "x") for number in range(500)])
    seen, cursor = set(), b"0"
    while True:
        cursor, keys = sidecar.call("SCAN", cursor, "MATCH", "scan:*", "COUNT", "50")
        seen.update(keys)
        if cursor == b"0":
            break
    assert len(seen) == 500
