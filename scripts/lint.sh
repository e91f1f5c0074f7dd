#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that judges the sources without running them. Each check says whether it passed; what
# it found follows. Exit 1 when one failed.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/install-deps.sh build test lint
failed=0
check()
{
    step "$1" "build-clang/lint/${1//[^a-z]/-}.log" "${@:2}" || failed=$((failed + 1))
}

layout()
{
    find src include tests fuzz bench \( -name '*.c' -o -name '*.h' \) -print0 |
        xargs -0 -r clang-format --dry-run -Werror
}

# clang-tidy tells the whole way to a finding; the log has it, here stand the findings alone.
tidy()
{
    local whole=build-clang/lint/clang-tidy-whole.log
    run-clang-tidy -p build-clang -j "$jobs" -quiet "^$PWD/src/.*" 2>&1 |
        sed 's/\x1b\[[0-9;]*m//g' >"$whole"
    if grep -E '(error|warning): ' "$whole" | sort -u | sed "s#$PWD/build-clang/../##"; then
        echo "the way to each: $whole"
        return 1
    fi
}

# readdirCalled: readdir on a stream of one thread's own is safe (POSIX.1-2024); readdir_r is not.
# duplicateAssignExpression: two sizes that begin alike are no mistake.
check_c()
{
    cppcheck --quiet --std=c11 -j "$jobs" --enable=warning,performance,portability --inline-suppr \
        --library=posix,gnu --error-exitcode=1 -I include -I src -I build-clang/include \
        -D_GNU_SOURCE -D__x86_64__ --suppress=missingIncludeSystem --suppress=readdirCalled \
        --suppress=duplicateAssignExpression src
}

scripts()
{
    if command -v shellcheck >/dev/null; then
        shellcheck -x scripts/*.sh fuzz/*.sh .ci/run
    fi
    python3 -m compileall -q scripts tests
}

check "clang-format" layout
check "includes" scripts/check-includes.py
check "calls" scripts/check-calls.py
check "scripts" scripts
configure build -Dbuildtype=release -Dtests=true
check "gcc without warnings" ninja -C build -j "$jobs"
CC=clang configure build-clang -Dbuildtype=release -Dtests=true
check "clang without warnings" ninja -C build-clang -j "$jobs"
check "cppcheck" check_c
check "clang-tidy" tidy
[ "$failed" -eq 0 ] || die "$failed checks failed"
