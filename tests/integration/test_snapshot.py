"""The encrypted snapshot: a restart in the middle of an outage forgets nobody."""

import os
import random
import time

import pytest

import resp
from processes import IS_ROOT, eventually

KILLS = int(os.environ.get("SIDECAR_SNAPSHOT_KILLS", "5"))
KEY = "00112233445566778899aabbccddeeff" * 2


@pytest.fixture
def file(session):
    return os.path.join(session.directory("snapshot"), "cache.snapshot")


@pytest.fixture
def kept(redis, pgbouncer, file, start_sidecar):
    def start(**options):
        snapshot = {"file": file, "key": KEY, **options.pop("snapshot", {})}
        sidecar = start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url},
                                snapshot=snapshot, **options)
        return sidecar
    return start


def restart_in_the_dark(sidecar, redis, postgres):
    """Down, written, and up again while both backends are away."""
    sidecar.close_clients()
    sidecar.terminate()
    redis.kill9()
    postgres.kill9()
    sidecar.start()


def test_a_restart_in_an_outage_still_knows_who_has_plus(kept, redis, postgres, plans):
    sidecar = kept()
    sidecar.keep(*(f"plan:{number}" for number in range(1, 101)))
    restart_in_the_dark(sidecar, redis, postgres)
    for number in range(1, 101):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)
    assert sidecar.get("plan:101") == plans.FREE.encode()


def test_the_file_shows_nobody_anything(kept, file, plans):
    sidecar = kept()
    plans.set(918273645, "plus", body="value-of-somebody")
    sidecar.keep("plan:918273645")
    sidecar.close_clients()
    sidecar.terminate()
    with open(file, "rb") as written:
        data = written.read()
    assert len(data) > 20
    assert b"918273645" not in data and b"value-of-somebody" not in data
    assert os.stat(file).st_mode & 0o077 == 0


def test_it_is_written_from_time_to_time_and_survives_kill_9(kept, redis, postgres, file, plans):
    sidecar = kept(snapshot={"every": "200ms"})
    sidecar.keep("plan:20")
    eventually(lambda: os.path.exists(file), 5)
    written = os.stat(file).st_ino
    for _ in range(2):  # the second was begun after the read
        eventually(lambda: os.stat(file).st_ino != written, 5, every=0.005)
        written = os.stat(file).st_ino
    sidecar.close_clients()
    sidecar.kill9()
    sidecar.child = None
    redis.kill9()
    postgres.kill9()
    sidecar.start()
    assert sidecar.get("plan:20") == plans.bytes(20)


def test_the_age_of_the_last_good_file_is_a_metric(kept, file, start_sidecar):
    names = ("sidecar_snapshot_age_seconds", "sidecar_snapshot_interval_seconds")
    without = start_sidecar()
    assert not any(without.metrics().has(name) for name in names)
    sidecar = kept(snapshot={"every": "1h"})
    assert [sidecar.metrics().has(name) for name in names] == [False, True], "there is none yet"
    sidecar.terminate()
    os.utime(file, (time.time() - 5000,) * 2)
    sidecar.start()
    assert 5000 <= sidecar.metric(names[0]) < 5060 and sidecar.metric(names[1]) == 3600
    sidecar.reload(snapshot={"file": file, "key": KEY, "every": "200ms"})
    eventually(lambda: sidecar.metric(names[0]) < 60, what="a new one")
    assert sidecar.metric(names[1]) == 0.2


