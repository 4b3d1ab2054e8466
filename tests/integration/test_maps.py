"""Maps: ids of every kind, typed and odd ones; hashes; what a missing row means."""

import time

import pytest
import redis as redis_py

import resp
from processes import eventually

PERSON = "11111111-2222-3333-4444-555555555555"
WORD_MAP = {"key": "word:{id}", "free": "?",
            "query": "SELECT word, meaning FROM billing.words WHERE word = ANY($1)"}
PERSON_MAP = {"key": "person:{id:uuid}:profile", "type": "hash",
              "free": '{"tier":"free","seats":0}',
              "query": "SELECT person AS id, name, tier, seats, ends AS valid_until "
                       "FROM billing.people WHERE person = ANY($1::uuid[])"}


@pytest.fixture
def with_maps(redis, pgbouncer, start_sidecar):
    """with_maps(plan={...}) -> a sidecar with these maps."""
    def start(**maps):
        return start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url}, maps=maps)
    return start


def ids_asked(sidecar):
    return sidecar.metric("sidecar_postgres_batch_ids_sum")


# Typed ids


NO_INTEGERS = [
    "abc", "1e3", "1.5", "", " 1", "1 ", "0x10", "1 OR 1=1", "1;DROP TABLE billing.plans", "--1",
    "99999999999999999999", "9223372036854775808", "-9223372036854775809", "NULL", "{1}", "1,2",
    "١", "1\0", "1\n",
]


def test_what_is_no_integer_is_a_missing_row_and_never_reaches_postgres(
        redis, pgbouncer, proxy_for, start_sidecar):
    proxy = proxy_for(pgbouncer)
    sidecar = start_sidecar(redis={"url": redis.url},
                            postgres={"url": pgbouncer.postgres.url_for(proxy.port)})
    for number in NO_INTEGERS:
        assert sidecar.call("GET", f"plan:{number}") is None, number
        assert sidecar.call("MGET", f"plan:{number}", f"plan:{number}") == [None, None], number
    assert ids_asked(sidecar) == 0
    sidecar.get("plan:20")
    for number in NO_INTEGERS:
        if len(number) > 2:
            assert number.encode() not in proxy.received, number
    assert b"plan" in proxy.received, "the queries go through here"


@pytest.mark.parametrize("number", [0, 1, -1, 9223372036854775807, -9223372036854775808])
def test_every_integer_of_64_bits_reaches_postgres(number, sidecar, plans):
    plans.set(number, "plus")
    assert sidecar.get(f"plan:{number}") == plans.bytes(number, "plus")
    assert ids_asked(sidecar) == 1


def test_what_is_no_uuid_is_a_missing_row_and_never_reaches_postgres(with_maps):
    sidecar = with_maps(person=PERSON_MAP)
    for person in ("abc", "", PERSON[:-1], PERSON + "5", PERSON[:-1] + "g",
                   PERSON.replace("-", "_"), "' OR 1=1 --"):
        assert sidecar.call("HGET", f"person:{person}:profile", "tier") is None
        assert sidecar.call("HGETALL", f"person:{person}:profile") == []
    assert ids_asked(sidecar) == 0


@pytest.mark.parametrize("written", [PERSON, PERSON.upper()])
def test_a_uuid_reaches_postgres(written, with_maps, plans):
    plans.execute("INSERT INTO billing.people VALUES (%s, 'Ann', 'plus', 3)", (PERSON,))
    sidecar = with_maps(person=PERSON_MAP)
    assert sidecar.call("HGET", f"person:{written}:profile", "tier") == b"plus"


def test_ids_that_do_not_fit_spoil_nothing_for_those_beside_them(sidecar, plans):
    assert sidecar.call("MGET", "plan:20", "plan:abc", "plan:7", "plan:9" * 50, "plan:21") == [
        plans.bytes(20), None, plans.bytes(7), None, plans.bytes(21)]


# Odd ids of a map without a type


ODD = ["o'neil", 'say "hi"', "back\\slash", "{braces}", "{}", "a,b", "NULL", "null", "ünïcödé",
       "日本語", "🦊", "with space", " ", "tab\there", "new\nline", "\\", '"', "'", "\\\"", "$1", "%s",
       "a:b:c", "{a,\"b\"}", "\x01", "x" * 300]


