#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install under PREFIX (default /usr/local), below DESTDIR where it is set, and keep a list of what
# was installed for scripts/uninstall.sh.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

prefix=${PREFIX:-/usr/local}
list=${DESTDIR:-}$prefix/share/marketprism/installed-files
scripts/install-deps.sh build
configure build -Dbuildtype=release "$(tests_option)" "-Dprefix=$prefix"
step "Building" build/build.log ninja -C build -j "$jobs"
step "Installing under ${DESTDIR:-}$prefix" build/install.log meson install -C build --no-rebuild
mkdir -p "$(dirname "$list")"
grep -v '^#' build/meson-logs/install-log.txt >"$list"
printf '%s\n' "$list" >>"$list"
echo "Installed $(wc -l <"$list") files; make uninstall removes them."
