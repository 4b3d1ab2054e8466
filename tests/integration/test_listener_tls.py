"""TLS on the port: who gets in, who does not, and that nobody who misbehaves costs others."""

import os
import random
import socket
import ssl
import struct
import subprocess
import time
import warnings

import pytest

import resp
from processes import eventually
from sidecar import slowness
from wire import Wire

PONG = b"+PONG\r\n"


def trusting(authority, certificate=None, versions=None):
    """A client's context that believes this authority only."""
    context = ssl.create_default_context(cafile=authority.file)
    if certificate:
        context.load_cert_chain(certificate.cert, certificate.key)
    if versions:
        context.minimum_version = context.maximum_version = versions
    return context


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.sign("listener")


@pytest.fixture(scope="module")
def context(authority):
    return trusting(authority)


@pytest.fixture
def start_tls(start_sidecar, redis, certificate):
    def start(listen=None, **sections):
        return start_sidecar(
            wait=False, redis={"url": redis.url},
            listen={"tls_cert": certificate.cert, "tls_key": certificate.key, **(listen or {})},
            **sections)
    return start


def wait_served(sidecar, context):
    def is_served():
        assert sidecar.is_running(), sidecar.log()
        try:
            with resp.Client(sidecar.address, tls=context) as client:
                return client.call("PING")
        except OSError:
            return False
    eventually(is_served, 10, what="PING over TLS")
    eventually(lambda: sidecar.metric("sidecar_backend_up", backend="redis") == 1)
    return sidecar


@pytest.fixture
def secured(start_tls, context):
    return wait_served(start_tls(), context)


# Who gets in


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_commands_work_over_tls(version, authority, secured, redis):
    context = trusting(authority, versions=version)
    for protocol in (2, 3):
        with resp.Client(secured.address, tls=context, protocol=protocol) as client:
            assert client.call("SET", "a", protocol) == "OK"
            assert client.call("GET", "a") == str(protocol).encode()
            assert client.socket.version() == version.name.replace("_", ".")
    assert redis.call("GET", "a") == b"3"


