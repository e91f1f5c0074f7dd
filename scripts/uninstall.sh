#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Remove what scripts/install.sh installed under the same PREFIX and DESTDIR, and the folders that
# are empty then. Data and configuration stay.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

top=${DESTDIR:-}${PREFIX:-/usr/local}
list=$top/share/marketprism/installed-files
[ -f "$list" ] || die "nothing to remove: $list is not there (another PREFIX or DESTDIR?)"
mapfile -t paths < <(sort -r "$list") # what is inside comes before its folder
removed=0
for path in "${paths[@]}"; do
    if [ -d "$path" ] && [ ! -L "$path" ]; then
        rmdir -- "$path" 2>/dev/null || true # somebody else uses it
    else
        rm -f -- "$path"
        removed=$((removed + 1))
    fi
    # Folders of ours go when they are empty; share/ and lib/ belong to everybody.
    folder=$(dirname "$path")
    while [[ $folder == "$top"/*/marketprism* ]] && rmdir -- "$folder" 2>/dev/null; do
        folder=$(dirname "$folder")
    done
done
echo "Removed $removed files from $top."
