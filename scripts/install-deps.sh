#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install the Debian packages of the named groups that are missing, saying which and why.
#
#   scripts/install-deps.sh GROUP...     build test peers deb soak lint fuzz coverage
#
# Where nothing is missing it needs no network, no root and a few milliseconds. No service is
# started: for as long as apt-get runs, a policy-rc.d forbids it.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

# group | package (the first is installed; any of them, or one that provides it, will do) | why
packages=$(grep -v '^ *$' <<'TABLE'
build|gcc|compiles the project
build|libc6-dev|the C library's headers
build|meson|configures the build
build|ninja-build|runs the build
build|pkg-config,pkgconf|finds the libraries
build|libuv1-dev|event loop
build|liburing-dev|many sockets in one system call
build|libsqlite3-dev|embedded store of the origin
build|libxxhash-dev|checksums
build|libzstd-dev|compression
build|zlib1g-dev|compression of HTTP answers
build|libsodium-dev|cryptography
build|libssl-dev|TLS
build|libjansson-dev|JSON
build|libyaml-dev|YAML
build|libpcre2-dev|patterns of schemas
build|node-llhttp|sources of the HTTP parser
test|libcmocka-dev|unit tests
test|python3|tests against the running daemon
test|curl|runs the examples of docs/http.md
test|binutils|reads the hardening of the binary
peers|redis-server|the real Redis, as reference and origin
peers|redis-tools|redis-cli and redis-benchmark as clients
peers|python3-redis|a client library
peers|libhiredis-dev|oracle of the RESP codec
peers|nginx-light,nginx,nginx-core,nginx-full|reference of the HTTP figures
peers|varnish|reference of the HTTP figures
peers|prometheus|promtool checks /metrics
peers|nodejs|client libraries of Node
peers|npm|brings the client libraries of Node
peers|zsh|completes what its file says
peers|fish|completes what its file says
peers|libtest-json-schema-acceptance-perl|has the official cases of JSON Schema
peers|golang-github-burntsushi-toml-dev|has the public cases of TOML
peers|spin|checks the model of lock-free reads
peers|systemd|judges the unit
peers|strace|sees which system calls the unit must allow
deb|dpkg-dev|builds packages
deb|debhelper|builds packages
soak|debootstrap|makes the Debian that packages are installed in
soak|lintian|judges the packages
lint|clang-format|layout
lint|clang-tidy|static analysis
lint|cppcheck|static analysis
lint|clang|the second compiler
lint|libclang-rt-14-dev|the second compiler's sanitizers
fuzz|clang|libFuzzer
fuzz|libclang-rt-14-dev|libFuzzer
coverage|gcovr|sums the coverage
TABLE
)

policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d} # another place only in the test of this script
kept=$policy.kept-by-marketprism
log=$(mktemp "${TMPDIR:-/tmp}/marketprism-apt.XXXXXX")
policy_is_ours=no

as_root()
{
    if [ "$(id -u)" = 0 ]; then
        env "$@"
    else
        sudo env "$@"
    fi
}

# A policy of our own says 101, "forbidden by policy", to every start (invoke-rc.d(8)). One that is
# there already is put back afterwards.
forbid_services()
{
    # What a killed run left behind is put back first, so that ours is never kept as theirs.
    [ ! -e "$kept" ] || as_root mv -f "$kept" "$policy"
    [ ! -e "$policy" ] || as_root mv -f "$policy" "$kept"
    policy_is_ours=yes
    # shellcheck disable=SC2016 # $1 and $2 are of the inner shell
    as_root sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
}

allow_services()
{
    rm -f "$log"
    [ "$policy_is_ours" = yes ] || return 0
    policy_is_ours=no
    as_root rm -f "$policy"
    [ ! -e "$kept" ] || as_root mv -f "$kept" "$policy"
}
trap allow_services EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

installed=
read_installed()
{
    # Name, then what it provides: "npm" may come from another distribution's nodejs.
    # shellcheck disable=SC2016 # these are fields of dpkg-query
    installed=$(dpkg-query -W -f='${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null |
        sed -nE 's/^installed //; T; s/\([^)]*\)//g; s/[ ,]+/\n/g; p')
    installed=$'\n'$installed$'\n'
}

is_there()
{
    local name
    for name in ${1//,/ }; do
        [[ $installed != *$'\n'"$name"$'\n'* ]] || return 0
    done
    return 1
}

# What apt-get says goes to the log; on a terminal its last line shows that something happens.
quietly()
{
    local status=0 watcher=
    if [ -t 1 ]; then
        while sleep 0.5; do
            printf '\r\033[K  %.76s' "$(tail -n 1 "$log" 2>/dev/null | tr -d '\r')"
        done &
        watcher=$!
    fi
    as_root DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 "$@" >>"$log" 2>&1 </dev/null || status=$?
    if [ -n "$watcher" ]; then
        kill "$watcher"
        wait "$watcher" 2>/dev/null || true
        printf '\r\033[K'
    fi
    return "$status"
}

apt_install()
{
    quietly apt-get install -y --no-install-recommends "$@"
}

apt_update()
{
    echo "Reading the package lists ..."
    quietly apt-get update
}

# Lists that are missing or too old are read anew, but not before they have failed us.
lists_know()
{
    local name
    for name in "$@"; do
        apt-cache show "$name" >/dev/null 2>&1 || return 1
    done
}

give_up()
{
    tail -n 15 "$log" >&2
    cat >&2 <<EOF
marketprism: $1
Type this yourself (as root), then try again:
    apt-get update && apt-get install -y --no-install-recommends ${missing[*]}
EOF
    exit 1
}

[ $# -gt 0 ] || die "usage: scripts/install-deps.sh GROUP... (build test peers deb soak lint fuzz coverage)"
for group in "$@"; do
    grep -q "^$group|" <<<"$packages" || die "there is no group '$group' (build test peers deb soak lint fuzz coverage)"
done
if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian; make sure by yourself that these are there (names of Debian 12):"
    for group in "$@"; do
        grep "^$group|" <<<"$packages" | cut -d'|' -f2 | cut -d, -f1
    done | sort -u | xargs
    exit 0
fi

read_installed
missing=()
for group in "$@"; do
    while IFS='|' read -r _ names why; do
        name=${names%%,*}
        if is_there "$names" || [[ " ${missing[*]} " == *" $name "* ]]; then
            continue
        fi
        [ ${#missing[@]} -gt 0 ] || echo "Packages that are missing:"
        printf '  %-20s %s (%s)\n' "$name" "$why" "$group"
        missing+=("$name")
    done < <(grep "^$group|" <<<"$packages")
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || give_up "there is no apt-get to install them with"
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || give_up "not root, and there is no sudo"
    echo "Installing needs root; sudo may ask for your password."
fi
began=$SECONDS
forbid_services
lists_know "${missing[@]}" || apt_update || give_up "the package lists cannot be read (is there a network?)"
echo "Installing ${#missing[@]} packages (no service is started) ..."
if ! apt_install "${missing[@]}"; then
    apt_update || give_up "the package lists cannot be read (is there a network?)"
    apt_install "${missing[@]}" || give_up "apt-get could not install them"
fi
echo "Installed them in $((SECONDS - began)) s"
read_installed
for name in "${missing[@]}"; do
    is_there "$name" || give_up "apt-get said that it installed '$name', but it is not there"
done
