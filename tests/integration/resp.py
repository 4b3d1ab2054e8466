"""A RESP client that shows every byte.

    +OK        str            $3 foo     bytes         :1      int
    -ERR       Error          *2 ...     list          $-1 _   None
    ,1.5       float          #t         bool          (123    int
    %1 ...     dict           ~1 ...     Set           >2 ...  Push
    =7 txt:..  Verbatim       !5 ...     Error         |1 ...  (attribute: skipped)
"""

import socket
import time

import privacy


class Error(str):
    """An error reply; not raised, so that tests compare it."""


class Push(list):
    """A RESP3 push."""


class Set(list):
    """A RESP3 set, in the order in which it came."""


class Verbatim(bytes):
    """A RESP3 verbatim string, with its three letters."""


class Incomplete(Exception):
    """More bytes are needed: at least `size` in all."""

    def __init__(self, size):
        self.size = size


class Closed(Exception):
    """The other side closed the connection."""


def as_bytes(word):
    if isinstance(word, bytes):
        return word
    return str(word).encode()


def encode(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in map(as_bytes, words):
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


def decode(data, at=0):
    """(value, position behind it); raises Incomplete."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise Incomplete(len(data) + 1)
    kind, line, at = bytes(data[at : at + 1]), bytes(data[at + 1 : end]), end + 2
    if kind == b"+":
        return line.decode("utf-8", "surrogateescape"), at
    if kind == b"-":
        privacy.note_error(line)
        return Error(line.decode("utf-8", "surrogateescape")), at
    if kind in (b":", b"("):
        return int(line), at
    if kind == b"_":
        return None, at
    if kind == b",":
        return float(line), at
    if kind == b"#":
        return line == b"t", at
    if kind in (b"$", b"=", b"!"):
        size = int(line)
        if size < 0:
            return None, at
        if len(data) < at + size + 2:
            raise Incomplete(at + size + 2)
        body = bytes(data[at : at + size])
        assert data[at + size : at + size + 2] == b"\r\n", "a bulk string without its end"
        if kind == b"!":
            body = Error(body.decode("utf-8", "surrogateescape"))
        elif kind == b"=":
            body = Verbatim(body)
        return body, at + size + 2
    if kind in (b"*", b"~", b">", b"%", b"|"):
        count = int(line)
        if count < 0:
            return None, at
        items = []
        for _ in range(count * 2 if kind in (b"%", b"|") else count):
            item, at = decode(data, at)
            items.append(item)
        if kind == b"|":
            return decode(data, at)
        if kind == b"%":
            return dict(zip(items[::2], items[1::2])), at
        return {b"*": list, b"~": Set, b">": Push}[kind](items), at
    raise AssertionError(f"not RESP: {bytes(data[max(0, at - 60):at + 60])!r}")


class Client:
    """One connection. `address` is (host, port) or the path of a unix socket.

    `tls`: an ssl.SSLContext, for TLS with a server named localhost.
    """

    def __init__(self, address, timeout=15.0, protocol=2, password=None, receive_buffer=None,
                 tls=None):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address)
        if family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.buffer = bytearray()
        if protocol == 3:
            greeting = self.call("HELLO", 3, *(("AUTH", "default", password) if password else ()))
            assert isinstance(greeting, dict), greeting
        elif password:
            assert self.call("AUTH", password) == "OK"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def send_raw(self, data):
        self.socket.sendall(data)

    def send(self, *words):
        self.send_raw(encode(*words))

    def read_raw(self):
        """One whole reply as it came."""
        needed = 1
        while True:
            if len(self.buffer) >= needed:
                try:
                    _, end = decode(self.buffer)
                except Incomplete as short:
                    needed = short.size
                else:
                    raw = bytes(self.buffer[:end])
                    del self.buffer[:end]
                    return raw
            chunk = self.socket.recv(1 << 20)
            if not chunk:
                raise Closed(f"closed with {bytes(self.buffer[:80])!r} unread")
            self.buffer += chunk

    def read(self):
        return decode(self.read_raw())[0]

    def raw(self, *words):
        self.send(*words)
        return self.read_raw()

    def call(self, *words):
        self.send(*words)
        return self.read()

    def timed(self, *words):
        """(reply, seconds it took)"""
        start = time.monotonic()
        reply = self.call(*words)
        return reply, time.monotonic() - start

    def pipeline(self, commands):
        self.send_raw(b"".join(encode(*words) for words in commands))
        return [self.read() for _ in commands]

    def read_to_end(self, seconds=5.0):
        """(everything until the other side closes or says nothing for so long, is closed)"""
        deadline = time.monotonic() + seconds
        data = bytes(self.buffer)
        self.buffer.clear()
        old = self.socket.gettimeout()
        try:
            while time.monotonic() < deadline:
                self.socket.settimeout(max(0.01, deadline - time.monotonic()))
                chunk = self.socket.recv(1 << 20)
                if not chunk:
                    return data, True
                data += chunk
                deadline = time.monotonic() + seconds
        except socket.timeout:
            pass
        except ConnectionResetError:
            return data, True
        finally:
            self.socket.settimeout(old)
        return data, False

    def is_closed(self, seconds=15.0):
        """The other side closes, whatever it still says."""
        return self.read_to_end(seconds)[1]
