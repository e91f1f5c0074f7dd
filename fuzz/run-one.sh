#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run one fuzz target over its kept corpus: run-one.sh PROGRAM NAME short|found OPTION...
# What it finds new goes to a folder beside the program, never into the sources; "found" is built
# upon by the next run, "short" begins anew, so that each run does the same.
set -eu

program=$1
name=$2
here=$(cd "$(dirname "$0")" && pwd)
found=$(dirname "$program")/$3/$name
kept=$here/corpus/$name
[ "$3" = found ] || rm -rf "$found"
shift 3
mkdir -p "$found"
[ ! -f "$here/$name.dict" ] || set -- "$@" "-dict=$here/$name.dict"
if [ -d "$kept" ]; then
    set -- "$@" "$found" "$kept"
else
    set -- "$@" "$found"
fi
# Its own code for a finding is 77, which meson takes for a skipped test.
# 10 s for one input is a hang; the allocator must not be asked for more than 512 MiB at once.
exec "$program" -error_exitcode=1 -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 \
    "-artifact_prefix=$(dirname "$program")/crash-$name-" "$@"
