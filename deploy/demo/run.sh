#!/usr/bin/env bash
#
# What `make run` calls: serves on 127.0.0.1:6380. Where the environment names no backend, it
# starts private ones first (backends.sh) and stops them in the end, whatever ends it.
# Exits with the sidecar's status.

set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/demo/backends.sh

sidecar=
is_stopping=

main() {
	if [ -n "${REDIS_URL:-}${UPSTASH_REDIS_REST_URL:-}${DATABASE_URL:-}" ]; then
		say_what_to_try
		exec ./sidecar -c sidecar.ini
	fi
	trap stop_all EXIT
	trap 'stop 129' HUP
	trap 'stop 130' INT
	trap 'stop 141' PIPE
	trap 'stop 143' TERM
	start_backends
	say_what_to_try
	launch TERM -- ./sidecar -c sidecar.ini
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

# A signal tends to come twice (Ctrl-C again; from make and to its whole group), and an exit inside
# stop_all() would cut that short.
stop() {
	[ -z "$is_stopping" ] || return 0
	is_stopping=yes
	exit "$1"
}

# Prints nothing: the terminal may be gone.
stop_all() {
	local status=$?
	is_stopping=yes
	trap '' HUP INT PIPE TERM
	if [ -n "$sidecar" ] && is_running "$sidecar"; then
		end "$sidecar" TERM 30
		status=0
		wait "$sidecar" || wait "$sidecar" || status=$? # the first may answer a second signal
	fi
	stop_backends
	exit "$status"
}

main
