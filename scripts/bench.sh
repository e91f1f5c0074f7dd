#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measure: every bench of the binary, then the comparisons with other servers that are in bench/
# (docs/benchmarks.md says how). What is not installed is left out, and said so.
#
#   BENCH="l1-get …"   only these
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

groups=(build)
[ "${PEERS:-0}" != 1 ] || groups+=(peers)
scripts/install-deps.sh "${groups[@]}"
scripts/build.sh

failed=0
run()
{
    printf '\n== %s\n' "$1"
    "${@:2}" || failed=$((failed + 1))
}

python=/usr/bin/python3
[ -x $python ] || python=python3
list=$(build/marketprism bench --list) || die "build/marketprism bench --list does not say what there is"
mapfile -t names < <(cut -d' ' -f1 <<<"$list")
for name in "${names[@]}"; do
    if [ -z "${BENCH:-}" ] || [[ " $BENCH " == *" $name "* ]]; then
        run "$name" build/marketprism bench "$name"
    fi
done
for script in bench/*.py; do
    name=$(basename "$script" .py)
    if [ -f "$script" ] && { [ -z "${BENCH:-}" ] || [[ " $BENCH " == *" $name "* ]]; }; then
        run "$name" env BINARY=build/marketprism "$python" "$script"
    fi
done
[ "$failed" -eq 0 ] || die "$failed benches failed"
