"""Real backends on free loopback ports: redis-server, Postgres, PgBouncer."""

import glob
import os
import shutil
import signal
import socket

import psycopg2

import resp
from processes import Process, eventually, free_port


def find_program(name, *places):
    found = shutil.which(name)
    if found:
        return found
    for place in places:
        matches = sorted(glob.glob(os.path.join(place, name)),
                         key=lambda path: [int(n) if n.isdigit() else n for n in path.split("/")])
        if matches:
            return matches[-1]
    raise AssertionError(f"{name} is not installed")


class Redis(Process):
    """redis-server; plain TCP, TLS or a unix socket, with or without a password."""

    def __init__(self, session, password=None, user=None, certificate=None, authority=None,
                 unix=False, port=None, settings=()):
        super().__init__(session, "redis")
        self.port = port or free_port()
        self.password = password
        self.user_name = user
        self.certificate = certificate
        self.authority = authority
        self.path = os.path.join(self.directory, "redis.sock") if unix else None
        self.settings = list(settings)

    def start(self):
        argv = [
            find_program("redis-server"),
            "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no",
            "--dir", self.directory, "--logfile", os.path.join(self.directory, "redis.log"),
            "--enable-debug-command", "yes", "--hz", "50",
            # A command is logged as slow when the machine is: SLOWLOG LEN would be chance.
            "--slowlog-log-slower-than", "-1",
        ]
        if self.certificate:
            argv += ["--port", "0", "--tls-port", str(self.port),
                     "--tls-cert-file", self.certificate.cert,
                     "--tls-key-file", self.certificate.key,
                     "--tls-ca-cert-file", self.authority.file, "--tls-auth-clients", "no"]
        elif self.path:
            argv += ["--port", "0"]
        else:
            argv += ["--port", str(self.port)]
        argv += ["--unixsocket", self.socket_path()]
        if self.password and self.user_name:
            rules = os.path.join(self.directory, "users.acl")
            with open(rules, "w") as file:
                file.write(f"user default off\nuser {self.user_name} on >{self.password} ~* &* +@all\n")
            argv += ["--aclfile", rules]
        elif self.password:
            argv += ["--requirepass", self.password]
        self.spawn(argv + self.settings)
        eventually(self._answers, 10, every=0.005, what=f"redis-server on {self.port}")
        return self

    def socket_path(self):
        return self.path or os.path.join(self.directory, "own.sock")

    def _answers(self):
        assert self.is_running(), self.output("redis.log") + self.output("stdout")
        try:
            with self.client() as client:
                return client.call("PING") == "PONG"
        except (OSError, resp.Closed):
            return False

    def restart(self):
        self.kill9()
        return self.start()

    def restore(self):
        """Whatever a test did to it: running, empty, and nobody connected."""
        if self.is_stopped:
            self.kill9()
        if not self.is_running():
            return self.start()
        with self.client() as client:
            replies = client.pipeline([
                ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
                ("CLIENT", "KILL", "TYPE", "pubsub"), ("FLUSHALL",), ("SCRIPT", "FLUSH"),
                ("CONFIG", "RESETSTAT")])
            assert not any(isinstance(reply, resp.Error) for reply in replies), replies
        return self

    @property
    def url(self):
        secret = f"{self.user_name or 'default'}:{self.password}@" if self.password else ""
        if self.path:
            return f"unix://{secret}{self.path}"
        scheme, host = ("rediss", "localhost") if self.certificate else ("redis", "127.0.0.1")
        return f"{scheme}://{secret}{host}:{self.port}"

    def client(self, **options):
        """A connection of the test's own, by its unix socket, past all proxies."""
        client = resp.Client(self.socket_path(), **options)
        if self.password:
            words = ("AUTH", self.user_name or "default", self.password)
            assert client.call(*words) == "OK"
        return client

    def call(self, *words):
        with self.client() as client:
            return client.call(*words)

    def commands_seen(self):
        """How often each command ran: {"get": 12, "client|id": 1}."""
        info = self.call("INFO", "commandstats").decode()
        return {
            line[len("cmdstat_"):].split(":")[0]: int(line.split("calls=")[1].split(",")[0])
            for line in info.splitlines() if line.startswith("cmdstat_")
        }


