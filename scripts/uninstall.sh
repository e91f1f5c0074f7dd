#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Remove what scripts/install.sh installed under the same PREFIX and DESTDIR, and the folders that
# are empty then. Data and configuration stay.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

top=${DESTDIR:-}${PREFIX:-/usr/local}
list=$top/share/marketprism/installed-files
[ -f "$list" ] || die "nothing to remove: $list is not there (another PREFIX or DESTDIR?)"
mapfile -t files <"$list"
for file in "${files[@]}"; do
    rm -f -- "$file"
done
for file in "${files[@]}"; do
    folder=$(dirname "$file")
    # Only folders of ours; share/ and lib/ belong to everybody.
    while [[ $folder == "$top"/*/marketprism* ]] && rmdir -- "$folder" 2>/dev/null; do
        folder=$(dirname "$folder")
    done
done
echo "Removed ${#files[@]} files from $top."
