-- What the sidecar reads: profiles, and who is on plus right now.
--
-- Run it as the owner of the tables, then 002_roles.sql. Running it again changes nothing.
-- On a large live table create the two indexes CONCURRENTLY by hand first.

CREATE TABLE IF NOT EXISTS profiles (
    id                      bigint PRIMARY KEY,
    subscription_tier       text NOT NULL DEFAULT 'free',
    subscription_expires_at timestamptz -- null: no end
);

-- For the refresh of the view: 5 % of the table, by the column that decides who has run out.
CREATE INDEX IF NOT EXISTS profiles_on_plus
    ON profiles (subscription_expires_at) WHERE subscription_tier = 'plus';

-- For the tier of many ids at once, answered from the index alone.
CREATE INDEX IF NOT EXISTS profiles_id_tier_expiry
    ON profiles (id, subscription_tier, subscription_expires_at);

-- Without a policy nobody but the owner sees a row; 002_roles.sql has the sidecar's.
ALTER TABLE profiles ENABLE ROW LEVEL SECURITY;

CREATE MATERIALIZED VIEW IF NOT EXISTS active_subscriptions AS
    SELECT id, subscription_tier, subscription_expires_at
    FROM profiles
    WHERE subscription_tier = 'plus'
      AND (subscription_expires_at IS NULL OR subscription_expires_at > now());

-- REFRESH ... CONCURRENTLY, which lets readers go on, needs a unique index.
CREATE UNIQUE INDEX IF NOT EXISTS active_subscriptions_id ON active_subscriptions (id);

-- Refreshed every minute where pg_cron is to be had. Scheduling by name replaces, so a second
-- run leaves one job. pg_cron may be there and not be usable (not preloaded, another database).
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_cron') THEN
        CREATE EXTENSION IF NOT EXISTS pg_cron;
        PERFORM cron.schedule('refresh active_subscriptions', '* * * * *',
            'REFRESH MATERIALIZED VIEW CONCURRENTLY active_subscriptions');
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'pg_cron is not usable here (%); refresh active_subscriptions every minute by other means',
        SQLERRM;
END
$$;
