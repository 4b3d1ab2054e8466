-- Announces changed rows to the sidecars that listen ([postgres] listen_url), so that a change of
-- tier is seen in milliseconds and not when a copy's time is over.
--
-- Run it as the owner of the tables, after 001_schema.sql; running it again changes nothing.
--
-- On the channel "sidecar" goes the name of a map of sidecar.ini and, a line each, the ids of the
-- rows that have changed; many ids make several messages, as one holds less than 8000 bytes. The
-- same can be said by hand, also with blanks: NOTIFY sidecar, 'profile 42'.
--
-- It is said when the transaction commits. Transactions that announce something commit one after
-- the other (a lock of Postgres's own), so only changes of the columns that matter are announced: a
-- last_seen that is set with each request is not.
--
-- A map that reads a materialized view sees the change no sooner than the view does: let the map of
-- what must be right at once read the table. Where a view's rows come and go without a change of the
-- table (an expiry that passes), valid_until in the map's query is what ends them in time.

BEGIN;

-- sidecar_notify(map, id column [, column that matters]...); no such column: any change counts.
CREATE OR REPLACE FUNCTION sidecar_notify() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    id text := quote_ident(TG_ARGV[1]);
    old_columns text := coalesce((SELECT string_agg(format('o.%I', a), ', ')
        FROM unnest(TG_ARGV[2:]) AS a), 'o.*');
    new_columns text := coalesce((SELECT string_agg(format('n.%I', a), ', ')
        FROM unnest(TG_ARGV[2:]) AS a), 'n.*');
    changed text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('sidecar', TG_ARGV[0]);
        RETURN NULL;
    END IF;
    changed := CASE TG_OP
        WHEN 'INSERT' THEN format('SELECT %1$s::text AS id FROM new_rows', id)
        WHEN 'DELETE' THEN format('SELECT %1$s::text AS id FROM old_rows', id)
        ELSE format('SELECT coalesce(o.%1$s, n.%1$s)::text AS id
                     FROM old_rows o FULL JOIN new_rows n ON o.%1$s = n.%1$s
                     WHERE o.%1$s IS NULL OR n.%1$s IS NULL
                        OR row(%2$s)::text IS DISTINCT FROM row(%3$s)::text',
                    id, old_columns, new_columns)
    END;
    EXECUTE format($query$
        SELECT pg_notify('sidecar', %L || E'\n' || string_agg(id, E'\n'))
        FROM (SELECT id, sum(octet_length(id) + 1) OVER (ROWS UNBOUNDED PRECEDING) / 7000 AS part
              FROM (%s) AS changed) AS parts
        GROUP BY part$query$, TG_ARGV[0], changed);
    RETURN NULL;
END
$$;

-- One trigger an event: a transition table is named for one only.
CREATE OR REPLACE TRIGGER sidecar_notify_insert AFTER INSERT ON profiles
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    EXECUTE FUNCTION sidecar_notify('profile', 'id');
CREATE OR REPLACE TRIGGER sidecar_notify_update AFTER UPDATE ON profiles
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT
    EXECUTE FUNCTION sidecar_notify('profile', 'id', 'subscription_tier', 'subscription_expires_at');
CREATE OR REPLACE TRIGGER sidecar_notify_delete AFTER DELETE ON profiles
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT
    EXECUTE FUNCTION sidecar_notify('profile', 'id');
CREATE OR REPLACE TRIGGER sidecar_notify_truncate AFTER TRUNCATE ON profiles
    FOR EACH STATEMENT
    EXECUTE FUNCTION sidecar_notify('profile', 'id');

COMMIT;
