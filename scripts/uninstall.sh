#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Remove what scripts/install.sh installed under the same PREFIX and DESTDIR, and the folders that
# are empty then. Data and configuration stay.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

top=${DESTDIR:-}${PREFIX:-/usr/local}
list=$top/share/marketprism/installed-files
[ -f "$list" ] || die "nothing to remove: $list is not there (another PREFIX or DESTDIR?)"
mapfile -t paths <"$list"
files=()
folders=()
for path in "${paths[@]}"; do
    if [ -d "$path" ] && [ ! -L "$path" ]; then
        folders+=("$path")
    else
        files+=("$path")
    fi
done
rm -f -- "${files[@]}"
# Folders of ours go when they are empty, what is inside before what holds it; share/ and lib/ belong
# to everybody, and what somebody else uses stays.
while IFS= read -r path; do
    while [[ $path == "$top"/*/marketprism* ]]; do
        folders+=("$path")
        path=${path%/*}
    done
done < <(printf '%s\n' "${files[@]%/*}" | sort -u)
while IFS= read -r path; do
    rmdir -- "$path" 2>/dev/null || true
done < <(printf '%s\n' "${folders[@]}" | sort -ru)
echo "Removed ${#files[@]} files from $top."