class Postgres(Process):
    """A cluster of its own; as the user postgres when the tests run as root."""

    SUPERUSER, PASSWORD = "owner", "owner-secret"
    READER, READER_PASSWORD = "sidecar_reader", "reader-secret"
    DATABASE = "shop"

    def __init__(self, session):
        super().__init__(session, "postgres", user="postgres")
        self.port = free_port()
        self.data = os.path.join(self.directory, "data")

    def _program(self, name):
        return find_program(name, "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")

    def create(self):
        secret = os.path.join(self.directory, "password")
        with open(secret, "w") as file:
            file.write(self.PASSWORD)
        os.chmod(secret, 0o644)
        self.spawn([self._program("initdb"), "-D", self.data, "-U", self.SUPERUSER,
                    "--pwfile", secret, "--auth", "scram-sha-256", "-E", "UTF8",
                    "--locale", "C.UTF-8", "--no-sync", "--no-instructions"])
        assert self.child.wait(60) == 0, self.output("stderr")
        self.child = None
        return self

    def start(self):
        self.spawn([
            self._program("postgres"), "-D", self.data, "-p", str(self.port),
            "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
            "-c", "fsync=off", "-c", "full_page_writes=off",
            "-c", "shared_buffers=32MB", "-c", "max_connections=100",
            "-c", "autovacuum=off", "-c", "log_statement=none", "-c", "log_connections=on",
        ])
        eventually(self._answers, 30, what="Postgres")
        return self

    def _answers(self):
        assert self.is_running(), self.output("stderr")
        try:
            self.connect(database="postgres").close()
            return True
        except psycopg2.OperationalError:
            return False

    def connect(self, user=None, password=None, database=None):
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=user or self.SUPERUSER,
            password=password or self.PASSWORD, dbname=database or self.DATABASE,
            connect_timeout=5)
        connection.autocommit = True
        return connection

    def restore(self):
        """Whatever a test did to it: running, and not stopped."""
        if not self.is_running():
            self.start()
        elif self.is_stopped:
            self.cont()

    def end(self):
        """At once, but by itself, so that it waits for its children."""
        if self.is_running():
            if self.is_stopped:
                self.cont()
            os.kill(self.pid, signal.SIGQUIT)
            self.wait(10)
        self.kill9()

    def failed_logins(self):
        return self.output("stderr").count("password authentication failed")

    def url_for(self, port, user=None, password=None):
        return (f"postgresql://{user or self.READER}:{password or self.READER_PASSWORD}"
                f"@127.0.0.1:{port}/{self.DATABASE}")

    @property
    def url(self):
        """Straight to Postgres, past PgBouncer."""
        return self.url_for(self.port)


class PgBouncer(Process):
    """PgBouncer in transaction mode, as a hosted Postgres has it in front."""

    def __init__(self, session, postgres, upstream_port=None, certificate=None):
        super().__init__(session, "pgbouncer", user="postgres")
        self.postgres = postgres
        self.upstream_port = upstream_port or postgres.port
        self.certificate = certificate
        self.port = free_port()

    def start(self):
        settings = {
            "listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": "",
            "auth_type": "scram-sha-256", "auth_file": os.path.join(self.directory, "users.txt"),
            "pool_mode": "transaction", "max_client_conn": 200, "default_pool_size": 10,
            "server_login_retry": 0.2, "stats_users": self.postgres.SUPERUSER,
            "admin_users": self.postgres.SUPERUSER,
        }
        if self.certificate:
            settings |= {"client_tls_sslmode": "require",
                         "client_tls_cert_file": self.certificate.cert,
                         "client_tls_key_file": self.certificate.key}
        path = os.path.join(self.directory, "pgbouncer.ini")
        with open(path, "w") as file:
            file.write(f"[databases]\n{self.postgres.DATABASE} = host=127.0.0.1 "
                       f"port={self.upstream_port} dbname={self.postgres.DATABASE}\n[pgbouncer]\n")
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())
        with open(settings["auth_file"], "w") as file:
            for user, password in ((self.postgres.READER, self.postgres.READER_PASSWORD),
                                   (self.postgres.SUPERUSER, self.postgres.PASSWORD)):
                file.write(f'"{user}" "{password}"\n')
        self.spawn([find_program("pgbouncer", "/usr/sbin"), path])
        eventually(self._listens, 10, every=0.005, what="PgBouncer")
        if self.postgres.is_running() and not self.certificate:
            self._log_in()  # where the test wants it to fail, it does
        return self

    def _log_in(self):
        """Its own connections to Postgres cost it 50 ms, once: not in a test's first read."""
        try:
            connection = psycopg2.connect(self.url, connect_timeout=5)
            connection.cursor().execute("SELECT 1")
            connection.close()
            return True
        except psycopg2.OperationalError:
            return False

    def _listens(self):
        assert self.is_running(), self.output("stderr")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def restart(self):
        self.kill9()
        return self.start()

    def restore(self):
        """Whatever a test did to it or to Postgres: running, and with a connection there."""
        if self.is_stopped:
            self.kill9()
        if not self.is_running():
            self.start()
        # It has seen Postgres die, perhaps, and waits before it tries again.
        if self.upstream_port == self.postgres.port and not self.certificate:
            eventually(self._log_in, 10, what="PgBouncer's connection to Postgres")
        return self

    @property
    def url(self):
        return self.postgres.url_for(self.port)

    def _admin(self, question):
        connection = psycopg2.connect(
            host="127.0.0.1", port=self.port, user=self.postgres.SUPERUSER,
            password=self.postgres.PASSWORD, dbname="pgbouncer", connect_timeout=5)
        connection.autocommit = True
        try:
            cursor = connection.cursor()
            cursor.execute(question)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]
        finally:
            connection.close()

    def queries(self):
        """How many queries it has passed on, by its own count."""
        return sum(int(row["total_query_count"]) for row in self._admin("SHOW STATS")
                   if row["database"] == self.postgres.DATABASE)

    def clients(self):
        """The sidecar's connections to it."""
        return [row for row in self._admin("SHOW CLIENTS")
                if row["user"] == self.postgres.READER]


