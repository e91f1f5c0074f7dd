#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Make the generated pages anew from the tables in the code. `make test` fails when they are old.
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

scripts/install-deps.sh build
configure build -Dbuildtype=release "$(tests_option)"
step "Building the generator" build/docs.log ninja -C build -j "$jobs" scripts/gen-docs

# What to ask the generator for | where it goes. The test of the pages reads this table too.
while IFS='|' read -r what page; do
    build/scripts/gen-docs "$what" >"$page.new"
    if cmp -s "$page.new" "$page"; then
        rm "$page.new"
    else
        mv "$page.new" "$page"
        echo "Made $page anew"
    fi
done <<'PAGES'
configuration|docs/configuration.md
man|docs/marketprism.conf.5
example|examples/marketprism.yaml
commands|docs/commands.md
metrics|docs/metrics.md
grafana|deploy/grafana/marketprism.json
PAGES
