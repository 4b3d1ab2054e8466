"""deploy/postgres on a plain Postgres: what it makes, for whom, and that twice is as good as once."""

import glob
import os
import subprocess

import psycopg2
import pytest

from backends import find_program

DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy")
FILES = sorted(glob.glob(os.path.join(DEPLOY, "postgres", "*.sql")))
DATABASE = "migrated"


def psql(postgres, *words):
    return subprocess.run(
        [find_program("psql", "/usr/lib/postgresql/*/bin"), "-X", "-q", "-v", "ON_ERROR_STOP=1",
         "-h", "127.0.0.1", "-p", str(postgres.port), "-U", postgres.SUPERUSER, "-d", DATABASE,
         *words], env={**os.environ, "PGPASSWORD": postgres.PASSWORD}, capture_output=True,
        text=True, timeout=60)


def migrate(postgres):
    """Each file by itself, in order, as psql -f; returns what it said."""
    said = ""
    for file in FILES:
        result = psql(postgres, "-f", file)
        assert result.returncode == 0, f"{os.path.basename(file)}: {result.stderr}"
        said += result.stderr
    return said


SCHEMA = """
    SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT 'relation', relname, relkind::text || relrowsecurity::text || coalesce(relacl::text, '')
        FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'policy', policyname, qual || roles::text FROM pg_policies
    UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT 'function', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'role', rolname, rolconfig::text FROM pg_roles WHERE rolname = 'sidecar'
    ORDER BY 1, 2, 3
"""


@pytest.fixture(scope="module")
def migrated(postgres_of_session):
    postgres = postgres_of_session
    postgres.restore()
    admin = postgres.connect(database="postgres").cursor()
    admin.execute(f"CREATE DATABASE {DATABASE}")
    try:
        migrate(postgres)
        postgres.connect(database="postgres").cursor().execute(
            f"ALTER ROLE sidecar PASSWORD '{postgres.READER_PASSWORD}'")
        yield postgres
    finally:
        admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        admin.execute("DROP ROLE sidecar")


def ask(postgres, statement, *arguments, first=None, **login):
    connection = postgres.connect(database=DATABASE, **login)
    try:
        cursor = connection.cursor()
        if first:
            cursor.execute(first)
        cursor.execute(statement, arguments or None)
        return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def as_sidecar(postgres, statement, *arguments, **options):
    return ask(postgres, statement, *arguments, user="sidecar", password=postgres.READER_PASSWORD,
               **options)


def test_running_them_again_changes_nothing(migrated):
    first = ask(migrated, SCHEMA)
    assert first
    said = migrate(migrated)
    assert ask(migrated, SCHEMA) == first
    assert "ERROR" not in said and "WARNING" not in said, said


def test_the_indexes_are_those_that_the_queries_use(migrated):
    indexes = dict(ask(migrated, "SELECT indexname, indexdef FROM pg_indexes "
                                 "WHERE schemaname = 'public'"))
    assert "(id, subscription_tier, subscription_expires_at)" in indexes["profiles_id_tier_expiry"]
    assert "WHERE (subscription_tier = 'plus'::text)" in indexes["profiles_on_plus"]
    assert indexes["active_subscriptions_id"].startswith("CREATE UNIQUE INDEX")
    ask(migrated, "INSERT INTO profiles (id, subscription_tier) SELECT n, CASE WHEN n % 20 = 0 "
                  "THEN 'plus' ELSE 'free' END FROM generate_series(1, 20000) n "
                  "ON CONFLICT DO NOTHING")
    ask(migrated, "VACUUM ANALYZE profiles")
    question = ("EXPLAIN SELECT id, subscription_tier, subscription_expires_at FROM profiles "
                "WHERE id = ANY(%s::bigint[])")
    one, many = (as_sidecar(migrated, question, ids)[0][0] for ids in ([7], list(range(1, 101))))
    assert one.startswith("Index Only Scan using profiles_id_tier_expiry"), one
    assert many.startswith("Index "), many  # which one depends on the size of the table


def test_the_view_is_refreshed_while_it_is_read(migrated):
    ask(migrated, "INSERT INTO profiles VALUES (900001, 'plus', NULL), "
                  "(900002, 'plus', now() - interval '1 day'), (900003, 'free', NULL)")
    ask(migrated, "REFRESH MATERIALIZED VIEW CONCURRENTLY active_subscriptions")
    assert as_sidecar(migrated, "SELECT id FROM active_subscriptions WHERE id > 900000") == [(900001,)]


def test_every_table_has_row_level_security(migrated):
    without = ask(migrated, "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') "
                            "AND relnamespace = 'public'::regnamespace AND NOT relrowsecurity")
    assert without == []


@pytest.mark.parametrize("statement", [
    "INSERT INTO profiles VALUES (1000001)", "UPDATE profiles SET subscription_tier = 'plus'",
    "DELETE FROM profiles", "TRUNCATE profiles", "CREATE TABLE mine (a int)",
    "REFRESH MATERIALIZED VIEW active_subscriptions", "ALTER TABLE profiles DISABLE ROW LEVEL SECURITY"])
def test_the_sidecar_s_role_changes_nothing_even_where_it_tries_to(statement, migrated):
    with pytest.raises((psycopg2.errors.ReadOnlySqlTransaction,
                        psycopg2.errors.InsufficientPrivilege)):
        as_sidecar(migrated, statement)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        as_sidecar(migrated, statement, first="SET default_transaction_read_only = off")


def test_the_sidecar_s_role_reads_all_rows_and_not_for_long(migrated):
    ask(migrated, "INSERT INTO profiles (id) VALUES (42) ON CONFLICT DO NOTHING")
    assert as_sidecar(migrated, "SELECT id FROM profiles WHERE id = 42") == [(42,)]
    assert as_sidecar(migrated, "SHOW statement_timeout") == [("2s",)]


def test_nobody_else_reads_anything(migrated):
    ask(migrated, "CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    try:
        for relation in ("profiles", "active_subscriptions"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                ask(migrated, f"SELECT * FROM {relation}", user="stranger", password="stranger")
        # Even one who was given the table sees no row of it.
        ask(migrated, "GRANT SELECT ON profiles TO stranger")
        assert ask(migrated, "SELECT * FROM profiles", user="stranger", password="stranger") == []
    finally:
        ask(migrated, "DROP OWNED BY stranger; DROP ROLE stranger")


def test_the_compose_file_s_database_is_made_by_the_same_files(migrated):
    """make-database.sh, as the image of Postgres runs it: in place of first runs, once more."""
    result = subprocess.run(
        ["sh", os.path.join(DEPLOY, "docker", "make-database.sh")], capture_output=True, text=True,
        timeout=60, env={
            **os.environ, "MIGRATIONS": os.path.join(DEPLOY, "postgres"),
            "DEMO": os.path.join(DEPLOY, "demo"), "PGHOST": "127.0.0.1",
            "PGPORT": str(migrated.port), "PGPASSWORD": migrated.PASSWORD,
            "POSTGRES_USER": migrated.SUPERUSER, "POSTGRES_DB": DATABASE,
            "SIDECAR_DB_PASSWORD": migrated.READER_PASSWORD,
            "PROFILES": "30000"})
    assert result.returncode == 0, result.stderr
    assert as_sidecar(migrated, "SELECT count(*) FROM profiles WHERE id <= 30000") == [(30000,)]
