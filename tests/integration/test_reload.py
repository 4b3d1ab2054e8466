"""SIGHUP: what was rotated counts for whoever comes, and who is there notices nothing."""

import os
import re
import shutil
import ssl
import threading

import pytest

import resp
from processes import eventually, free_port

PATIENT_BREAKER = {"open": "60s", "max_open": "60s"}  # none comes back by itself


def trusting(authority, certificate=None):
    context = ssl.create_default_context(cafile=authority.file)
    if certificate:
        context.load_cert_chain(certificate.cert, certificate.key)
    return context


class Files:
    """The certificate, key and CA that sidecar.ini names: rotated in place."""

    def __init__(self, directory):
        self.cert, self.key, self.ca = (str(directory / name) for name in (
            "tls.crt", "tls.key", "ca.crt"))

    def take(self, certificate=None, authority=None):
        for source, to in ((certificate and certificate.cert, self.cert),
                           (certificate and certificate.key, self.key),
                           (authority and authority.file, self.ca)):
            if source:
                shutil.copyfile(source, to + ".new")
                os.replace(to + ".new", to)
        return self

    @property
    def listen(self):
        return {"tls_cert": self.cert, "tls_key": self.key}


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def serial(address, context):
    """The serial number of the certificate that a new client is shown."""
    with resp.Client(address, tls=context) as client:
        assert client.call("PING") == "PONG"
        return client.socket.getpeercert()["serialNumber"]


def serial_of(certificate):
    return ssl._ssl._test_decode_cert(certificate.cert)["serialNumber"]


class Load:
    """Clients, each on one connection, that read and write until finish()."""

    def __init__(self, address, context, count=4):
        self.clients = [resp.Client(address, tls=context, timeout=10) for _ in range(count)]
        self.is_over = False
        self.counts, self.problems = [0] * count, []
        self.threads = [threading.Thread(target=self._work, args=(at,)) for at in range(count)]
        for thread in self.threads:
            thread.start()

    def _work(self, at):
        client = self.clients[at]
        try:
            while not self.is_over:
                n = self.counts[at]
                commands = [("SET", f"load:{at}", n), ("GET", f"load:{at}"), ("ECHO", n)] * 10
                replies = client.pipeline(commands)
                if replies != ["OK", b"%d" % n, b"%d" % n] * 10:
                    self.problems.append(replies)
                self.counts[at] += 1
        except (OSError, resp.Closed) as problem:
            self.problems.append(problem)

    def wait_more(self):
        """Until each has been answered a few times more."""
        before = list(self.counts)
        eventually(lambda: self.problems or all(
            now > then + 3 for now, then in zip(self.counts, before)), 20, what="more answers")

    def finish(self):
        self.is_over = True
        for thread in self.threads:
            thread.join(20)
        for client in self.clients:
            client.close()
        assert not self.problems, self.problems[:3]


@pytest.fixture
def start_load():
    started = []

    def start(*arguments):
        started.append(Load(*arguments))
        return started[-1]
    yield start
    for load in started:
        load.is_over = True
        for thread in load.threads:
            thread.join(20)


@pytest.fixture
def start_tls(start_sidecar, redis, files):
    def start(context, listen=None, **sections):
        sidecar = start_sidecar(wait=False, redis={"url": redis.url}, maps={},
                                listen={**files.listen, **(listen or {})}, **sections)

        def is_served():
            assert sidecar.is_running(), sidecar.log()
            try:
                return serial(sidecar.address, context)
            except OSError:
                return False
        eventually(is_served, 10)
        eventually(lambda: sidecar.metric("sidecar_backend_up", backend="redis") == 1)
        return sidecar
    return start


# Certificates of the listener


def test_new_clients_get_the_new_certificate_and_old_ones_go_on(
        authority, files, start_tls, start_load):
    context = trusting(authority)
    old, new = authority.sign("rotated-1"), authority.sign("rotated-2")
    files.take(old)
    sidecar = start_tls(context)
    assert serial(sidecar.address, context) == serial_of(old)
    load = start_load(sidecar.address, context)
    for certificate in (new, old, new):
        load.wait_more()
        files.take(certificate)
        said = sidecar.reload()
        assert "reload done" in said and serial_of(certificate) in said
        assert serial(sidecar.address, context) == serial_of(certificate)
        load.wait_more()
    assert "serial" not in sidecar.reload(), "nothing was rotated"
    load.finish()


