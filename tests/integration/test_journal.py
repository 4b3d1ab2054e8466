"""The journal on disk ([ladder] journal): what was acknowledged while Redis was
away outlives kill -9, and no copy from before is served afterwards."""

import fcntl
import os
import random
import resource
import select
import threading
import time

import pytest

import resp
from processes import eventually

ROUNDS = int(os.environ.get("SIDECAR_JOURNAL_ROUNDS", "60"))
GRACE_SECONDS = 10  # for which keys of an earlier run stay off Redis
EMPTY = 18  # bytes of a journal without keys


@pytest.fixture
def journal(session):
    return os.path.join(session.directory("journal"), "journal")


@pytest.fixture
def start_journaled(redis, pgbouncer, proxy_for, plans, journal, start_sidecar):
    """start_journaled() -> (sidecar, proxy): Redis behind a proxy, a journal in a file."""

    def start(**options):
        proxy = proxy_for(redis)
        sidecar = start_sidecar(is_brief=True, redis={"url": proxy.url},
                                postgres={"url": pgbouncer.url}, ladder={"journal": journal},
                                **options)
        return sidecar, proxy

    return start


def kill(sidecar):
    sidecar.close_clients()
    sidecar.kill9()
    sidecar.child = None


def refused(sidecar):
    """The one line with which it did not start."""
    done = sidecar.run_out("-c", sidecar.file)
    assert done.returncode == 1, done
    lines = [line for line in done.stderr.splitlines() if line.startswith("[ladder] journal")]
    assert len(lines) == 1, done.stderr
    return lines[0]


# Kill -9


class Writer(threading.Thread):
    """Writes one key after the other until the sidecar is gone."""

    WRITES = (("DEL", "plan:%d"), ("UNLINK", "plan:%d"), ("SET", "plan:%d", "mine"),
              ("SETEX", "plan:%d", "1000", "mine"), ("EXPIRE", "plan:%d", "0"))

    def __init__(self, sidecar, numbers):
        super().__init__()
        self.client = resp.Client(sidecar.address)
        self.numbers = numbers
        self.acknowledged = []

    def run(self):
        try:
            for number in self.numbers:
                command, key, *rest = random.choice(self.WRITES)
                reply = self.client.call(command, key % number, *rest)
                if not isinstance(reply, resp.Error):
                    self.acknowledged.append(number)
        except (OSError, resp.Closed):
            pass
        finally:
            self.client.close()


@pytest.mark.seconds(60 + 2 * ROUNDS)
def test_no_old_copy_is_served_after_kill_9_at_any_moment(start_journaled, redis, plans, journal):
    """Each round has keys of its own: old in Redis, newer in Postgres."""
    sidecar, proxy = start_journaled()
    first, acknowledged = 1000, []

    def check(client, numbers):
        replies = client.pipeline([("GET", f"plan:{number}") for number in numbers])
        for number, reply in zip(numbers, replies):
            # "mine" where Redis was back when it was set, and kept it; free while Postgres
            # is being connected to; "old" never.
            assert reply in (plans.bytes(number), b"mine", plans.FREE.encode()), (
                f"plan:{number} in round {turn}")
    for turn in range(ROUNDS):
        numbers = list(range(first, first + 300))
        first += 300
        plans.fill(numbers[0], numbers[-1])
        proxy.cut()
        redis.call("MSET", *(word for n in numbers for word in (f"plan:{n}", "old")))
        sidecar.wait_backend("redis", False)

        writer = Writer(sidecar, numbers)
        writer.start()
        delay = random.uniform(0, 0.03)
        if turn % 3 == 0:  # kill it in the middle of the repair
            time.sleep(delay)
            proxy.resume()
            delay = random.uniform(0, 0.6)
        time.sleep(delay)
        kill(sidecar)
        writer.join()

        if turn % 3 == 1:
            proxy.resume()
            sidecar.start()
        else:
            sidecar.start()
            time.sleep(random.uniform(0, 0.05))
            proxy.resume()
        client = sidecar.client()
        check(client, writer.acknowledged)
        sidecar.wait_backend("redis", True)
        client.call("SIDECAR", "FLUSH")
        check(client, writer.acknowledged)
        acknowledged += writer.acknowledged
        proxy.received.clear()
        if turn % 100 == 99:  # and now and then a life that is not cut short
            eventually(lambda: sidecar.metric("sidecar_journal_pending") == 0, GRACE_SECONDS + 10)
    assert len(acknowledged) > ROUNDS, "the kills came too early to prove anything"

    eventually(lambda: sidecar.metric("sidecar_journal_pending") == 0, GRACE_SECONDS + 10)
    assert os.path.getsize(journal) == EMPTY
    with redis.client() as client:
        replies = client.pipeline([("GET", f"plan:{number}") for number in acknowledged])
    assert b"old" not in replies


