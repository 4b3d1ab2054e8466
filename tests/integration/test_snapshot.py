"""The encrypted snapshot: a restart in the middle of an outage forgets nobody."""

import os
import time

import pytest

from processes import eventually

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
        if not sidecar.offers("snapshot"):
            pytest.skip("this version has no snapshot yet")
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
    for number in range(1, 101):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)
    restart_in_the_dark(sidecar, redis, postgres)
    for number in range(1, 101):
        assert sidecar.get(f"plan:{number}") == plans.bytes(number)
    assert sidecar.get("plan:101") == plans.FREE.encode()


def test_the_file_shows_nobody_anything(kept, file, plans):
    sidecar = kept()
    plans.set(918273645, "plus", body="value-of-somebody")
    sidecar.get("plan:918273645")
    sidecar.close_clients()
    sidecar.terminate()
    with open(file, "rb") as written:
        data = written.read()
    assert len(data) > 20
    assert b"918273645" not in data and b"value-of-somebody" not in data
    assert os.stat(file).st_mode & 0o077 == 0


def test_it_is_written_from_time_to_time_and_survives_kill_9(kept, redis, postgres, file, plans):
    sidecar = kept(snapshot={"every": "1s"})
    sidecar.get("plan:20")
    eventually(lambda: os.path.exists(file), 5)
    time.sleep(1.2)
    sidecar.close_clients()
    sidecar.kill9()
    sidecar.child = None
    redis.kill9()
    postgres.kill9()
    sidecar.start()
    assert sidecar.get("plan:20") == plans.bytes(20)


@pytest.mark.parametrize("damage", ["other key", "cut", "one bit", "empty", "garbage"])
def test_a_file_that_cannot_be_trusted_is_left_alone_and_named(
        damage, kept, redis, postgres, file, plans):
    sidecar = kept()
    sidecar.get("plan:20")
    sidecar.close_clients()
    sidecar.terminate()
    with open(file, "rb") as written:
        data = bytearray(written.read())
    if damage == "other key":
        sidecar.sections["snapshot"]["key"] = "f" * 64
    elif damage == "one bit":
        data[len(data) // 2] ^= 1
    else:
        data = {"cut": data[:len(data) // 2], "empty": b"", "garbage": os.urandom(500)}[damage]
    with open(file, "wb") as written:
        written.write(data)
    redis.kill9()
    postgres.kill9()
    sidecar.start()
    assert sidecar.get("plan:20") == plans.FREE.encode()
    assert sidecar.log_lines("snapshot")


def test_valid_until_holds_across_the_restart(kept, redis, postgres, plans):
    sidecar = kept()
    plans.set(7, "plus", ends_in=1.0)
    end = time.monotonic() + 1.0
    assert sidecar.get("plan:7") == plans.bytes(7, "plus")
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
    eventually(lambda: sidecar.get("plan:20") == plans.bytes(20, "basic"), 2)


def test_a_file_without_a_key_is_bad_configuration(kept, session, redis, file, start_sidecar):
    sidecar = kept()
    sidecar.sections["snapshot"]["key"] = ""
    done = sidecar.run_out("-c", sidecar.file)
    assert done.returncode == 2 and "snapshot" in done.stderr
