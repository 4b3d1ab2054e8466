"""What an entry and what a connection takes of memory."""

import socket
import time

from figures import table
from rounds import fill, warm
from servers import resident_bytes, start_redis, start_sidecar


def memory(session):
    print("\n## Memory of an entry: key and value as given, resident bytes over those of an empty server\n")
    rows = []
    for count, key, value in ((100_000, 20, 128), (1_000_000, 20, 128), (1_000_000, 40, 128), (100_000, 20, 1024)):
        redis = start_redis(session)
        empty = resident_bytes(redis)
        fill(redis, count, key=key, value=value)
        full = resident_bytes(redis)
        sidecar = start_sidecar(session, redis)
        before = resident_bytes(sidecar)
        # 160 under way at a time: what they take besides is not the entries'.
        warm(sidecar, count, key=key, value=value, pipeline=16)
        after = resident_bytes(sidecar)
        rows.append((f"{count:,} of {key} + {value} bytes", f"{(full - empty) / count:.0f} B",
                     f"{(after - before) / count:.0f} B", f"{sidecar.metric('sidecar_cache_bytes') / count:.0f} B"))
        sidecar.end()
        redis.end()
    table(("entries", "redis", "sidecar", "as sidecar counts"), rows)


def connections(session):
    print("\n## Memory of a connection, resident in the process\n")
    rows = []
    redis = start_redis(session)
    sidecar = start_sidecar(session, redis)
    for name, server in (("redis", redis), ("sidecar", sidecar)):
        before = resident_bytes(server)
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8000)]
        time.sleep(1)
        idle = resident_bytes(server)
        for client in clients:
            client.sendall(b"*1\r\n$4\r\nPING\r\n")
        for client in clients:
            client.recv(100)
        asked = resident_bytes(server)
        for client in clients:
            client.close()
        rows.append((name, f"{(idle - before) / len(clients):.0f} B", f"{(asked - before) / len(clients):.0f} B"))
        server.end()
    table(("server", "idle", "after a command"), rows)