def test_an_odd_id_finds_its_own_row(with_maps, plans):
    for word in ODD:
        plans.execute("INSERT INTO billing.words VALUES (%s, %s)", (word, f"meaning of {word}"))
    sidecar = with_maps(word=WORD_MAP)
    for word in ODD:
        assert sidecar.get(f"word:{word}") == f"meaning of {word}".encode()


def test_all_odd_ids_in_one_batch_find_their_own_rows(with_maps, plans):
    for word in ODD[::2]:
        plans.execute("INSERT INTO billing.words VALUES (%s, %s)", (word, f"meaning of {word}"))
    sidecar = with_maps(word=WORD_MAP)
    assert sidecar.call("MGET", *(f"word:{word}" for word in ODD)) == [
        None if at % 2 else f"meaning of {word}".encode() for at, word in enumerate(ODD)]


@pytest.mark.parametrize("word", [b"\xff\xfe", b"\xc3", b"a\0b", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"],
                         ids=ascii)
def test_what_is_no_text_is_a_missing_row_and_spoils_nothing(word, with_maps, plans):
    plans.execute("INSERT INTO billing.words VALUES ('good', 'yes')")
    sidecar = with_maps(word=WORD_MAP)
    assert sidecar.call("MGET", b"word:good", b"word:" + word) == [b"yes", None]
    assert sidecar.metric("sidecar_backend_errors_total", backend="postgres") == 0


def test_an_empty_id_is_an_id_or_a_missing_row(with_maps, plans):
    plans.execute("INSERT INTO billing.words VALUES ('', 'empty')")
    assert with_maps(word=WORD_MAP).get("word:") in (b"empty", None)


def test_one_bad_id_does_not_spoil_the_batch_of_an_untyped_map(with_maps, plans):
    """The query itself fails on it: anyone could send such a key."""
    untyped = {"key": "plan:{id}", "query": plans.QUERY, "free": plans.FREE}
    sidecar = with_maps(plan=untyped)
    replies = sidecar.call("MGET", "plan:20", "plan:abc", "plan:7")
    assert (replies[0], replies[2]) == (plans.bytes(20), plans.bytes(7))
    assert replies[1] in (None, plans.FREE.encode())
    for _ in range(30):
        sidecar.get("plan:abc")
    assert sidecar.get("plan:40") == plans.bytes(40)
    assert sidecar.metric("sidecar_backend_up", backend="postgres") == 1


# Shapes of keys, several maps


def test_text_behind_the_id_and_maps_beside_each_other(with_maps, plans):
    plans.execute("INSERT INTO billing.words VALUES ('a', 'A')")
    sidecar = with_maps(
        word=WORD_MAP,
        suffixed={"key": "user:{id:int}:plan", "query": plans.QUERY, "free": plans.FREE},
        short={"key": "p{id:int}", "query": plans.QUERY, "free": plans.FREE})
    assert sidecar.get("user:20:plan") == plans.bytes(20)
    assert sidecar.get("p20") == plans.bytes(20)
    assert sidecar.get("word:a") == b"A"
    assert sidecar.get("user:20") is None, "not a mapped key"
    assert ids_asked(sidecar) == 3
    assert sidecar.call("MGET", "user:7:plan", "word:a", "p8", "none") == [
        plans.bytes(7), b"A", plans.bytes(8), None]


def test_a_query_without_valid_until_and_columns_by_position(with_maps, plans):
    sidecar = with_maps(plan={"key": "plan:{id:int}", "query": plans.QUERY_WITHOUT_END,
                              "free": plans.FREE})
    assert sidecar.get("plan:20") == plans.bytes(20)


def test_a_value_that_is_null_or_empty_or_long(with_maps, plans):
    plans.execute("INSERT INTO billing.words VALUES ('null', NULL), ('empty', ''), ('long', repeat('x', 500000))")
    sidecar = with_maps(word=WORD_MAP)
    for _ in range(2):
        assert sidecar.get("word:empty") == b""
        assert sidecar.get("word:long") == b"x" * 500_000
        assert sidecar.get("word:null") in (None, b"", b"?")


def test_rows_of_an_id_that_was_not_asked_for_harm_nothing(with_maps, plans):
    """A query that returns too much, and some ids twice."""
    sidecar = with_maps(plan={
        "key": "plan:{id:int}", "free": plans.FREE,
        "query": "SELECT acct, body FROM billing.plans WHERE $1::bigint[] IS NOT NULL "
                 "AND acct < 50 UNION ALL SELECT acct, body FROM billing.plans WHERE acct < 5"})
    assert sidecar.get("plan:20") == plans.bytes(20)
    assert sidecar.get("plan:3") == plans.bytes(3)
    assert sidecar.get("plan:300") is None


# Missing rows


def test_a_missing_row_is_nil_or_free_as_configured(with_maps, plans):
    sidecar = with_maps(
        a={"key": "a:{id:int}", "query": plans.QUERY, "free": plans.FREE, "missing": "nil"},
        b={"key": "b:{id:int}", "query": plans.QUERY, "free": plans.FREE, "missing": "free"})
    for _ in range(2):
        assert sidecar.get("a:99999") is None
        assert sidecar.get("b:99999") == plans.FREE.encode()
    assert sidecar.call("MGET", "a:99998", "b:99998", "b:20") == [
        None, plans.FREE.encode(), plans.bytes(20)]


def test_the_free_value_of_a_missing_row_is_not_written_to_redis(with_maps, redis, plans):
    sidecar = with_maps(b={"key": "b:{id:int}", "query": plans.QUERY, "free": plans.FREE,
                           "missing": "free"})
    sidecar.get("b:99999")
    time.sleep(0.1)
    assert redis.call("EXISTS", "b:99999") == 0


def test_a_missing_row_is_known_for_negative_ttl_and_then_asked_again(
        redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache={"negative_ttl": "1500ms"})
    assert sidecar.get("plan:99999") is None
    plans.set(99999, "plus")
    assert sidecar.get("plan:99999") is None
    time.sleep(1.55)
    assert sidecar.get("plan:99999") == plans.bytes(99999, "plus")


def test_an_insert_is_seen_at_once_when_its_key_is_dropped(sidecar, plans):
    assert sidecar.get("plan:99999") is None
    plans.set(99999, "plus")
    sidecar.call("DEL", "plan:99999")
    assert sidecar.get("plan:99999") == plans.bytes(99999, "plus")


# Redis fills


def test_what_postgres_said_is_written_to_redis_with_its_ttl(
        redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url, "ttl": "77s"},
                            postgres={"url": pgbouncer.url})
    sidecar.get("plan:20")
    eventually(lambda: redis.call("GET", "plan:20") == plans.bytes(20))
    assert 60_000 < redis.call("PTTL", "plan:20") <= 77_000 * 1.1


