#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make a C file that holds another file's bytes.

    embed.py [--page] NAME INPUT OUTPUT

OUTPUT defines const char NAME[] and const size_t NAME_size. A C array, and not .incbin, so that the
build sees when the file changes, whatever the assembler and the compiler's cache are.

--page: INPUT is a page that is served with a strict Content-Security-Policy, and OUTPUT also defines const
char NAME_policy[], the header's value: nothing is loaded from anywhere, and only the styles and scripts
that stand in the page, by their hashes, are taken."""

import base64
import hashlib
import pathlib
import re
import sys


def hashes(page, element):
    found = re.findall(rf"<{element}>(.*?)</{element}>", page, re.S)
    if len(found) != page.count(f"<{element}"):
        sys.exit(f"embed.py: a <{element}> with attributes, or without its end")
    digests = (hashlib.sha256(text.encode()).digest() for text in found)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests) or "'none'"


def policy(page):
    return ("default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            f"frame-ancestors 'none'; style-src {hashes(page, 'style')}; script-src {hashes(page, 'script')}")


def main():
    arguments = sys.argv[1:]
    is_page = arguments[:1] == ["--page"]
    name, source, target = arguments[is_page:]
    data = pathlib.Path(source).read_bytes()
    lines = [f"/* Made from {pathlib.Path(source).name}. */", "#include <stddef.h>",
             f"extern const char {name}[];", f"extern const size_t {name}_size;",
             f"const char {name}[] = {{"]
    for at in range(0, len(data), 24):
        lines.append(",".join(str(byte if byte < 128 else byte - 256) for byte in data[at:at + 24]) + ",")
    lines += ["};", f"const size_t {name}_size = {len(data)};", ""]
    if is_page:
        lines += [f"extern const char {name}_policy[];",
                  f"const char {name}_policy[] = \"{policy(data.decode())}\";", ""]
    pathlib.Path(target).write_text("\n".join(lines))


if __name__ == "__main__":
    main()
