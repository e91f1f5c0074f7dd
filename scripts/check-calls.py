#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuse calls that have no place in the project, or not in that place.

    check-calls.py [ROOT]

Some functions are refused everywhere, since there is a safer one. Others reach around an interface
of ours (memory, clock, random, files, sockets) and are allowed only where that interface is made;
else a test could not let them fail, and the simulator could not run the code.
"""

import pathlib
import re
import sys

EVERYWHERE = {
    r"strcpy|strcat|stpcpy|sprintf|vsprintf|gets": "no bound; use snprintf, memcpy with a size or mp__buf",
    r"atoi|atol|atoll|atof": "no error; use strtoll and look at what it says",
    r"alloca": "the stack has no error; use core/alloc.h",
    r"strtok|strtok_r": "hidden state or writes to its input; walk with strcspn",
    r"v?f?scanf|v?sscanf": "overflow is undefined; use strtoll",
    r"tmpnam|mktemp|tempnam": "a race; use mkstemp or mkdtemp",
    r"setjmp|longjmp": "skips every clean-up",
}

# Calls that only some files of src/ may make, by a prefix of their path.
OWNED = {
    r"system|popen": ((), "no shell; execv with a list of arguments"),
    r"malloc|calloc|realloc|free|strdup|strndup|v?asprintf|aligned_alloc|posix_memalign|memalign":
        # The command line gives back what jansson and scandir() made.
        (("src/core/alloc.c", "src/cli/"), "use core/alloc.h, so that a test can let it fail"),
    r"clock_gettime|gettimeofday|time|clock|usleep|sleep|nanosleep":
        # The client blocks by nature. server.c: main waits for clients to leave, at the very end.
        (("src/core/env", "src/bench/", "src/cli/", "src/client/", "src/server/server.c"),
         "ask the mp_env, so that tests turn the clock"),
    r"rand|srand|random|srandom|rand_r|drand48|getrandom|getentropy":
        (("src/core/env",), "ask the mp_env, so that a seed repeats the run"),
    r"open|openat|creat|fopen|opendir|pread|pwrite|preadv|preadv2|pwritev|fsync|fdatasync|ftruncate|"
    r"rename|renameat|unlink|unlinkat|flock":
        # /proc is no disk: monitor and INFO read what the kernel knows of this process.
        (("src/core/env", "src/cli/", "src/bench/", "src/monitor/expose.c",
          "src/server/resp/commands_server.c"),
         "use the files of mp_env, so that tests have a disk that fails"),
    r"socket|bind|accept|accept4|epoll_create1?|epoll_wait":
        (("src/core/env", "src/client/", "src/bench/"), "use the streams of mp_env"),
}

TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def without_comments(text):
    """The same lines, with comments, strings and characters blanked."""
    return TOKEN.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), text)


def calls(names):
    # Neither part of a longer name, nor a member: ops->open() is an interface, not a system call.
    return re.compile(rf"(?<![\w.])(?<!->)(?:{names})\s*\(")


def check_file(path, shown, rules):
    complaints = []
    text = without_comments(path.read_text(encoding="utf-8", errors="replace"))

    for pattern, why in rules:
        for match in pattern.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            name = match.group(0).rstrip("( \t\n")
            complaints.append(f"{shown}:{line}: {name}: {why}")
    return complaints


def check(root):
    everywhere = [(calls(names), why) for names, why in EVERYWHERE.items()]
    owned = [(calls(names), owners, why) for names, (owners, why) in OWNED.items()]
    complaints = []

    for folder in ("src", "include", "fuzz", "bench", "tests", "bindings"):
        for path in sorted((root / folder).rglob("*.[ch]")) if (root / folder).is_dir() else []:
            shown = path.relative_to(root).as_posix()
            rules = list(everywhere)
            if shown.startswith("src/"):
                rules += [(pattern, why) for pattern, owners, why in owned
                          if not shown.startswith(owners)]
            complaints += check_file(path, shown, rules)
    return complaints


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1])
    complaints = check(root.resolve())

    for complaint in complaints:
        print(complaint)
    if complaints:
        print(f"{len(complaints)} calls that have no place there (CONTRIBUTING.md)")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
