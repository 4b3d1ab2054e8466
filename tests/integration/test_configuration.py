"""The command line and sidecar.ini, as someone in front of a terminal meets them."""

import os
import re
import subprocess

import pytest

from sidecar import BINARY

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "sidecar.ini")

VARIABLES = ("REDIS_URL", "UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "DATABASE_URL",
             "SIDECAR_SNAPSHOT_KEY")

MAP = """[map plan]
key = plan:{id}
query = SELECT id, plan FROM users WHERE id = ANY($1)
"""


class Run:
    """Runs the binary to its end in a directory of its own."""

    def __init__(self, directory):
        self.directory = directory

    def write(self, text, name="sidecar.ini"):
        (self.directory / name).write_text(text)

    def __call__(self, *arguments, **env):
        clean = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=20,
                              cwd=self.directory, env={**clean, **env})

    def refuses(self, message, *arguments, **env):
        result = self("--check", *arguments, **env)
        assert message in result.stderr.splitlines(), result.stderr
        assert result.returncode == 2
        assert result.stdout == ""

    def config(self, *arguments, **env):
        """{"cache.ttl": ("30s", "default")} as --print-config says it."""
        result = self("--print-config", *arguments, **env)
        assert result.returncode == 0, result.stderr
        values, section, last = {}, None, None
        for line in result.stdout.splitlines():
            header = re.fullmatch(r"\[(.+)\]", line)
            key = re.fullmatch(r"(\w+) =(.*?)  ; (.*)", line)
            if header:
                section = header[1]
            elif key:
                last = f"{section}.{key[1]}"
                values[last] = (key[2].strip(), key[3])
            elif line.startswith("    "):
                values[last] = (values[last][0] + "\n" + line.strip(), values[last][1])
            else:
                assert line == "" or line.startswith("# "), line
        return values


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


# The command line


def test_a_good_file_passes_the_check(run):
    run.write("[cache]\nttl = 5s\n")
    result = run("--check")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "sidecar: the settings are good\n"


def test_what_is_printed_and_checked_is_a_file_of_settings(run):
    run.write("[cache]\nttl = 5s\n")
    both = run("--check", "--print-config")
    assert both.returncode == 0, both.stderr
    assert both.stdout == run("--print-config").stdout


def test_the_shipped_file_passes_and_says_what_the_defaults_are(run):
    with open(SHIPPED) as file:
        run.write(file.read(), "shipped.ini")
    shipped = run.config("-c", "shipped.ini")
    defaults = run.config()
    assert set(shipped) - set(defaults) == {f"map profile.{key}" for key in (
        "key", "query", "free", "missing", "type", "limit")}
    for name, (value, origin) in defaults.items():
        assert origin == "default"
        assert shipped[name][0] == value, name
        assert shipped[name][1].startswith("shipped.ini:"), f"{name} is not in sidecar.ini"


def test_no_server_is_started_by_check_or_print_config(run):
    # A port that nobody may take: both end all the same, and well.
    assert run("--check", "-o", "listen.port=1").returncode == 0
    assert run("--print-config", "-o", "listen.port=1").returncode == 0


def test_the_version_is_printed(run):
    result = run("--version")
    assert result.returncode == 0
    assert re.fullmatch(r"sidecar \d+\.\d+\.\d+.*\n", result.stdout)


def test_help_names_every_option_and_exit_status(run):
    result = run("--help")
    assert result.returncode == 0
    for word in ("-c", "-o", "--check", "--print-config", "--version", "--help"):
        assert word in result.stdout
    assert re.findall(r"^  (\d) ", result.stdout, re.M) == ["0", "1", "2"]


@pytest.mark.parametrize("arguments, message", [
    (["-x"], "sidecar: -x: no such option (see sidecar --help)"),
    (["--frobnicate"], "sidecar: --frobnicate: no such option (see sidecar --help)"),
    (["-c"], "sidecar: -c: needs a value (see sidecar --help)"),
    (["-c", "a", "-c", "b"], "sidecar: -c: given twice (see sidecar --help)"),
    (["sidecar.ini"], "sidecar: sidecar.ini: is no option (see sidecar --help)"),
])
def test_wrong_usage_ends_with_2(run, arguments, message):
    result = run(*arguments)
    assert message in result.stderr.splitlines()
    assert result.returncode == 2


# Where settings come from


def test_sidecar_ini_of_the_current_directory_is_taken(run):
    run.write("[cache]\nttl = 7s\n")
    assert run.config()["cache.ttl"] == ("7s", "sidecar.ini:2")


def test_another_file_may_be_named(run):
    run.write("[cache]\nttl = 7s\n")
    run.write("[cache]\n\nttl = 8s\n", "other.ini")
    assert run.config("-c", "other.ini")["cache.ttl"] == ("8s", "other.ini:3")


def test_a_named_file_has_to_be_there(run):
    run.refuses("nope.ini: cannot be read: No such file or directory", "-c", "nope.ini")


def test_options_win_over_the_file_and_later_ones_over_earlier(run):
    run.write("[cache]\nttl = 7s\n" + MAP)
    config = run.config("-o", "cache.ttl=8s", "-o", "cache.ttl=9s", "-o",
                        "map plan.query=SELECT 1", "-o", "map two.key=two:{id:uuid}",
                        "-o", "map two.query=SELECT 2")
    assert config["cache.ttl"] == ("9s", "-o")
    assert config["map plan.query"] == ("SELECT 1", "-o")
    assert config["map plan.key"] == ("plan:{id}", "sidecar.ini:4")
    assert config["map two.key"] == ("two:{id:uuid}", "-o")


