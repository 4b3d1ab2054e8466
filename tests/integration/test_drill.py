"""The app of `make drill` (deploy/demo/drill.py): what it calls a failed read, and what it does then."""

import os
import signal
import subprocess
import sys

import pytest

from processes import eventually

DRILL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "demo",
                     "drill.py")
PROFILE = {"key": "profile:{id:int}", "query": "SELECT n, '{\"subscription_tier\":\"plus\"}'::text "
           "FROM unnest($1::bigint[]) n", "free": '{"subscription_tier":"free"}'}


class Drill:
    def __init__(self, sidecar, directory):
        self.directory = directory
        self.part("both up", "memory redis")
        self.file = directory / "said"
        self.child = subprocess.Popen(
            [sys.executable, DRILL], stdout=open(self.file, "w"), stderr=subprocess.STDOUT,
            env={**os.environ, "DRILL_NOTES": str(directory), "DRILL_PORT": str(sidecar.port),
                 "DRILL_ADMIN_PORT": str(sidecar.admin_port), "PYTHONDONTWRITEBYTECODE": "1"})

    def part(self, title, rungs):
        (self.directory / "part").write_text(f"{title}\n{rungs}\n")

    def finish(self):
        """(exit status, what it has printed)"""
        (self.directory / "done").touch()
        self.child.wait(20)
        return self.child.returncode, self.said()

    def said(self):
        return self.file.read_text()


@pytest.fixture
def start_drill(tmp_path):
    started = []

    def start(sidecar):
        started.append(Drill(sidecar, tmp_path))
        return started[-1]

    yield start
    for drill in started:
        drill.child.kill()
        drill.child.wait()


@pytest.fixture
def profiles(redis, pgbouncer, start_sidecar):
    return start_sidecar(maps={"profile": PROFILE}, redis={"url": redis.url},
                         postgres={"url": pgbouncer.url}, limits={"per_user": 0})


def test_an_outage_of_both_fails_no_read_and_the_table_shows_who_answered(
        redis, pgbouncer, profiles, start_drill):
    drill = start_drill(profiles)
    eventually(lambda: profiles.metric("sidecar_answers_total", rung="postgres") > 20, 10)
    eventually(lambda: "both up" in drill.said(), what="a line of the table")
    redis.kill9()
    pgbouncer.kill9()
    drill.part("both down", "free stale nonsense")
    eventually(lambda: profiles.metric("sidecar_answers_total", rung="free") > 20, 20)
    eventually(lambda: "both down" in drill.said(), what="a line of the table")
    code, said = drill.finish()
    assert code == 0, said
    assert "both up" in said and "both down" in said
    assert " 0 failed" in said and "FAILED" not in said
    assert "unexpected: both down: nothing from" in said and "nonsense" in said.splitlines()[-1]


def test_reads_that_are_not_answered_fail_it(profiles, start_drill):
    drill = start_drill(profiles)
    eventually(lambda: profiles.metric("sidecar_answers_total", rung="postgres") > 20, 10)
    # Who is hung up on has got no answer.
    profiles.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    eventually(lambda: "FAILED" in drill.said(), what="a failed read")
    code, said = drill.finish()
    assert code == 1, said
    assert "FAILED connection" in said


def test_what_was_hung_is_woken_when_the_script_is_killed(profiles, tmp_path, start_drill):
    """kill -9 of drill.sh leaves nobody but its reader to send SIGCONT."""
    hung = subprocess.Popen(["sleep", "60"])
    try:
        hung.send_signal(signal.SIGSTOP)
        (tmp_path / "hung").write_text(f"{hung.pid}\n")
        (tmp_path / "part").write_text("both up\nmemory\n")
        # A parent that dies: the reader is its child, and no one's soon.
        parent = subprocess.Popen(
            [sys.executable, "-c", "import subprocess, sys, time; "
             "subprocess.Popen([sys.executable, sys.argv[1]]); time.sleep(60)", DRILL],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "DRILL_NOTES": str(tmp_path), "DRILL_PORT": str(profiles.port),
                 "DRILL_ADMIN_PORT": str(profiles.admin_port), "PYTHONDONTWRITEBYTECODE": "1"})
        eventually(lambda: profiles.metric("sidecar_clients") >= 4, 10)
        parent.kill()
        parent.wait()
        (tmp_path / "done").touch()

        def state():
            with open(f"/proc/{hung.pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0]
        eventually(lambda: state() != "T", 10, what="SIGCONT")
    finally:
        hung.kill()
        hung.wait()
