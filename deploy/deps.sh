#!/usr/bin/env bash
#
# Installs from the distribution what sidecar needs, and only what is missing:
#
#   deploy/deps.sh         to build
#   deploy/deps.sh run     to build and to `make run`
#   deploy/deps.sh test    to build, to run and to `make test`
#
# For Debian 12 or newer and Ubuntu 24.04 or newer, as root or through sudo. Where nothing is
# missing it asks dpkg and pkg-config, says nothing and changes nothing.
# Debian 12's hiredis is older than sidecar needs: there Debian's own newer source package is
# built and installed, from the mirror that the machine already uses.

set -euo pipefail
cd "$(dirname "$0")/.."

to_build=(gcc libc6-dev make pkg-config libevent-dev libinih-dev libpq-dev libssl-dev)
to_run=(ca-certificates curl pgbouncer postgresql redis-server redis-tools)
to_test=(clang clang-format cppcheck iproute2 libclang-rt-dev mandoc openssl procps
    python3 python3-psycopg2 python3-pytest python3-redis python3-yaml strace valgrind)
# A node from elsewhere will do, and must not be fought over.
{ command -v node && command -v npm; } >/dev/null || to_test+=(nodejs npm)
# The browser that the status page is tested in. Ubuntu's is no package but a snap: there those
# tests are skipped, and say so.
! grep -qx ID=debian /etc/os-release || to_test+=(chromium chromium-driver python3-selenium)
# What the tests of deploy/prometheus run. Its packages would install services and users for a few
# programs: those are unpacked into var/tools instead. As PACKAGE=FILES below /usr.
tool_packages=(prometheus=bin/prometheus,bin/promtool
    prometheus-blackbox-exporter=bin/prometheus-blackbox-exporter
    prometheus-alertmanager=bin/prometheus-alertmanager,bin/amtool
    prometheus-alertmanager=share/prometheus/alertmanager/{default,email}.tmpl)
tools=$PWD/var/tools
hiredis_release=trixie # the Debian release whose hiredis is built where the own one is too old

work=$PWD/var/deps
log=$work/apt.log
policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/sidecar-deps.conf

