"""Runs load.py beside a test, and judges what its clients saw."""

import json
import os
import subprocess
import sys

from processes import HERE, Process
from sidecar import slowness

RATE = 10_000


class Readers(Process):
    """Clients that read mapped keys at a steady rate until finish()."""

    def __init__(self, session, sidecar, ids, rate=RATE, **settings):
        super().__init__(session, "readers")
        self.settings = {"address": sidecar.address, "pid": sidecar.pid, "rate": rate, "ids": ids,
                         **settings}
        self.report = None

    def start(self):
        argv = [sys.executable, os.path.join(HERE, "load.py"), json.dumps(self.settings)]
        self.child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *argv], cwd=self.directory,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.child.stdout.readline() == "started\n"
        return self

    def finish(self):
        """The report of load.py, judged by what holds in every test."""
        output, _ = self.child.communicate(timeout=30)
        self.report = report = json.loads(output)
        print("readers:", report)
        assert report["errors"] == 0 and report["wrong"] == 0, report
        assert report["closed"] == 0 and report["answered"] == report["sent"], report
        assert report["rate"] >= 0.9 * self.settings["rate"], f"not the load it claims: {report}"
        return report

    def finish_in_time(self, deadline_ms=100):
        """And no read took longer than the deadline, but for the machine's noise.

        The noise is bounded generously: one slow read in 10,000 may have had
        bad luck with the scheduler on a small machine, the bulk may not.
        """
        report = self.finish()
        slow = slowness()
        noise = min(report["gap_ms"], 200)  # what was done to this process, too
        assert report["p99_ms"] < (deadline_ms + 50) * slow + noise, report
        assert report["max_ms"] < (deadline_ms + 300) * slow + noise, report
        return report