def test_a_new_ca_of_clients_lets_others_in(authority, other_authority, files, start_tls):
    first, second = authority.sign("client-1"), other_authority.sign("client-2")
    files.take(authority.sign("rotated-server"), authority)
    sidecar = start_tls(trusting(authority, first), listen={"tls_client_ca": files.ca})

    def gets_in(certificate):
        try:
            return serial(sidecar.address, trusting(authority, certificate)) is not None
        except (OSError, resp.Closed):
            return False
    assert gets_in(first) and not gets_in(second)
    with resp.Client(sidecar.address, tls=trusting(authority, first)) as there:
        assert there.call("PING") == "PONG"
        files.take(authority=other_authority)
        assert "reload done" in sidecar.reload()
        assert gets_in(second) and not gets_in(first)
        assert there.call("PING") == "PONG"


def test_a_ticket_from_before_does_not_get_past_the_new_ca(
        authority, other_authority, files, start_tls):
    files.take(authority.sign("ticket-server"), authority)
    context = trusting(authority, authority.sign("ticket-client"))
    sidecar = start_tls(context, listen={"tls_client_ca": files.ca})
    with resp.Client(sidecar.address, tls=context) as client:
        assert client.call("PING") == "PONG"
        session = client.socket.session
    files.take(authority=other_authority)
    sidecar.reload()
    client = resp.Client(sidecar.address)
    try:
        with pytest.raises((OSError, resp.Closed)):
            client.socket = context.wrap_socket(client.socket, server_hostname="localhost",
                                                session=session)
            client.call("PING")
    finally:
        client.close()


def test_a_certificate_that_does_not_load_changes_nothing(
        authority, other_authority, files, start_tls):
    context = trusting(authority)
    old, new = authority.sign("kept"), authority.sign("halfway")
    files.take(old)
    sidecar = start_tls(context, cache={"ttl": "1h"})
    shutil.copyfile(new.cert, files.cert)  # and the key not yet
    said = sidecar.reload(cache={"ttl": "2h"})
    assert "reload refused, nothing has changed: " in said and "has changed\n" not in said + "\n"
    assert f'[listen] tls_key: "{files.key}" is not the key of tls_cert' in said
    assert serial(sidecar.address, context) == serial_of(old)
    for bad in (authority.sign_expired("too-late"),):
        files.take(bad)
        said = sidecar.reload()
        assert "reload refused" in said and "has expired" in said
    os.unlink(files.cert)
    assert "No such file" in sidecar.reload()
    assert serial(sidecar.address, context) == serial_of(old)
    files.take(new)
    said = sidecar.reload()
    assert "cache.ttl has changed" in said and "reload done" in said
    assert serial(sidecar.address, context) == serial_of(new)


def test_tls_can_be_turned_on_and_off(authority, redis, files, start_sidecar):
    files.take(authority.sign("later"))
    context = trusting(authority)
    sidecar = start_sidecar(redis={"url": redis.url}, maps={})
    plain = sidecar.client()
    assert plain.call("PING") == "PONG"
    assert "listen.tls_cert has changed" in sidecar.reload(listen=files.listen)
    assert serial(sidecar.address, context)
    with resp.Client(sidecar.address) as stranger:
        with pytest.raises((resp.Closed, OSError, AssertionError)):
            stranger.call("PING")
    with resp.Client(sidecar.address, tls=context) as secured:
        assert secured.call("PING") == "PONG"
        sidecar.reload(listen={"tls_cert": "", "tls_key": ""})
        assert secured.call("PING") == plain.call("PING") == "PONG"
    assert sidecar.client().call("PING") == "PONG"


# Passwords


def test_a_new_password_counts_for_those_who_come(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, listen={"password": "first-secret"})
    there = sidecar.client(password="first-secret")
    assert "listen.password has changed" in sidecar.reload(listen={"password": "second-secret"})
    assert there.call("PING") == "PONG"
    new = sidecar.client()
    eventually(lambda: new.call("AUTH", "second-secret") == "OK")  # its thread has heard of it
    assert new.call("AUTH", "first-secret").startswith("WRONGPASS")
    assert "secret" not in sidecar.log()


@pytest.mark.parametrize("place", ["url", "token"])
def test_a_new_redis_password_is_taken_and_no_reply_is_lost(
        place, start_redis, start_sidecar, start_load):
    redis = start_redis(password="first-secret")

    def settings():
        if place == "url":
            return {"url": redis.url}
        return {"url": f"redis://127.0.0.1:{redis.port}", "token": redis.password}
    sidecar = start_sidecar(redis=settings(), maps={})
    load = start_load(sidecar.address, None)
    load.wait_more()  # all its connections stand
    assert redis.call("CONFIG", "SET", "requirepass", "second-secret") == "OK"
    redis.password = "second-secret"
    assert f"redis.{place} has changed" in sidecar.reload(redis=settings())
    load.wait_more()
    load.finish()
    # And what connects from now on logs in with the new one.
    redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    eventually(lambda: sidecar.call("SET", "a", "1") == "OK", 10)
    assert sidecar.metric("sidecar_backend_errors_total", backend="redis", kind="auth") == 0
    assert "secret" not in sidecar.log()