def test_a_set_of_the_dead_process_that_lands_after_the_restart_is_not_served(
        start_journaled, redis, plans):
    """It lay between the two, in the proxy: the SET of a process that is gone arrives when
    the journal has already been replayed by the next one."""
    sidecar, proxy = start_journaled()
    sidecar.get("plan:20")
    eventually(lambda: redis.call("EXISTS", "plan:20"))
    proxy.stall()
    for _ in range(10):
        assert sidecar.call("SET", "plan:20", "late") == "OK"
    sidecar.wait_backend("redis", False)  # so that the DEL does not follow it there
    plans.set(20, "basic", body="newest")
    assert sidecar.call("DEL", "plan:20") == 1
    kill(sidecar)
    sidecar.sections["redis"]["url"] = redis.url
    # Slow or not, Postgres is asked to the end: what it says is compared below.
    sidecar.sections["postgres"]["budget"] = sidecar.sections["ladder"]["deadline"] = "9s"
    sidecar.start()
    eventually(lambda: not redis.call("EXISTS", "plan:20"), what="the replay")
    proxy.resume()
    eventually(lambda: redis.call("GET", "plan:20") == b"late" or proxy.connections == 0)
    stop = time.monotonic() + 2
    while time.monotonic() < stop:
        sidecar.call("SIDECAR", "FLUSH")
        assert sidecar.get("plan:20") == b"newest"
        time.sleep(0.02)
    assert redis.call("GET", "plan:20") == b"late", "it did not land: this test proves nothing"
    eventually(lambda: redis.call("GET", "plan:20") != b"late", GRACE_SECONDS + 5)
    eventually(lambda: sidecar.metric("sidecar_journal_pending") == 0)
    sidecar.call("SIDECAR", "FLUSH")
    assert sidecar.get("plan:20") == b"newest"


def test_a_set_in_the_buffers_of_a_stopped_redis_outlives_the_sidecar_and_is_not_served(
        redis, pgbouncer, plans, journal, start_sidecar):
    sidecar = start_sidecar(is_brief=True, redis={"url": redis.url},
                            postgres={"url": pgbouncer.url}, ladder={"journal": journal})
    numbers = range(1, 31)
    for number in numbers:
        sidecar.get(f"plan:{number}")
    redis.stop()
    for number in numbers:
        assert sidecar.call("SET", f"plan:{number}", f"buffered {number}") == "OK"
        plans.set(number, "plus", body=f"newest {number}")
        assert sidecar.call("DEL", f"plan:{number}") in (0, 1)
    kill(sidecar)
    sidecar.start()
    redis.cont()
    stop = time.monotonic() + 2
    while time.monotonic() < stop:
        sidecar.call("SIDECAR", "FLUSH")
        for number in numbers:
            # Free while Postgres is being connected to; "buffered" never.
            reply = sidecar.get(f"plan:{number}")
            assert reply in (b"newest %d" % number, plans.FREE.encode())
        time.sleep(0.02)


def test_a_write_during_a_fill_outlives_the_sidecar(start_journaled, redis, plans):
    """Redis is up and answers the DEL; the fill that it crosses may land after it."""
    sidecar, proxy = start_journaled(server={"threads": 1})
    # Budgets that nothing here exceeds: what is answered is answered by Redis.
    sidecar.close_clients()
    sidecar.terminate()
    sidecar.sections["redis"]["budget"] = sidecar.sections["redis"]["timeout"] = "30s"
    sidecar.sections["ladder"]["deadline"] = "40s"
    sidecar.start()
    proxy.hold(b"plan:20\r\n$")  # the SET has a value after its key, GET and DEL have not
    sidecar.get("plan:20")
    proxy.wait_held()
    plans.set(20, "basic", body="newest")
    clients = [sidecar.client() for _ in range(2)]
    for client in clients:
        client.send("DEL", "plan:20")
    assert select.select([client.socket for client in clients], [], [], 15)[0], "nobody is answered"
    replies = [client.read_to_end(0.5)[0] for client in clients]
    assert b"" in replies and any(replies), "the one on the other link alone is answered"
    kill(sidecar)
    redis.call("SET", "plan:20", "what the fill brought")
    proxy.release()
    sidecar.start()
    assert sidecar.get("plan:20") == b"newest"
    sidecar.wait_backend("redis", True)
    sidecar.call("SIDECAR", "FLUSH")
    assert sidecar.get("plan:20") == b"newest"


# A full journal

