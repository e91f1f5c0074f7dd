#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Remove what scripts/install.sh installed under the same PREFIX and DESTDIR, and the folders that
# are empty then. Data stay, and so does a configuration into which somebody wrote something.
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
# The unit says which configuration is ours; as it was made nobody misses it.
kept=
unit=$(printf '%s\n' "${files[@]}" | grep '/marketprism\.service$' || true)
conf=$([ ! -f "$unit" ] || sed -n 's/^ExecStart=.*--config //p' "$unit")
if [ -n "$conf" ] && [ -f "${DESTDIR:-}$conf" ]; then
    if sed "s,/etc/marketprism/marketprism.conf,$conf," deploy/marketprism.conf |
        cmp -s - "${DESTDIR:-}$conf"; then
        rm -f -- "${DESTDIR:-}$conf"
        rmdir --ignore-fail-on-non-empty -- "$(dirname "${DESTDIR:-}$conf")"
    else
        kept=" Its configuration was changed and stays: ${DESTDIR:-}$conf"
    fi
fi
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
echo "Removed ${#files[@]} files from $top.$kept"