class Plans:
    """The table that the map `plan` reads, behind row-level security.

    A row of account 7 is worth {"tier":"basic","n":7}; of each twentieth,
    "plus". `text(id)` is what a read of `plan:<id>` answers.
    """

    FREE = '{"tier":"free"}'
    QUERY = ("SELECT acct AS id, body AS value, ends AS valid_until "
             "FROM billing.plans WHERE acct = ANY($1::bigint[])")
    QUERY_WITHOUT_END = "SELECT acct, body FROM billing.plans WHERE acct = ANY($1::bigint[])"

    def __init__(self, postgres):
        self.postgres = postgres
        self._connection = None

    def create(self):
        setup = self.postgres.connect(database="postgres").cursor()
        setup.execute(f"CREATE DATABASE {self.postgres.DATABASE}")
        setup.execute(f"CREATE ROLE {self.postgres.READER} LOGIN NOSUPERUSER "
                      f"PASSWORD '{self.postgres.READER_PASSWORD}'")
        self.execute(f"""
            CREATE SCHEMA billing;
            CREATE TABLE billing.plans (
                acct bigint PRIMARY KEY,
                body text NOT NULL,
                ends timestamptz
            );
            ALTER TABLE billing.plans ENABLE ROW LEVEL SECURITY;
            CREATE POLICY read_all ON billing.plans FOR SELECT TO {self.postgres.READER}
                USING (true);
            CREATE TABLE billing.people (
                person uuid PRIMARY KEY,
                name text, tier text, seats int, ends timestamptz
            );
            CREATE TABLE billing.words (word text PRIMARY KEY, meaning text);
            GRANT USAGE ON SCHEMA billing TO {self.postgres.READER};
            GRANT SELECT ON billing.plans, billing.people, billing.words
                TO {self.postgres.READER};
        """)
        return self

    def execute(self, statement, arguments=None):
        if self._connection is None or self._connection.closed:
            self._connection = self.postgres.connect()
        cursor = self._connection.cursor()
        try:
            cursor.execute(statement, arguments)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            # The server was killed meanwhile: once more on a new connection.
            self._connection = self.postgres.connect()
            cursor = self._connection.cursor()
            cursor.execute(statement, arguments)
        return cursor.fetchall() if cursor.description else None

    def reset(self, count=500):
        self.execute("TRUNCATE billing.plans, billing.people, billing.words")
        self.fill(1, count)

    def fill(self, first, last):
        self.execute("""
            INSERT INTO billing.plans (acct, body)
            SELECT n, '{"tier":"' || CASE WHEN n %% 20 = 0 THEN 'plus' ELSE 'basic' END
                || '","n":' || n || '}' FROM generate_series(%s, %s) n
            ON CONFLICT (acct) DO NOTHING""", (first, last))

    @staticmethod
    def text(number, tier=None):
        tier = tier or ("plus" if number % 20 == 0 else "basic")
        return '{"tier":"%s","n":%d}' % (tier, number)

    @classmethod
    def bytes(cls, number, tier=None):
        return cls.text(number, tier).encode()

    def set(self, number, tier, ends_in=None, body=None):
        """Writes one row; `ends_in` seconds from now becomes its valid_until."""
        self.execute("""
            INSERT INTO billing.plans VALUES (%s, %s, now() + %s * interval '1 second')
            ON CONFLICT (acct) DO UPDATE SET body = excluded.body, ends = excluded.ends""",
            (number, self.text(number, tier) if body is None else body, ends_in))

    def remove(self, number):
        self.execute("DELETE FROM billing.plans WHERE acct = %s", (number,))