def test_after_a_wrong_redis_password_the_right_one_is_tried_at_once(start_redis, start_sidecar):
    redis = start_redis(password="right-secret")
    wrong = redis.url.replace("right", "wrong")
    sidecar = start_sidecar(redis={"url": wrong}, maps={}, breaker=PATIENT_BREAKER)
    eventually(lambda: sidecar.log_lines("redis down"))
    assert sidecar.call("SET", "a", "1").startswith("REDISDOWN")
    sidecar.reload(redis={"url": redis.url})
    eventually(lambda: sidecar.call("SET", "a", "1") == "OK", 10)
    assert "-secret" not in sidecar.log()


def test_a_new_database_password_is_for_new_connections(
        redis, pgbouncer, plans, start_sidecar):
    wrong = pgbouncer.postgres.url_for(pgbouncer.port, password="wrong-secret")
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": wrong, "pool": 1},
                            breaker=PATIENT_BREAKER, cache={"ttl": "50ms"})
    assert eventually(lambda: sidecar.log_lines("postgres down"))
    assert sidecar.get("plan:20") == plans.FREE.encode()
    assert "postgres.url has changed" in sidecar.reload(postgres={"url": pgbouncer.url})
    sidecar.wait_backend("postgres", True)
    assert sidecar.get("plan:20") == plans.bytes(20)
    # The one connection has logged in, and goes on.
    assert "postgres.url has changed" in sidecar.reload(postgres={"url": wrong})
    for number in range(21, 60):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)
    assert sidecar.metric("sidecar_backend_up", backend="postgres") == 1
    assert "wrong-secret" not in sidecar.log()


def test_a_new_ca_of_redis_is_trusted(authority, other_authority, files, start_redis,
                                      start_sidecar):
    """Redis gets a certificate of another CA, and our file of CAs follows."""
    files.take(authority=authority)
    redis = start_redis(certificate=other_authority.sign("moved"), authority=other_authority)
    sidecar = start_sidecar(redis={"url": redis.url, "tls_ca": files.ca}, maps={},
                            breaker=PATIENT_BREAKER)
    eventually(lambda: sidecar.log_lines("redis down"))
    files.take(authority=other_authority)
    sidecar.reload()
    eventually(lambda: sidecar.call("SET", "a", "1") == "OK", 10)
    with open(files.ca, "w") as file:
        file.write("nonsense")
    said = sidecar.reload()
    assert "reload refused" in said and "tls_ca" in said
    assert sidecar.call("SET", "a", "2") == "OK"


def test_another_place_needs_a_restart_and_that_is_said(
        redis, start_redis, pgbouncer, plans, start_sidecar):
    other = start_redis()
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url})
    for wished in ({"redis": {"url": other.url}}, {"redis": {"url": redis.url + "/3"}},
                   {"redis": {"url": ""}}):
        said = sidecar.reload(**wished)
        assert "redis.url needs a restart to take effect" in said, said
    assert sidecar.call("SET", "a", "1") == "OK"
    assert redis.call("GET", "a") == b"1" and other.call("DBSIZE") == 0
    elsewhere = pgbouncer.url.replace(f":{pgbouncer.port}", ":1")
    said = sidecar.reload(redis={"url": redis.url}, postgres={"url": elsewhere})
    assert "postgres.url needs a restart to take effect" in said, said
    assert sidecar.get("plan:20") == plans.bytes(20)
    said = sidecar.reload(postgres={"url": pgbouncer.url})
    assert ".url" not in said, said


def test_what_differs_from_what_is_in_force_is_said_each_time_and_no_longer(
        redis, start_redis, pgbouncer, start_sidecar):
    """What the file said in between never was in force: it is neither missed nor gone back from."""
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url})
    other = start_redis(password="of-the-other")
    wishes = {"listen": {"port": free_port()}, "cache": {"eviction": "lru"},
              "redis": {"url": f"redis://127.0.0.1:{other.port}", "token": "of-the-other"}}
    waiting = {"listen.port", "cache.eviction", "redis.url", "redis.token"}

    def told(said):
        return set(re.findall(r"reload: (\S+) needs a restart", said)), "has changed" in said
    assert told(sidecar.reload(**wishes)) == (waiting, False)
    assert told(sidecar.reload()) == (waiting, False)
    assert told(sidecar.reload(listen={"port": free_port()}, cache={"ttl": "9s"})) == (
        waiting, True)
    assert told(sidecar.reload(cache={"eviction": "s3fifo"})) == (
        waiting - {"cache.eviction"}, False)
    said = sidecar.reload(listen={"port": sidecar.port}, redis={"url": redis.url, "token": ""})
    assert told(said) == (set(), False), said
    assert sidecar.call("SET", "a", "1") == "OK" and redis.call("GET", "a") == b"1"


