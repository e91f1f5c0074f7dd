#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run the suites with sanitizers: address+undefined (leaks too) for all, thread where threads meet.
#
#   scripts/sanitize.sh [address] [thread]      both, when none is named
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

kinds=("$@")
[ ${#kinds[@]} -gt 0 ] || kinds=(address thread)
groups=(build test)
[ "${PEERS:-0}" != 1 ] || groups+=(peers)
scripts/install-deps.sh "${groups[@]}"

export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:history_size=4:suppressions=$PWD/tests/support/tsan.supp

logs=()
for kind in "${kinds[@]}"; do
    case $kind in
    address) dir=build-asan options=address,undefined ;;
    thread) dir=build-tsan options=thread ;;
    *) die "there is no sanitizer '$kind' (address, thread)" ;;
    esac
    configure "$dir" -Dbuildtype=debugoptimized -Dtests=true "-Db_sanitize=$options" -Db_lundef=false
    step "Building with $options" "$dir/build.log" ninja -C "$dir" -j "$jobs"
    logs+=("$dir/meson-logs/testlog.json")
    rm -f "${logs[-1]}"
    # Tests that look at figures of speed leave them out when they see this.
    MP_SANITIZER=$kind meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes "$jobs" \
        --timeout-multiplier 5 --no-suite lint || true # the summary knows
done
exec scripts/test-summary.py "${logs[@]}"
