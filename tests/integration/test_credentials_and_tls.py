"""Wrong passwords and bad certificates: said clearly, tried rarely, survived."""

import time

import pytest

from backends import PgBouncer
from processes import eventually

# The defaults of a real deployment; the other tests shorten them.
REAL_BREAKER = {"open": "1s", "max_open": "30s"}

# An English word of the log for each fault; OpenSSL's and libpq's own words count.
WORDS = {
    "expired": ("expired",),
    "wrong_host": ("host", "mismatch"),
    "unknown_ca": ("issuer", "self-signed", "self signed", "unknown", "untrusted", "verify"),
}


def complaints(sidecar, backend, words):
    return [line for line in sidecar.log().splitlines()
            if backend in line.lower() and any(word in line.lower() for word in words)]


def keep_reading(client, seconds, expected, keys):
    """Reads steadily, all answers as expected; the load under which backoff counts."""
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        for key in keys:
            assert client.call("GET", key) == expected(key)
        time.sleep(0.01)


def bad_certificate(fault, authority, other_authority):
    if fault == "expired":
        return authority.sign_expired("expired-" + str(time.monotonic_ns()))
    if fault == "wrong_host":
        return authority.sign("elsewhere-" + str(time.monotonic_ns()), "DNS:other.example")
    return other_authority.sign("stranger-" + str(time.monotonic_ns()))


def test_a_wrong_redis_password_is_named_tried_rarely_and_survived(
        start_redis, proxy_for, pgbouncer, plans, start_sidecar):
    redis = start_redis(password="right-secret")
    proxy = proxy_for(redis)
    sidecar = start_sidecar(
        redis={"url": f"redis://default:wrong-secret@127.0.0.1:{proxy.port}"},
        postgres={"url": pgbouncer.url}, breaker=REAL_BREAKER)
    keep_reading(sidecar.client(), 4, lambda key: plans.bytes(int(key[5:])),
                 [f"plan:{number}" for number in range(1, 30)])
    assert eventually(lambda: complaints(sidecar, "redis", ("password", "auth", "wrongpass")))
    # Two links on each of two threads, and the keeper's; once each.
    assert 1 <= len(proxy.accepted) <= 8
    assert sidecar.metric("sidecar_backend_errors_total", backend="redis", kind="auth") >= 1
    assert "wrong-secret" not in sidecar.log() and "right-secret" not in sidecar.log()


def test_a_wrong_database_password_is_named_tried_rarely_and_survived(
        redis, pgbouncer, plans, proxy_for, start_sidecar):
    """Ten failed logins in 150 s lock the tenant out."""
    proxy = proxy_for(pgbouncer)
    redis.call("SET", "plan:20", plans.text(20))
    sidecar = start_sidecar(
        redis={"url": redis.url}, breaker=REAL_BREAKER, cache={"ttl": "200ms"},
        postgres={"url": pgbouncer.postgres.url_for(proxy.port, password="wrong-secret")})
    keep_reading(sidecar.client(), 5,
                 lambda key: plans.bytes(20) if key == "plan:20" else plans.FREE.encode(),
                 ["plan:20"] + [f"plan:{number}" for number in range(1, 15)])
    assert eventually(lambda: complaints(sidecar, "postgres", ("password", "auth", "login")))
    assert 1 <= len(proxy.accepted) <= 4
    assert sidecar.metric("sidecar_backend_errors_total", backend="postgres", kind="auth") >= 1
    assert "wrong-secret" not in sidecar.log()


def test_a_wrong_database_name_is_named_and_survived(redis, pgbouncer, plans, start_sidecar):
    url = pgbouncer.url.replace("/" + pgbouncer.postgres.DATABASE, "/nowhere")
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": url})
    assert sidecar.get("plan:1") == plans.FREE.encode()
    assert eventually(lambda: sidecar.log_lines("nowhere") or complaints(
        sidecar, "postgres", ("no such database", "does not exist")))


