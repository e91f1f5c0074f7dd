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
began=$(date +%s%N)
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

# The ready line is JSON with the addresses as they really are.
field()
{
    sed -n "s/.*\"$1\": *\"\\{0,1\\}\\([^\",}]*\\).*/\\1/p" <<<"$ready"
}

# What the examples are, so that they are imported again only when they changed: values that were
# set since the last time stay.
fingerprint()
{
    find "$examples" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
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
resp=$(field resp)
http=$(field http)

now=$(fingerprint)
if [ "$(cat "$imported" 2>/dev/null)" != "$now" ]; then
    if step "Importing $examples" "$data/import.log" \
        env "MARKETPRISM_ADDR=$resp" "$binary" import "$examples"; then
        printf '%s\n' "$now" >"$imported"
    else
        echo "It serves what it has; the import can be tried again: $binary import $examples"
    fi
fi

# Milliseconds where they tell something, seconds where a build came first.
took=$((($(date +%s%N) - began) / 1000000))
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
