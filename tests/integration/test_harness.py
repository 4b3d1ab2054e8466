"""The tools of these tests, proven against real servers: a fault that does not
happen would make every test that relies on it pass for nothing."""

import os
import signal
import subprocess
import sys
import textwrap

import psycopg2
import pytest

import faults
import resp
from processes import HERE, eventually, stat_fields


def is_silent(client, seconds=0.2):
    return client.read_to_end(seconds) == (b"", False)


def test_a_stopped_redis_hangs_and_goes_on(redis):
    with redis.client() as client:
        redis.stop()
        client.send("PING")
        assert is_silent(client)
        redis.cont()
        assert client.read() == "PONG"


def test_a_killed_redis_refuses_and_comes_back_empty(redis):
    redis.call("SET", "a", "1")
    redis.kill9()
    with pytest.raises(OSError):
        redis.client()
    redis.start()
    assert redis.call("GET", "a") is None


def test_redis_with_a_user_tls_and_a_unix_socket(start_redis, authority):
    assert start_redis(password="x", user="bob").call("PING") == "PONG"
    assert start_redis(certificate=authority.sign("tls"), authority=authority).call("PING") == "PONG"
    assert start_redis(unix=True).call("PING") == "PONG"


def test_the_reader_sees_the_plans_through_pgbouncer_and_may_not_write(pgbouncer, plans):
    connection = psycopg2.connect(pgbouncer.url)
    cursor = connection.cursor()
    cursor.execute("SELECT body FROM billing.plans WHERE acct = ANY(%s) ORDER BY acct", ([7, 20, -1],))
    assert [row[0] for row in cursor.fetchall()] == [plans.text(7, "basic"), plans.text(20, "plus")]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute("DELETE FROM billing.plans")
    connection.close()
    assert pgbouncer.queries() >= 2


def test_a_stopped_postgres_hangs_with_its_open_connections(postgres):
    connection = postgres.connect()
    connection.cursor().execute("SET statement_timeout = 0")
    postgres.stop()
    assert all(stat_fields(pid)[0] == "T" for pid in postgres.family())
    postgres.cont()
    connection.cursor().execute("SELECT 1")
    connection.close()


def test_a_killed_postgres_comes_back_with_its_rows(postgres, plans):
    postgres.kill9()
    with pytest.raises(psycopg2.OperationalError):
        postgres.connect()
    postgres.start()
    assert plans.execute("SELECT count(*) FROM billing.plans") == [(500,)]


def test_the_proxy_holds_stalls_delays_and_cuts(redis, proxy_for):
    proxy = proxy_for(redis)
    address = ("127.0.0.1", proxy.port)
    client = resp.Client(address)
    assert client.call("PING") == "PONG"

    proxy.hold(b"mykey")
    client.send("SET", "mykey", "1")
    proxy.wait_held()
    assert redis.call("GET", "mykey") == b"1", "it ran, only its reply is held"
    assert is_silent(client)
    assert resp.Client(address).call("PING") == "PONG", "another connection is not held"
    proxy.release()
    assert client.read() == "OK"

    proxy.stall()
    client.send("PING")
    assert is_silent(client)
    proxy.resume()
    assert client.read() == "PONG"

    proxy.delay = 0.1
    assert client.timed("PING")[1] >= 0.1
    proxy.delay = 0

    proxy.cut()
    assert client.is_closed()
    with pytest.raises(ConnectionRefusedError):
        resp.Client(address)
    proxy.resume()
    assert resp.Client(address).call("PING") == "PONG"


def test_the_fake_servers_do_what_they_are_named_after(fake):
    def first_bytes(kind, *arguments):
        server = fake(kind, *arguments)
        client = resp.Client(("127.0.0.1", server.port))
        client.send("PING")
        data, is_closed = client.read_to_end(0.3)
        assert len(server.accepted) == 1
        return len(data), is_closed

    assert first_bytes(faults.AcceptsAndNeverAnswers) == (0, False)
    assert first_bytes(faults.AnswersAByteASecond) == (1, False)
    assert first_bytes(faults.AnswersGarbage) == (300, False)
    assert first_bytes(faults.ClosesAfter, 0) == (0, True)
    assert first_bytes(faults.ClosesAfter, 10) == (10, True)
    scripted = fake(faults.ScriptedRedis, lambda words: b"+%s\r\n" % words[0])
    assert resp.Client(("127.0.0.1", scripted.port)).call("HI", "x") == "HI"


def test_nothing_outlives_a_killed_pytest():
    """Not even servers that hang in SIGSTOP."""
    program = textwrap.dedent("""
        import sys, time
        from backends import Postgres, Redis
        from processes import Session
        session = Session()
        postgres = Postgres(session).create().start()
        redis = Redis(session).start()
        pids = postgres.family() + redis.family()
        postgres.stop()
        print(session.root, *pids, flush=True)
        time.sleep(60)
    """)
    victim = subprocess.Popen([sys.executable, "-c", program], cwd=HERE, stdout=subprocess.PIPE,
                              text=True)
    root, *pids = victim.stdout.readline().split()
    assert len(pids) > 3
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    victim.stdout.close()
    for pid in pids:
        eventually(lambda pid=pid: (stat_fields(pid) or "Z")[0] == "Z", 10, what="its end")
    eventually(lambda: not os.path.exists(root), 10, what="the root's removal")
