#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build the release binary, build/marketprism, and nothing else.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/install-deps.sh build
configure build -Dbuildtype=release "$(tests_option)"
if ! ninja -C build -n marketprism | grep -q 'no work to do'; then
    step "Building build/marketprism" build/build.log ninja -C build -j "$jobs" marketprism
fi
