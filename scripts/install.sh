#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install under PREFIX (default /usr/local), below DESTDIR where it is set, and keep a list of what
# was installed for scripts/uninstall.sh. A configuration that is there already stays as it is.
#
#   --built  install the folder BUILD (default build) as it is; its prefix must be PREFIX
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

prefix=${PREFIX:-/usr/local}
list=${DESTDIR:-}$prefix/share/marketprism/installed-files
build=${BUILD:-build}
if [ "${1:-}" != --built ]; then
    scripts/install-deps.sh build
    configure "$build" -Dbuildtype=release "$(tests_option)" "-Dprefix=$prefix"
    step "Building" "$build/build.log" ninja -C "$build" -j "$jobs"
fi
step "Installing under ${DESTDIR:-}$prefix" "$build/install.log" \
    meson install -C "$build" --no-rebuild
mkdir -p "$(dirname "$list")"

# meson lists the files, then the folders that it had to make. What an older version had installed and
# this one has not goes; the folders that it made are still ours.
old=$(cat "$list" 2>/dev/null || true)
new=$(grep -v '^#' "$build/meson-logs/install-log.txt" && printf '%s\n' "$list")
while IFS= read -r path; do
    if [ -d "$path" ] && [ ! -L "$path" ]; then
        new+=$'\n'$path
    elif [ -n "$path" ] && ! grep -qxF -- "$path" <<<"$new"; then
        rm -f -- "$path"
    fi
done <<<"$old"
# The unit names this file. Not on the list, but for the folders made for it: what was written into
# it is the user's.
conf=$(sed -n 's/^ExecStart=.*--config //p' "$build/deploy/marketprism.service")
folder=$(dirname "${DESTDIR:-}$conf")
while [ ! -d "$folder" ]; do
    new+=$'\n'$folder
    folder=$(dirname "$folder")
done
sort -u <<<"$new" >"$list"
if [ ! -e "${DESTDIR:-}$conf" ]; then
    mkdir -p "$(dirname "${DESTDIR:-}$conf")"
    sed "s,/etc/marketprism/marketprism.conf,$conf," deploy/marketprism.conf >"${DESTDIR:-}$conf.new"
    chmod 644 "${DESTDIR:-}$conf.new"
    mv "${DESTDIR:-}$conf.new" "${DESTDIR:-}$conf"
    echo "Made ${DESTDIR:-}$conf"
fi
echo "Installed; make uninstall removes it. The list: $list"
[ -n "${DESTDIR:-}" ] || [ ! -d /run/systemd/system ] || cat <<EOF
As a service (as root):
  systemd-sysusers && systemctl daemon-reload && systemctl enable --now marketprism
EOF
