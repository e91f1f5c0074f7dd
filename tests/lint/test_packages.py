# SPDX-License-Identifier: Apache-2.0
"""deploy/debian and the container file agree with the sources: what is needed to build, the version,
the symbols, the libraries. BINARY names the program, LIBRARY the shared library."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import mp_tap

ROOT = pathlib.Path(__file__).parents[2]
DEBIAN = ROOT / "deploy" / "debian"
ESSENTIAL = {"gcc"}  # of build-essential, which every package may take for granted


def read(*path):
    return ROOT.joinpath(*path).read_text(encoding="utf-8")


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, stdin=subprocess.DEVNULL, **options)


class Packages(unittest.TestCase):
    def test_what_the_package_needs_to_build_is_what_make_build_installs(self):
        rows = [line.split("|") for line in read("scripts/install-deps.sh").splitlines()]
        group = {row[1].split(",")[0] for row in rows if len(row) == 3 and row[0] == "build"}
        field = re.search(r"^Build-Depends: (.*?)^\S", (DEBIAN / "control").read_text(
            encoding="utf-8"), re.M | re.S).group(1)
        needs = {re.split(r"[ (|]", item.strip())[0] for item in field.split(",")}
        self.assertEqual(needs - {"debhelper-compat"}, group - ESSENTIAL)

    def test_the_package_has_the_version_of_the_project(self):
        version = re.search(r"^  version: '(.*)',$", read("meson.build"), re.M).group(1)
        newest = re.match(r"marketprism \((.*)\) ", (DEBIAN / "changelog").read_text(
            encoding="utf-8")).group(1)
        self.assertEqual(newest, version)

    def test_the_list_of_symbols_is_what_the_headers_declare(self):
        declared = set()
        for header in (ROOT / "include/marketprism").glob("*.h"):
            declared |= set(re.findall(r"^MP_API\s[^(;]*?\b(mp_\w+)\(",
                                       header.read_text(encoding="utf-8"), re.M))
        listed = re.findall(r"^ (mp_\w+)@MARKETPRISM_1 \d", read(
            "deploy/debian/libmarketprism1.symbols"), re.M)
        self.assertGreater(len(declared), 10)
        self.assertEqual(sorted(listed), sorted(declared),
                         "say in deploy/debian/libmarketprism1.symbols since which version it is")

    def test_the_name_of_the_library_package_is_its_soname(self):
        if not os.environ.get("LIBRARY") or not shutil.which("readelf"):
            self.skipTest("no shared library in this build, or no readelf")
        said = run("readelf", "-d", os.environ["LIBRARY"]).stdout
        soname = re.search(r"soname: \[libmarketprism\.so\.(\d+)\]", said).group(1)
        control = (DEBIAN / "control").read_text(encoding="utf-8")
        self.assertIn(f"\nPackage: libmarketprism{soname}\n", control)

    def test_the_container_has_every_library_that_the_program_needs(self):
        if not shutil.which("dpkg") or not shutil.which("ldd"):
            self.skipTest("this is no Debian")
        paths = re.findall(r"=> (/\S+)", run("ldd", os.environ["BINARY"]).stdout)
        needed = set()
        for path in paths:
            for name in {path, path.removeprefix("/usr"), f"/usr{path}"}:
                needed |= set(re.findall(r"^([^:,]+):", run("dpkg", "-S", name).stdout, re.M))
        self.assertGreater(len(needed), 5)
        image = read("deploy/Containerfile").split("FROM debian:12-slim\n")[1]
        missing = {name for name in needed if not re.search(rf"\s{re.escape(name)}\s", image)}
        self.assertEqual(missing - {"libc6", "libgcc-s1"}, set())

    def test_scripts_of_the_package_are_well_formed(self):
        for name in ("marketprism.postinst", "marketprism.postrm"):
            self.assertEqual(run("sh", "-n", DEBIAN / name).returncode, 0, name)
            self.assertIn("#DEBHELPER#", read("deploy/debian", name))

    @unittest.skipUnless((ROOT / ".git").exists() and shutil.which("git"), "not a clone of git")
    def test_a_source_tree_stays_as_it_is_and_is_copied_whole(self):
        with tempfile.TemporaryDirectory() as folder:
            clone = pathlib.Path(folder, "clone")
            done = run("git", "clone", "--quiet", "--shared", ROOT, clone)
            self.assertEqual(done.returncode, 0, done.stderr)
            for name in ("scripts", "deploy", "meson.build"):  # as they are, committed or not
                done = run("cp", "-R", ROOT / name, clone)
            run("git", "-C", clone, "add", "--all")
            before = run("git", "-C", clone, "status", "--porcelain").stdout
            done = run(clone / "scripts/deb.sh", "--source-only", cwd=clone)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertEqual(run("git", "-C", clone, "status", "--porcelain").stdout, before)
            copy = next((clone / "build-deb").iterdir())
            known = set(run("git", "-C", clone, "ls-files").stdout.splitlines())
            copied = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
            self.assertEqual(known - copied, set())
            self.assertEqual({name.split("/")[0] for name in copied - known}, {"debian"})
            self.assertTrue((copy / "debian/control").exists())


if __name__ == "__main__":
    mp_tap.main()
