# SPDX-License-Identifier: Apache-2.0
"""What `make install` installs works by itself, and `make uninstall` leaves nothing of it but a
configuration that somebody changed.
BUILD is the build folder, PREFIX its prefix, COMPILER the compiler."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import mp_tap

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = r"""
#include <marketprism/marketprism.h>
#include <stdio.h>
int main(void)
{
    mp_cache *cache;
    const mp_blob *value;
    if (mp_cache_new(NULL, &cache) != 0 ||
        mp_cache_put(cache, MP_STR("a/b/c"), MP_STR("installed"), 0) != 0 ||
        mp_read_begin() != 0 || mp_cache_get(cache, MP_STR("a/b/c"), &value) != 0)
        return 1;
    printf("%s %.*s\n", MP_VERSION, (int)value->size, (const char *)value->data);
    mp_read_end();
    return mp_cache_free(cache) != NULL;
}
"""


def run(*command, **environment):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True,
                          check=False, env=dict(os.environ, **environment),
                          stdin=subprocess.DEVNULL)


class Install(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix = pathlib.Path(str(cls.folder) + os.environ["PREFIX"])
        done = run(ROOT / "scripts" / "install.sh", "--built", DESTDIR=str(cls.folder))
        assert done.returncode == 0, done.stdout + done.stderr
        unit = next(cls.prefix.rglob("marketprism.service")).read_text(encoding="utf-8")
        cls.conf = pathlib.Path(str(cls.folder) + re.search(r"^ExecStart=.* --config (\S+)$", unit, re.M)[1])
        cls.pkgconfig = next(cls.prefix.rglob("marketprism.pc")).parent

    def flags(self, *options):
        done = run("pkg-config", *options, "marketprism",
                   PKG_CONFIG_PATH=str(self.pkgconfig), PKG_CONFIG_SYSROOT_DIR=str(self.folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.split()

    def test_a_program_builds_and_runs_with_what_is_installed(self):
        source, program = self.folder / "program.c", self.folder / "program"
        source.write_text(PROGRAM, encoding="utf-8")
        built = run(os.environ["COMPILER"], "-std=c11", "-Wall", "-Wextra", "-Werror", source,
                    "-o", program, *self.flags("--cflags", "--libs"))
        self.assertEqual(built.returncode, 0, built.stderr)
        done = run(program, LD_LIBRARY_PATH=str(self.pkgconfig.parent))
        version = self.flags("--modversion")[0]
        self.assertEqual((done.returncode, done.stdout), (0, f"{version} installed\n"))

    def test_the_example_of_the_library_builds_as_it_says_and_runs(self):
        source = self.prefix / "share/doc/marketprism/examples/library/orders.c"
        program = self.folder / "orders"
        built = run(os.environ["COMPILER"], "-std=c11", "-Wall", "-Wextra", "-Werror", source, "-o",
                    program, *self.flags("--cflags", "--libs"), "-pthread")
        self.assertEqual(built.returncode, 0, built.stderr)
        done = run(program, LD_LIBRARY_PATH=str(self.pkgconfig.parent))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        lines = done.stdout.splitlines()
        self.assertEqual(lines[:2], [f"thread {i}: 250000 of 1000000 orders within the limit"
                                     for i in (1, 2)])
        hits, reads = map(int, re.match(r"(\d+) of (\d+) reads", lines[2]).groups())
        self.assertEqual(hits, 2_000_000)
        self.assertIn(reads - hits, (1, 2))  # both threads may find that nothing is there yet

    def test_headers_are_those_of_the_include_folder_and_each_stands_alone(self):
        headers = sorted(path.name for path in (self.prefix / "include/marketprism").iterdir())
        sources = {path.name.removesuffix(".in") for path in (ROOT / "include/marketprism").iterdir()
                   if path.name != "meson.build"}
        self.assertEqual(set(headers), sources)
        for header in headers:
            source = self.folder / "alone.c"
            source.write_text(f"#include <marketprism/{header}>\nextern int any;\n",
                              encoding="utf-8")
            done = run(os.environ["COMPILER"], "-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror",
                       "-fsyntax-only", *self.flags("--cflags"), source)
            self.assertEqual(done.returncode, 0, f"{header}: {done.stderr}")

    def test_headers_are_readable_to_cpp(self):
        compiler = shutil.which("g++") or shutil.which("clang++")
        if not compiler:
            self.skipTest("there is no C++ compiler")
        source = self.folder / "program.cc"
        source.write_text("#include <marketprism/marketprism.h>\n"
                          "int main() { return mp_strerror(0) == nullptr; }\n", encoding="utf-8")
        done = run(compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                   *self.flags("--cflags"), source)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_exactly_the_declared_functions_are_exported(self):
        declared = set()
        for header in (self.prefix / "include/marketprism").iterdir():
            text = header.read_text(encoding="utf-8")
            declared |= set(re.findall(r"^MP_API\s[^(;]*?\b(mp_\w+)\(", text, re.M))
        library = next(self.prefix.rglob("libmarketprism.so"))
        symbols = run("nm", "-D", "--defined-only", library).stdout
        exported = set(re.findall(r" [TDBR] (\w+)@@MARKETPRISM_1", symbols))
        self.assertGreater(len(declared), 10)
        self.assertEqual(exported, declared)

    def test_the_service_and_its_configuration_are_installed(self):
        unit = (self.prefix / "lib/systemd/system/marketprism.service").read_text(encoding="utf-8")
        start = re.search(r"^ExecStart=(\S+) serve --config (\S+)$", unit, re.M)
        for path in start.groups():
            self.assertTrue(os.path.exists(str(self.folder) + path), path)
        self.assertTrue((self.prefix / "lib/sysusers.d/marketprism.conf").exists())
        docs = self.prefix / "share/doc/marketprism"
        for name in ("README.md", "docs/configuration.md", "examples/config/production/default.yaml"):
            self.assertTrue((docs / name).exists(), name)

    def test_a_configuration_that_is_there_stays_as_it_is(self):
        conf = self.conf
        before = conf.read_text(encoding="utf-8")
        self.assertIn("data_dir: /var/lib/marketprism", before)
        self.addCleanup(conf.write_text, before, encoding="utf-8")
        conf.write_text("mine: 1\n", encoding="utf-8")
        done = run(ROOT / "scripts" / "install.sh", "--built", DESTDIR=str(self.folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(conf.read_text(encoding="utf-8"), "mine: 1\n")

    def left(self):
        return {path for path in self.folder.rglob("*") if path.is_file() or path.is_symlink()}

    def test_z_uninstall_leaves_nothing_but_a_configuration_that_was_changed(self):
        for path in self.folder.iterdir():
            if path.is_file():  # what the other tests compiled
                path.unlink()
        strange = self.prefix / "share" / "marketprism" / "somebody-elses"
        strange.touch()
        conf = self.conf
        with open(conf, "a", encoding="utf-8") as file:
            file.write("# mine\n")
        done = run(ROOT / "scripts" / "uninstall.sh", DESTDIR=str(self.folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.left(), {strange, conf})
        self.assertIn(f"was changed and stays: {conf}", done.stdout)
        self.assertFalse((self.prefix / "include").exists())
        self.assertFalse((self.prefix / "lib").exists())
        shutil.rmtree(conf.parent.parent)
        done = run(ROOT / "scripts" / "install.sh", "--built", DESTDIR=str(self.folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(conf.exists())
        done = run(ROOT / "scripts" / "uninstall.sh", DESTDIR=str(self.folder))
        self.assertEqual((done.returncode, self.left()), (0, {strange}), done.stderr)
        self.assertFalse(conf.parent.exists())
        self.assertFalse(conf.parent.parent.exists())  # etc was made for it alone

    def test_installing_again_forgets_no_file(self):
        names = (self.prefix / "share/marketprism/installed-files").read_text(encoding="utf-8")
        old = self.prefix / "share/marketprism/of-an-older-version"
        old.touch()
        with open(self.prefix / "share/marketprism/installed-files", "a", encoding="utf-8") as file:
            file.write(f"{old}\n")
        done = run(ROOT / "scripts" / "install.sh", "--built", DESTDIR=str(self.folder))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertFalse(old.exists())
        self.assertEqual((self.prefix / "share/marketprism/installed-files")
                         .read_text(encoding="utf-8"), names)


if __name__ == "__main__":
    mp_tap.main()
