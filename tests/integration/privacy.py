"""Nobody's data in what operators see: a look through each sidecar's log, metrics, status and
errors at its end, in every test.

What must not be there: the ids that follow a map's prefix (or any plain word and a colon), the
values that the tests store, and whatever that sidecar was given as a password.
"""

import re

# Of a row, as the tests' tables hold them, and of tests that put in something to be looked for.
VALUES = [re.compile(text) for text in (
    r'"tier" ?: ?"(?:basic|plus|gold)', r'"n" ?: ?\d', "value-of-somebody", "unmapped-key-of-somebody",
    "name-of-a-client")]
# k:17, user:9; not localhost:6379, a line of a file, or a hash.
IDS = re.compile(r"(?<![\w.#/-])(?!localhost:|ini:|port:)[a-z_]{1,24}:-?\d+")
PASSWORDS = ("owner-secret", "reader-secret", "redis-secret", "door-secret", "right-secret",
             "wrong-secret")
SECRET_SETTINGS = (("listen", "password"), ("redis", "token"), ("snapshot", "key"))
URLS = (("redis", "url"), ("postgres", "url"), ("postgres", "listen_url"))

# The sidecar's own words; what Redis says to a client is between the two.
OWN_ERRORS = (b"REDISDOWN", b"RATELIMITED", b"NOPERM this sidecar", b"ERR max number")
_errors = set()


def note_error(line):
    """By every client of the tests, of every error that it reads."""
    if line.startswith(OWN_ERRORS) and len(_errors) < 10000:
        _errors.add(line.decode("utf-8", "replace"))


def secrets_of(sections):
    for section, key in SECRET_SETTINGS:
        yield str(sections.get(section, {}).get(key, ""))
    for section, key in URLS:
        password = re.match(r"\w+://[^:/@]*:([^@]+)@", str(sections.get(section, {}).get(key, "")))
        yield password[1] if password else ""
    yield from PASSWORDS


def prefixes_of(sections):
    """`plan:` of key = plan:{id:int}, to be followed by nothing but a hash, or "*"."""
    for name, keys in sections.items():
        prefix = str(keys.get("key", "")).split("{")[0] if name.startswith("map ") else ""
        if len(prefix) > 2 and prefix.endswith(":"):
            yield re.compile(r"(?<!\w)" + re.escape(prefix) + r"(?![#{*\s]|$)\S+")


def findings(sections, text):
    for secret in set(secrets_of(sections)):
        if len(secret) > 5 and secret in text:
            yield secret
    for pattern in [*VALUES, IDS, *prefixes_of(sections)]:
        yield from (match[0] for match in pattern.finditer(text))


def check(sections, texts):
    """texts: what was told where, {"log": ..., "/metrics": ...}."""
    errors = "\n".join(sorted(_errors))
    _errors.clear()
    for where, text in {**texts, "an error": errors}.items():
        for found in findings(sections, text):
            line = next(line for line in text.splitlines() if found in line)
            raise AssertionError(f"{where} tells what it must not: {found!r} in {line!r}")
