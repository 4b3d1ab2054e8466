-- The role that the sidecar logs in as: it reads the two relations and nothing else.
--
-- Run it after 001_schema.sql; running it again changes nothing. The role has no password yet:
--
--   ALTER ROLE sidecar PASSWORD '...';

BEGIN;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sidecar') THEN
        CREATE ROLE sidecar LOGIN;
    END IF;
END
$$;

-- Behind a pooler in transaction mode a session cannot set these for itself. The sidecar gives a
-- query up long before the timeout and cancels it; this ends one whose cancel got lost.
ALTER ROLE sidecar SET statement_timeout = '2s';
ALTER ROLE sidecar SET default_transaction_read_only = on;

GRANT USAGE ON SCHEMA public TO sidecar;
GRANT SELECT ON profiles, active_subscriptions TO sidecar;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_policies
                   WHERE tablename = 'profiles' AND policyname = 'sidecar_reads') THEN
        CREATE POLICY sidecar_reads ON profiles FOR SELECT TO sidecar USING (true);
    END IF;
END
$$;

-- Row-level security does not cover a materialized view, and a hosted Postgres may give its web
-- API's roles everything that is created: take it back, or anyone could list who pays.
REVOKE ALL ON active_subscriptions FROM PUBLIC;
DO $$
DECLARE
    api_role name;
BEGIN
    FOR api_role IN SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON active_subscriptions FROM %I', api_role);
    END LOOP;
END
$$;

COMMIT;
