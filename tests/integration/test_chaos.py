"""Everything at once: clients that read, write and leave, while the backends hang, break
off and come back. Whatever happens, nobody is told anything older than what was acknowledged.

Each plan has one writer, who first writes the row in Postgres and then the key here, as an
app does: "7:12" is the twelfth version of plan 7. SIDECAR_CHAOS_SECONDS makes it longer.
"""

import os
import random
import signal
import socket
import struct
import threading
import time

import pytest

import resp
from processes import eventually
from sidecar import slowness

SECONDS = float(os.environ.get("SIDECAR_CHAOS_SECONDS") or 4)
SEED = int(os.environ.get("SIDECAR_CHAOS_SEED") or time.time())
PLANS = range(1, 25)

pytestmark = pytest.mark.seconds(60 + SECONDS)


class World:
    def __init__(self, sidecar, postgres, redis, redis_proxy, postgres_proxy):
        self.sidecar, self.postgres, self.redis = sidecar, postgres, redis
        self.redis_proxy, self.postgres_proxy = redis_proxy, postgres_proxy
        self.written = dict.fromkeys(PLANS, 0)  # the last version of each plan
        self.acknowledged = dict.fromkeys(PLANS, 0)
        self.is_over = threading.Event()
        self.values = 0
        self.wrong = []

    def client(self):
        return resp.Client(self.sidecar.address, timeout=10 * slowness())

    def check(self, number, at_least, reply):
        if reply == self.sidecar_free:
            return
        name, _, version = (reply or b"nil:0").partition(b":")
        if isinstance(reply, resp.Error) or name != b"%d" % number or \
                not at_least <= int(version) <= self.written[number]:
            self.wrong.append((number, at_least, reply))
        self.values += 1

    sidecar_free = b'{"tier":"free"}'


def read(world, dice):
    """GET and MGET, one or many of them at a time."""
    client = world.client()
    while not world.is_over.is_set():
        asked = [[dice.choice(PLANS) for _ in range(dice.choice((1, 1, 5, 20)))]
                 for _ in range(dice.choice((1, 1, 4, 30)))]
        known = dict(world.acknowledged)
        replies = client.pipeline([("GET" if len(numbers) == 1 else "MGET",
                                    *(f"plan:{number}" for number in numbers)) for numbers in asked])
        for numbers, reply in zip(asked, replies):
            for number, value in zip(numbers, reply if len(numbers) > 1 else [reply]):
                world.check(number, known[number], value)


def write(world, dice, numbers):
    """And reads it itself, in the same batch."""
    cursor, client = world.postgres.connect().cursor(), world.client()
    while not world.is_over.is_set():
        number = dice.choice(numbers)
        version = world.written[number] = world.written[number] + 1
        key, value = f"plan:{number}", f"{number}:{version}"
        cursor.execute("UPDATE billing.plans SET body = %s WHERE acct = %s", (value, number))
        command = dice.choice((("SET", key, value), ("SETEX", key, "100", value), ("DEL", key),
                               ("UNLINK", key), ("MSET", key, value)))
        reply, own, own_of_many = client.pipeline([command, ("GET", key), ("MGET", key)])
        if isinstance(reply, resp.Error):
            world.wrong.append((command, reply))
        world.acknowledged[number] = version
        world.check(number, version, own)
        world.check(number, version, own_of_many[0])
        time.sleep(dice.random() * 0.02)


def leave(world, dice):
    """Before the answers, or in the middle of a command; politely or not."""
    while not world.is_over.is_set():
        client = world.client()
        asked = [("GET", f"plan:{dice.choice(PLANS)}") for _ in range(dice.randrange(40))]
        asked += [("MGET", *(f"plan:{number}" for number in PLANS)), ("INFO",), ("TTL", "a"),
                  dice.choice((("BLPOP", "nothing", "0"), ("SUBSCRIBE", "a"), ("MULTI",)))]
        sent = b"".join(resp.encode(*words) for words in asked)
        client.send_raw(sent[:dice.randrange(1, 2 * len(sent))])
        time.sleep(dice.choice((0, 0, 0.01)))
        if dice.random() < 0.5:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def disturb(world, dice):
    def seconds():
        time.sleep(dice.choice((0.02, 0.1, 0.3, 0.6)))

    def hang_redis():
        world.redis.stop()
        seconds()
        world.redis.cont()

    def reload_often():
        for _ in range(dice.choice((1, 10))):
            os.kill(world.sidecar.pid, signal.SIGHUP)

    def fault_of(proxy, name):
        def disturb_proxy():
            getattr(proxy, name)()
            seconds()
            proxy.resume()
        return disturb_proxy

    faults = [hang_redis, reload_often] + [
        fault_of(proxy, name) for proxy in (world.redis_proxy, world.postgres_proxy)
        for name in ("stall", "cut", "maim")]
    while not world.is_over.is_set():
        dice.choice(faults)()
        time.sleep(dice.choice((0, 0.1, 0.4)))


@pytest.fixture
def world(redis, postgres, pgbouncer, plans, proxy_for, start_sidecar):
    for number in PLANS:
        plans.set(number, "basic", body=f"{number}:0")
    redis_proxy, postgres_proxy = proxy_for(redis), proxy_for(pgbouncer)
    sidecar = start_sidecar(
        redis={"url": redis_proxy.url, "budget": "60ms", "timeout": "2s", "ttl": "2s"},
        postgres={"url": postgres.url_for(postgres_proxy.port), "budget": "300ms"},
        ladder={"deadline": "400ms"}, cache={"ttl": "300ms", "negative_ttl": "50ms"})
    return World(sidecar, postgres, redis, redis_proxy, postgres_proxy)


def test_whatever_happens_no_read_is_older_than_what_was_acknowledged(world):
    sidecar, died = world.sidecar, []

    def start(work, seed, *arguments):
        def run():
            try:
                work(world, random.Random(seed), *arguments)
            except Exception as problem:
                died.append(f"{work.__name__}: {problem!r}")
        thread = threading.Thread(target=run)
        thread.start()
        return thread
    time.sleep(0.1)
    descriptors = sidecar.descriptors_open()
    threads = [start(read, SEED), start(read, SEED + 1), start(leave, SEED + 2),
               start(disturb, SEED + 3), start(write, SEED + 4, [n for n in PLANS if n % 2]),
               start(write, SEED + 5, [n for n in PLANS if n % 2 == 0])]
    time.sleep(SECONDS)
    world.is_over.set()
    for thread in threads:
        thread.join(30)
    assert not died and not world.wrong, (SEED, died, len(world.wrong), world.wrong[:5])
    assert world.values > 0 and any(world.acknowledged.values())

    sidecar.wait_backend("redis", True)
    sidecar.wait_backend("postgres", True)
    eventually(lambda: sidecar.metric("sidecar_journal_pending") == 0, 30, what="an empty journal")
    for number in PLANS:
        newest = b"%d:%d" % (number, world.written[number])
        assert sidecar.get(f"plan:{number}") == newest
        assert world.redis.call("GET", f"plan:{number}") in (None, newest)
    sidecar.close_clients()
    eventually(lambda: sidecar.metric("sidecar_clients") == 0, what="the end of all clients")
    eventually(lambda: sidecar.metric("sidecar_postgres_pool_in_use") == 0)
    # Connections to the backends, of sessions as well, may stay.
    assert sidecar.descriptors_open() <= descriptors + 2 * 16
