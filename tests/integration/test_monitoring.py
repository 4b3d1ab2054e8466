"""deploy/prometheus, grafana and datadog: valid, about metrics that exist, and at work.

The programs of Prometheus are in var/tools, where deploy/deps.sh test unpacks them.
"""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import yaml

from processes import HERE, Process, eventually, free_port

ROOT = os.path.abspath(os.path.join(HERE, "..", ".."))
DEPLOY = os.path.join(ROOT, "deploy", "prometheus")
THRESHOLDS = os.path.join(ROOT, "tests", "prometheus", "thresholds.yml")
NAME = re.compile(r"\b(?:sidecar_|process_)[a-z_]+|\b(?:sidecar|job):[a-z0-9_:]+")
HISTOGRAM = re.compile(r"_(?:bucket|sum|count)$")


def tool(name):
    path = os.path.join(ROOT, "var", "tools", name)
    path = path if os.path.exists(path) else shutil.which(name)
    if not path:
        message = f"{name} is not there: deploy/deps.sh test fetches it"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    return path


def run(name, *words, **options):
    done = subprocess.run([tool(name), *words], capture_output=True, text=True, timeout=30,
                          cwd=ROOT, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def read_yaml(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return yaml.safe_load(file)


def rules(file):
    return [rule for group in read_yaml("deploy", "prometheus", file)["groups"]
            for rule in group["rules"]]


def dashboard():
    with open(os.path.join(ROOT, "deploy", "grafana", "sidecar.json")) as file:
        return json.load(file)


def dashboard_expressions():
    board = dashboard()
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for annotation in board["annotations"]["list"]:
        yield annotation["expr"]


# Whether they are well-formed


def test_the_configurations_are_valid():
    run("promtool", "check", "config", os.path.join(DEPLOY, "prometheus.yml"))
    run("amtool", "check-config", os.path.join(DEPLOY, "alertmanager.yml"))
    run("prometheus-blackbox-exporter", "--config.check",
        "--config.file", os.path.join(DEPLOY, "blackbox.yml"))


def test_the_alerts_fire_beyond_their_thresholds_and_not_before():
    run("promtool", "test", "rules", THRESHOLDS)


def test_every_alert_is_tested_on_both_sides():
    fires, cases = set(), 0
    for case in read_yaml("tests", "prometheus", "thresholds.yml")["tests"]:
        for question in case["promql_expr_test"]:
            cases += not question["exp_samples"]
            for sample in question["exp_samples"]:
                fires |= set(re.findall(r'alertname="(\w+)"', sample["labels"]))
    # Each case asks for all alerts, so an empty answer is the other side of every one.
    assert fires == {rule["alert"] for rule in rules("alerts.yml")} and cases >= 10


def test_the_exposition_is_valid(sidecar, plans):
    for number in range(1, 50):
        sidecar.get(f"plan:{number}")
    assert run("promtool", "check", "metrics", input=sidecar.metrics().text) == ""


def test_the_expressions_of_the_dashboard_are_valid(tmp_path):
    made = [{"record": f"panel:{number}", "expr": re.sub(r"\$\w+", "x", expression)}
            for number, expression in enumerate(dashboard_expressions())]
    assert len(made) > 20
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    run("promtool", "check", "rules", str(file))


# Whether they are about what is there


def test_every_name_that_they_use_exists(sidecar):
    exposed = sidecar.metrics()
    recorded = {rule["record"] for rule in rules("recording.yml")}

    def exists(name):
        return (name in recorded or exposed.types.get(name) in ("counter", "gauge")
                or exposed.types.get(HISTOGRAM.sub("", name)) == "histogram")
    used = [rule["expr"] for file in ("recording.yml", "alerts.yml") for rule in rules(file)]
    names = {name for expression in [*used, *dashboard_expressions()]
             for name in NAME.findall(re.sub(r'"[^"]*"', "", expression))}
    assert len(names) > 25
    assert not [name for name in names if not exists(name)]


def test_datadog_is_sent_every_metric_by_a_name_that_exists(sidecar):
    instance, = read_yaml("deploy", "datadog", "openmetrics.yaml")["instances"]
    sent = {name for entry in instance["metrics"] for name in entry}
    # The check takes a counter without its _total.
    exposed = {name.removesuffix("_total") for name in sidecar.metrics().types}
    assert sent == exposed
    assert instance["openmetrics_endpoint"].endswith(":9380/metrics")


def test_panels_of_the_dashboard_do_not_lie_on_each_other():
    taken, ids = set(), [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells


# At work


@pytest.fixture
def start_program(session):
    started = []

    def start(name, *words):
        started.append(Process(session, os.path.basename(name)))
        started[-1].spawn([name, *words])
        return started[-1]

    yield start
    for program in reversed(started):
        program.end()


def get_json(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return json.load(answer)["data"]
    except OSError:
        return None


def test_prometheus_scrapes_probes_and_records(sidecar, redis, start_program, session, plans):
    """The files as they are, but for ports and intervals."""
    directory = session.directory("prometheus")
    port, exporter = free_port(), free_port()
    with open(os.path.join(DEPLOY, "prometheus.yml")) as file:
        text = file.read()
    for old, new in (("9380", sidecar.admin_port), ("6380", sidecar.port), ("9115", exporter),
                     ("_interval: 15s", "_interval: 500ms")):
        assert old in text
        text = text.replace(old, str(new))
    for name in ("recording.yml", "alerts.yml"):
        shutil.copy(os.path.join(DEPLOY, name), directory)
    config = os.path.join(directory, "prometheus.yml")
    with open(config, "w") as file:
        file.write(text)
    # It takes half a second off the interval by default: nothing would be left for the probe.
    start_program(tool("prometheus-blackbox-exporter"), f"--web.listen-address=127.0.0.1:{exporter}",
                  "--timeout-offset=0.1", "--config.file", os.path.join(DEPLOY, "blackbox.yml"))
    start_program(tool("prometheus"), f"--web.listen-address=127.0.0.1:{port}", "--config.file",
                  config, "--storage.tsdb.path", os.path.join(directory, "data"))

    def value(expression):
        sidecar.get("plan:1"), sidecar.get(f"plan:{int(time.time() * 1000) % 500 + 1}")
        found = get_json(port, "/api/v1/query?query=" + urllib.parse.quote(expression))
        return [float(series["value"][1]) for series in found["result"]] if found else []
    eventually(lambda: value('probe_success{job=~"sidecar-uptime-.+"}') == [1, 1], 15)
    for expression in ("sidecar:answers_all:rate5m", "sidecar:response_seconds:p95_5m",
                       "job:sidecar_redis_commands:usd_per_month",
                       'sidecar:backend_seconds:p95_5m{backend="postgres"}'):
        eventually(lambda: any(number > 0 for number in value(expression)), 10, what=expression)
    eventually(lambda: 0 < sum(value("sidecar:cache_hit:ratio5m")) <= 1)
    assert value("sidecar:errors:ratio5m") in ([], [0])
    redis.kill9()
    alerts = 'ALERTS{alertname="SidecarBackendDown",backend="redis"}'
    eventually(lambda: value(alerts) == [1], 10, what=alerts)


class Sentry:
    """Takes envelopes, as Sentry does."""

    def __init__(self):
        self.events, self.keys, self.refuses = [], set(), 0
        sentry = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                lines = self.rfile.read(int(self.headers["Content-Length"])).split(b"\n")
                sentry.keys.add((self.path, self.headers["X-Sentry-Auth"].split("=")[-1]))
                sentry.refuses -= 1
                if sentry.refuses < 0:
                    assert json.loads(lines[1]) == {"type": "event"}
                    sentry.events.append(json.loads(lines[2]))
                self.send_response(200 if sentry.refuses < 0 else 503)
                self.end_headers()

            def log_message(self, *words):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def sentry():
    sentry = Sentry()
    yield sentry
    sentry.server.shutdown()
    sentry.server.server_close()


# Debian's Alertmanager reads templates from a fixed place below /usr/share, even where nothing
# uses them: in a mount namespace of its own it finds them there.
WITH_TEMPLATES = """
    place=/usr/share/prometheus/alertmanager templates=$(cat "$1" "$2") && shift 2 &&
    mount -t tmpfs none /usr/share && mkdir -p $place && touch $place/email.tmpl &&
    printf %s "$templates" >$place/default.tmpl && exec "$@" """


@pytest.fixture
def alertmanager():
    """The words that run it."""
    program = tool("prometheus-alertmanager")
    if os.path.exists("/usr/share/prometheus/alertmanager/default.tmpl"):
        return [program]
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"],
                      capture_output=True).returncode != 0:
        pytest.skip("Alertmanager's templates cannot be put in their place without a namespace")
    return ["unshare", "-m", "sh", "-c", WITH_TEMPLATES, "sh", tool("default.tmpl"),
            tool("email.tmpl"), program]


def test_an_alert_reaches_sentry_through_alertmanager(
        sentry, alertmanager, start_program, session):
    directory = session.directory("alertmanager")
    port, bridge = free_port(), free_port()
    with open(os.path.join(DEPLOY, "alertmanager.yml")) as file:
        text = file.read().replace("127.0.0.1:9094", f"127.0.0.1:{bridge}")
    config, secret = (os.path.join(directory, name) for name in ("alertmanager.yml", "dsn"))
    with open(config, "w") as file:
        file.write(re.sub("group_wait: .*", "group_wait: 0s", text))
    with open(secret, "w") as file:
        file.write(f"http://public-key@127.0.0.1:{sentry.server.server_port}/42\n")
    start_program(sys.executable, os.path.join(DEPLOY, "alertmanager_to_sentry.py"),
                  "--dsn-file", secret, "--port", str(bridge), "--environment", "test")
    start_program(*alertmanager, f"--web.listen-address=127.0.0.1:{port}",
                  "--cluster.listen-address=", "--config.file", config,
                  "--storage.path", os.path.join(directory, "data"))
    eventually(lambda: get_json_status(port, "/-/ready"), 10)
    eventually(lambda: get_json_status(bridge, "/"), 10)
    sentry.refuses = 1  # the first attempt fails, and is made again
    run("amtool", "--alertmanager.url", f"http://127.0.0.1:{port}", "alert", "add",
        "alertname=SidecarBackendDown", "job=sidecar", "instance=a:9380", "backend=redis",
        "severity=warning", "--annotation", "summary=a:9380: redis is down")
    event, = eventually(lambda: sentry.events, 10, what="an event at Sentry")
    assert event["message"]["formatted"] == "a:9380: redis is down" and event["level"] == "error"
    assert event["fingerprint"] == ["SidecarBackendDown", "sidecar", "a:9380", "redis"]
    assert event["environment"] == "test" and event["tags"]["status"] == "firing"
    assert sentry.keys == {("/api/42/envelope/", "public-key")}


def get_json_status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True  # it answers
    except OSError:
        return False


def test_what_is_no_webhook_is_refused_by_the_bridge(sentry, start_program, session):
    port, secret = free_port(), os.path.join(session.directory("bridge"), "dsn")
    with open(secret, "w") as file:
        file.write(f"http://key@127.0.0.1:{sentry.server.server_port}/1")
    start_program(sys.executable, os.path.join(DEPLOY, "alertmanager_to_sentry.py"),
                  "--dsn-file", secret, "--port", str(port))
    eventually(lambda: get_json_status(port, "/"), 10)
    for body in (b"", b"[]", b'{"alerts": 1}', b'{"alerts": ["x"]}', b"\xff"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=body, timeout=5)
        assert refused.value.code == 400, body
    assert sentry.events == []
