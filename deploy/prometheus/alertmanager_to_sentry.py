#!/usr/bin/python3
"""Hands Alertmanager's webhooks on to Sentry, as events.

    alertmanager_to_sentry.py --dsn-file /etc/sidecar/sentry-dsn [--port 9094] [--environment prod]

Each alert becomes one event, also when it is resolved; all of one alert and instance are one issue.
It listens on loopback only. What Sentry does not take is answered with 502, and Alertmanager tries
again. Only Python's own library.
"""
import argparse
import datetime
import hashlib
import http.server
import json
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request

MAX_BODY_BYTES = 1 << 20
TIMEOUT_S = 10
LEVELS = {"critical": "fatal", "warning": "error", "goal": "warning"}
# What tells one issue from another; other labels only describe it.
IDENTITY = ("alertname", "job", "instance", "backend")


class Dsn:
    """https://KEY@HOST/PROJECT"""

    def __init__(self, text):
        parts = urllib.parse.urlsplit(text.strip())
        path, _, project = parts.path.rpartition("/")
        if parts.scheme not in ("http", "https") or not (parts.username and parts.hostname and project):
            sys.exit("the DSN is not of the form https://KEY@HOST/PROJECT")
        host = parts.hostname + (f":{parts.port}" if parts.port else "")
        self.url = f"{parts.scheme}://{host}{path}/api/{project}/envelope/"
        self.auth = f"Sentry sentry_version=7, sentry_client=sidecar/1.0, sentry_key={parts.username}"


def event_of(alert, environment):
    labels, notes = alert.get("labels", {}), alert.get("annotations", {})
    is_over = alert.get("status") == "resolved"
    moment = alert.get("endsAt" if is_over else "startsAt")
    summary = notes.get("summary") or labels.get("alertname", "alert")
    # The same alert told again is the same event, which Sentry takes once.
    identity = json.dumps([labels, alert.get("status"), alert.get("startsAt")], sort_keys=True)
    return {
        "event_id": hashlib.sha256(identity.encode()).hexdigest()[:32],
        "timestamp": moment or datetime.datetime.now(datetime.timezone.utc).isoformat(),
        "platform": "other",
        "logger": "alertmanager",
        "level": "info" if is_over else LEVELS.get(labels.get("severity"), "error"),
        "server_name": labels.get("instance", ""),
        "environment": environment,
        "message": {"formatted": ("Resolved: " if is_over else "") + summary},
        "fingerprint": [labels.get(name, "") for name in IDENTITY],
        "tags": {**{name: value[:200] for name, value in labels.items()},
                 "status": alert.get("status", "")},
        "extra": {**notes, "generator": alert.get("generatorURL", "")},
    }


def send(dsn, event):
    lines = ({"event_id": event["event_id"]}, {"type": "event"}, event)
    request = urllib.request.Request(
        dsn.url, "\n".join(map(json.dumps, lines)).encode(),
        {"Content-Type": "application/x-sentry-envelope", "X-Sentry-Auth": dsn.auth})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S):
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    dsn = environment = None
    timeout = TIMEOUT_S

    def do_POST(self):
        try:
            size = int(self.headers["Content-Length"])
            if not 0 <= size <= MAX_BODY_BYTES:
                raise ValueError("too large")
            alerts = json.loads(self.rfile.read(size))["alerts"]
            events = [event_of(alert, self.environment) for alert in alerts]
        except (KeyError, TypeError, ValueError, AttributeError):
            self.answer(400)
            return
        try:
            for event in events:
                send(self.dsn, event)
        except (OSError, urllib.error.URLError) as problem:
            print(f"sentry: {getattr(problem, 'reason', problem)}", file=sys.stderr, flush=True)
            self.answer(502)
            return
        self.answer(200)

    def answer(self, code):
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--dsn-file", required=True)
    parser.add_argument("--port", type=int, default=9094)
    parser.add_argument("--environment", default=socket.gethostname())
    arguments = parser.parse_args()
    with open(arguments.dsn_file) as file:
        Handler.dsn = Dsn(file.read())
    Handler.environment = arguments.environment
    server = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    print(f"alerts to Sentry, from 127.0.0.1:{arguments.port}", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