DAMAGES = {
    "other key": ("another key", lambda data: data),
    "one bit": ("damaged", lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:]),
    "cut": ("damaged or cut short", lambda data: data[:len(data) // 2]),
    "cut in its head": ("cut short", lambda data: data[:30]),
    "longer": ("damaged", lambda data: data + b"x"),
    "empty": ("it is empty", lambda data: b""),
    "garbage": ("not a snapshot", lambda data: os.urandom(500)),
    "another version": ("another version", lambda data: data.replace(b"shot 1\n", b"shot 0\n", 1)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_cannot_be_trusted_is_left_alone_and_named(
        damage, kept, redis, postgres, file, plans):
    reason, spoil = DAMAGES[damage]
    sidecar = kept()
    sidecar.keep("plan:19", "plan:20")
    sidecar.close_clients()
    sidecar.terminate()
    with open(file, "rb") as written:
        data = spoil(written.read())
    if damage == "other key":
        sidecar.sections["snapshot"]["key"] = "f" * 64
    with open(file, "wb") as written:
        written.write(data)
    redis.kill9()
    postgres.kill9()
    sidecar.start()
    assert sidecar.get("plan:20") == plans.FREE.encode()
    line, = sidecar.log_lines("warn", "snapshot", "refused")
    assert reason in line
    assert open(file, "rb").read() == data
    assert sidecar.call("SET", "plan:20", "newer") == "OK"
    # The next good one moves it aside.
    sidecar.restart()
    assert open(file + ".refused", "rb").read() == data
    assert sidecar.get("plan:20") == b"newer"
    assert len(sidecar.log_lines("snapshot", "refused")) == 1


def test_valid_until_holds_across_the_restart(kept, redis, postgres, plans):
    sidecar = kept()
    plans.set(7, "plus", ends_in=3.0)
    end = time.monotonic() + 3.0
    assert sidecar.get("plan:7") == plans.bytes(7, "plus")
    sidecar.keep("plan:7")
    restart_in_the_dark(sidecar, redis, postgres)
    time.sleep(max(0, end - time.monotonic()) + 0.06)
    assert sidecar.get("plan:7") == plans.FREE.encode()


def test_what_comes_from_the_snapshot_is_asked_again_when_the_backends_are_up(
        kept, redis, plans):
    """It may have changed meanwhile."""
    sidecar = kept()
    sidecar.get("plan:20")
    sidecar.close_clients()
    sidecar.terminate()
    plans.set(20, "basic")
    redis.call("FLUSHALL")
    sidecar.start()
    sidecar.wait_backend("redis", True)
    sidecar.wait_backend("postgres", True)
    eventually(lambda: sidecar.get("plan:20") == plans.bytes(20, "basic"))


def test_a_file_without_a_key_is_bad_configuration(kept):
    sidecar = kept()
    sidecar.sections["snapshot"]["key"] = ""
    done = sidecar.run_out("-c", sidecar.file)
    assert done.returncode == 2 and "snapshot" in done.stderr


def test_a_stale_answer_of_the_snapshot_knows_its_age(kept, redis, postgres, plans):
    sidecar = kept()
    filled = time.monotonic()
    sidecar.keep("plan:20")
    took = time.monotonic() - filled
    time.sleep(0.3)
    restart_in_the_dark(sidecar, redis, postgres)
    since = time.monotonic() - filled
    value, rung, age = sidecar.rung("plan:20")
    assert (value, rung) == (plans.bytes(20), "stale")
    # The wall clock has whole milliseconds, and so has the other.
    assert (since - took) * 1000 - 5 <= age <= (time.monotonic() - filled) * 1000 + 5


def test_a_hash_and_an_unmapped_key_come_back_too(kept, redis, postgres):
    sidecar = kept(maps={"seat": {
        "key": "seat:{id:int}", "type": "hash", "free": '{"tier":"free"}',
        "query": "SELECT acct AS id, body AS tier FROM billing.plans WHERE acct = ANY($1::bigint[])"}})
    redis.call("RPUSH", "list", "a", "b")
    tier = sidecar.call("HGET", "seat:20", "tier")
    for _ in range(3):  # a fill that crosses news of its key is not kept
        assert sidecar.call("HGET", "seat:20", "tier") == tier
        assert sidecar.call("LRANGE", "list", "0", "-1") == [b"a", b"b"]
        time.sleep(0.05)
    restart_in_the_dark(sidecar, redis, postgres)
    assert sidecar.call("HGET", "seat:20", "tier") == tier
    assert sidecar.call("LRANGE", "list", "0", "-1") == [b"a", b"b"]


def test_what_was_deleted_without_redis_does_not_come_back(kept, session, redis, postgres, plans):
    journal = os.path.join(session.directory("journal"), "journal")
    sidecar = kept(ladder={"journal": journal})
    sidecar.keep(*(f"plan:{number}" for number in range(1, 11)))
    sidecar.restart()  # the snapshot has all ten
    redis.kill9()
    postgres.kill9()
    sidecar.wait_backend("redis", False)
    for number in range(1, 6):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)
        assert sidecar.call("DEL", f"plan:{number}") == 1
    sidecar.close_clients()
    sidecar.kill9()
    sidecar.child = None
    sidecar.start()
    for number in range(1, 6):
        assert sidecar.get(f"plan:{number}") == plans.FREE.encode()
    for number in range(6, 11):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)


def test_a_reload_changes_how_often(kept, file, plans):
    sidecar = kept(snapshot={"every": "1h"})
    sidecar.get("plan:20")
    assert not os.path.exists(file)
    sidecar.sections["snapshot"]["every"] = "200ms"
    sidecar.write_file()
    os.kill(sidecar.pid, 1)
    eventually(lambda: os.path.exists(file), 5)


# Disks


@pytest.mark.skipif(not IS_ROOT, reason="mounts a disk")
def test_a_full_disk_keeps_the_last_good_one(session, redis, postgres, pgbouncer, plans,
                                             start_sidecar):
    disk = session.directory("disk")
    mounted = f'mount -t tmpfs -o size=64k none {disk} && exec "$@"'
    sidecar = start_sidecar(
        redis={"url": redis.url}, postgres={"url": pgbouncer.url},
        snapshot={"file": f"{disk}/memory", "key": KEY, "every": "200ms"},
        prefix=("unshare", "--mount", "sh", "-c", mounted, "sh"))
    seen = f"/proc/{sidecar.pid}/root{disk}"
    sidecar.get("plan:20")
    eventually(lambda: os.listdir(seen) == ["memory"], 5)
    for number in range(20):
        assert sidecar.call("SET", f"plan:{number}", os.urandom(9000)) == "OK"
        sidecar.get(f"plan:{number}")
    eventually(lambda: sidecar.log_lines("error", "snapshot", "No space left"), 5)
    time.sleep(0.6)
    assert len(sidecar.log_lines("No space left")) == 1, "said once, not each time"
    eventually(lambda: os.listdir(seen) == ["memory"], what="the room given back")
    assert sidecar.call("SIDECAR", "FLUSH") > 0
    sidecar.get("plan:30")
    eventually(lambda: sidecar.log_lines("info", "snapshot", "written"), 5)


def test_a_folder_that_is_not_there_is_said_and_nothing_else_happens(kept, plans):
    sidecar = kept(snapshot={"file": "/nowhere/at/all", "every": "200ms"})
    assert sidecar.get("plan:20") == plans.bytes(20)
    eventually(lambda: sidecar.log_lines("error", "snapshot", "No such file"), 5)
    assert sidecar.get("plan:21") == plans.bytes(21)


# Kill -9 in the middle


def inode(path):
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return None


@pytest.mark.seconds(40 + 5 * KILLS)
def test_after_kill_9_in_the_middle_the_last_good_one_loads(file, start_sidecar):
    """Both backends are away; `plan:0` counts the rounds."""
    numbers = range(1, 2001)
    body = "x" * 6000
    sidecar = start_sidecar(snapshot={"file": file, "key": KEY, "every": "150ms"})
    sidecar.client().pipeline([("SET", f"plan:{number}", body) for number in numbers])
    in_the_middle = 0
    for turn in range(KILLS):
        assert sidecar.call("SET", "plan:0", str(turn)) == "OK"
        # One that was begun after the SET: the second to take the place.
        for _ in range(2):
            before = inode(file)
            eventually(lambda: inode(file) not in (before, None), 10, every=0.01)
        for _ in range(20):  # until it is hung in the middle, somewhere
            eventually(lambda: inode(file + ".new"), 10, every=0.0005)
            time.sleep(random.uniform(0, 0.012))
            sidecar.stop()
            if os.path.exists(file + ".new"):
                in_the_middle += 1
                break
            sidecar.cont()
        sidecar.close_clients()
        sidecar.kill9()
        sidecar.child = None
        sidecar.start()
        with resp.Client(sidecar.address) as client:
            assert client.call("GET", "plan:0") == str(turn).encode()
            replies = client.pipeline([("GET", f"plan:{number}") for number in numbers])
        assert replies == [body.encode()] * len(numbers)
        assert not sidecar.log_lines("snapshot", "refused")
    print(f"{in_the_middle} of {KILLS} kills came in the middle")
    assert in_the_middle >= KILLS // 4
