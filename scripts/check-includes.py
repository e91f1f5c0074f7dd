#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check the direction of dependencies: which file may include which.

    check-includes.py [ROOT]

- A module includes only modules that stand below it in MAY_USE, and of each of them only the front
  header, X/X.h (FRONT names those that have several). Of the public headers, all.
- A public header includes only public headers and the C library.
- A library from outside is included only by the modules that wrap it (OUTSIDE).
- Headers do not include each other in a circle.
- Unit tests of a module may look inside it and at what it may use; the other tests may see all.
"""

import pathlib
import re
import sys

# From the ground up. What is not here may not be included: a new module is added deliberately.
MAY_USE = {
    "core": [],
    "monitor": ["core"],
    "audit": ["core"],
    "alerts": ["core"],
    "access": ["core"],
    "protocol": ["core"],
    "format": ["core"],
    "schema": ["core"],
    "origin": ["core", "monitor", "audit", "alerts", "protocol", "format"],
    "cache": ["core", "monitor", "audit", "alerts"],
    "shared": ["core", "protocol", "cache"],
    "balancer": ["core", "monitor", "audit", "alerts"],
    "analyzer": ["core", "monitor"],
    "optimizer": ["core", "monitor", "audit", "analyzer"],
    "manager": ["core", "monitor", "audit", "alerts", "access", "format", "schema", "origin",
                "cache", "shared", "balancer", "analyzer", "optimizer"],
    # The manager's requests carry entries of the cache and changes of the origin, so that the
    # server sees their types; it calls neither, and is linked alone to prove it.
    "server": ["core", "monitor", "access", "protocol", "format", "schema", "manager", "cache", "origin"],
    "front": ["core", "monitor", "protocol", "balancer"],
    "client": ["core", "protocol"],
    "bench": ["core", "monitor", "access", "protocol", "format", "schema", "origin", "cache", "balancer",
              "manager", "server", "client"],
    "cli": ["core", "monitor", "audit", "alerts", "access", "protocol", "format", "schema", "origin", "cache",
            "balancer", "analyzer", "optimizer", "manager", "server", "front", "client", "bench"],
}

# core is many small things, each to be had by itself; protocol and cache have two faces.
FRONT = {
    "core": "core/",
    "protocol": ("protocol/resp.h", "protocol/http.h", "protocol/websocket.h"),
    "schema": ("schema/schema.h", "schema/tree.h"),  # documents as text; as trees
    "cache": ("cache/cache.h", "cache/replay.h", "cache/predict.h"),  # live; on a trace; what if
}

# Libraries with an owner: what stands behind an interface of ours is not reached around it.
OUTSIDE = {
    "uv.h": ["core"],
    "liburing.h": ["core"],
    "yaml.h": ["core", "format"],
    "xxhash.h": ["core"],
    "sodium.h": ["core", "access", "cache", "audit"],
    "openssl": ["core"],
    "sqlite3.h": ["origin", "monitor", "audit"],
    "zstd.h": ["cache", "bench", "cli"],
    "zdict.h": ["cache"],
    "zlib.h": ["server"],
    "jansson.h": ["core", "format", "schema", "manager", "protocol", "server", "cli"],
    "llhttp.h": ["protocol"],
    "pcre2.h": ["schema"],
    "curl": ["origin"],
    "libpq-fe.h": ["origin"],
}

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def includes(path):
    """(line number, quoted or angled, name) of every include."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            match = INCLUDE.match(line)
            if match:
                yield number, match.group(1) == '"', match.group(2)


class Checker:
    def __init__(self, root):
        self.root = root
        self.modules = {path.name for path in (root / "src").iterdir() if path.is_dir()}
        self.complaints = []

    def complain(self, path, number, text):
        self.complaints.append(f"{path.relative_to(self.root)}:{number}: {text}")

    def check_outside(self, path, number, name, module):
        for library, owners in OUTSIDE.items():
            if (name == library or name.startswith(library + "/")) and module not in owners:
                self.complain(path, number, f"<{name}> belongs to {' and '.join(owners)}; "
                                            f"{module} uses their interface")

    def check_use(self, path, number, name, module, inside=()):
        """One include of @name by a file of @module, which may look inside the modules @inside."""
        target = name.split("/")[0]
        if target == module or name.startswith("marketprism/"):
            return
        if target not in self.modules:
            if "/" in name and target not in inside:
                self.complain(path, number, f'"{name}": there is no module {target}')
            return
        if target not in MAY_USE.get(module, []):
            self.complain(path, number, f"{module} may not use {target} "
                                        f"(only {', '.join(MAY_USE.get(module, [])) or 'nothing'})")
        elif target not in inside and not name.startswith(FRONT.get(target, f"{target}/{target}.h")):
            self.complain(path, number, f'"{name}" is inside {target}; '
                                        f'others include only its front header')

    def check_source(self, path, module):
        if module not in MAY_USE:
            self.complain(path, 1, f"the module {module} is not in MAY_USE of check-includes.py")
            return
        for number, quoted, name in includes(path):
            if quoted or name.startswith("marketprism/"):
                self.check_use(path, number, name, module)
            else:
                self.check_outside(path, number, name, module)

    def check_public(self, path):
        for number, quoted, name in includes(path):
            if quoted or ("/" in name and not name.startswith(("marketprism/", "sys/"))):
                self.complain(path, number, f"a public header includes only public headers and "
                                            f"the C library, not {name}")

    def check_unit_test(self, path, module):
        for number, quoted, name in includes(path):
            if quoted and "/" in name and name.split("/")[0] in self.modules:
                target = name.split("/")[0]
                self.check_use(path, number, name, module, inside=[target])

    def check_circles(self):
        """Depth first over the headers of src/; a header met again on the way is a circle."""
        done, way = set(), []

        def visit(header):
            if header in way:
                circle = way[way.index(header):] + [header]
                self.complain(self.root / "src" / header, 1, "circle: " + " -> ".join(circle))
                return
            if header in done:
                return
            way.append(header)
            for _, quoted, name in includes(self.root / "src" / header):
                if quoted and (self.root / "src" / name).is_file():
                    visit(name)
            way.pop()
            done.add(header)

        for path in sorted((self.root / "src").rglob("*.h")):
            visit(path.relative_to(self.root / "src").as_posix())

    def run(self):
        for path in sorted((self.root / "src").rglob("*.[ch]")):
            parts = path.relative_to(self.root / "src").parts
            if len(parts) > 1:
                self.check_source(path, parts[0])
        for path in sorted((self.root / "include").rglob("*.h")):
            self.check_public(path)
        for path in sorted((self.root / "tests" / "unit").glob("*/*.c")):
            self.check_unit_test(path, path.parent.name)
        self.check_circles()
        return self.complaints


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    complaints = Checker(root.resolve()).run()

    for complaint in complaints:
        print(complaint)
    if complaints:
        print(f"{len(complaints)} includes against the direction of dependencies "
              "(docs/architecture.md)")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