def test_a_password_may_not_go_before_the_address_that_needs_it(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, maps={},
                            listen={"address": "0.0.0.0", "password": "for the address"})
    said = sidecar.reload(listen={"address": "127.0.0.1", "password": ""}, cache={"ttl": "9s"})
    assert "listen.address needs a restart" in said
    assert "reload refused, nothing has changed: " in said and "set password" in said
    assert "has changed\n" not in said + "\n"
    assert sidecar.client().call("PING").startswith("NOAUTH")
    assert "reload done" in sidecar.reload(listen={"password": "still one"})
    new = sidecar.client()
    eventually(lambda: new.call("AUTH", "still one") == "OK")


# Bounds and patterns


def test_bounds_of_memory_count_at_once(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, maps={}, cache={"max_entries": 5000})
    names = [f"k:{number}" for number in range(3000)]
    redis.call("MSET", *[word for name in names for word in (name, "x" * 100)])
    sidecar.call("MGET", *names)
    sidecar.client().pipeline([("GET", name) for name in names])
    eventually(lambda: sidecar.metric("sidecar_cache_entries") == 3000)
    assert "cache.max_entries has changed" in sidecar.reload(cache={"max_entries": 1000})
    assert sidecar.metric("sidecar_cache_entries") == 1000
    sidecar.reload(cache={"max_entries": 100_000, "max_memory": "128kb"})
    assert sidecar.metric("sidecar_cache_bytes") <= 128 * 1024
    sidecar.reload(cache={"max_memory": "64mb", "max_value": "50"})
    entries = sidecar.metric("sidecar_cache_entries")
    sidecar.client().pipeline([("GET", name) for name in names])
    assert sidecar.metric("sidecar_cache_entries") == entries
    sidecar.reload(cache={"max_value": "1mb"})
    sidecar.client().pipeline([("GET", name) for name in names])
    eventually(lambda: sidecar.metric("sidecar_cache_entries") == 3000)


def test_new_patterns_of_keys_are_cached_and_kept_coherent(redis, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url}, maps={},
                            cache={"keys": "a:*", "ttl": "1h", "coherence": "tracking"})
    redis.call("MSET", "a:1", "old", "b:1", "old")
    sidecar.get("a:1")
    sidecar.keep("a:1")
    assert sidecar.get("b:1") == b"old" and sidecar.rung("b:1")[1] == "redis"
    assert "cache.keys has changed" in sidecar.reload(cache={"keys": "b:*"})
    eventually(lambda: len(sidecar.log_lines("coherence=tracking")) == 2)
    sidecar.get("b:1")
    sidecar.keep("b:1")
    redis.call("SET", "b:1", "new")
    eventually(lambda: sidecar.get("b:1") == b"new", 3)
    redis.call("SET", "a:1", "new")
    eventually(lambda: sidecar.get("a:1") == b"new" and sidecar.rung("a:1")[1] == "redis", 3)


def test_a_new_maps_keys_keep_their_last_copy(redis, pgbouncer, plans, start_sidecar):
    """Who hears of changes knows new maps as well: a copy that Redis revokes stays, stale."""
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            cache={"ttl": "1h"})
    eventually(lambda: sidecar.log_lines("coherence=tracking"))
    sidecar.reload(**{"map other": {"key": "other:{id:int}", "query": plans.QUERY,
                                    "free": plans.FREE}})
    redis.call("SET", "other:1", "mine")
    assert eventually(lambda: sidecar.get("other:1") == b"mine")
    sidecar.keep("other:1")
    redis.call("SET", "other:1", "theirs")
    eventually(lambda: sidecar.explain("other:1")["rung"] != "memory")  # asks nobody
    for backend in ("redis", "postgres"):
        sidecar.call("SIDECAR", "BREAKER", backend, "OPEN")
    assert sidecar.rung("other:1")[:2] == (b"mine", "stale")


def test_a_larger_pool_is_used(redis, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(redis={"url": redis.url, "ttl": "0"}, cache={"ttl": "1ms"},
                            postgres={"url": pgbouncer.url, "pool": 1, "max_batch": 1})
    sidecar.reload(postgres={"pool": 4})

    def grows():
        redis.call("FLUSHALL")
        sidecar.client().pipeline([("GET", f"plan:{number}") for number in range(1, 200)])
        return sidecar.metric("sidecar_postgres_pool_size") > 1
    eventually(grows, 10)
