"""Real clients with their defaults: ioredis, node-redis and BullMQ, by node's own test runner.

Each file of tests/clients runs once for each client that it is about, against a Redis, a Postgres
and a sidecar of its own; each of its tests is one item here. The packages are installed by npm,
from tests/clients/package-lock.json, when they are not there.
"""

import http.server
import json
import os
import re
import shutil
import subprocess
import threading

import pytest

from backends import PgBouncer, Redis
from processes import HERE, Process, eventually
from sidecar import Sidecar, slowness

CLIENTS = os.path.abspath(os.path.join(HERE, "..", "clients"))
NODE = shutil.which("node")

# Which packages a file is about. Those that need node 20 (Debian 12 has 18) run where it is.
FILES = {
    "ioredis": ["ioredis", "ioredis-6"],
    "node-redis": ["redis", "redis-6"],
    "bullmq": ["bullmq"],
    "outage": ["ioredis", "ioredis-6", "redis", "redis-6"],
}
NEEDS_NODE_20 = ["ioredis-6", "redis-6"]
ONLY_FOR = {"BullMQ works on after an outage": "ioredis"}
SECONDS = 120  # one file


def names_of(file):
    with open(os.path.join(CLIENTS, f"{file}.test.js")) as source:
        return [name for _, name in re.findall(r"^ *test\((['\"])(.+)\1,", source.read(), re.M)]


def node_version():
    answer = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True)
    return int(answer.stdout.lstrip("v").split(".")[0])


@pytest.fixture(scope="module")
def packages():
    """node_modules, as package-lock.json has it."""
    if NODE is None:
        message = "node is not installed: run make deps, or apt-get install nodejs npm"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    installed = os.path.join(CLIENTS, "node_modules", ".package-lock.json")
    lock = os.path.join(CLIENTS, "package-lock.json")
    if not os.path.exists(installed) or os.path.getmtime(installed) < os.path.getmtime(lock):
        answer = subprocess.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=CLIENTS,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        os.utime(installed)


def wait_until_it_serves(sidecar):
    """Up, and on every thread: an outage of milliseconds may be noticed when it is over."""
    sidecar.wait_backend("redis", True)
    clients = [sidecar.client(protocol=version) for version in (2, 3) for _ in range(4)]
    eventually(lambda: all(client.call("SET", "ready", "1") == "OK" for client in clients))
    for client in clients:
        client.close()


class Control:
    """GET /stop kills Redis, /start starts it again, /ready waits until the sidecar knows, too:
    for the tests in outage.test.js."""

    def __init__(self, redis, sidecar):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    if self.path == "/stop":
                        redis.kill9()
                    elif not redis.is_running():
                        redis.start()
                    if self.path == "/ready":
                        wait_until_it_serves(sidecar)
                    self.send_response(204)
                except Exception as problem:  # goes to the test that asked
                    self.send_response(500, repr(problem))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


class Node(Process):
    """One file of tests, run to its end; `results` is {test: what report.js said of it}."""

    def __init__(self, session, file, library, sidecar, control):
        super().__init__(session, "node")
        self.file = file
        self.env = {"SIDECAR_PORT": str(sidecar.port), "CONTROL_PORT": str(control.port),
                    "CLIENT_LIBRARY": library, "NODE_OPTIONS": "", "NO_COLOR": "1"}

    def run(self):
        reporter = "file://" + os.path.join(CLIENTS, "report.js")
        self.spawn([NODE, "--test-reporter", reporter, "--test-reporter-destination", "stdout",
                    os.path.join(CLIENTS, f"{self.file}.test.js")], env=self.env)
        try:
            self.child.wait(SECONDS * slowness())
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill9()
        return self

    @property
    def results(self):
        said = [json.loads(line) for line in self.output("stdout").splitlines() if line[:1] == "{"]
        return {one["name"]: one for one in said if "name" in one}


@pytest.fixture(scope="module")
def runs(session, packages, postgres_of_session):
    """runs(file, library) -> ({test: result}, what else there is to say), run once."""
    done = {}
    bouncer = PgBouncer(session, postgres_of_session)

    def run(file, library):
        postgres_of_session.restore()
        postgres_of_session.plans.reset()
        if not bouncer.is_running():
            bouncer.start()
        redis = Redis(session).start()
        sidecar = Sidecar(session, redis={"url": redis.url}, postgres={"url": bouncer.url}).start()
        control = Control(redis, sidecar)
        try:
            sidecar.wait_backend("redis", True)
            sidecar.wait_backend("postgres", True)
            node = Node(session, file, library, sidecar, control).run()
            said = node.output("stderr")[-3000:] + "\nsidecar:\n" + sidecar.log()[-3000:]
            problem = None
            try:
                sidecar.finish()
            except AssertionError as caught:
                problem = str(caught)
            return node.results, said, problem
        finally:
            control.end()
            sidecar.kill9()
            redis.end()

    def get(file, library):
        if library in NEEDS_NODE_20 and node_version() < 20:
            pytest.skip(f"{library} needs node 20")
        if (file, library) not in done:
            done[file, library] = run(file, library)
        return done[file, library]

    yield get
    bouncer.end()


RUNS = [(file, library) for file, libraries in FILES.items() for library in libraries]
ITEMS = [(file, library, name) for file, library in RUNS for name in names_of(file)
         if ONLY_FOR.get(name, library) == library]


@pytest.mark.seconds(SECONDS + 60)
@pytest.mark.parametrize("file, library, name", ITEMS,
                         ids=[f"{file}-{library}-{name}" for file, library, name in ITEMS])
def test_node(runs, file, library, name):
    results, said, _ = runs(file, library)
    assert name in results, f"node did not come to it:\n{said}"
    assert results[name]["passed"], results[name]["why"] + "\n" + said


@pytest.mark.seconds(SECONDS + 60)
@pytest.mark.parametrize("file, library", RUNS)
def test_the_sidecar_ends_in_order_and_nothing_else_was_reported(runs, file, library):
    results, said, problem = runs(file, library)
    assert problem is None, problem
    unknown = set(results) - set(names_of(file))
    assert not unknown, f"{unknown}\n{said}"