def test_ttl_zero_fills_no_redis(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url, "ttl": "0"},
                            postgres={"url": pgbouncer.url})
    assert sidecar.get("plan:20") == plans.bytes(20)
    time.sleep(0.1)
    assert redis.call("DBSIZE") == 0
    assert sidecar.rung("plan:20")[1] == "memory"


def test_a_newer_value_in_redis_is_not_overwritten_by_a_fill(
        redis, pgbouncer, proxy_for, plans, start_sidecar):
    """Another app writes the key while Postgres is being asked, and nobody tells of it."""
    proxy = proxy_for(pgbouncer)
    sidecar = start_sidecar(
        redis={"url": redis.url}, ladder={"deadline": "5s"}, cache={"coherence": "ttl"},
        postgres={"url": pgbouncer.postgres.url_for(proxy.port), "budget": "4s"})
    plans.set(7777, "plus")
    sidecar.get("plan:1")
    proxy.hold(b"7777")
    client = sidecar.client()
    client.send("GET", "plan:7777")
    proxy.wait_held()
    redis.call("SET", "plan:7777", "newer")
    proxy.release()
    client.read()
    time.sleep(0.1)
    assert redis.call("GET", "plan:7777") == b"newer"


def test_what_redis_has_comes_before_postgres(sidecar, redis, plans):
    redis.call("SET", "plan:20", "of Redis")
    assert sidecar.rung("plan:20")[:2] == (b"of Redis", "redis")
    assert ids_asked(sidecar) == 0


# Hashes


@pytest.fixture
def hashed(with_maps, plans):
    plans.execute("INSERT INTO billing.people VALUES (%s, %s, 'plus', 3), "
                  "('aaaaaaaa-2222-3333-4444-555555555555', 'No Seats', 'basic', NULL)",
                  (PERSON, "Zoë \"Z\" O'Neil"))
    return with_maps(person=PERSON_MAP)


