"""Fixtures: one Redis, Postgres and PgBouncer for the whole run, made good again for
each test; sidecars and everything out of the ordinary fresh for each test.

Every process that a test starts is ended in a finalizer; a sidecar's end is
itself a test (SIGTERM, exit code 0, no sanitizer report).
"""

import faulthandler
import os
import signal
import sys

import pytest

import faults
from backends import PgBouncer, Plans, Postgres, Redis
from certificates import Authority
from processes import Session
from readers import Readers
from sidecar import BINARY, Sidecar, slowness

TEST_SECONDS = int(os.environ.get("SIDECAR_TEST_SECONDS", "60"))


def pytest_configure(config):
    config.addinivalue_line("markers", "seconds(n): this test may take n seconds")
    config.addinivalue_line("markers", "alone: measures time; not beside other tests")


# A time limit for each test, because pytest-timeout may not be installed: an
# exception in the test, and when not even that helps, the stacks and the end.


class TimeIsOver(BaseException):
    pass


def on_alarm(signum, frame):
    raise TimeIsOver("this test takes too long")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    marker = item.get_closest_marker("seconds")
    seconds = (marker.args[0] if marker else TEST_SECONDS) * slowness()
    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds + 45, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        faulthandler.cancel_dump_traceback_later()


# The parts of a run, for tests/run: "alone" are the files that measure time
# (pytestmark = pytest.mark.alone), "1/3" is one of three shares of all others.
# Whole files, so that what a file shares is made once.


def shares_of(items, count):
    files = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    shares = [[] for _ in range(count)]
    for path in sorted(files, key=lambda path: (-len(files[path]), path.name)):
        min(shares, key=len).extend(files[path])
    return shares


def pytest_collection_modifyitems(config, items):
    part = os.environ.get("SIDECAR_TEST_PART")
    if not part:
        return
    alone = [item for item in items if item.get_closest_marker("alone")]
    if part == "alone":
        chosen = alone
    else:
        number, count = map(int, part.split("/"))
        others = [item for item in items if not item.get_closest_marker("alone")]
        chosen = shares_of(others, count)[number - 1]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


# The numbers for tests/run: a test is passed, failed or skipped, once.

_outcomes = {}


def pytest_runtest_logreport(report):
    if report.failed:
        _outcomes[report.nodeid] = "failed"
    elif report.skipped:
        _outcomes.setdefault(report.nodeid, "skipped")
    elif report.when == "call":
        _outcomes.setdefault(report.nodeid, "passed")


def pytest_sessionfinish(session, exitstatus):
    path = os.environ.get("SIDECAR_TEST_COUNTS")
    if path:
        counts = [list(_outcomes.values()).count(word) for word in ("passed", "failed", "skipped")]
        with open(path, "w") as file:
            file.write(" ".join(map(str, counts)) + "\n")


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed:
        for sidecar in item.funcargs.get("sidecars", []):
            report.sections.append((f"sidecar's log ({sidecar.directory})", sidecar.log()[-6000:]))


# Backends


@pytest.fixture(scope="session")
def session():
    session = Session()
    yield session
    session.close()


@pytest.fixture(scope="session")
def postgres_of_session(session):
    postgres = Postgres(session)
    try:
        postgres.create().start()
        postgres.plans = Plans(postgres).create()
        yield postgres
    finally:
        postgres.end()


@pytest.fixture
def postgres(postgres_of_session):
    """Running, with 500 plans; a test may stop and kill it."""
    postgres_of_session.restore()
    postgres_of_session.plans.reset()
    yield postgres_of_session
    postgres_of_session.restore()


@pytest.fixture
def plans(postgres):
    return postgres.plans


@pytest.fixture(scope="session")
def pgbouncer_of_session(session, postgres_of_session):
    bouncer = PgBouncer(session, postgres_of_session)
    try:
        yield bouncer.start()
    finally:
        bouncer.end()


@pytest.fixture
def pgbouncer(pgbouncer_of_session, postgres):
    return pgbouncer_of_session.restore()


@pytest.fixture(scope="session")
def redis_of_session(session):
    redis = Redis(session)
    try:
        yield redis.start()
    finally:
        redis.end()


@pytest.fixture
def redis(redis_of_session):
    """Running and empty; a test may stop and kill it."""
    return redis_of_session.restore()


@pytest.fixture
def start_redis(session):
    """start_redis(password=..., ...) -> a running Redis."""
    started = []

    def start(**options):
        started.append(Redis(session, **options))
        return started[-1].start()

    yield start
    for redis in started:
        redis.end()


@pytest.fixture
def fake():
    """fake(faults.AnswersGarbage, ...) -> a running fake backend or proxy."""
    started = []

    def start(kind, *arguments, **options):
        started.append(kind(*arguments, **options))
        return started[-1].start()

    yield start
    for listener in started:
        listener.end()


@pytest.fixture
def proxy_for(fake):
    """proxy_for(redis) -> a Proxy before it; its `url` replaces the backend's."""

    def start(backend):
        return fake(faults.Proxy, backend.port)

    return start


@pytest.fixture(scope="session")
def authority(session):
    return Authority(session.directory("certificates"), "good-ca")


@pytest.fixture(scope="session")
def other_authority(session):
    return Authority(session.directory("certificates"), "unknown-ca")


# The program


@pytest.fixture
def sidecars():
    """The sidecars of this test, for the report of a failure."""
    return []


@pytest.fixture
def start_sidecar(session, sidecars):
    """start_sidecar(redis={...}, cache={...}, maps={...}) -> a running Sidecar."""
    if not os.path.exists(BINARY):
        pytest.fail(f"{BINARY} does not exist: run make first")

    def start(wait=True, **options):
        sidecars.append(Sidecar(session, **options))
        return sidecars[-1].start(wait)

    yield start
    problems = []
    for sidecar in reversed(sidecars):
        try:
            sidecar.finish()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture
def sidecar(start_sidecar, redis, pgbouncer):
    """With Redis, PgBouncer and the map `plan`."""
    return start_sidecar(redis={"url": redis.url}, postgres={"url": pgbouncer.url})


@pytest.fixture
def start_readers(session):
    """start_readers(sidecar, ids=5000) -> Readers at work; end with finish()."""
    started = []

    def start(sidecar, **settings):
        started.append(Readers(session, sidecar, **settings))
        return started[-1].start()

    yield start
    for readers in started:
        readers.end()