def test_the_chain_is_sent_and_the_host_name_is_in_the_certificate(authority, secured):
    """openssl's client, so that not only Python says so."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{secured.port}", "-CAfile",
         authority.file, "-verify_return_error", "-verify_hostname", "localhost", "-quiet"],
        input=b"PING\r\nQUIT\r\n", capture_output=True, timeout=10)
    assert done.stdout == PONG + b"+OK\r\n", done.stderr


def test_a_client_that_does_not_know_the_authority_refuses_us(other_authority, secured):
    with pytest.raises(ssl.SSLCertVerificationError):
        resp.Client(secured.address, tls=trusting(other_authority))


def test_older_versions_are_refused(authority, secured):
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        resp.Client(secured.address, tls=context)


def test_renegotiation_is_refused(authority, secured):
    child = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{secured.port}", "-tls1_2", "-CAfile",
         authority.file], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    try:
        child.stdin.write(b"R\n")
        child.stdin.flush()
        output, _ = child.communicate(timeout=10)
    finally:
        child.kill()
    assert b"RENEGOTIATING" in output and b"no renegotiation" in output, output[-500:]


def test_a_session_is_resumed(authority, secured):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = trusting(authority, versions=version)
        with resp.Client(secured.address, tls=context) as client:
            assert client.call("PING") == "PONG"  # tickets come with the first reply
            session = client.socket.session
        with socket.create_connection(secured.address, 5) as plain:
            with context.wrap_socket(plain, server_hostname="localhost",
                                     session=session) as again:
                again.sendall(b"PING\r\n")
                assert again.recv(100) == PONG
                assert again.session_reused, version


def test_a_client_certificate_is_required_where_a_ca_for_them_is_set(
        authority, other_authority, start_tls):
    members = other_authority  # not the one that signed the server's
    sidecar = start_tls(listen={"tls_client_ca": members.file})
    right = trusting(authority, members.sign("member"))
    wait_served(sidecar, right)

    def is_refused(context):
        try:
            with resp.Client(sidecar.address, tls=context) as client:
                return client.call("PING") != "PONG"
        except (OSError, resp.Closed):
            return True
    assert is_refused(trusting(authority))
    assert is_refused(trusting(authority, authority.sign("stranger")))
    assert is_refused(trusting(authority, members.sign_expired("former-member")))
    with resp.Client(sidecar.address, tls=right) as client:
        assert client.call("PING") == "PONG"
    assert "certificate" in sidecar.log_lines("tls_refused")[0]


def test_the_unix_socket_stays_plain(start_tls, context, tmp_path):
    path = str(tmp_path / "socket")
    sidecar = wait_served(start_tls(listen={"socket": path}), context)
    with resp.Client(path) as client:
        assert client.call("SET", "a", "1") == "OK"
        assert client.call("GET", "a") == b"1"
    with resp.Client(sidecar.address, tls=context) as client:
        assert client.call("GET", "a") == b"1"


def test_the_password_is_asked_for_over_tls_too(start_tls, context):
    sidecar = wait_served(start_tls(listen={"password": "sesame"}), context)
    with resp.Client(sidecar.address, tls=context) as client:
        assert client.call("GET", "a").startswith("NOAUTH")
        assert client.call("AUTH", "sesame") == "OK"
        assert client.call("GET", "a") is None


def test_beyond_max_clients_a_tls_client_is_hung_up_on(start_tls, context):
    sidecar = wait_served(start_tls(listen={"max_clients": 3}), context)
    eventually(lambda: sidecar.metric("sidecar_clients") == 0)
    clients = [resp.Client(sidecar.address, tls=context) for _ in range(3)]
    with pytest.raises((ssl.SSLError, OSError)):
        resp.Client(sidecar.address, tls=context)
    assert all(client.call("PING") == "PONG" for client in clients)
    for client in clients:
        client.close()


# Bytes


def test_ten_thousand_commands_at_once(secured, context):
    with resp.Client(secured.address, tls=context, timeout=20) as client:
        client.send_raw(b"".join(resp.encode("ECHO", n) for n in range(10_000)))
        assert [client.read() for _ in range(10_000)] == [b"%d" % n for n in range(10_000)]
        client.send_raw(b"".join(resp.encode("SET", f"k:{n}", n) for n in range(5_000)))
        assert [client.read() for _ in range(5_000)] == ["OK"] * 5_000


def test_large_values(secured, context):
    """Larger than [cache] max_value, any record and any socket's buffer."""
    with resp.Client(secured.address, tls=context, timeout=20) as client:
        for size in (16_383, 16_384, 16_385, 65_536, 1 << 20, 8 << 20):
            value = random.Random(size).randbytes(size)
            assert client.call("SET", "large", value) == "OK"
            assert client.call("GET", "large") == value
            assert client.call("GET", "large") == value


def test_replies_that_are_not_taken_wait_and_come_whole(secured, context):
    value = random.Random(1).randbytes(1 << 20)
    with resp.Client(secured.address, tls=context, timeout=20) as slow, \
            resp.Client(secured.address, tls=context) as other:
        assert slow.call("SET", "large", value) == "OK"
        slow.send_raw(resp.encode("GET", "large") * 40)
        for _ in range(20):
            assert other.call("PING") == "PONG"
            time.sleep(0.01)
        assert all(slow.read() == value for _ in range(40))
        assert slow.call("PING") == "PONG"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_handshake_and_commands_in_single_bytes(version, authority, secured):
    context = trusting(authority, versions=version)

    def trickle(data):
        for at in range(len(data)):
            wire.socket.sendall(data[at:at + 1])
    with Wire(secured.address, context) as wire:
        wire.shake(trickle)
        trickle(wire.encrypted(resp.encode("ECHO", "hello")) + wire.encrypted(b"PING\r\n"))
        assert wire.read_exactly(11 + 7) == b"$5\r\nhello\r\n" + PONG


def test_records_that_come_in_pieces_and_several_at_a_time(secured, context):
    dice = random.Random(7)
    with Wire(secured.address, context) as wire:
        wire.shake()
        words = [dice.randbytes(dice.choice((1, 100, 16_000, 40_000))) for _ in range(60)]
        cipher = b"".join(wire.encrypted(resp.encode("ECHO", word)) for word in words)
        expected = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        at = 0
        while at < len(cipher):
            size = dice.choice((1, 5, 1000, 16_401, 90_000))
            wire.socket.sendall(cipher[at:at + size])
            at += size
            time.sleep(0.001)
        assert wire.read_exactly(len(expected)) == expected