KEY = f"person:{PERSON}:profile"
FIELDS = {b"name": "Zoë \"Z\" O'Neil".encode(), b"tier": b"plus", b"seats": b"3"}


@pytest.mark.parametrize("source", ["postgres", "memory", "redis", "postgres without redis"])
def test_a_hash_is_read_by_field_by_fields_and_whole(source, hashed, redis):
    if source == "postgres without redis":
        redis.kill9()
        hashed.wait_backend("redis", False)
    if source in ("memory", "redis"):
        hashed.call("HGETALL", KEY)
    if source == "redis":
        eventually(lambda: redis.call("EXISTS", KEY))
        hashed.call("SIDECAR", "FLUSH")
    two, three = hashed.client(), hashed.client(protocol=3)
    assert two.call("HGET", KEY, "tier") == b"plus"
    assert two.call("HGET", KEY, "nothing") is None
    assert two.call("HMGET", KEY, "seats", "nothing", "name") == [b"3", None, FIELDS[b"name"]]
    flat = two.call("HGETALL", KEY)
    assert dict(zip(flat[::2], flat[1::2])) == FIELDS
    assert three.call("HGETALL", KEY) == FIELDS
    assert b"valid_until" not in flat and b"id" not in flat
    assert three.raw("HGET", KEY, "nothing") == b"_\r\n"


def test_a_null_column_is_a_field_that_is_not_there(hashed):
    key = "person:aaaaaaaa-2222-3333-4444-555555555555:profile"
    assert hashed.call("HGET", key, "seats") is None
    flat = hashed.call("HGETALL", key)
    assert dict(zip(flat[::2], flat[1::2])) == {b"name": b"No Seats", b"tier": b"basic"}


def test_a_hash_is_filled_into_redis_as_a_hash_with_its_ttl(hashed, redis):
    hashed.call("HGET", KEY, "tier")
    eventually(lambda: redis.call("EXISTS", KEY))
    with redis.client(protocol=3) as client:
        assert client.call("HGETALL", KEY) == FIELDS
    assert 0 < redis.call("PTTL", KEY) <= 330_000


def test_one_read_of_a_hash_serves_every_field(hashed):
    hashed.call("HGET", KEY, "tier")
    for words in (("HGET", KEY, "name"), ("HMGET", KEY, "seats"), ("HGETALL", KEY)):
        hashed.call(*words)
    assert ids_asked(hashed) == 1


def test_a_missing_hash_is_empty(hashed):
    key = "person:bbbbbbbb-2222-3333-4444-555555555555:profile"
    for _ in range(2):
        assert hashed.call("HGET", key, "tier") is None
        assert hashed.call("HMGET", key, "tier", "name") == [None, None]
        assert hashed.call("HGETALL", key) == []
        assert hashed.client(protocol=3).call("HGETALL", key) == {}


def test_free_of_a_hash_is_its_json_object(hashed, redis, pgbouncer):
    redis.kill9()
    pgbouncer.kill9()
    key = "person:bbbbbbbb-2222-3333-4444-555555555555:profile"
    assert hashed.call("HGET", key, "tier") == b"free"
    assert hashed.call("HMGET", key, "seats", "name") == [b"0", None]
    flat = hashed.call("HGETALL", key)
    assert dict(zip(flat[::2], flat[1::2])) == {b"tier": b"free", b"seats": b"0"}
    assert hashed.client(protocol=3).call("HGETALL", key) == {b"tier": b"free", b"seats": b"0"}


def test_a_write_to_a_field_is_read_back(hashed, redis):
    assert hashed.call("HGET", KEY, "tier") == b"plus"
    hashed.call("HSET", KEY, "tier", "basic")
    assert hashed.call("HGET", KEY, "tier") == b"basic"
    assert redis.call("HGET", KEY, "tier") == b"basic"


def test_get_of_a_hash_is_wrongtype(hashed):
    for _ in range(2):
        hashed.call("HGET", KEY, "tier")
        eventually(lambda: isinstance(hashed.call("GET", KEY), resp.Error), 2)
        assert hashed.call("GET", KEY).startswith("WRONGTYPE")


def test_a_hash_by_redis_py(hashed):
    client = redis_py.Redis(port=hashed.port, decode_responses=True)
    assert client.hgetall(KEY)["tier"] == "plus"
    client.close()
