# SPDX-License-Identifier: Apache-2.0
"""The packages of `make deb` in a fresh Debian: they install without starting anything, the daemon runs
as its user, an upgrade keeps what was changed, removing keeps the data, purging leaves nothing. Builds
packages and a Debian, so it runs in `make soak` only (MP_SOAK), as root, where debootstrap is.

MP_DEBS: a folder with packages that are built already; MP_DEBIAN: a Debian of debootstrap that is copied
instead of being made."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import mp_tap

ROOT = pathlib.Path(__file__).parents[2]
NEEDS = ("debootstrap", "dpkg-buildpackage", "dh", "dpkg-deb", "chroot", "unshare", "mount")
CONF = "etc/marketprism/marketprism.conf"
DATA = "var/lib/marketprism"


def why_not():
    if "MP_SOAK" not in os.environ:
        return "it builds packages and a Debian: make soak"
    if os.geteuid() != 0:
        return "a Debian can be made by root only"
    missing = [name for name in NEEDS if not shutil.which(name)]
    return f"there is no {', '.join(missing)}" if missing else None


def run(*command, check=True, **options):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False,
                          stdin=subprocess.DEVNULL, **options)
    if check and done.returncode:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stdout[-4000:]}")
    return done


class Root:
    """A minimal Debian in a folder. What is mounted in it is seen by its own commands alone."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder, "root")
        # Only what comes from outside may be missing: then there is nothing to test.
        if "MP_DEBIAN" in os.environ:
            made = run("cp", "-a", os.environ["MP_DEBIAN"], self.path)
        else:
            made = run("debootstrap", "--variant=minbase", "bookworm", self.path, check=False)
        if made.returncode:
            raise unittest.SkipTest(f"no Debian can be made: {made.stdout[-300:]}")
        policy = self.path / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\necho \"$@\" >>/started\nexit 101\n", encoding="utf-8")
        policy.chmod(0o755)
        if pathlib.Path("/etc/resolv.conf").exists():
            shutil.copy("/etc/resolv.conf", self.path / "etc/resolv.conf")

    def command(self, *words, user=None):
        """The words that run @words in here, with a /proc that ends with them."""
        enter = ["chroot", *([f"--userspec={user}:{user}"] if user else []), str(self.path)]
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
                'mount -t proc proc "$1/proc" && shift && exec "$@"', "sh", str(self.path), *enter,
                "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive",
                "LC_ALL=C.UTF-8", *map(str, words)]

    def run(self, *words, user=None, check=True):
        return run(*self.command(*words, user=user), check=check)

    def install(self, *packages):
        for package in packages:
            shutil.copy(package, self.path / "tmp")
        return self.run("apt-get", "install", "-y", "--no-install-recommends",
                        "-o", "Dpkg::Options::=--force-confdef",
                        "-o", "Dpkg::Options::=--force-confold",
                        *(f"/tmp/{package.name}" for package in packages))

    def files(self):
        """All that is there, but for what apt and dpkg note and what is made at each run."""
        skip = ("proc", "sys", "dev", "tmp", "run", "var/cache", "var/log", "var/lib/apt",
                "var/lib/dpkg", "started")
        found = run("find", self.path, "-xdev", "(", "-type", "f", "-o", "-type", "d", "-o",
                    "-type", "l", ")", "-printf", r"%P\n").stdout.splitlines()
        return {name for name in found if not name.startswith(skip)}


