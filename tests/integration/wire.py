"""A TLS client that is in charge of every byte on the wire, for what a well-behaved one
never sends: pieces, halves, rubbish, an end in the wrong place."""

import socket
import ssl

import resp


class Wire:
    def __init__(self, address, context, timeout=5.0):
        self.socket = socket.create_connection(address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def first_words(self):
        """The ciphertext that opens a handshake."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def _receive(self):
        data = self.socket.recv(1 << 16)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def shake(self, send=None):
        """The handshake; `send` sends ciphertext, all of it at once if not given."""
        send = send or self.socket.sendall
        while True:
            try:
                self.tls.do_handshake()
                send(self.outgoing.read())
                return self
            except ssl.SSLWantReadError:
                send(self.outgoing.read())
                self._receive()

    def encrypted(self, data):
        self.tls.write(data)
        return self.outgoing.read()

    def goodbye(self):
        """The ciphertext that says that nothing more will come."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        return self.outgoing.read()

    def read_exactly(self, size):
        data = b""
        while len(data) < size:
            try:
                piece = self.tls.read(size - len(data))
            except ssl.SSLWantReadError:
                self._receive()
                continue
            if not piece:
                raise ssl.SSLZeroReturnError("the other side has said goodbye")
            data += piece
        return data

    def call(self, *words, size):
        self.socket.sendall(self.encrypted(resp.encode(*words)))
        return self.read_exactly(size)