@pytest.mark.parametrize("fault", WORDS)
def test_a_bad_certificate_of_redis_is_named_tried_rarely_and_survived(
        fault, authority, other_authority, start_redis, proxy_for, pgbouncer, plans,
        start_sidecar):
    redis = start_redis(certificate=bad_certificate(fault, authority, other_authority),
                        authority=authority, password="right-secret")
    redis.call("SET", "plan:1", "what the false Redis says")
    proxy = proxy_for(redis)
    sidecar = start_sidecar(
        redis={"url": f"rediss://default:right-secret@localhost:{proxy.port}",
               "tls_ca": authority.file},
        postgres={"url": pgbouncer.url}, breaker=REAL_BREAKER)
    keep_reading(sidecar.client(), 3, lambda key: plans.bytes(int(key[5:])),
                 [f"plan:{number}" for number in range(1, 20)])
    assert eventually(lambda: complaints(sidecar, "redis", WORDS[fault])), sidecar.log()
    assert 1 <= len(proxy.accepted) <= 15
    assert sidecar.metric("sidecar_backend_errors_total", backend="redis", kind="tls") >= 1
    assert "right-secret" not in sidecar.log()
    assert "hello" not in redis.commands_seen(), "the password was given to a stranger"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_redis_over_tls_works_with_the_right_ca(
        host, authority, start_redis, pgbouncer, plans, start_sidecar):
    redis = start_redis(certificate=authority.sign("redis-" + host), authority=authority,
                        password="right-secret")
    sidecar = start_sidecar(
        redis={"url": f"rediss://default:right-secret@{host}:{redis.port}",
               "tls_ca": authority.file},
        postgres={"url": pgbouncer.url})
    sidecar.wait_backend("redis", True)
    eventually(lambda: sidecar.call("SET", "a", "1") == "OK")
    assert redis.call("GET", "a") == b"1"
    assert sidecar.get("a") == b"1"
    assert sidecar.get("plan:20") == plans.bytes(20)
    eventually(lambda: redis.call("GET", "plan:20") == plans.bytes(20))
    large = "x" * 300_000
    assert sidecar.call("SET", "large", large) == "OK"
    assert sidecar.get("large") == large.encode()
    client = sidecar.client(protocol=3)
    assert client.call("HSET", "h", "f", "v") == 1
    assert client.call("HGETALL", "h") == {b"f": b"v"}


def test_tls_redis_crashes_and_comes_back(authority, start_redis, pgbouncer, plans, start_sidecar):
    redis = start_redis(certificate=authority.sign("redis-again"), authority=authority)
    sidecar = start_sidecar(redis={"url": redis.url, "tls_ca": authority.file},
                            postgres={"url": pgbouncer.url})
    sidecar.wait_backend("redis", True)
    for _ in range(3):
        redis.kill9()
        sidecar.wait_backend("redis", False)
        assert sidecar.get("plan:20") == plans.bytes(20)
        redis.start()
        sidecar.wait_backend("redis", True)
        assert sidecar.call("SET", "a", "1") == "OK"


def test_a_plain_redis_behind_a_tls_url_is_named_and_survived(
        redis, authority, pgbouncer, plans, start_sidecar):
    sidecar = start_sidecar(
        redis={"url": f"rediss://127.0.0.1:{redis.port}", "tls_ca": authority.file},
        postgres={"url": pgbouncer.url})
    assert sidecar.get("plan:20") == plans.bytes(20)
    assert eventually(lambda: complaints(sidecar, "redis", ("tls", "ssl")), 10)


def test_without_tls_ca_the_systems_cas_decide(authority, start_redis, start_sidecar):
    redis = start_redis(certificate=authority.sign("redis-private"), authority=authority)
    sidecar = start_sidecar(redis={"url": redis.url})
    assert sidecar.get("other").startswith("REDISDOWN")
    assert eventually(lambda: complaints(sidecar, "redis", WORDS["unknown_ca"]))
    assert sidecar.metric("sidecar_backend_up", backend="redis") == 0