class Daemon:
    """The real binary, started by hand as the user of the package."""

    def __init__(self, root):
        self.process = subprocess.Popen(
            root.command("marketprism", "serve", "--config", f"/{CONF}", "--resp", "127.0.0.1:0",
                         "--http", "127.0.0.1:0", user="marketprism"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True)
        self.said = ""
        for line in self.process.stdout:
            self.said += line
            if line.startswith('{"event":"ready"'):
                self.ready = json.loads(line)
                return
        raise AssertionError("the daemon did not start: " + self.said)

    def ask(self, root, *words):
        return root.run("marketprism", *words, "--resp", self.ready["resp"]).stdout

    def stop(self):
        # It is the first process of its own world, or the child of it; both hear SIGTERM.
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for child in children.read_text(encoding="ascii").split():
            os.kill(int(child), 15)
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, out


def newer(package, folder):
    """The same package with a higher version and another default configuration."""
    tree = pathlib.Path(folder, package.stem)
    run("dpkg-deb", "-R", package, tree)
    control = tree / "DEBIAN/control"
    text = control.read_text(encoding="utf-8")
    text = re.sub(r"^Version: (.*)$", r"Version: \1+1", text, flags=re.M)
    text = re.sub(r"\(= (.*?)\)", r"(= \1+1)", text)  # they depend on each other
    control.write_text(text, encoding="utf-8")
    if (tree / CONF).exists():
        with open(tree / CONF, "a", encoding="utf-8") as file:
            file.write("# of the newer version\n")
        sums = tree / "DEBIAN/md5sums"
        run("sh", "-c", 'cd "$1" && find usr lib -type f -exec md5sum {} + >DEBIAN/md5sums', "sh", tree)
        assert sums.exists()
    made = pathlib.Path(folder, f"newer-{package.name}")
    run("dpkg-deb", "--root-owner-group", "-b", tree, made)
    return made


class Debian(unittest.TestCase):
    def setUp(self):
        reason = why_not()
        if reason:
            self.skipTest(reason)
        folder = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        debs = os.environ.get("MP_DEBS")
        if not debs:
            debs = self.folder / "debs"
            run(ROOT / "scripts/deb.sh", env=dict(os.environ, OUT=str(debs)))
        self.packages = sorted(path for path in pathlib.Path(debs).glob("*.deb")
                               if "-dbgsym_" not in path.name)
        self.assertEqual(len(self.packages), 3, self.packages)
        self.root = Root(self.folder)

    def test_a_package_from_its_installation_to_its_purge(self):
        root = self.root
        root.run("apt-get", "update")
        root.run("apt-get", "install", "-y", "--no-install-recommends", "adduser")
        before = root.files()
        self.is_installed()
        self.runs_as_its_user()
        self.is_upgraded()
        self.is_removed_and_keeps_the_data()
        root.run("apt-get", "purge", "-y", "marketprism")
        root.run("apt-get", "purge", "-y", "--auto-remove", "libmarketprism-dev", "libmarketprism1")
        left = root.files() - before
        # The user stays, so that nobody gets its number.
        self.assertEqual({name for name in left if "marketprism" in name}, set())
        self.assertIn("marketprism:", (root.path / "etc/passwd").read_text(encoding="utf-8"))

    def is_installed(self):
        root = self.root
        root.install(*self.packages)
        self.assertEqual(run("find", root.path / DATA, "-maxdepth", "0", "-printf", "%m").stdout, "700")
        owner = root.run("stat", "-c", "%U:%G", f"/{DATA}").stdout.strip()
        self.assertEqual(owner, "marketprism:marketprism")
        status = root.run("dpkg-query", "-W", "-f=${Conffiles}", "marketprism").stdout
        self.assertIn(f"/{CONF}", status)
        self.assertEqual(root.run("dpkg", "--verify", "marketprism").stdout, "")
        # Nothing runs: who asked the policy was told no, and nobody went around it.
        running = [link for link in pathlib.Path("/proc").glob("[0-9]*/root")
                   if os.path.realpath(link) == str(root.path)]
        self.assertEqual(running, [])

    def runs_as_its_user(self):
        root, daemon = self.root, Daemon(self.root)
        try:
            self.assertEqual(daemon.ready["trouble"], "")
            daemon.ask(root, "set", "shop/limit", "80")
            self.assertEqual(daemon.ask(root, "get", "shop/limit"), "80\n")
        finally:
            status, said = daemon.stop()
        self.assertEqual(status, 0, said)
        owner = root.run("stat", "-c", "%U", f"/{DATA}/origin.db").stdout.strip()
        self.assertEqual(owner, "marketprism")

    def is_upgraded(self):
        root, conf = self.root, self.root.path / CONF
        mine = conf.read_text(encoding="utf-8") + "log:\n  level: warn\n"
        conf.write_text(mine, encoding="utf-8")
        root.install(*(newer(package, self.folder) for package in self.packages))
        version = root.run("dpkg-query", "-W", "-f=${Version}", "marketprism").stdout
        self.assertTrue(version.endswith("+1"), version)
        self.assertEqual(conf.read_text(encoding="utf-8"), mine)
        daemon = Daemon(root)
        try:
            self.assertEqual(daemon.ask(root, "get", "shop/limit"), "80\n")
        finally:
            status, said = daemon.stop()
        self.assertEqual(status, 0, said)

    def is_removed_and_keeps_the_data(self):
        root = self.root
        root.run("apt-get", "remove", "-y", "marketprism")
        self.assertFalse((root.path / "usr/bin/marketprism").exists())
        self.assertTrue((root.path / CONF).exists())
        self.assertTrue((root.path / DATA / "origin.db").exists())


if __name__ == "__main__":
    mp_tap.main()