main() {
	case "${1:-build}" in
	build) wanted=("${to_build[@]}") ;;
	run) wanted=("${to_build[@]}" "${to_run[@]}") ;;
	test) wanted=("${to_build[@]}" "${to_run[@]}" "${to_test[@]}") ;;
	*) echo "usage: deploy/deps.sh [build|run|test]" >&2; exit 2 ;;
	esac
	wants_tools=no
	[ "${1:-build}" != test ] || wants_tools=yes
	mapfile -t absent < <(list_absent)
	if [ ${#absent[@]} = 0 ] && has_hiredis && has_tools; then
		exit 0
	fi
	mkdir -p "$work" # before sudo, so that var/ belongs to whoever builds
	become_root "$@"
	install_all
}

list_absent() {
	comm -23 <(printf '%s\n' "${wanted[@]}" | sort) <(list_installed | sort -u)
}

list_installed() {
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
	    sed -n 's/^installed //p'
}

has_hiredis() {
	pkg-config --atleast-version=1.1 hiredis 2>/dev/null && pkg-config --exists hiredis_ssl
}

has_tools() {
	[ $wants_tools = no ] || [ -e "$tools/complete" ]
}

become_root() {
	if [ "$(id -u)" = 0 ] || { [ ${#absent[@]} = 0 ] && has_hiredis; }; then
		return
	elif command -v sudo >/dev/null; then
		echo "deps: needs root to install ${absent[*]:-hiredis}"
		exec sudo -- "$BASH" deploy/deps.sh "$@"
	fi
	echo "deps: not installed: ${absent[*]:-hiredis}; run \"make deps\" as root, or install sudo" >&2
	exit 1
}

# From here on as root.

install_all() {
	export DEBIAN_FRONTEND=noninteractive LC_ALL=C
	exec 9>"$work/lock"
	flock 9 # two runs in one checkout would build hiredis in the same place
	: >"$log"
	trap clean_up EXIT

	step "reading the package lists" update_lists
	mapfile -t absent < <(list_absent)
	local from_source=no
	if ! has_hiredis; then
		if candidate_is_new_enough; then
			absent+=(libhiredis-dev)
		else
			from_source=yes
		fi
	fi
	if [ ${#absent[@]} -gt 0 ]; then
		keep_services_off
		step "installing ${absent[*]}" apt_get install "${absent[@]}"
		forget_services
	fi
	if [ $from_source = yes ]; then
		step "fetching the source of hiredis ($hiredis_release)" fetch_hiredis
		step "installing what its build needs" apt_get build-dep -P nocheck "$work"/hiredis_*.dsc
		step "building hiredis" build_hiredis
		step "installing hiredis" apt_get install "$work"/libhiredis*.deb
	fi
	if ! has_hiredis; then
		echo "deps: hiredis 1.1 or newer, with TLS, is still missing" >&2
		exit 1
	fi
	if ! has_tools; then
		step "fetching the programs that test deploy/prometheus" fetch_tools
	fi
	echo "deps: all installed, hiredis $(pkg-config --modversion hiredis)"
}

# One line for a person; what the command prints goes to the log, which clean_up() shows when
# it fails. Called as a plain command, never in a condition: that would switch off set -e inside.
step() {
	local text=$1 started=$SECONDS
	shift
	printf 'deps: %s ... ' "$text"
	printf '\n== %s\n' "$text" >>"$log"
	"$@" >>"$log" 2>&1 </dev/null
	printf '%d s\n' $((SECONDS - started))
}

clean_up() {
	local status=$?
	if [ $status != 0 ]; then
		printf '\ndeps: failed; the end of %s:\n' "$log" >&2
		tail -n 25 "$log" >&2
	fi
	let_services_be
	find "$work" -mindepth 1 -maxdepth 1 ! -name "${log##*/}" ! -name lock -exec rm -rf {} +
	exit "$status"
}

# The sandbox user could not read packages that lie in a checkout below /root.
apt_get() {
	apt-get -q -y --no-install-recommends -o APT::Sandbox::User=root -o Acquire::Retries=3 \
	    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confdef \
	    -o Dpkg::Options::=--force-confold "$@"
}

# Fails for a moment while a new machine's own first update holds the lock, and for good when any
# third-party repository of the machine is broken. Whether that matters, the install finds out.
update_lists() {
	apt_get update || { sleep 10 && apt_get update; } || true
}

candidate_is_new_enough() {
	local candidate
	candidate=$(apt-cache policy libhiredis-dev | sed -n 's/^ *Candidate: //p')
	dpkg --compare-versions "${candidate/(none)/0}" ge 1.1
}

# The servers' packages would start them on the usual ports, now and at every boot, and create a
# database cluster; `make run` and the tests start their own. What ran before is left alone.
keep_services_off() {
	if [ ! -e $policy ]; then
		install -m 755 /dev/stdin $policy <<-'END'
			#!/bin/sh
			# sidecar's deploy/deps.sh: here for the length of one apt-get run
			case "$*" in *redis-server*|*pgbouncer*|*postgresql*) exit 101 ;; esac
			exit 0
		END
	fi
	mkdir -p "${no_cluster%/*}"
	echo "create_main_cluster = off" >$no_cluster
}

let_services_be() {
	rm -f $no_cluster
	if grep -qs "sidecar's deploy/deps.sh" $policy; then
		rm -f $policy
	fi
}

# Only of the servers that this run installed.
forget_services() {
	let_services_be
	local name
	for name in redis-server pgbouncer; do
		if [[ " ${absent[*]} " == *" $name "* ]] && command -v systemctl >/dev/null; then
			systemctl --quiet disable $name >>"$log" 2>&1 || true
		fi
	done
}

fetch_tools() (
	local entry package file
	rm -rf "$work/tools" "$tools"
	mkdir -p "$work/tools" "$tools"
	cd "$work/tools"
	for entry in "${tool_packages[@]}"; do
		package=${entry%%=*}
		[ -e "$package"_*.deb ] || apt_get download "$package"
		for file in $(tr , ' ' <<<"${entry#*=}"); do
			dpkg-deb --fsys-tarfile "$package"_*.deb |
			    tar -xO "./usr/$file" >"$tools/${file##*/}"
			chmod 755 "$tools/${file##*/}"
		done
	done
	touch "$tools/complete"
)

fetch_hiredis() (
	local mirror keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	mirror=$(find_debian_mirror)
	if [ -z "$mirror" ]; then
		echo "no Debian mirror among this machine's package sources, and its hiredis is too old"
		exit 1
	fi
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	echo "deb-src [signed-by=$keyring] $mirror $hiredis_release main" >"$work/sources.list"
	apt_source update
	cd "$work"
	apt_source source --download-only --only-source hiredis
)

# The one that the running release's own packages come from.
find_debian_mirror() {
	local codename
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
	    "Codename: $codename" 'Component: main' | sort -u | sed -n 1p
}

# apt-get with package lists of its own: the machine's stay as they are.
apt_source() {
	apt_get -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null \
	    -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" "$@"
}

build_hiredis() (
	cd "$work"
	dpkg-source -x hiredis_*.dsc hiredis
	cd hiredis
	DEB_BUILD_PROFILES=nocheck DEB_BUILD_OPTIONS="nocheck noautodbgsym parallel=$(nproc)" \
	    dpkg-buildpackage -b -uc -us
)

main "$@"
