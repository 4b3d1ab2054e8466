-- Does pg_cron's part in the demo: psql runs the statement now and again every minute.

REFRESH MATERIALIZED VIEW CONCURRENTLY active_subscriptions \watch 60
