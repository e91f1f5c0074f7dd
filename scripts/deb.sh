#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Build the Debian packages of what is here into build-deb/. The sources are copied there first, so
# that the tree stays as it is.
#
#   --source-only  make the copy, with its debian/, and build nothing
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

out=${OUT:-build-deb}
version=$(sed -n "s/^ *version: '\([^']*\)',$/\1/p" meson.build | head -n 1)
copy=$out/marketprism-$version

# What git knows and what is new; without git everything but the folders of builds.
sources()
{
    if [ -e .git ] && command -v git >/dev/null; then
        git ls-files -z --cached --others --exclude-standard
    else
        find . -path './build*' -prune -o -path ./marketprism-data -prune -o -type f -printf '%P\0'
    fi
}

rm -rf "$copy"
mkdir -p "$copy"
sources | while IFS= read -r -d '' path; do
    [ ! -f "$path" ] || printf '%s\0' "$path" # what git knows may be gone
done | tar --null --files-from=- -cf - | tar -xf - -C "$copy"
cp -R deploy/debian "$copy/debian"
[ "${1:-}" != --source-only ] || exit 0

scripts/install-deps.sh build deb
rm -f "$out"/*.deb "$out"/*.buildinfo "$out"/*.changes
package()
(
    cd "$copy" && DEB_BUILD_OPTIONS="parallel=$jobs nocheck ${DEB_BUILD_OPTIONS:-}" \
        dpkg-buildpackage --build=binary --no-sign
)
step "Building the packages" "$out/build.log" package
if command -v lintian >/dev/null; then
    step "Checking them with lintian" "$out/lintian.log" lintian --fail-on error \
        --allow-root "$out"/*.changes
fi
echo "Packages, to be installed with apt-get install ./FILE:"
for package in "$out"/*.deb; do
    [[ $package == *-dbgsym_* ]] || echo "  $package"
done