def test_a_command_that_comes_with_the_end_of_the_handshake_is_answered(secured, context):
    with Wire(secured.address, context) as wire:
        kept = []
        wire.shake(lambda data: kept.append(data) if wire.tls.version() and
                   wire.tls.cipher() else wire.socket.sendall(data))
        wire.socket.sendall(b"".join(kept) + wire.encrypted(b"PING\r\n"))
        assert wire.read_exactly(7) == PONG


def test_who_says_goodbye_behind_his_commands_is_answered(secured, context):
    with Wire(secured.address, context) as wire:
        wire.shake()
        wire.socket.sendall(wire.encrypted(b"PING\r\n" * 3) + wire.goodbye())
        assert wire.read_exactly(21) == PONG * 3
        with pytest.raises(ssl.SSLZeroReturnError):  # our goodbye, and not a mere end
            wire.read_exactly(1)


# Strangers


def test_plaintext_and_rubbish_close_and_are_logged_once(secured, context):
    for at in range(40):
        # Some rubbish looks like the start of a long SSL 2 hello: none of these.
        rubbish = (resp.encode("PING"), b"GET / HTTP/1.1\r\n\r\n", random.Random(at).randbytes(500),
                   b"\x16\x03\x01\x40\x00" + bytes(40))[at % 4]
        with socket.create_connection(secured.address, 5) as stranger:
            stranger.sendall(rubbish)
            if at % 4 == 3:  # half a record: that may still become something
                continue
            stranger.settimeout(15)
            try:
                while stranger.recv(1000):
                    pass
            except ConnectionResetError:
                pass
    with resp.Client(secured.address, tls=context) as client:
        assert client.call("PING") == "PONG"
    lines = secured.log_lines("tls_refused")
    assert len(lines) == 1 and "reason=" in lines[0], lines
    eventually(lambda: secured.metric("sidecar_clients") == 0)


def test_rubbish_behind_a_handshake_ends_that_client_only(secured, context):
    with resp.Client(secured.address, tls=context) as other:
        for rubbish in (bytes(100), b"\x17\x03\x03\x00\x20" + os.urandom(32)):
            with Wire(secured.address, context) as wire:
                wire.shake()
                assert wire.call("PING", size=7) == PONG
                wire.socket.sendall(wire.encrypted(b"CLIENT REPLY OFF\r\n") + rubbish)
                with pytest.raises((ssl.SSLError, OSError)):
                    wire.read_exactly(1)
            assert other.call("PING") == "PONG"
    assert secured.is_running()


def test_half_open_handshakes_block_nobody_and_are_given_up(secured, context):
    halves = []
    for at in range(300):
        wire = Wire(secured.address, context, timeout=15)
        wire.socket.sendall(wire.first_words()[:at])  # 0: not a word
        halves.append(wire)
    try:
        with resp.Client(secured.address, tls=context) as client:
            for _ in range(50):
                reply, took = client.timed("PING")
                assert reply == "PONG" and took < 4, "a handshake is given 5 s"
        eventually(lambda: secured.metric("sidecar_connections_total") >= 300)
        eventually(lambda: secured.metric("sidecar_clients") == 0, 15, what="giving up")
        with resp.Client(secured.address, tls=context) as client:
            assert client.call("PING") == "PONG"
    finally:
        for wire in halves:
            wire.socket.close()


def test_clients_killed_in_the_middle_of_a_handshake_leave_nothing(secured, context):
    eventually(lambda: secured.metric("sidecar_clients") == 0)
    before = secured.descriptors_open()
    for at in range(150):
        wire = Wire(secured.address, context)
        wire.socket.sendall(wire.first_words())
        if at % 3 == 0:
            wire.socket.recv(100)
        if at % 2 == 0:  # a reset instead of an end
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.socket.close()
    eventually(lambda: secured.metric("sidecar_clients") == 0)
    eventually(lambda: secured.descriptors_open() <= before)
    with resp.Client(secured.address, tls=context) as client:
        assert client.call("PING") == "PONG"