@pytest.mark.parametrize("is_killed", [False, True], ids=["", "kill -9"])
def test_a_full_journal_counts_whole_maps_as_changed(is_killed, start_journaled, redis, plans):
    sidecar, proxy = start_journaled()
    sidecar.close_clients()
    sidecar.terminate()
    sidecar.sections["ladder"]["max_journal_keys"] = 50
    sidecar.start()
    numbers = range(2000, 2600)
    plans.fill(numbers[0], numbers[-1])
    old = [word for n in numbers for word in (f"plan:{n}", "old")]
    proxy.cut()
    redis.call("MSET", *old, "other:1", "kept", "plan-2", "kept")
    sidecar.wait_backend("redis", False)
    for number in numbers[::3]:
        assert sidecar.call("DEL", f"plan:{number}") in (0, 1)
    assert sidecar.metric("sidecar_journal_pending") == 1
    assert len(sidecar.log_lines("journal: full; every copy of plan:* in redis")) == 1
    if is_killed:
        kill(sidecar)
        sidecar.start()
    proxy.resume()
    sidecar.wait_backend("redis", True)
    client = sidecar.client()
    for number in numbers:
        assert client.call("GET", f"plan:{number}") in (plans.bytes(number), plans.FREE.encode())
    eventually(lambda: sidecar.metric("sidecar_journal_pending") == 0, GRACE_SECONDS + 10)
    assert b"old" not in redis.call("MGET", *old[::2])
    assert redis.call("MGET", "other:1", "plan-2") == [b"kept", b"kept"]
    eventually(lambda: redis.call("GET", sidecar.call("SET", "plan:2000", "x") and "plan:2000") == b"x")


# A full disk


def test_a_full_disk_refuses_writes_and_room_again_is_used(start_journaled, plans, journal):
    """A limit of the file's size stands for the disk: the log, in files, must stay below it."""
    sidecar, proxy = start_journaled(
        prefix=("prlimit", "--fsize=200000:unlimited"),
        maps={"word": {"key": "word:{id}", "free": "{}", "query":
                       "SELECT word, meaning FROM billing.words WHERE word = ANY($1)"}})
    proxy.cut()
    sidecar.wait_backend("redis", False)
    replies = [sidecar.call("DEL", f"word:{number:01000d}") for number in range(300)]
    taken = replies.count(1)
    assert 150 < taken < 200
    assert replies[:taken] == [1] * taken
    for reply in replies[taken:]:
        assert reply.startswith("REDISDOWN journal: File too large")
    assert sidecar.metric("sidecar_journal_pending") == taken
    assert len(sidecar.log_lines("error", "journal", "File too large")) == 1
    assert "word:0" not in sidecar.log()
    assert sidecar.call("DEL", f"word:{0:01000d}") == 1, "this one is in the file"

    resource.prlimit(sidecar.pid, resource.RLIMIT_FSIZE, (-1, -1))
    assert sidecar.call("DEL", f"word:{299:01000d}") == 1
    assert sidecar.log_lines("journal", "written again")
    kill(sidecar)
    sidecar.start()
    assert sidecar.metric("sidecar_journal_pending") == taken + 1


# Files that are none, or not whole


@pytest.fixture
def unstarted(redis, pgbouncer, journal, start_sidecar):
    """A sidecar that has ended, with what it needs to start again."""
    sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                            ladder={"journal": journal})
    sidecar.close_clients()
    sidecar.terminate()
    sidecar.child = None
    return sidecar


def test_a_foreign_file_is_refused_and_left_alone(unstarted, journal):
    with open(journal, "w") as file:
        file.write("somebody's letters")
    assert "not a journal" in refused(unstarted)
    assert open(journal).read() == "somebody's letters"


def test_a_damaged_file_is_refused(unstarted, journal):
    with open(journal, "ab") as file:
        file.write(b"\x06\0\0\0\xff\xff\xff\xffplan:1....")
    assert "damaged at byte 18 of" in refused(unstarted)


def test_a_file_that_cannot_be_opened_is_named(unstarted, journal):
    unstarted.sections["ladder"]["journal"] = "/nowhere/at/all"
    assert refused(unstarted) == "[ladder] journal /nowhere/at/all: No such file or directory"


def test_a_torn_end_is_said_and_ignored(unstarted, journal):
    with open(journal, "ab") as file:
        file.write(b"\x06\0\0")
    unstarted.start()
    assert unstarted.log_lines("info", "journal", "cut short")


def test_a_file_in_use_is_refused(start_journaled, unstarted, journal):
    with open(journal) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert refused(unstarted).endswith("another sidecar uses it")
    unstarted.start()


def test_only_its_owner_may_read_it_and_nothing_warns_of_it(unstarted, journal):
    assert os.stat(journal).st_mode & 0o777 == 0o600
    assert os.path.getsize(journal) == EMPTY
    assert not unstarted.log_lines("warn", "journal")
