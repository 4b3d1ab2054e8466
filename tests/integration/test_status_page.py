"""The status page in a real browser: headless Chromium, by Debian's python3-selenium.

Without it these are skipped; `make page` installs what is missing and runs them. SIDECAR_SCREENSHOTS
names a directory to leave pictures in.
"""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from processes import HERE, eventually

MAKE_PAGE = os.path.abspath(os.path.join(HERE, "..", "..", "proxy", "front", "page", "make_page.py"))
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
try:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
except ImportError:
    webdriver = None

PHONE, DESKTOP = (390, 844), (1180, 900)


class Page:
    """One tab on the status page."""

    def __init__(self, driver, sidecar):
        self.driver = driver
        self.url = f"http://127.0.0.1:{sidecar.admin_port}/"

    def open(self, size=DESKTOP, is_dark=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
            "width": size[0], "height": size[1], "deviceScaleFactor": 1,
            "mobile": size is PHONE})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [
            {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]})
        self.driver.get_log("browser")  # forgets what was before
        self.driver.get(self.url)
        eventually(lambda: self.text("#live") == "live", what="the page being live")
        return self

    def script(self, text):
        return self.driver.execute_script("return " + text)

    def text(self, selector):
        return self.script(f"document.querySelector('{selector}').textContent").strip()

    def state(self, rung):
        return self.script(f"document.querySelector('[data-rung={rung}]').dataset.state")

    def level(self):
        return self.script("document.querySelector('#verdict').dataset.level")

    def sees(self, rung, state, seconds=2.0):
        """How long it took until the ladder said so."""
        start = time.monotonic()
        eventually(lambda: self.state(rung) == state, seconds, what=f"{rung} {state} on the page")
        return time.monotonic() - start

    def complaints(self):
        """Of the browser: failed requests, what the policy refused, errors of the script."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def keep_picture(self, name):
        directory = os.environ.get("SIDECAR_SCREENSHOTS")
        if directory:
            self.driver.save_screenshot(os.path.join(directory, name + ".png"))


@pytest.fixture(scope="module")
def driver(session):
    if not (webdriver and CHROMIUM and DRIVER):
        pytest.skip("no chromium, chromium-driver and python3-selenium: make page installs them")
    options = Options()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     f"--user-data-dir={session.directory('chromium')}",
                     # Nothing but the sidecar may be asked: a name would fail, and be seen.
                     "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service(DRIVER), options=options)
    yield driver
    driver.quit()


@pytest.fixture
def page(driver, sidecar):
    yield Page(driver, sidecar)
    driver.get("about:blank")  # it asks no sidecar that is gone


def read_some(sidecar, count=200):
    for number in range(count):
        sidecar.get(f"plan:{number % 40 + 1}")


def last_row(sidecar):
    return eventually(lambda: sidecar.history()["rows"])[-1]


# Without a browser


def test_the_page_is_built_from_its_parts():
    done = subprocess.run([sys.executable, MAKE_PAGE, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_asks_nobody_else(sidecar):
    code, text = sidecar.http("/")
    assert code == 200 and text.startswith("<!doctype html>")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[1]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]*"', text.replace("https://github.com", ""))
    assert "The MIT License" in text, "uPlot's licence goes with it"


def test_the_history_holds_what_happened_a_row_a_second(sidecar, redis):
    read_some(sidecar)
    history = eventually(
        lambda: (found := sidecar.history())["rows"] and sum(
            row["memory"] + row["postgres"] + row["redis"] for row in found["rows"]) >= 200 and found)
    assert history["minute"]["p50_us"] > 0
    busy = max(history["rows"], key=lambda row: row["memory"])
    assert busy["hits"] >= busy["misses"] and 0 < busy["p50_us"] <= busy["p95_us"] <= busy["p99_us"]
    assert abs(busy["time"] - time.time()) < 60
    redis.kill9()
    sidecar.wait_backend("redis", False)
    eventually(lambda: last_row(sidecar)["redis_state"] > 0)


def test_only_what_is_new_is_told_again(sidecar):
    first = eventually(lambda: (found := sidecar.history())["rows"] and found)
    later = eventually(lambda: (found := sidecar.history(first["next"]))["rows"] and found)
    assert len(later["rows"]) == later["next"] - first["next"]
    for nonsense in ("-1", "99999999", "x", "", "1&x=2"):
        assert sidecar.history(nonsense)["rows"], nonsense


def test_keys_are_told_by_their_hash_only(sidecar):
    read_some(sidecar)
    code, text = sidecar.http("/keys.json")
    assert code == 200 and len(re.findall(r'"plan:#[0-9a-f]{6}"', text)) == 10
    assert not re.search(r"plan:[0-9]", text)


# With one


def test_a_drill_is_seen_within_two_seconds(page, sidecar):
    read_some(sidecar)
    page.open()
    assert [page.state(rung) for rung in ("memory", "redis", "postgres")] == ["up"] * 3
    sidecar.call("SIDECAR", "BREAKER", "redis", "OPEN")
    page.sees("redis", "down")
    assert page.level() == "fair" and "Redis is down: forced open" in page.text("#verdict-title")
    assert "breaker open (forced)" in page.text("[data-rung=redis] .note")
    page.keep_picture("redis-forced-open")
    sidecar.call("SIDECAR", "BREAKER", "postgres", "OPEN")
    page.sees("postgres", "down")
    assert page.level() == "bad"
    for name in ("redis", "postgres"):
        sidecar.call("SIDECAR", "BREAKER", name, "AUTO")
    page.sees("redis", "up", 10)
    assert page.complaints() == []


def test_a_real_outage_is_seen_with_its_reason_and_its_rungs(page, sidecar, redis, pgbouncer):
    read_some(sidecar)
    page.open()
    redis.kill9()
    pgbouncer.kill9()
    sidecar.wait_backend("redis", False)
    sidecar.wait_backend("postgres", False)
    page.sees("redis", "down")
    page.sees("postgres", "down")
    assert "refused" in page.text("[data-rung=redis] .note")
    sidecar.get("plan:300")
    page.sees("free", "answering", 5)
    redis.start()
    pgbouncer.start()
    for name in ("redis", "postgres"):
        sidecar.wait_backend(name, True)
        page.sees(name, "up", 5)


def test_a_page_that_is_opened_late_shows_what_has_been(page, sidecar):
    read_some(sidecar)
    sidecar.call("SIDECAR", "BREAKER", "redis", "OPEN")
    eventually(lambda: last_row(sidecar)["redis_state"] == 2)
    sidecar.call("SIDECAR", "BREAKER", "redis", "AUTO")
    sidecar.wait_backend("redis", True)
    page.open()
    assert page.script("document.querySelectorAll('#lane-redis .state-2').length") >= 1
    assert page.script("document.querySelectorAll('.uplot canvas').length") == 3
    assert page.text(".tile:nth-child(1) .figure").endswith("%")
    assert page.script("document.querySelectorAll('#keys tbody tr').length") == 10
    assert "plan:#" in page.text("#keys tbody") and "µs" in page.text("#tiles")
    assert page.complaints() == []


def test_it_fits_a_phone_and_a_desktop_by_day_and_by_night(page, sidecar):
    read_some(sidecar)
    for size in (PHONE, DESKTOP):
        for is_dark in (False, True):
            page.open(size, is_dark)
            assert page.script("document.documentElement.scrollWidth") <= size[0]
            assert page.script(
                "[...document.querySelectorAll('main *')].filter(e => "
                f"e.getBoundingClientRect().right > {size[0]} + 1).map(e => e.className)") == []
            paper = page.script("getComputedStyle(document.body).backgroundColor")
            assert (int(re.findall(r"\d+", paper)[0]) < 100) == is_dark
            page.keep_picture(f"{'dark' if is_dark else 'light'}-{size[0]}")
    assert page.complaints() == []


def test_it_says_when_the_sidecar_is_gone(page, sidecar):
    page.open()
    sidecar.stop()
    eventually(lambda: "no answer" in page.text("#live"), 8)
    sidecar.cont()
    eventually(lambda: page.text("#live") == "live", 8)
