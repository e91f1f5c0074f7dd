# SPDX-License-Identifier: Apache-2.0
"""install-deps.sh against pretended dpkg, apt and sudo: it does no more than needed, starts no
service, and leaves the machine as it was when it fails."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import mp_tap

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts" / "install-deps.sh"


def packages_of(group):
    """The package names of a group's rows, each row as the list of those that will do."""
    rows = (line.split("|") for line in SCRIPT.read_text(encoding="utf-8").splitlines())
    return [row[1].split(",") for row in rows if len(row) == 3 and row[0] == group]


TEST_GROUP = [row[0] for row in packages_of("test")]

# Each pretended program writes its name and arguments into $LOG; apt-get install also writes what
# policy-rc.d would have said, and, unless $FAIL holds its verb, adds the packages to $INSTALLED.
DPKG_QUERY = 'while read -r name; do echo "installed $name "; done <"$INSTALLED"'
APT_GET = '''
for word; do case $word in update|install) verb=$word;; esac; done
echo "apt-get $verb" >>"$LOG"
case " $FAIL " in *" $verb "*) echo "E: it is broken"; exit 100;; esac
[ "$verb" = install ] || exit 0
[ ! -x "$POLICY_RC_D" ] || { "$POLICY_RC_D"; echo "policy $?" >>"$LOG"; }
for word; do case $word in -*|install) ;; *) echo "$word" >>"$INSTALLED";; esac; done
'''
APT_CACHE = '[ -z "$NO_LISTS" ] || grep -q update "$LOG"'
SUDO = 'echo sudo >>"$LOG"; exec "$@"'
ID = 'echo "${PRETENDED_UID:-0}"'


class InstallDeps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.policy = self.folder / "policy-rc.d"
        self.log = self.folder / "log"
        self.log.touch()
        for name, text in (("dpkg-query", DPKG_QUERY), ("apt-get", APT_GET),
                           ("apt-cache", APT_CACHE), ("sudo", SUDO), ("id", ID)):
            self.program(name, text)

    def program(self, name, text):
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        path.chmod(0o755)

    def run_script(self, *groups, installed=(), **variables):
        (self.folder / "installed").write_text("".join(f"{name}\n" for name in installed),
                                               encoding="utf-8")
        environment = dict(os.environ, LOG=str(self.log), FAIL="", NO_LISTS="",
                           INSTALLED=str(self.folder / "installed"),
                           POLICY_RC_D=str(self.policy), TMPDIR=str(self.folder),
                           PATH=f"{self.folder / 'bin'}:{os.environ['PATH']}")
        environment.update(variables)
        return subprocess.run(["bash", str(SCRIPT), *groups], env=environment, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL, check=False)

    def calls(self):
        return self.log.read_text(encoding="utf-8").split("\n")[:-1]

    def test_nothing_is_called_when_all_is_there(self):
        done = self.run_script("test", installed=TEST_GROUP)
        self.assertEqual((done.returncode, done.stdout, self.calls()), (0, "", []))

    def test_only_what_is_missing_is_installed_and_said_with_the_reason(self):
        done = self.run_script("test", installed=["python3", "binutils"])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("libcmocka-dev", done.stdout)
        self.assertIn("unit tests", done.stdout)
        self.assertNotIn("python3", done.stdout)
        self.assertEqual(self.calls(), ["apt-get install", "policy 101"])

    def test_services_are_forbidden_only_meanwhile(self):
        self.run_script("test", installed=[])
        self.assertIn("policy 101", self.calls())
        self.assertFalse(self.policy.exists())

    def test_a_policy_that_was_there_is_put_back(self):
        self.policy.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        self.policy.chmod(0o755)
        self.run_script("test", installed=[])
        self.assertIn("policy 101", self.calls())
        self.assertEqual(self.policy.read_text(encoding="utf-8"), "#!/bin/sh\nexit 0\n")

    def test_a_policy_is_put_back_also_after_a_failure(self):
        self.policy.write_text("theirs", encoding="utf-8")
        done = self.run_script("test", installed=[], FAIL="install")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(self.policy.read_text(encoding="utf-8"), "theirs")

    def test_a_policy_that_a_killed_run_left_is_put_back(self):
        (self.folder / "policy-rc.d.kept-by-marketprism").write_text("theirs", encoding="utf-8")
        self.policy.write_text("ours", encoding="utf-8")
        self.run_script("test", installed=[])
        self.assertEqual(self.policy.read_text(encoding="utf-8"), "theirs")

    def test_the_lists_are_read_only_when_they_do_not_know_a_package(self):
        self.run_script("test", installed=["python3"], NO_LISTS="1")
        self.assertEqual(self.calls(), ["apt-get update", "apt-get install", "policy 101"])

    def test_old_lists_are_read_anew_after_a_failure(self):
        done = self.run_script("test", installed=["python3"], FAIL="install")
        self.assertEqual(self.calls(), ["apt-get install", "apt-get update", "apt-get install"])
        self.assertEqual(done.returncode, 1)

    def test_a_failure_says_why_and_what_to_type(self):
        done = self.run_script("test", installed=["python3", "binutils"], FAIL="install update")
        self.assertEqual(done.returncode, 1)
        self.assertIn("it is broken", done.stderr)
        self.assertIn("apt-get install -y --no-install-recommends libcmocka-dev", done.stderr)

    def test_sudo_is_used_only_where_not_root(self):
        self.run_script("test", installed=["python3"], PRETENDED_UID="1000")
        self.assertIn("sudo", self.calls())
        self.log.write_text("", encoding="utf-8")
        self.run_script("test", installed=["python3"])
        self.assertNotIn("sudo", self.calls())

    def test_one_of_several_packages_will_do(self):
        rows = packages_of("peers")
        self.assertTrue(any(len(row) > 1 for row in rows))
        done = self.run_script("peers", installed=[row[-1] for row in rows])
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_an_unknown_group_is_refused_with_the_known_ones(self):
        done = self.run_script("nonsense")
        self.assertEqual(done.returncode, 1)
        self.assertIn("coverage", done.stderr)


if __name__ == "__main__":
    mp_tap.main()
