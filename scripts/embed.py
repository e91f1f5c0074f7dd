#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Make a C file that holds another file's bytes.

    embed.py NAME INPUT OUTPUT

OUTPUT defines const char NAME[] and const size_t NAME_size. A C array, and not .incbin, so that the
build sees when the file changes, whatever the assembler and the compiler's cache are."""

import pathlib
import sys


def main():
    name, source, target = sys.argv[1:4]
    data = pathlib.Path(source).read_bytes()
    lines = [f"/* Made from {pathlib.Path(source).name}. */", "#include <stddef.h>",
             f"extern const char {name}[];", f"extern const size_t {name}_size;",
             f"const char {name}[] = {{"]
    for at in range(0, len(data), 24):
        lines.append(",".join(str(byte if byte < 128 else byte - 256) for byte in data[at:at + 24]) + ",")
    lines += ["};", f"const size_t {name}_size = {len(data)};", ""]
    pathlib.Path(target).write_text("\n".join(lines))


if __name__ == "__main__":
    main()
