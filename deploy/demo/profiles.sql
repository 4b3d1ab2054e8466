-- Demo users :first to :last, every twentieth of them on plus; 42 is one of those.
-- The same rows on every machine, and none that runs out while you watch.

INSERT INTO profiles (id, subscription_tier, subscription_expires_at)
SELECT id,
       CASE WHEN id % 20 = 2 THEN 'plus' ELSE 'free' END,
       CASE WHEN id % 20 = 2 THEN timestamptz '2099-01-01 00:00+00' + id % 365 * interval '1 day' END
FROM generate_series(:first, :last) AS id
ON CONFLICT (id) DO NOTHING;
