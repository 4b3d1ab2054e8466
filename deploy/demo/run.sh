#!/usr/bin/env bash
#
# What `make run` calls: serves on 127.0.0.1:6380. Where the environment names no backend, it
# starts private ones first (backends.sh) and stops them in the end, whatever ends it.
# Exits with the sidecar's status.

set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/demo/backends.sh

sidecar=

main() {
	if [ -n "${REDIS_URL:-}${UPSTASH_REDIS_REST_URL:-}${DATABASE_URL:-}" ]; then
		say_what_to_try
		exec ./sidecar -c sidecar.ini
	fi
	stop_all_in_the_end
	start_backends
	say_what_to_try
	launch TERM -- ./sidecar -c sidecar.ini -o 'postgres.listen_url=${DEMO_LISTEN_URL}'
	sidecar=$launched
	wait "$sidecar" # a signal ends this, too, and calls stop()
}

say_what_to_try() {
	cat <<-'END'
		Try, in another terminal:
		  redis-cli -p 6380 GET profile:42
		  redis-cli -p 6380 SIDECAR EXPLAIN profile:42
		  curl -s 127.0.0.1:9380/metrics | grep answers
	END
}

# Prints nothing: the terminal may be gone.
stop_all() {
	local status=$?
	begin_to_stop
	if [ -n "$sidecar" ] && is_running "$sidecar"; then
		end "$sidecar" TERM 30
		status=0
		wait "$sidecar" || wait "$sidecar" || status=$? # the first may answer a second signal
	fi
	stop_backends
	exit "$status"
}

main
