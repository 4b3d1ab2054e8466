#!/usr/bin/env bash
#
# What `make drill` calls: a sidecar with private backends (backends.sh), an app that reads profiles
# all the time (drill.py), and a minute in which the backends go away and come back. A line a
# second says which rung answers. Ends by itself: 0 when every read was answered, 1 when one was not.
#
#   deploy/demo/drill.sh [SECONDS]     how long each of the five parts takes; 10

set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/demo/backends.sh

seconds=${1:-10}
sidecar=
reader=
hung=() # processes that were sent SIGSTOP
notes=  # directory: what drill.py is told of the part that runs

main() {
	stop_all_in_the_end
	notes=$(mktemp -d /tmp/sidecar-drill.XXXXXX)
	start_backends
	start_sidecar
	part "both up" "memory redis postgres" # Postgres for whom Redis does not know yet
	start_reader
	last
	hang postgres
	part "postgres hangs" "memory redis"
	last
	crash redis
	part "both down" "stale free"
	last
	wake
	part "postgres back, redis still down" "memory postgres"
	last
	start_redis
	part "both back" "memory redis postgres"
	last
	finish
}

# Half-open breakers are asked again soon, so that five parts fit into a minute; copies are fresh for
# a second, so that the lower rungs have something to do.
start_sidecar() {
	local port admin_port
	port=$(find_free_port)
	admin_port=$(find_free_port)
	launch TERM -- ./sidecar -c sidecar.ini -o "listen.port=$port" -o "admin.port=$admin_port" \
	    -o cache.ttl=1s -o breaker.open=200ms -o breaker.max_open=1s -o limits.per_user=0 \
	    >"$place/sidecar.log" 2>&1
	sidecar=$launched
	is_up redis-cli -p "$port" ping || fail sidecar
	echo "drill: sidecar on port $port, admin port $admin_port, log in $place/sidecar.log"
	export DRILL_PORT=$port DRILL_ADMIN_PORT=$admin_port DRILL_NOTES=$notes
}

# TITLE RUNGS: those that should answer in this part; drill.py says so when one did not.
part() {
	printf '%s\n%s\n' "$1" "$2" >"$notes/part.new"
	mv "$notes/part.new" "$notes/part"
}

start_reader() {
	launch TERM -- env PYTHONDONTWRITEBYTECODE=1 python3 deploy/demo/drill.py
	reader=$launched
}

# The end of a part; sooner when the reader has ended.
last() {
	local tries
	for ((tries = 0; tries < seconds * 10; tries++)); do
		sleep 0.1
		is_running "$reader" || finish
	done
}

finish() {
	local status=0
	touch "$notes/done"
	wait "$reader" || status=$?
	exit "$status"
}

crash() {
	{ kill -s KILL "${pid_of[$1]}" && wait "${pid_of[$1]}"; } 2>/dev/null || true
}

# With its children, as a machine that has run out of disk: connections stand, nothing answers.
hang() {
	mapfile -t hung < <(echo "${pid_of[$1]}"; ps -o pid= --ppid "${pid_of[$1]}" | tr -d ' ')
	printf '%s\n' "${hung[@]}" >"$notes/hung"
	kill -s STOP "${hung[@]}"
}

wake() {
	[ ${#hung[@]} = 0 ] || kill -s CONT "${hung[@]}" 2>/dev/null || true
	hung=()
}

stop_all() {
	local status=$?
	begin_to_stop
	wake
	[ -z "$reader" ] || end "$reader" TERM 5 || true
	[ -z "$sidecar" ] || end "$sidecar" TERM 10 || true
	stop_backends
	rm -rf ${notes:+"$notes"}
	exit "$status"
}

main
