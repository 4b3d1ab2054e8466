"""make install, the man pages, the systemd unit: what an operator unpacks."""

import os
import re
import shutil
import subprocess

import pytest

from sidecar import BINARY

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
UNIT = os.path.join(ROOT, "deploy", "systemd", "sidecar.service")

pytestmark = pytest.mark.skipif("SIDECAR_BINARY" in os.environ, reason="installs ./sidecar")


def make(*words):
    return subprocess.run(["make", "--no-print-directory", *words], cwd=ROOT, check=True,
                          capture_output=True, text=True, timeout=50)


def files_below(place):
    return {os.path.relpath(os.path.join(where, name), place)
            for where, _, names in os.walk(place) for name in names}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """make install's DESTDIR, with PREFIX=/opt/side."""
    place = tmp_path_factory.mktemp("destdir")
    make("install", f"DESTDIR={place}", "PREFIX=/opt/side")
    return place


def run(*words, **options):
    return subprocess.run(words, capture_output=True, text=True, timeout=30, **options)


def test_everything_lands_below_the_prefix_and_nothing_elsewhere(place):
    files = files_below(place)
    assert all(name.startswith("opt/side/") for name in files)
    assert {name.rpartition("/")[2] for name in files} == {
        "sidecar", "sidecar.8", "sidecar.ini.5", "sidecar.ini", "notify-reload.conf",
        "sidecar.conf", "sidecar.service"}
    assert run(place / "opt/side/bin/sidecar", "--version").stdout.startswith("sidecar ")
    assert run(place / "opt/side/bin/sidecar", "--check", "-c",
               place / "opt/side/share/sidecar/sidecar.ini").returncode == 0


def test_uninstall_takes_all_of_it_and_no_more(tmp_path):
    words = (f"DESTDIR={tmp_path}", "PREFIX=/usr")
    make("install", *words)
    (tmp_path / "usr/bin/other").write_text("")
    make("uninstall", *words)
    assert files_below(tmp_path) == {"usr/bin/other"}
    assert not (tmp_path / "usr/share/sidecar").exists()
    make("uninstall", *words)  # twice is no error


# The man pages


def page(place, name):
    return (place / f"opt/side/share/man/man{name[-1]}/{name}").read_text()


def reference():
    """{"listen.port": (default, range, meaning)} from the table of settings."""
    rows, section = {}, None
    for line in run(BINARY, "--print-reference").stdout.splitlines():
        header = re.fullmatch(r"### \[(.+)\]", line)
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)]
        if header:
            section = header[1]
        elif line.startswith("| `"):
            rows[f"{section}.{cells[1][1:-1]}"] = cells[2].strip("`"), cells[3], cells[5]
    return rows


def rendered(place, name):
    """As a reader sees it, one paragraph a line, quotes plain."""
    path = place / f"opt/side/share/man/man{name[-1]}/{name}"
    result = run("mandoc", "-T", "ascii", "-O", "width=1000", path)
    assert result.returncode == 0, result.stderr
    text = re.sub(r".\x08", "", result.stdout)
    return re.sub(r" +", " ", text.replace("`", "'"))


def test_every_setting_is_in_the_man_page_with_its_default_and_its_bounds(place):
    text = rendered(place, "sidecar.ini.5")
    sections = re.split(r"^ *\[(.+)\]$", text, flags=re.M)
    sections = dict(zip(sections[1::2], sections[2::2]))
    rows = reference()
    assert len(rows) > 40
    for name, (default, bounds, meaning) in rows.items():
        section, key = name.split(".")
        shown = sections[section]
        wanted = f"\n {key} = '{default}'\n" if default else f"\n {key}"
        assert wanted in shown, name
        assert meaning.replace("\\|", "|") in shown, name
        assert not bounds or f"({bounds}" in shown, name


def test_every_key_of_print_config_is_in_the_reference():
    config = run(BINARY, "--print-config", "-o", "map m.key=m:{id}", "-o", "map m.query=SELECT 1",
                 cwd="/").stdout
    section, names = None, set()
    for line in config.splitlines():
        header = re.fullmatch(r"\[(.+)\]", line)
        key = re.match(r"(\w+) =", line)
        section = header[1].replace("map m", "map NAME") if header else section
        if key:
            names.add(f"{section}.{key[1]}")
    assert names == set(reference())


def test_every_option_and_exit_code_of_help_is_in_the_man_page(place):
    text = rendered(place, "sidecar.8")
    said = run(BINARY, "--help").stdout
    for option in set(re.findall(r"--?[a-z][\w-]*", said)):
        assert re.search(rf"{option}\b", text), option
    for code, meaning in re.findall(r"^  (\d) +(.+)$", said, re.M):
        assert re.search(rf"^ *{code} +{re.escape(meaning)}$", text, re.M), code
    assert "print-reference" not in said


@pytest.mark.parametrize("name", ["sidecar.8", "sidecar.ini.5"])
def test_the_pages_make_no_formatter_complain(place, name):
    path = place / f"opt/side/share/man/man{name[-1]}/{name}"
    assert run("mandoc", "-T", "lint", "-W", "warning", path).stdout == ""
    if shutil.which("groff"):
        complaints = run("groff", "-mandoc", "-ww", "-Tutf8", "-z", path)
        assert (complaints.returncode, complaints.stderr) == (0, "")


# The unit


def test_the_unit_starts_what_was_installed(place):
    unit = (place / "opt/side/lib/systemd/system/sidecar.service").read_text()
    assert "ExecStart=/opt/side/bin/sidecar -c /etc/sidecar/sidecar.ini\n" in unit
    assert "/usr/local" not in unit


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd")
def test_systemd_understands_the_unit_and_finds_it_little_exposed(place, tmp_path):
    with open(UNIT) as file:
        unit = file.read().replace("/usr/local/bin/sidecar", f"{place}/opt/side/bin/sidecar")
    path = tmp_path / "sidecar.service"
    path.write_text(re.sub("^Documentation=.*\n", "", unit, flags=re.M))  # not installed here
    verdict = run("systemd-analyze", "verify", path)
    assert (verdict.returncode, verdict.stderr) == (0, "")
    # 15 is 1.5 of 10: "OK", where 9.6 is a unit without any of it.
    said = run("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", path)
    assert said.returncode == 0, said.stdout[-200:]


def test_the_unit_says_what_sidecar_needs():
    with open(UNIT) as file:
        unit = file.read()
    for line in ("Type=notify", "WatchdogSec=15s", "StateDirectory=sidecar", "ProtectSystem=strict",
                 "NoNewPrivileges=yes", "MemoryDenyWriteExecute=yes", "RestartPreventExitStatus=2",
                 "ExecReload=/bin/kill -HUP $MAINPID"):
        assert f"\n{line}\n" in unit, line