def test_variables_are_taken_and_named(run):
    run.write("[cache]\nttl = ${TTL}\nstale = ${STALE:-2h}\n")
    config = run.config(TTL="6s", STALE="")
    assert config["cache.ttl"] == ("6s", "sidecar.ini:2, from TTL")
    assert config["cache.stale"] == ("2h", "sidecar.ini:3")


def test_an_upstash_customer_needs_no_file(run):
    config = run.config(UPSTASH_REDIS_REST_URL="https://eu1.upstash.io",
                        UPSTASH_REDIS_REST_TOKEN="hunter2",
                        DATABASE_URL="postgres://app:hunter2@db:6543/app")
    assert config["redis.url"] == ("https://eu1.upstash.io", "default, from UPSTASH_REDIS_REST_URL")
    assert config["redis.token"] == ("********", "default, from UPSTASH_REDIS_REST_TOKEN")
    assert config["postgres.url"] == ("postgres://app:********@db:6543/app",
                                      "default, from DATABASE_URL")


def test_what_is_printed_is_a_file_that_says_the_same(run):
    run.write("[cache]\nttl = 1500ms\nkeys = a:*\n  !b:*\n" + MAP + "  AND NOT locked\n"
              'free = {"plan":"free"}\ntype = hash\nlimit = no\n')
    first = run.config("-o", "limits.per_ip=7/h")
    run.write(run("--print-config", "-o", "limits.per_ip=7/h").stdout, "again.ini")
    second = run.config("-c", "again.ini")
    assert {name: value for name, (value, _) in first.items()} == \
        {name: value for name, (value, _) in second.items()}
    assert second["map plan.query"][0].endswith("ANY($1)\nAND NOT locked")


def test_secrets_are_not_printed_wherever_they_come_from(run):
    run.write("[listen]\npassword = hunter2\n[redis]\nurl = redis://:hunter2@h\n"
              "[postgres]\nurl = postgres://u:${DB_PASSWORD}@h/d?password=hunter2\n"
              "[snapshot]\nfile = s\nkey = ${KEY}\n")
    result = run("--print-config", "-o", "redis.token=hunter2", DB_PASSWORD="hunter2",
                 KEY="deadbeef" * 8)
    assert result.returncode == 0
    assert "hunter2" not in result.stdout + result.stderr
    assert "deadbeef" not in result.stdout + result.stderr


# What is refused, and how


@pytest.mark.parametrize("text, message", [
    ("[cache]\n\nttl = abc\n",
     'sidecar.ini:3: [cache] ttl: "abc" is not a duration (for example 30s)'),
    ("[listen]\nport = 99999\n", "sidecar.ini:2: [listen] port: 99999 is out of range (1 to 65535)"),
    ("[cache]\ntll = 5s\n", "sidecar.ini:2: [cache] tll: unknown key (did you mean ttl?)"),
    ("[cach]\n", "sidecar.ini:1: [cach]: unknown section (did you mean cache?)"),
    ("[cache]\nttl = 5s\nttl = 6s\n", "sidecar.ini:3: [cache] ttl: already set in line 2"),
    ("[cache]\nttl\n", 'sidecar.ini:2: this is no "key = value"'),
    (MAP + "\n" + MAP, "sidecar.ini:5: [map plan] is already defined in line 1"),
    ("[listen]\npassword = ${NOT_SET}\n",
     "sidecar.ini:2: [listen] password: the environment variable NOT_SET is not set "
     "(${NOT_SET:-} would allow that)"),
    ("[listen]\naddress = 0.0.0.0\n",
     "sidecar.ini:2: [listen] address: 0.0.0.0 can be reached by others: set password or "
     "tls_client_ca"),
    ("[redis]\nurl = redis://localhost:6380\n",
     "sidecar.ini:2: [redis] url: is our own address and port: sidecar would forward to itself"),
    ("[snapshot]\nfile = x\n",
     "sidecar.ini:2: [snapshot] file: needs key, too: 64 hex digits (openssl rand -hex 32)"),
    (MAP + "type = hash\nfree = none\n",
     "sidecar.ini:5: [map plan] free: with type = hash it must be a JSON object (for example "
     '{"subscription_tier":"free"})'),
])
def test_a_wrong_file_is_refused_with_line_and_reason(run, text, message):
    run.write(text)
    run.refuses(message)


@pytest.mark.parametrize("option, message", [
    ("cache.ttl=abc", '-o cache.ttl=abc: "abc" is not a duration (for example 30s)'),
    ("cache.tll=5s", "-o cache.tll: unknown key (did you mean ttl?)"),
    ("cache.ttl", "-o cache.ttl: is not section.key=value (for example cache.ttl=30s)"),
])
def test_a_wrong_option_is_refused_by_name(run, option, message):
    run.refuses(message, "-o", option)


def test_a_wrong_variable_is_named(run):
    run.refuses("REDIS_URL in the environment: [redis] url: http:// would send the token "
                "unencrypted (take https://, or redis:// for a Redis of your own)",
                REDIS_URL="http://eu1.upstash.io")


def test_a_wrong_file_starts_nothing(run):
    run.write("[cache]\nttl = abc\n")
    result = run()
    assert result.returncode == 2
    assert 'sidecar.ini:2: [cache] ttl: "abc" is not a duration (for example 30s)' in result.stderr
