"""Backends that stall, cut off and lie: a TCP proxy and fake servers.

All of them live on one asyncio loop in one thread; the test thread calls
plain methods.
"""

import asyncio
import os
import socket
import threading
import time

from processes import free_port


class _Loop:
    """The thread with the event loop; made at first use."""

    loop = None

    @classmethod
    def get(cls):
        if cls.loop is None:
            cls.loop = asyncio.new_event_loop()
            threading.Thread(target=cls.loop.run_forever, name="faults", daemon=True).start()
        return cls.loop

    @classmethod
    def run(cls, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, cls.get()).result(30)


class Listener:
    """What the proxy and the fake servers share: a port, and who came when."""

    def __init__(self, port=None):
        self.port = port or free_port()
        self.accepted = []  # monotonic time of each connection
        self.received = bytearray()  # all that clients sent, for "no byte of X arrived"
        self._server = None
        self._tasks = set()

    def start(self):
        _Loop.run(self._listen())
        return self

    def end(self):
        _Loop.run(self._close())

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    async def _listen(self):
        self._server = await asyncio.start_server(self._on_client, "127.0.0.1", self.port)

    async def _close(self):
        if self._server:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _on_client(self, reader, writer):
        self.accepted.append(time.monotonic())
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            await self.serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def drain_input(self, reader):
        while data := await reader.read(65536):
            self.received += data


class AcceptsAndNeverAnswers(Listener):
    async def serve(self, reader, writer):
        await self.drain_input(reader)


class AnswersAByteASecond(Listener):
    """A plausible beginning of an answer, far too slowly."""

    def __init__(self, text=b"+" + b"O" * 1000, port=None):
        super().__init__(port)
        self.text = text

    async def serve(self, reader, writer):
        reading = asyncio.ensure_future(self.drain_input(reader))
        try:
            for byte in self.text:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(1)
        finally:
            reading.cancel()


class AnswersGarbage(Listener):
    """Random bytes, as an answer to whatever comes."""

    async def serve(self, reader, writer):
        while data := await reader.read(65536):
            self.received += data
            writer.write(os.urandom(300))
            await writer.drain()


class ClosesAfter(Listener):
    """Closes each connection once it has sent `size` bytes of garbage-free silence."""

    def __init__(self, size=0, port=None):
        super().__init__(port)
        self.size = size

    async def serve(self, reader, writer):
        if self.size:
            await reader.read(1)
            writer.write(b"-" + b"E" * (self.size - 1))
            await writer.drain()


class ScriptedRedis(Listener):
    """Answers each command by `answer(words) -> bytes` (None: closes).

    Enough of RESP to play a Redis that is not one: quota errors, LOADING,
    a service without CLIENT TRACKING.
    """

    def __init__(self, answer, port=None):
        super().__init__(port)
        self.answer = answer
        self.commands = []

    async def serve(self, reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n")
            words = []
            for _ in range(int(head[1:])):
                size = int((await reader.readuntil(b"\r\n"))[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            self.commands.append(words)
            reply = self.answer(words)
            if reply is None:
                return
            writer.write(reply)
            await writer.drain()


class Proxy(Listener):
    """Stands before a backend and fails on demand.

        sidecar --> [ proxy ] --> backend
                 <-- replies, gated, delayed or held --

    stall()      nothing passes any more, in either direction; accepts still
    cut()        closes every connection and refuses new ones
    maim()       lets half of the next bytes of a reply through, then closes
    resume()     everything is well again
    delay        seconds that each reply takes longer
    hold(bytes)  the connection on which these bytes are next sent to the backend
                 gets no more replies until release(); later ones are not held
    """

    def __init__(self, target_port, port=None):
        super().__init__(port)
        self.target_port = target_port
        self.delay = 0.0
        self.bytes_up = 0
        self.bytes_down = 0
        self._is_maiming = False
        self._is_open = None  # asyncio.Event, made on the loop
        self._hold_for = None
        self._held = threading.Event()
        self._released = None
        self._links = set()

    def start(self):
        _Loop.run(self._start())
        return self

    async def _start(self):
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._released = asyncio.Event()
        await self._listen()

    def stall(self):
        _Loop.get().call_soon_threadsafe(self._is_open.clear)

    def cut(self):
        _Loop.run(self._close())

    def maim(self):
        self._is_maiming = True

    def resume(self):
        async def resume():
            self._is_maiming = False
            self._is_open.set()
            if self._server is None:
                await self._listen()
        _Loop.run(resume())

    def hold(self, needle):
        """The next connection that sends these bytes; one hold at a time."""
        self._held.clear()

        async def arm():
            self._released.clear()
            self._hold_for = needle
        _Loop.run(arm())

    def wait_held(self, seconds=15.0):
        """Until a reply to the held request has come and is being kept back."""
        assert self._held.wait(seconds), "no reply came to hold back"

    def release(self):
        async def release():
            self._hold_for = None
            self._released.set()
        _Loop.run(release())

    @property
    def connections(self):
        return len(self._links)

    async def serve(self, reader, writer):
        await self._is_open.wait()
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            return
        link = {"is_held": False}
        self._links.add(id(link))
        both = [
            asyncio.ensure_future(self._requests(reader, up_writer, link)),
            asyncio.ensure_future(self._replies(up_reader, writer, link)),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(both, timeout=0.5)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            self._links.discard(id(link))
            up_writer.transport.abort()

    async def _requests(self, reader, up_writer, link):
        while data := await reader.read(262144):
            await self._is_open.wait()
            self.received += data
            self.bytes_up += len(data)
            if self._hold_for is not None and self._hold_for in data:
                link["is_held"] = True
                self._hold_for = None
            up_writer.write(data)
            await up_writer.drain()

    async def _replies(self, up_reader, writer, link):
        queue = asyncio.Queue()

        async def read():
            while data := await up_reader.read(262144):
                queue.put_nowait((time.monotonic() + self.delay, data))
            queue.put_nowait((0, b""))
        reading = asyncio.ensure_future(read())
        try:
            while True:
                due, data = await queue.get()
                if not data:
                    return
                if due > time.monotonic():
                    await asyncio.sleep(due - time.monotonic())
                if link["is_held"]:
                    self._held.set()
                    await self._released.wait()
                    link["is_held"] = False
                await self._is_open.wait()
                if self._is_maiming:
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    return
                self.bytes_down += len(data)
                writer.write(data)
                await writer.drain()
        finally:
            reading.cancel()


def closed_port():
    """A port where nobody listens."""
    port = free_port()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    return port
