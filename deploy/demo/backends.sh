# Private backends for `make run` and `make drill`: a redis-server, a Postgres with 300,000 profiles
# and a PgBouncer in transaction mode, on free loopback ports. Sourced by run.sh and drill.sh, which
# have a stop_all() each.
#
# Data and logs live in var/demo. The loaded Postgres is kept for the next run; the file "loaded"
# in there, written last, tells which demo data it holds.
#
# Ctrl-C must reach only the script, which stops all in order: every process gets a session of its
# own. Not even kill -9 of the script may leave one behind: it gets a death signal. And it must not
# miss a signal while it starts: bash has background processes ignore SIGINT, env undoes that.
apart=(setsid env --default-signal setpriv --pdeathsig) # SIGNAL [SETPRIV'S OPTION]... -- COMMAND...

profiles=300000
profiles_at_once=60000

place=      # where the backends keep their data
temporary=  # the same where it has to go in the end
user=       # UID:GID the servers run as, where that is not our own
become=()   # what makes setpriv do it
launched=   # process id of the last launch
is_stopping=
redis_port= # the same when it is started again
backends=() # "PID SIGNAL" of each, the last started first
declare -A pid_of # of each by its name

stop_all_in_the_end() {
	trap stop_all EXIT
	trap 'stop 129' HUP
	trap 'stop 130' INT
	trap 'stop 141' PIPE
	trap 'stop 143' TERM
}

# A signal tends to come twice (Ctrl-C again; from make and to its whole group), and an exit inside
# stop_all() would cut that short.
stop() {
	[ -z "$is_stopping" ] || return 0
	is_stopping=yes
	exit "$1"
}

# The first thing in stop_all().
begin_to_stop() {
	is_stopping=yes
	trap '' HUP INT PIPE TERM
}

start_backends() {
	unset "${!PG@}" REDISCLI_AUTH # they speak of the caller's servers, not of these
	choose_user
	choose_place
	start_redis
	start_postgres
	start_pgbouncer
	keep_view_fresh
	export REDIS_URL="redis://127.0.0.1:$redis_port"
	export DATABASE_URL="postgres://sidecar:$sidecar_password@127.0.0.1:$pgbouncer_port/postgres"
	export DEMO_LISTEN_URL="postgres://sidecar:$sidecar_password@127.0.0.1:$postgres_port/postgres"
	echo "demo: redis on port $redis_port, postgres on $postgres_port," \
	    "pgbouncer on $pgbouncer_port, logs in $place"
}

stop_backends() {
	local backend
	for backend in "${backends[@]}"; do
		end $backend 10 || true
	done
	rm -rf ${temporary:+"$temporary"}
}

# Postgres and PgBouncer refuse to run as root: they run as whoever owns the checkout, or as the
# user that came with Postgres.
choose_user() {
	local name
	if [ "$(id -u)" = 0 ]; then
		for name in "$(stat -c %U .)" postgres nobody; do
			[ "$name" != root ] && id -u "$name" >/dev/null 2>&1 && break
		done
		user=$(id -u "$name"):$(id -g "$name")
		become=(--reuid "${user%:*}" --regid "${user#*:}" --init-groups)
	fi
}

choose_place() {
	place=$PWD/var/demo
	mkdir -p "$place" 2>/dev/null && open_place_to_servers || {
		# Below a directory like /root, or made by someone else.
		place=$(mktemp -d /tmp/sidecar-demo.XXXXXX)
		temporary=$place
		open_place_to_servers
	}
	umask 077
	store lock </dev/null
	exec 9<"$place/lock" # inherited: free again when the last backend has ended
	if ! flock -n 9; then
		echo "demo: waiting for the servers of another run to end"
	fi
	if ! flock -w 10 9; then
		echo "demo: another \"make run\" is using $place" >&2
		exit 1
	fi
}

open_place_to_servers() {
	if [ -n "$user" ]; then
		chown -R "$user" "$place" || return
	fi
	as_server test -w "$place" 2>/dev/null
}

start_redis() {
	redis_port=${redis_port:-$(find_free_port)}
	launch_server redis TERM redis-server --bind 127.0.0.1 --port "$redis_port" --save ""
	is_up redis-cli -p "$redis_port" ping || fail redis
}

start_postgres() {
	programs=$(find /usr/lib/postgresql -path '*/bin/postgres' -printf '%h\n' | sort -V | tail -n 1)
	postgres_port=$(find_free_port)
	sidecar_password=$(make_password)
	if ! reuse_postgres; then
		create_postgres
	fi
	sql -c "ALTER ROLE sidecar PASSWORD '$sidecar_password'"
}

reuse_postgres() {
	[ "$(cat "$place/loaded" 2>/dev/null)" = "$(describe_data)" ] || return
	echo "demo: starting postgres with the profiles of an earlier run"
	run_postgres && [ "$(count_profiles)" = $profiles ] && return
	echo "demo: they are damaged, starting over"
	end "${backends[0]% *}" INT 10
	return 1
}

