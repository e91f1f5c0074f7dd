#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build everything and run every suite; the last line counts: "N passed, N failed[, N skipped]".
#
#   PEERS=1      install the real peers too, so that nothing is skipped for want of them
#   SUITES="..." only these suites of meson (unit sim integration e2e lint), without the fuzzers
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

summary=build/test-summary.txt
facts=()

# The counted line comes last whatever happened; what could not even begin counts as failed.
finish()
{
    local status=0
    mkdir -p build
    scripts/test-summary.py "$@" "${facts[@]}" >"$summary" || status=$?
    cat "$summary"
    exit "$status"
}

groups=(build test)
[ "${PEERS:-0}" != 1 ] || groups+=(peers fuzz)
scripts/install-deps.sh "${groups[@]}" || { facts+=(--failed "install: what the tests need"); finish; }

{
    configure build -Dbuildtype=release -Dtests=true &&
        step "Building everything" build/build.log ninja -C build -j "$jobs"
} || { facts+=(--failed "build: see build/build.log"); finish; }

logs=(build/meson-logs/testlog.json)
rm -f "${logs[@]}"
suite_options=()
for suite in ${SUITES:-}; do
    suite_options+=(--suite "$suite")
done
meson test -C build --no-rebuild --print-errorlogs --timeout-multiplier 3 --num-processes "$jobs" "${suite_options[@]}" ||
    true # the summary knows

if [ -z "${SUITES:-}" ]; then
    if scripts/fuzz.sh --able; then
        logs+=(build-fuzz/meson-logs/testlog.json)
        rm -f build-fuzz/meson-logs/testlog.json
        scripts/fuzz.sh --short || true # the summary knows
    else
        facts+=(--skipped "fuzz: there is no clang with libFuzzer (packages clang, libclang-rt-14-dev)")
    fi
fi
finish "${logs[@]}"
