"""What a batch of hits asks of the kernel, by strace: one wait, one receive, one send, nothing else."""

import os
import re
import signal
from collections import Counter

import pytest

from processes import eventually

BATCHES, DEPTH, KEYS = 100, 16, 50
# "1234 recvfrom(12, ..." begins a call; "1234 <... recvfrom resumed>" ends one that another thread's line cut in two.
CALL = re.compile(r"^(\d+) +(\w+)\(")


@pytest.fixture
def traced(redis, start_sidecar, session):
    """A sidecar with one worker, run by strace as its grandchild, and where its calls are written."""
    path = os.path.join(session.directory("strace"), "calls")
    sidecar = start_sidecar(redis={"url": redis.url}, maps={}, server={"threads": 1}, cache={"ttl": "1h"},
                            prefix=["strace", "-D", "-I2", "-f", "-qq", "-o", path])
    yield sidecar, path
    # Before the sidecar's own end: whoever traces a process is told of its end before its parent.
    os.kill(tracer_of(sidecar), signal.SIGTERM)
    eventually(lambda: tracer_of(sidecar) == 0, what="the end of strace")


def tracer_of(process):
    with open(f"/proc/{process.pid}/status") as file:
        return int(re.search(r"TracerPid:\t(\d+)", file.read())[1])


def calls_between(path, first, last):
    """The calls that one thread began after it had received `first` and before it received `last`."""
    with open(path, errors="replace") as file:
        lines = file.read().splitlines()
    begin, end = (next(number for number, line in enumerate(lines) if word in line and "send" not in line)
                  for word in (first, last))
    thread = CALL.match(lines[end])[1]
    return [match[2] for match in map(CALL.match, lines[begin + 1:end]) if match and match[1] == thread]


def ask(sidecar, path, *batches):
    """The calls that these batches of commands cost, each sent when the one before has been answered."""
    with sidecar.client(timeout=30) as client:
        client.pipeline(batches[0])  # its buffers grow to what they need
        client.call("ECHO", "<begin>")
        replies = [client.pipeline(batch) for batch in batches]
        client.call("ECHO", "<end>")
        eventually(lambda: "<end>" in open(path, errors="replace").read(), what="<end> in the trace")
    calls = calls_between(path, "<begin>", "<end>")
    assert calls[0].startswith("send") and calls[-1].startswith("epoll"), "those of the two marks"
    return Counter(calls[1:-1]), replies


def in_memory(sidecar, redis):
    values = {f"k:{number}": b"value %d" % number for number in range(KEYS)}
    with redis.client() as client:
        client.pipeline([("SET", key, value) for key, value in values.items()])
    sidecar.keep(*values)
    return values


def assert_one_each(counts):
    """And what the worker's own timers need meanwhile, which take long if the machine does."""
    calls = {"epoll_wait", "recvfrom", "sendto"}
    assert {name for name, count in counts.items() if count >= BATCHES} == calls, counts
    assert sum(counts.values()) <= 3 * BATCHES + BATCHES // 10, counts


def test_a_batch_of_hits_is_one_wait_one_receive_and_one_send(traced, redis):
    sidecar, path = traced
    values = in_memory(sidecar, redis)
    batches = [[("GET", f"k:{(first * 7 + place) % KEYS}") for place in range(DEPTH)] for first in range(BATCHES)]
    counts, replies = ask(sidecar, path, *batches)
    assert replies == [[values[key] for _, key in batch] for batch in batches]
    assert_one_each(counts)


def test_an_mget_of_hits_is_one_wait_one_receive_and_one_send(traced, redis):
    sidecar, path = traced
    values = in_memory(sidecar, redis)
    counts, replies = ask(sidecar, path, *[[("MGET", *values)]] * BATCHES)
    assert replies == [[list(values.values())]] * BATCHES
    assert_one_each(counts)