create_postgres() {
	echo "demo: creating a database in $place"
	rm -rf "$place/loaded" "$place/postgres"
	make_password | store password
	store initdb.log </dev/null
	as_server "$programs/initdb" -D "$place/postgres" -U postgres --pwfile "$place/password" \
	    -A scram-sha-256 -E UTF8 --locale C --no-sync >"$place/initdb.log" 2>&1 ||
	    fail initdb
	run_postgres || fail postgres
	load_profiles
	describe_data | store loaded
}

run_postgres() {
	launch_server postgres INT "$programs/postgres" -D "$place/postgres" -c port="$postgres_port" \
	    -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c timezone=UTC \
	    -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
	    -c wal_level=minimal -c max_wal_senders=0
	is_up "$programs/pg_isready" -q -h 127.0.0.1 -p "$postgres_port"
}

load_profiles() {
	local first last
	sql -f deploy/postgres/001_schema.sql -f deploy/postgres/002_roles.sql
	for ((first = 1; first <= profiles; first += profiles_at_once)); do
		last=$((first + profiles_at_once - 1))
		sql -v first=$first -v last=$last -f deploy/demo/profiles.sql
		echo "demo: profiles ${last%000},000/${profiles%000},000"
	done
	sql -c "VACUUM ANALYZE profiles" -c "REFRESH MATERIALIZED VIEW active_subscriptions"
	sql -f deploy/postgres/003_notify.sql # last: nobody has to hear of 300,000 new rows
}

# Changes with the demo data and with Postgres's major version.
describe_data() {
	echo "$profiles profiles, changes announced, $programs"
	cat deploy/postgres/*.sql deploy/demo/profiles.sql | sha256sum
}

# By ctid, which is in the table and in no index: the table is what may be damaged.
count_profiles() {
	sql -At -c "SELECT count(ctid) FROM profiles" 2>/dev/null
}

start_pgbouncer() {
	pgbouncer_port=$(find_free_port)
	store pgbouncer.users <<<"\"sidecar\" \"$sidecar_password\""
	store pgbouncer.ini <<-END
		[databases]
		postgres = host=127.0.0.1 port=$postgres_port
		[pgbouncer]
		listen_addr = 127.0.0.1
		listen_port = $pgbouncer_port
		unix_socket_dir =
		auth_type = scram-sha-256
		auth_file = $place/pgbouncer.users
		pool_mode = transaction
	END
	launch_server pgbouncer QUIT /usr/sbin/pgbouncer "$place/pgbouncer.ini"
	is_up "$programs/pg_isready" -q -h 127.0.0.1 -p "$pgbouncer_port" -U sidecar || fail pgbouncer
}

# What pg_cron does in production. Ends with Postgres, should someone stop that.
keep_view_fresh() {
	store refresh.sql <deploy/demo/refresh.sql
	PGPASSWORD=$(cat "$place/password") launch_server refresh TERM \
	    "$programs/psql" -X -w -h 127.0.0.1 -p "$postgres_port" -U postgres -f refresh.sql
}

sql() {
	PGPASSWORD=$(cat "$place/password") PGOPTIONS="-c client_min_messages=warning" \
	    "${apart[@]}" TERM -- "$programs/psql" -X -w -q -h 127.0.0.1 -p "$postgres_port" \
	    -U postgres -v ON_ERROR_STOP=1 "$@"
}

make_password() {
	od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# Below the range that the kernel gives to outgoing connections.
find_free_port() {
	local port
	while :; do
		port=$((20000 + RANDOM % 10000))
		(: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo $port
}

# Writes a file in there that belongs to the servers' user, and that no one else can read.
store() {
	as_server sh -c 'umask 077; cat >"$1"' - "$place/$1"
}

as_server() {
	"${apart[@]}" TERM "${become[@]}" -- env -C "$place" "$@"
}

launch_server() { # NAME SIGNAL COMMAND...; the signal is what stops it
	local name=$1 signal=$2
	shift 2
	store "$name.log" </dev/null
	launch "$signal" "${become[@]}" -- env -C "$place" "$@" >"$place/$name.log" 2>&1
	backends=("$launched $signal" "${backends[@]}")
	pid_of[$name]=$launched
}

launch() { # SIGNAL [OPTION OF setpriv]... -- COMMAND...
	"${apart[@]}" "$@" &
	launched=$!
}

# Whether the process launched last comes up before it ends, or before half a minute is over.
is_up() {
	local tries
	for ((tries = 0; tries < 600; tries++)); do
		"$@" >/dev/null 2>&1 && return
		is_running "$launched" || break
		sleep 0.05
	done
	return 1
}

fail() {
	echo "demo: $1 did not start; the end of $place/$1.log:" >&2
	tail -n 10 "$place/$1.log" >&2
	exit 1
}

# Asks a process of ours to end, and makes it end when it has not after SECONDS. It may have been
# stopped, by someone who wanted to see what the sidecar does about it.
end() { # PID SIGNAL SECONDS
	local tries
	is_running "$1" || return 0
	kill -s "$2" "$1" && kill -s CONT "$1"
	for ((tries = 0; tries < $3 * 20; tries++)); do
		sleep 0.05
		is_running "$1" || return 0
	done
	kill -s KILL "$1"
} 2>/dev/null

# Its number may by now be another's: it has to be our child.
is_running() {
	grep -qsx "PPid:	$$" "/proc/$1/status"
}
