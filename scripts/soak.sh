#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The long runs: the same tests as in `make test`, with as many rounds as the design asks for once
# by hand (kill -9, flipped bits, storms, floods, simulated hours). Takes hours; SOAK=N times as
# many rounds.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

groups=(build test)
[ "${PEERS:-0}" != 1 ] || groups+=(peers deb soak)
scripts/install-deps.sh "${groups[@]}"
configure build -Dbuildtype=release -Dtests=true
step "Building everything" build/build.log ninja -C build -j "$jobs"
rm -f build/meson-logs/testlog.json build/meson-logs/disk.json
# Tests read MP_SOAK: how many times the rounds of `make test` they run.
MP_SOAK=${SOAK:-20} meson test -C build --no-rebuild --print-errorlogs --num-processes 1 \
    --timeout-multiplier 200 --suite sim --suite integration --suite e2e || true
# Lives of L3 on a disk that loses power, tears and fails: 40 of each sort in `make test`.
MP_SEEDS=$((40 * ${SOAK:-20})) meson test -C build --no-rebuild --print-errorlogs \
    --timeout-multiplier 200 --logbase disk cache/l3_crash || true
exec scripts/test-summary.py build/meson-logs/testlog.json build/meson-logs/disk.json
