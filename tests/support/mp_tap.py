# SPDX-License-Identifier: Apache-2.0
"""Runs the unittest classes of a file and prints TAP, so that each test is counted by itself.

    import mp_tap
    ...
    if __name__ == "__main__":
        mp_tap.main()

What a test prints goes to stderr, where it cannot be mistaken for TAP. Arguments choose tests by a
part of their name.
"""

import contextlib
import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    def __init__(self, out):
        super().__init__()
        self.out = out
        self.number = 0
        self.subtest_failed = False

    def _line(self, good, test, comment="", detail=""):
        self.number += 1
        name = test if isinstance(test, str) else test.id()
        name = name.removeprefix("__main__.")
        text = f"{'ok' if good else 'not ok'} {self.number} - {name.replace('#', '')}"
        self.out.write(text + (f" # {comment}" if comment else "") + "\n")
        if detail:
            # Also to stderr: that is what `meson test --print-errorlogs` shows.
            sys.stderr.write(f"{name}\n{detail}\n")
        for line in detail.splitlines():
            self.out.write(f"#   {line}\n")
        self.out.flush()

    def startTest(self, test):
        super().startTest(test)
        self.subtest_failed = False

    def addSuccess(self, test):
        if not self.subtest_failed:
            self._line(True, test)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self.subtest_failed = True
            self._line(False, str(subtest), detail="".join(traceback.format_exception(*error)))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line(True, test, comment=f"SKIP {reason}")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._line(False, test, detail="".join(traceback.format_exception(*error)))

    def addError(self, test, error):
        super().addError(test, error)
        name = test.id() if hasattr(test, "id") else str(test)
        self._line(False, name, detail="".join(traceback.format_exception(*error)))

    def addExpectedFailure(self, test, error):
        self._line(True, test)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._line(False, test, detail="it was expected to fail and did not")


def chosen(suite, words):
    """The tests of @suite whose names hold one of @words (all, when there are none)."""
    found = unittest.TestSuite()
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            found.addTest(chosen(item, words))
        elif not words or any(word in item.id() for word in words):
            found.addTest(item)
    return found


def main():
    out = sys.stdout
    suite = chosen(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]),
                   sys.argv[1:])
    result = TapResult(out)

    with contextlib.redirect_stdout(sys.stderr):
        suite.run(result)
    out.write(f"1..{result.number}\n")
    sys.exit(0 if result.wasSuccessful() else 1)