def test_redis_with_a_named_user(start_redis, start_sidecar):
    redis = start_redis(user="app", password="s3cret%2F")
    sidecar = start_sidecar(
        redis={"url": f"redis://app:s3cret%252F@127.0.0.1:{redis.port}"})
    sidecar.wait_backend("redis", True)
    assert sidecar.call("SET", "a", "1") == "OK"
    assert redis.call("GET", "a") == b"1"


def test_redis_on_a_unix_socket(start_redis, start_sidecar):
    redis = start_redis(unix=True)
    sidecar = start_sidecar(redis={"url": f"unix://{redis.path}"})
    sidecar.wait_backend("redis", True)
    assert sidecar.call("SET", "a", "1") == "OK"
    assert redis.call("GET", "a") == b"1"


@pytest.fixture
def start_tls_pgbouncer(session, postgres):
    started = []

    def start(certificate):
        started.append(PgBouncer(session, postgres,
                                 certificate=certificate.readable_by("postgres")))
        return started[-1].start()

    yield start
    for bouncer in started:
        bouncer.end()


def test_postgres_over_tls_works_with_the_right_ca(
        authority, start_tls_pgbouncer, redis, plans, start_sidecar):
    bouncer = start_tls_pgbouncer(authority.sign("bouncer"))
    url = bouncer.url.replace("127.0.0.1", "localhost")
    sidecar = start_sidecar(
        redis={"url": redis.url},
        postgres={"url": f"{url}?sslmode=verify-full&sslrootcert={authority.file}"})
    sidecar.wait_backend("postgres", True)
    assert sidecar.get("plan:20") == plans.bytes(20)


@pytest.mark.parametrize("fault", WORDS)
def test_a_bad_certificate_of_postgres_is_named_tried_rarely_and_survived(
        fault, authority, other_authority, start_tls_pgbouncer, proxy_for, redis, plans,
        start_sidecar):
    bouncer = start_tls_pgbouncer(bad_certificate(fault, authority, other_authority))
    proxy = proxy_for(bouncer)
    url = bouncer.postgres.url_for(proxy.port).replace("127.0.0.1", "localhost")
    redis.call("SET", "plan:20", plans.text(20))
    sidecar = start_sidecar(
        redis={"url": redis.url}, breaker=REAL_BREAKER,
        postgres={"url": f"{url}?sslmode=verify-full&sslrootcert={authority.file}"})
    keep_reading(sidecar.client(), 3,
                 lambda key: plans.bytes(20) if key == "plan:20" else plans.FREE.encode(),
                 ["plan:20", "plan:1", "plan:2"])
    # libpq itself does not say more of a certificate that OpenSSL refuses.
    words = WORDS[fault] if fault == "wrong_host" else ("certificate",)
    assert eventually(lambda: complaints(sidecar, "postgres", words)), sidecar.log()
    assert 1 <= len(proxy.accepted) <= 15


def test_unknown_parameters_of_a_database_url_are_left_out(redis, pgbouncer, plans, start_sidecar):
    """Supabase hands out ?pgbouncer=true, at which libpq fails."""
    sidecar = start_sidecar(
        redis={"url": redis.url},
        postgres={"url": pgbouncer.url + "?pgbouncer=true&connect_timeout=5&schema=public"})
    sidecar.wait_backend("postgres", True)
    assert sidecar.get("plan:20") == plans.bytes(20)
    assert sidecar.log_lines("pgbouncer")
    assert "needs a restart" not in sidecar.reload()
    assert sidecar.get("plan:21") == plans.bytes(21)


def test_a_refused_select_right_answers_free_and_is_named(
        redis, pgbouncer, plans, start_sidecar):
    """A query that fails is no missing row."""
    sidecar = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url},
        maps={"plan": {"key": "plan:{id}", "free": plans.FREE, "missing": "nil",
                       "query": "SELECT rolname, rolpassword FROM pg_authid "
                                "WHERE rolname = ANY($1)"}})
    assert sidecar.get("plan:1") == plans.FREE.encode()
    assert eventually(lambda: complaints(sidecar, "postgres", ("permission denied",)))
    assert sidecar.metric("sidecar_backend_errors_total", backend="postgres", kind="query") >= 1
