"""The program under test: its configuration, its face, its end."""

import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import time

import privacy
import resp
from backends import Plans
from processes import HERE, Process, eventually, free_port

BINARY = os.path.abspath(
    os.environ.get("SIDECAR_BINARY") or os.path.join(HERE, "..", "..", "sidecar"))

SANITIZER_REPORTS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:",
                     "WARNING: ThreadSanitizer", "WARNING: MemorySanitizer", "Assertion")


def slowness():
    """How many times slower than a plain build the binary may be: sanitizers cost."""
    try:
        with open(BINARY, "rb") as file:
            program = file.read()
    except FileNotFoundError:
        return 1
    return 6 if b"__tsan_init" in program else 3 if b"__asan_init" in program else 1


PLAN_MAP = {"key": "plan:{id:int}", "query": Plans.QUERY, "free": Plans.FREE}

DEFAULTS = {
    "server": {"drain": "2s", "threads": 2},
    # Short, so that recoveries take a test no 30 s.
    "breaker": {"open": "100ms", "max_open": "500ms"},
    # Off, so that a test may ask for one user as often as it likes.
    "limits": {"per_user": "0"},
    # Patient, so that a busy machine makes no read fall to a lower rung.
    "redis": {"budget": "2s"}, "postgres": {"budget": "2s"}, "ladder": {"deadline": "5s"},
}

# For tests in which backends hang, and each of the first questions costs its budget.
BRIEF_TIMES = {
    "redis": {"budget": "400ms"}, "postgres": {"budget": "1s"}, "ladder": {"deadline": "1500ms"},
}

# What the program does by default, for the tests that are about time.
REAL_TIMES = {
    "redis": {"budget": "40ms"}, "postgres": {"budget": "90ms"}, "ladder": {"deadline": "100ms"},
}

# Small and short-lived, so that reads really need the lower rungs.
BUSY_CACHE = {"max_entries": 1000, "ttl": "500ms"}


