# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the scripts share: where the project is, how they speak, how a build folder is made.
# Sourced, never run. It leaves the shell in the project's root.

set -euo pipefail
here=${BASH_SOURCE[0]}
cd "${here%/*}/.."
jobs=${JOBS:-$(nproc)}
export jobs

die()
{
    printf 'marketprism: %s\n' "$*" >&2
    exit 1
}

# step TEXT LOG COMMAND...: one line for a slow step; what it prints goes to the log, whose end is
# shown when it fails.
step()
{
    local text=$1 log=$2 began=$SECONDS
    shift 2
    mkdir -p "$(dirname "$log")"
    printf '%s ... ' "$text"
    if "$@" >"$log" 2>&1 </dev/null; then
        printf 'done (%d s)\n' $((SECONDS - began))
        return 0
    fi
    printf 'failed after %d s; the end of %s:\n' $((SECONDS - began)) "$log"
    tail -n 40 "$log"
    return 1
}

# configure DIR OPTION...: make the build folder, or set the options of the one that is there. A
# stamp keeps the second call free of cost. The optimization is always said: else a buildtype that is
# set again brings its own, and the binary depended on which door came first.
configure()
{
    local dir=$1 stamp=$1/.options
    shift
    [[ "$*" == *-Doptimization=* ]] || set -- "$@" -Doptimization=2
    if [ -f "$dir/build.ninja" ]; then
        [ "$(cat "$stamp" 2>/dev/null)" = "$*" ] ||
            step "Setting options of $dir" "$dir/configure.log" meson configure "$dir" "$@" || return 1
    else
        mkdir -p "$dir"
        CC=${CC:-gcc} step "Configuring $dir" "$dir/configure.log" meson setup "$dir" "$@" || return 1
    fi
    printf '%s\n' "$*" >"$stamp"
}

# The tests need cmocka; a machine that only runs the daemon does not have it.
tests_option()
{
    if pkg-config --exists cmocka; then
        echo -Dtests=true
    else
        echo -Dtests=false
    fi
}
