#!/bin/sh
#
# Run once by the image of Postgres, for the compose file: the migrations in order, the password
# of the sidecar's role, and 300,000 demo profiles.

set -eu
here=${MIGRATIONS:-/docker-entrypoint-initdb.d/1-migrations}
demo=${DEMO:-/demo}

sql() {
	psql -X -q -v ON_ERROR_STOP=1 -U "${POSTGRES_USER:-postgres}" -d "${POSTGRES_DB:-postgres}" "$@"
}

for file in "$here"/*.sql; do
	sql -f "$file"
done
sql <<'END'
\getenv password SIDECAR_DB_PASSWORD
ALTER ROLE sidecar PASSWORD :'password';
END
sql -v first=1 -v last="${PROFILES:-300000}" -f "$demo/profiles.sql"
sql -c "REFRESH MATERIALIZED VIEW active_subscriptions" -c "ANALYZE profiles"
