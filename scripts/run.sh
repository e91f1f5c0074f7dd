#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install what is missing, build, serve examples/config from ./marketprism-data until Ctrl-C.
#
#   DATA_DIR=…  RESP=host:port  HTTP=host:port   another folder, other addresses
#   BINARY=…    this one, without building
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

data=${DATA_DIR:-marketprism-data}
binary=${BINARY:-build/marketprism}
examples=examples/config
imported=$data/.examples-imported
began=${EPOCHREALTIME/[.,]/} # microseconds
daemon=

[ -n "${BINARY:-}" ] || scripts/build.sh

# Ctrl-C reaches us and, in a terminal, the daemon too; it drains and ends, and we wait for that.
# shellcheck disable=SC2317 # called by trap
stop()
{
    trap '' INT TERM HUP
    if [ -n "$daemon" ] && kill -TERM "$daemon" 2>/dev/null; then
        printf '\nStopping ...\n'
        wait "$daemon" || true
    fi
    exit 0
}
trap stop INT TERM HUP

# The ready line is JSON with the addresses as they really are: the text $2 of it into the variable $1.
field()
{
    [[ $ready =~ \"$2\":\ *\"([^\"]*)\" ]] || die "the ready line names no $2: $ready"
    printf -v "$1" %s "${BASH_REMATCH[1]}"
}

# What the examples are, so that they are imported again only when they changed: values that were
# set since the last time stay.
fingerprint()
{
    find "$examples" -type f -exec sha256sum {} + | LC_ALL=C sort | sha256sum
}

exec {out}< <(exec "$binary" serve --data-dir "$data" --resp "${RESP:-127.0.0.1:7480}" \
    --http "${HTTP:-127.0.0.1:7481}")
daemon=$!
ready=
while IFS= read -r -u "$out" line; do
    if [[ $line == *'"event"'*'"ready"'* ]]; then
        ready=$line
        break
    fi
    printf '%s\n' "$line"
done
if [ -z "$ready" ]; then
    status=0
    wait "$daemon" || status=$?
    daemon=
    die "the daemon did not start (exit status $status); what it said stands above"
fi
resp=
http=
field resp resp
field http http

now=$(fingerprint)
before=
[ ! -f "$imported" ] || before=$(<"$imported")
if [ "$before" != "$now" ]; then
    if step "Importing $examples" "$data/import.log" \
        env "MARKETPRISM_ADDR=$resp" "$binary" import "$examples"; then
        printf '%s\n' "$now" >"$imported"
    else
        echo "It serves what it has; the import can be tried again: $binary import $examples"
    fi
fi

# Milliseconds where they tell something, seconds where a build came first.
took=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
if [ "$took" -lt 10000 ]; then
    took="$took ms"
else
    took="$((took / 1000)) s"
fi

at=
[ "$resp" = 127.0.0.1:7480 ] || at="MARKETPRISM_ADDR=$resp "
cat <<EOF

MarketPrism serves, $took after you asked for it.

  RESP  $resp    any Redis client: redis-cli -p ${resp##*:} get platform.name
  HTTP  $http    http://$http/metrics
  data  $data

Try in another terminal:
  $at$binary get exchanges/binance.limits.request_weight_per_min
  $at$binary explain platform.region
  $at$binary status

Ctrl-C stops it.
EOF

# What else it says on stdout. Waiting for the daemon, not for cat, lets a signal through at once.
cat <&"$out" &
status=0
wait "$daemon" || status=$?
daemon=
exit "$status"