class Sidecar(Process):
    """./sidecar with a sidecar.ini of its own.

    `sections` as in sidecar.ini: redis={"url": ...}, cache={"ttl": "1s"}.
    `maps` are [map NAME] sections; the default one is PLAN_MAP as `plan`.
    `is_in_time`: with the real deadlines instead of patient ones; `is_brief`: with brief ones.
    """

    def __init__(self, session, maps=None, env=None, arguments=(), prefix=(),
                 is_in_time=False, is_brief=False, **sections):
        super().__init__(session, "sidecar")
        self.port = free_port()
        self.admin_port = free_port()
        self.sections = {
            "listen": {"port": self.port}, "admin": {"port": self.admin_port},
            **{name: dict(keys) for name, keys in DEFAULTS.items()},
        }
        times = REAL_TIMES if is_in_time else BRIEF_TIMES if is_brief else {}
        for given in (times, sections):
            for name, keys in given.items():
                self.sections.setdefault(name, {}).update(keys)
        for name, keys in ({"plan": PLAN_MAP} if maps is None else maps).items():
            self.sections[f"map {name}"] = keys
        self.file = os.path.join(self.directory, "sidecar.ini")
        # Defaults of [redis] and [postgres]: what the developer's shell has set is no test's.
        self.env = {"REDIS_URL": "", "DATABASE_URL": "", "UPSTASH_REDIS_REST_TOKEN": "",
                    **(env or {})}
        self.arguments = list(arguments)
        self.prefix = list(prefix)  # prlimit, unshare ...: a program that runs it
        self._opened = []
        self._client = None
        self._asked = 0

    # Starting and ending

    def write_file(self):
        with open(self.file, "w") as file:
            for section, keys in self.sections.items():
                file.write(f"[{section}]\n")
                file.writelines(f"{name} = {value}\n" for name, value in keys.items())

    def start(self, wait=True):
        self.write_file()
        self.spawn(self.prefix + [BINARY, "-c", self.file, *self.arguments], env=self.env)
        if wait:
            eventually(self._answers, 10, every=0.005, what="PING")
            self._settle()
        return self

    def _settle(self, seconds=2.0):
        """Until its connections to the backends stand, where somebody accepts them, or it has said
        why they do not.

        A read that comes before may rightly be answered by a lower rung.
        """
        redis, postgres = (self._is_open(name) for name in ("redis", "postgres"))
        stop = time.monotonic() + seconds
        while (redis or postgres) and time.monotonic() < stop:
            metrics, log = self.metrics(), self.log()
            redis = (redis and not metrics.sum("sidecar_backend_up", backend="redis")
                     and "redis down:" not in log)
            postgres = (postgres and not metrics.sum("sidecar_postgres_pool_size")
                        and "postgres down:" not in log)
            time.sleep(0.01)

    def _is_open(self, name):
        match = re.search(r"@?([\w.-]+):(\d+)(?:/|$)", self.sections.get(name, {}).get("url", ""))
        if not match:
            return False
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(match[2]))) == 0

    def _answers(self):
        assert self.is_running(), f"exit code {self.child.poll()}:\n{self.log()}"
        try:
            with resp.Client(self.address, timeout=5) as client:
                # With a password PING is refused, which is an answer as well.
                reply = client.call("PING")
                return reply == "PONG" or isinstance(reply, resp.Error)
        except (OSError, resp.Closed):
            return False

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def run_out(self, *arguments, **options):
        """Runs the binary to its end: --check, --version, a port that is taken."""
        self.write_file()
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=20,
                              cwd=self.directory, **options)

    def terminate(self, seconds=None):
        """SIGTERM; asserts exit code 0 within the drain, and returns how long it took."""
        start = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        return self.wait_exit(start, seconds)

    def wait_exit(self, start, seconds=None):
        limit = seconds or 15 + 2 * slowness()
        code = self.wait(limit)
        assert code is not None, f"still running {limit} s after SIGTERM:\n{self.log()[-3000:]}"
        assert code == 0, f"exit code {code}:\n{self.log()[-3000:]}"
        return time.monotonic() - start

    def reload(self, **sections):
        """SIGHUP with these sections changed; what the log has gained when it is over."""
        for name, keys in sections.items():
            self.sections.setdefault(name, {}).update(keys)
        self.write_file()
        before = len(self.log().splitlines())
        os.kill(self.pid, signal.SIGHUP)

        def said():
            lines = self.log().splitlines()[before:]
            return any("reload done" in line or "reload refused" in line for line in lines) and lines
        return "\n".join(eventually(said, what="the end of a reload"))

    def restart(self):
        self.close_clients()
        self.terminate()
        return self.start()

    def close_clients(self):
        for client in self._opened:
            client.close()
        self._opened.clear()
        self._client = None

    def finish(self):
        """For the fixture: the way every test ends."""
        code = self.child.poll() if self.child else 0
        try:
            told = self.told_to_operators()
            if self.child is not None and code is None:
                if self.is_stopped:
                    self.cont()
                self.terminate()
            self.close_clients()
            for report in SANITIZER_REPORTS:
                assert report not in self.log(), self.log()[-12000:]
            assert code in (None, 0), f"ended by itself, exit code {code}:\n{self.log()[-4000:]}"
            privacy.check(self.sections, {**told, "log": self.log()})
        finally:
            self.close_clients()
            self.kill9()

    def told_to_operators(self):
        """What the admin port tells, by path; empty where it does not answer (any more)."""
        if not self.is_running() or self.is_stopped:
            return {}
        try:
            return {path: self.http(path)[1] for path in ("/metrics", "/status.json", "/keys.json")}
        except (OSError, http.client.HTTPException):
            return {}

    # Talking to it

    def client(self, **options):
        client = resp.Client(options.pop("address", self.address), **options)
        self._opened.append(client)
        return client

    def call(self, *words):
        """On one connection that is kept for the whole test."""
        if self._client is None:
            self._client = self.client(timeout=10)
        return self._client.call(*words)

    def get(self, key):
        return self.call("GET", key)

    def rung(self, key):
        """(value, rung, age in ms) by SIDECAR GET."""
        reply = self.call("SIDECAR", "GET", key)
        assert isinstance(reply, list) and len(reply) == 3, reply
        return reply[0], reply[1].decode(), reply[2]

    def keep(self, *keys):
        """Until memory holds them: a fill that crosses news of its key is not kept."""
        for key in keys:
            eventually(lambda key=key: self.rung(key)[1] == "memory", what=f"{key} in memory")

    def explain(self, key):
        return to_map(self.call("SIDECAR", "EXPLAIN", key))

    def status(self):
        return to_map(self.call("SIDECAR", "STATUS"))

    # Looking at it

    def log(self):
        return self.output("stdout") + self.output("stderr")

    def log_lines(self, *words):
        """Lines of the log that hold all of these words."""
        return [line for line in self.log().splitlines() if all(word in line for word in words)]

    def http(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metrics(self):
        code, text = self.http("/metrics")
        assert code == 200
        return Metrics(text)

    def metric(self, name, **labels):
        return self.metrics().sum(name, **labels)

    def status_json(self):
        code, text = self.http("/status.json")
        assert code == 200
        return json.loads(text)

    def wait_backend(self, name, is_up, seconds=15):
        """Until it counts as up or down, under a little traffic that needs it."""
        words = {"redis": lambda n: ("TIME",), "postgres": lambda n: ("GET", f"plan:-{n}")}[name]
        numbers = itertools.count(1_000_000 + self._asked)
        with resp.Client(self.address) as client:
            def check():
                client.call(*words(next(numbers)))
                return self.metric("sidecar_backend_up", backend=name) == float(is_up)
            eventually(check, seconds, what=f"{name} being {'up' if is_up else 'down'}")
        self._asked = next(numbers) - 1_000_000

    def offers(self, section):
        """False when the program says that it does not do this part yet."""
        return not self.log_lines(f"[{section}]", "has no effect in this version")

    def history(self, since=0):
        """/history.json, with each row as a dict."""
        code, text = self.http(f"/history.json?since={since}")
        assert code == 200
        history = json.loads(text)
        history["rows"] = [dict(zip(history["columns"], row)) for row in history["rows"]]
        return history

    def memory_bytes(self):
        with open(f"/proc/{self.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors_open(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def to_map(reply):
    """RESP2's flat array of names and values, as a dict with text names."""
    assert not isinstance(reply, resp.Error), reply
    if isinstance(reply, dict):
        pairs = reply.items()
    else:
        pairs = zip(reply[::2], reply[1::2])

    def text(value):
        if isinstance(value, bytes):
            return value.decode()
        return value
    return {text(name): text(value) for name, value in pairs}


SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Metrics:
    """The Prometheus text, parsed strictly."""

    def __init__(self, text):
        self.text = text
        self.samples = {}
        self.types = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.types[name] = kind
            elif line and not line.startswith("#"):
                match = SAMPLE.match(line)
                assert match, f"not a sample: {line!r}"
                labels = frozenset(LABEL.findall(match[2] or ""))
                assert (match[1], labels) not in self.samples, f"twice: {line}"
                self.samples[match[1], labels] = float(match[3])

    def has(self, name):
        return any(sample == name for sample, _ in self.samples)

    def sum(self, name, **labels):
        """Over all samples with at least these labels; 0.0 when there is none."""
        assert any(sample.startswith(name) for sample, _ in self.samples) or labels, (
            f"no metric named {name}")
        wanted = set(labels.items())
        return sum(value for (sample, have), value in self.samples.items()
                   if sample == name and wanted <= have)
