#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build and run the fuzz targets (fuzz/README.md).
#
#   scripts/fuzz.sh              FUZZ_RUNS executions of each (default 1000000), or only of FUZZ="a b"
#   scripts/fuzz.sh --short      what `make test` runs: the corpus and a short search, as meson tests
#   scripts/fuzz.sh --keep NAME  add to the corpus what covers more than it does
#   scripts/fuzz.sh --able       exit 0 when this machine has clang with libFuzzer; says nothing
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

able()
{
    echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return d && n < 0; }' |
        clang -fsanitize=fuzzer,address,undefined -x c - -o /dev/null 2>/dev/null
}

build()
{
    CC=clang configure build-fuzz -Dfuzz=true -Dtests=false -Dbuildtype=debugoptimized \
        -Db_sanitize=address,undefined -Db_lundef=false
    step "Building the fuzz targets" build-fuzz/build.log ninja -C build-fuzz -j "$jobs" fuzzers
}

names()
{
    sed -n "s/^  \['\([a-z0-9_]*\)',.*/\1/p" fuzz/meson.build
}

# One target: its last words and a line with what it did; the log stays.
run_long()
{
    local name=$1 log=build-fuzz/long-$1.log began=$SECONDS
    if ! fuzz/run-one.sh "$PWD/build-fuzz/fuzz/fuzz_$name" "$name" found \
        "-runs=${FUZZ_RUNS:-1000000}" "-max_total_time=${FUZZ_SECONDS:-0}" >"$log" 2>&1; then
        printf '%-12s FAILED, see %s\n' "$name" "$log"
        tail -n 30 "$log"
        return 1
    fi
    printf '%-12s %10s executions, %5s s, %7s a second, coverage %s\n' "$name" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" $((SECONDS - began)) \
        "$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")" \
        "$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | cut -d' ' -f2)"
}

case ${1:-} in
--able)
    able
    exit
    ;;
--short)
    build
    exec meson test -C build-fuzz --no-rebuild --print-errorlogs --num-processes "$jobs" --suite fuzz
    ;;
--keep)
    build
    mkdir -p "fuzz/corpus/${2:?name of a target}"
    exec "build-fuzz/fuzz/fuzz_$2" -merge=1 "fuzz/corpus/$2" "build-fuzz/fuzz/found/$2"
    ;;
'') ;;
*)
    die "usage: scripts/fuzz.sh [--short | --keep NAME | --able]"
    ;;
esac

scripts/install-deps.sh build fuzz
able || die "clang is there, but not its libFuzzer; type: apt-get install clang libclang-rt-14-dev"
build
failed=0
for name in ${FUZZ:-$(names)}; do
    run_long "$name" || failed=$((failed + 1))
done
[ "$failed" -eq 0 ] || die "$failed fuzz targets failed"
