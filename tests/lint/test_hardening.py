# SPDX-License-Identifier: Apache-2.0
"""The release binary is built with every protection that compiler and linker offer. BINARY names it,
COMPILER the compiler, for a weak program that shows that the test can see."""

import os
import pathlib
import platform
import re
import subprocess
import tempfile
import unittest

import mp_tap


def readelf(option, path):
    return subprocess.run(["readelf", "-W", option, path], capture_output=True, text=True,
                          check=True).stdout


def weaknesses(path):
    """What is missing in the binary, as short names."""
    headers, segments = readelf("--file-header", path), readelf("--program-headers", path)
    dynamic, symbols = readelf("--dynamic", path), readelf("--dyn-syms", path)
    flags = dict(re.findall(r"^\s+(\w+)\s+0x\S+ 0x\S+ 0x\S+ 0x\S+ 0x\S+ ([RWE ]{3})", segments, re.M))
    loads = re.findall(r"^\s+LOAD\s+(?:0x\S+ ){5}([RWE ]{3})", segments, re.M)
    found = []

    def need(name, good):
        if not good:
            found.append(name)

    need("position independent", re.search(r"Type:\s+DYN", headers) and
         re.search(r"FLAGS_1.*\bPIE\b", dynamic))
    need("relro", "GNU_RELRO" in segments)
    need("bind now", re.search(r"BIND_NOW|Flags:.*\bNOW\b", dynamic))
    need("stack not executable", "E" not in flags.get("GNU_STACK", "E"))
    need("nothing both writable and executable", loads and not any(
        "W" in load and "E" in load for load in loads))
    need("no text relocations", "TEXTREL" not in dynamic)
    need("no search path inside", not re.search(r"\((RPATH|RUNPATH)\)", dynamic))
    need("stack protector", "__stack_chk_fail" in symbols)
    need("fortified calls", re.search(r"__\w+_chk\b(?<!__stack_chk)", symbols))
    if platform.machine() == "x86_64":
        # The linker's note says so only when libc's start files have it too, which Debian's have
        # not; so count endbr64, which -fcf-protection puts before whatever is jumped to.
        need("branch protection", pathlib.Path(path).read_bytes().count(b"\xf3\x0f\x1e\xfa") > 100)
    return found


class Hardening(unittest.TestCase):
    def test_the_release_binary_has_every_protection(self):
        self.assertEqual(weaknesses(os.environ["BINARY"]), [])

    def test_a_weak_program_is_seen_as_weak(self):
        with tempfile.TemporaryDirectory() as folder:
            source, program = pathlib.Path(folder, "weak.c"), pathlib.Path(folder, "weak")
            source.write_text("int main(void) { return 0; }\n", encoding="utf-8")
            subprocess.run([os.environ["COMPILER"], "-no-pie", "-fcf-protection=none",
                            "-fno-stack-protector", "-U_FORTIFY_SOURCE", "-Wl,-z,norelro",
                            "-Wl,-z,lazy", "-Wl,-z,execstack", "-Wl,-rpath,/tmp",
                            source, "-o", program], check=True, capture_output=True)
            expected = {"position independent", "relro", "bind now", "stack not executable",
                        "no search path inside", "stack protector", "fortified calls"}
            if platform.machine() == "x86_64":
                expected.add("branch protection")
            self.assertEqual(expected - set(weaknesses(program)), set())


if __name__ == "__main__":
    mp_tap.main()
