#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make a C file of a page that is served with a strict Content-Security-Policy.

    embed-page.py NAME INPUT OUTPUT

OUTPUT defines const char NAME[], const size_t NAME_size and const char NAME_policy[], the header's value:
nothing is loaded from anywhere, and only the styles and scripts that stand in the page, by their hashes,
are taken."""

import base64
import hashlib
import pathlib
import re
import sys


def hashes(page, element):
    found = re.findall(rf"<{element}>(.*?)</{element}>", page, re.S)
    if len(found) != page.count(f"<{element}"):
        sys.exit(f"embed-page.py: a <{element}> with attributes, or without its end")
    digests = (hashlib.sha256(text.encode()).digest() for text in found)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests) or "'none'"


def main():
    name, source, target = sys.argv[1:4]
    data = pathlib.Path(source).read_bytes()
    page = data.decode()
    policy = ("default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
              f"frame-ancestors 'none'; style-src {hashes(page, 'style')}; script-src {hashes(page, 'script')}")
    lines = [f"/* Made from {pathlib.Path(source).name}. */", "#include <stddef.h>",
             f"extern const char {name}[], {name}_policy[];", f"extern const size_t {name}_size;",
             f"const char {name}_policy[] = \"{policy}\";", f"const char {name}[] = {{"]
    for at in range(0, len(data), 24):
        lines.append(",".join(str(byte if byte < 128 else byte - 256) for byte in data[at:at + 24]) + ",")
    lines += ["};", f"const size_t {name}_size = {len(data)};", ""]
    pathlib.Path(target).write_text("\n".join(lines))


if __name__ == "__main__":
    main()