def test_an_idle_client_costs_little(secured, context):
    """OpenSSL's buffers are given back between records."""
    with resp.Client(secured.address, tls=context) as client:
        client.call("SET", "large", bytes(1 << 20))
        before = secured.memory_bytes()
        clients = [resp.Client(secured.address, tls=context) for _ in range(100)]
        for one in clients:
            assert len(one.call("GET", "large")) == 1 << 20
        used = (secured.memory_bytes() - before) / len(clients)
        for one in clients:
            one.close()
    assert used < 100_000 * slowness(), used  # sanitizers keep more


# Files


@pytest.fixture
def refused(start_sidecar, authority, certificate):
    """What --check and a start say of such a [listen], each with exit code 2."""
    sidecar = start_sidecar(maps={}, wait=True)

    def refused(**listen):
        sidecar.sections["listen"] = {"port": sidecar.port, "tls_cert": certificate.cert,
                                      "tls_key": certificate.key, **listen}
        results = [sidecar.run_out("-c", "sidecar.ini", *words) for words in (["--check"], [])]
        assert [result.returncode for result in results] == [2, 2], results
        said = [result.stderr.splitlines()[-1] for result in results]
        assert said[0] == said[1]
        return said[0]
    return refused


def test_files_that_cannot_be_used_are_named(refused, authority, other_authority, tmp_path):
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    assert refused(tls_cert=empty).startswith(
        f'sidecar.ini:3: [listen] tls_cert: "{empty}" holds no usable certificate (')
    assert refused(tls_key=empty).startswith(
        f'sidecar.ini:4: [listen] tls_key: "{empty}" holds no usable key (')
    assert refused(tls_client_ca=empty).startswith(
        f'sidecar.ini:5: [listen] tls_client_ca: "{empty}" holds no usable certificate (')
    stranger = other_authority.sign("other-key")
    assert refused(tls_key=stranger.key) == (
        f'sidecar.ini:4: [listen] tls_key: "{stranger.key}" is not the key of tls_cert')
    expired = authority.sign_expired("expired-listener")
    assert refused(tls_cert=expired.cert, tls_key=expired.key).startswith(
        f'sidecar.ini:3: [listen] tls_cert: "{expired.cert}" has expired (')
    gone = tmp_path / "gone.pem"
    assert refused(tls_cert=gone) == (
        f'sidecar.ini:3: [listen] tls_cert: cannot read "{gone}": No such file or directory')
    assert "tls_cert" in refused(tls_cert=tmp_path)


def test_a_key_of_another_type_or_with_a_passphrase_is_named(refused, tmp_path):
    for name, words in (("rsa", ["genrsa", "-out"]),
                        ("locked", ["genrsa", "-aes128", "-passout", "pass:x", "-out"])):
        key = tmp_path / f"{name}.key"
        subprocess.run(["openssl", *words, str(key), "2048"], check=True, capture_output=True,
                       timeout=20)
        said = refused(tls_key=key)
        assert said.startswith(f'sidecar.ini:4: [listen] tls_key: "{key}" '), said
    assert "is not the key of tls_cert" not in said


def test_others_are_let_in_only_with_a_password_or_certificates(start_sidecar, certificate,
                                                                authority):
    sidecar = start_sidecar(maps={})
    listen = sidecar.sections["listen"]
    listen["address"] = "0.0.0.0"
    refused = sidecar.run_out("-c", "sidecar.ini", "--check")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "sidecar.ini:3: [listen] address: 0.0.0.0 can be reached by others: "
        "set password or tls_client_ca"]
    listen.update(tls_cert=certificate.cert, tls_key=certificate.key)
    assert sidecar.run_out("-c", "sidecar.ini", "--check").returncode == 2
    for name, value in (("password", "sesame"), ("tls_client_ca", authority.file)):
        sidecar.sections["listen"] = {**listen, name: value}
        assert sidecar.run_out("-c", "sidecar.ini", "--check").returncode == 0


def test_an_admin_port_for_others_is_warned_of(start_sidecar):
    sidecar = start_sidecar(maps={})
    warned = "admin.address 0.0.0.0 can be reached by others"
    assert not sidecar.log_lines("admin.address")
    sidecar.sections["admin"]["address"] = "0.0.0.0"
    checked = sidecar.run_out("-c", "sidecar.ini", "--check")
    assert checked.returncode == 0 and warned in checked.stderr
