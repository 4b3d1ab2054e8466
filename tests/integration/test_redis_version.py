"""Clients decide by Redis's version what they may send: they are told the true one."""

import pytest

import faults
from processes import eventually

MADE_WITH = b"7.0.15"


class Versioned:
    """A Redis of another version, which is not at hand."""

    def __init__(self, fake, version):
        self.version = version
        self.listener = fake(faults.ScriptedRedis, self.answer)

    def answer(self, words):
        if words[0] == b"INFO":
            text = "# Server\r\nvalkey_version:8.1.0\r\nredis_version:%s\r\nrun_id:%s\r\n" % (
                self.version, self.version.replace(".", "a"))
            return b"$%d\r\n%s\r\n" % (len(text), text.encode())
        if words[0] == b"HELLO":
            return (b"*4\r\n" if words[1] == b"2" else b"%2\r\n") + b"$2\r\nid\r\n:1\r\n$5\r\nproto\r\n:2\r\n"
        return b"+PONG\r\n" if words[0] == b"PING" else b"-ERR unknown command\r\n"


def told(client):
    reply = client.call("HELLO")
    names = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2]))
    info = dict(line.split(":", 1) for line in client.call("INFO", "server").decode().splitlines()
                if ":" in line)
    return names[b"version"], info["redis_version"].encode()


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_version_is_that_of_redis_also_after_it_went_down(protocol, fake, start_sidecar):
    backend = Versioned(fake, "8.6.2")
    sidecar = start_sidecar(redis={"url": backend.listener.url}, maps={})
    sidecar.wait_backend("redis", True)
    client = sidecar.client(protocol=protocol)
    eventually(lambda: told(client) == (b"8.6.2", b"8.6.2"))
    backend.listener.end()
    eventually(lambda: client.call("GET", "x").startswith("REDISDOWN"))
    assert told(client) == (b"8.6.2", b"8.6.2")


def test_an_upgrade_is_noticed(fake, start_sidecar):
    backend = Versioned(fake, "7.2.4")
    sidecar = start_sidecar(redis={"url": backend.listener.url}, maps={})
    client = sidecar.client()
    eventually(lambda: told(client)[0] == b"7.2.4")
    backend.listener.end()
    backend.version = "8.0.1"
    backend.listener.start()
    eventually(lambda: told(client) == (b"8.0.1", b"8.0.1"))


def test_a_redis_that_was_never_met_counts_as_the_one_this_was_made_with(start_sidecar):
    sidecar = start_sidecar(redis={"url": f"redis://127.0.0.1:{faults.closed_port()}"}, maps={})
    assert told(sidecar.client()) == (MADE_WITH, MADE_WITH)
