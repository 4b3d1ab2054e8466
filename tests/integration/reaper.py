"""Waits for pytest to end, then kills what it may have left behind.

See processes.py. Only processes whose working directory lies below the
session's root, and which are of the kinds that the tests start.
"""

import os
import shutil
import signal
import sys
import time

KINDS = ("redis-", "valkey-", "postgres", "pgbouncer", "sidecar", "python", "setpriv", "openssl")


def left_behind(root):
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            directory = os.readlink(f"/proc/{name}/cwd")
            program = os.path.basename(os.readlink(f"/proc/{name}/exe"))
        except OSError:
            continue
        inside = directory == root or directory.startswith(root + "/")
        if inside and program.startswith(KINDS):
            yield int(name)


def main():
    root = os.path.realpath(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    for _ in range(50):
        pids = list(left_behind(root))
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    if not os.environ.get("SIDECAR_TEST_KEEP"):
        shutil.rmtree(root, ignore_errors=True)


main()
