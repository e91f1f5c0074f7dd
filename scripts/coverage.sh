#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measure which lines the suites run: a table a module and the total; exit 1 below the bars
# (80 % in all, 95 % of the parsers). The pages with the lines are in build-cov/coverage/.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/install-deps.sh build test coverage
configure build-cov -Dbuildtype=debug -Doptimization=g -Db_coverage=true -Dtests=true
step "Building with coverage" build-cov/build.log ninja -C build-cov -j "$jobs"
find build-cov -name '*.gcda' -delete
# As in sanitize.sh: tests that look at figures of speed leave them out.
MP_SANITIZER=coverage meson test -C build-cov --no-rebuild --print-errorlogs --num-processes "$jobs" \
    --timeout-multiplier 5 --no-suite lint || die "the tests fail; mend them first"
mkdir -p build-cov/coverage
step "Summing up" build-cov/gcovr.log gcovr --root . --object-directory build-cov -j "$jobs" \
    --filter 'src/' --filter 'include/' --exclude-unreachable-branches \
    --json-summary build-cov/coverage/summary.json --html-details build-cov/coverage/index.html \
    build-cov
exec scripts/coverage-table.py build-cov/coverage/summary.json
