# SPDX-License-Identifier: Apache-2.0
"""What is exported, read by other people's parsers, and what they write, imported: same values, same
types. Trees of awkward names and values from a seed; SEED and TREES say others."""

import base64
import configparser
import io
import json
import math
import os
import pathlib
import random
import re
import shlex
import shutil
import subprocess
import tempfile
import tomllib
import unittest

import mp_daemon
import mp_tap
from mp_http import Http

try:
    import yaml
except ImportError:
    yaml = None
try:
    import dotenv
except ImportError:
    dotenv = None

SEED = int(os.environ.get("SEED", "20261129"))
TREES = int(os.environ.get("TREES", "200"))
TYPES = {"json": "application/json", "yaml": "application/yaml", "toml": "application/toml",
         "ini": "text/x-ini", "properties": "text/x-java-properties", "env": "text/x-shellscript"}

NAMES = ["a", "b", "host", "x y", "1", "-", "\u00e4", "a=b", "#c", ";d", "[e]", "f.g", "h\\i", "'j'", '"k"',
         "l:", " m ", "null", "true", "yes", "no", "on", "y", "~", "<<", "=", "- o", "A_1", "\U0001f600", "0x10",
         "010", "1e5", "2001-01-01", "12:30:45", "?", "|", ">", "%x", "@y", "`z`", "&a", "*a", "!t", "{q}", ",",
         "k: v", "k #v", "export", "a/b", "\u2028", "\ufeffp", "\u00a0", "_", "1_000", ".inf", "1.", "+1"]
TEXTS = ["", " ", "  lead", "trail  ", "\ttab", "tab\t", "a\tb", "\n", "a\nb", "a\n", "\na", "a\n\nb\n\n", "a\r\nb",
         "\r", "a # b", "#", "a=b", "=", "a: b", ":", ";", "a ; b", '"', "'", "''", '""', '"a"', "'a'", "it's", '"a',
         "a\"b'c", "\\", "\\\\", "a\\", "\\n", "\\x41", "C:\\new", "$HOME", "${HOME}", "$(id)", "`id`", "$'a'", "!x",
         "1", "-1", "+1", "0", "-0", "00", "010", "0o10", "0x10", "0b1", "1_000", "1e5", "1E5", "1.0", ".5", "5.",
         "1e", "1e+5", ".inf", "-.inf", ".nan", "inf", "nan", "infinity", "yes", "Yes", "no", "on", "off", "y", "n",
         "true", "True", "TRUE", "false", "null", "Null", "NULL", "~", "none", "None", "2001-01-01", "12:30:45",
         "190:20:30", "2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43", "07:32:00", "<<", "=", "- a", "-", "--",
         "---", "...", "--- a", "? a", "?", "{", "}", "{a: b}", "[", "]", "[a]", ",", "&a", "*a", "!", "!!str a",
         "%", "%a", "%(x)s", "%%", "@a", "`", "|", "|-", ">", "> a", "a: ", " a: b", "#a", "\u00e4", "\u20ac",
         "\U0001f600", "\u0085", "\u009b", "\u2028", "\u2029", "\ufeff", "\u00a0", "\x01", "\x1b[2J", "\x07", "\x7f",
         "\ufffd", "\ufdd0", "a" * 5000, "a b " * 2000, "word " * 40 + "end", "export A=1", "a\nb: c\n- d", "key = value",
         "\n  indented\nnot", "  \n a", "\n\n", "a\n ", "a \nb", "\t\n"]
NUMBERS = [0, 1, -1, 10, 8, 2 ** 31, 2 ** 53 + 1, 2 ** 63 - 1, -2 ** 63, 0.0, -0.0, 0.1, -1.5, 1e5, 1e20, 1e21, 1e100,
           1e-5, 1e-7, 5e-324, 1.7976931348623157e308, 3.141592653589793, 1e16, 123456789012345680.0, 2.5e-8]


def scalar(dice):
    kind = dice.random()
    if kind < 0.65:
        return dice.choice(TEXTS)
    if kind < 0.75:
        return "".join(dice.choice(TEXTS)[:20] for _ in range(3))
    if kind < 0.92:
        return dice.choice(NUMBERS)
    return dice.choice([True, False, {}, [], None])


def tree(dice, depth=0):
    made = {}
    for _ in range(dice.randint(1, 6)):
        kind = dice.random()
        name = dice.choice(NAMES)
        if depth < 3 and kind < 0.2:
            made[name] = tree(dice, depth + 1)
        elif depth < 3 and kind < 0.35:
            made[name] = [tree(dice, depth + 2) if dice.random() < 0.3 else scalar(dice)
                          for _ in range(dice.randint(1, 4))]
        else:
            made[name] = scalar(dice)
    return made


def flat(value, path=""):
    """Key and value of each leaf, as the daemon names them."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            for c in "\\.[]":
                name = name.replace(c, "\\" + c)
            yield from flat(below, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for i, below in enumerate(value):
            yield from flat(below, f"{path}[{i}]")
    else:
        yield path, value


def without(value, unwanted):
    """The tree without such leaves; an empty map or list instead would be another value: a 1 is put there."""
    if isinstance(value, dict) and value:
        return {name: without(below, unwanted) for name, below in value.items()}
    if isinstance(value, list) and value:
        return [without(below, unwanted) for below in value]
    return 1 if unwanted(value) else value


def same(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b and math.copysign(1, a) == math.copysign(1, b)
    return type(a) is type(b) and a == b


def first_difference(a, b, path=""):
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return next((d for k in a if (d := first_difference(a[k], b[k], f"{path}/{k}"))), None)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return next((d for i in range(len(a)) if (d := first_difference(a[i], b[i], f"{path}/{i}"))), None)
    return None if same(a, b) else (path, a, b)


class Parsers(mp_daemon.Served):
    def setUp(self):
        self.http = Http(self.daemon.http, timeout=60)
        self.addCleanup(self.http.close)
        self.number = 0
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def trees(self, unwanted=lambda value: False):
        for i in range(TREES):
            yield i, without(tree(random.Random(SEED + i)), unwanted)

    def put(self, document, type_="application/json"):
        """Import it; the namespace that it is in."""
        self.number += 1
        namespace = f"t{self.id().rsplit('.', 1)[1][:40]}{self.number}"
        if not isinstance(document, (bytes, str)):
            document = json.dumps(document)
        body = document if isinstance(document, bytes) else document.encode()
        answer = self.http("POST", "/v1/import/" + namespace, body, type_)
        self.assertEqual(answer.status, 200, (answer, document[:2000]))
        return namespace

    def export(self, namespace, format_):
        answer = self.http.get("/v1/export/" + namespace, Accept=TYPES[format_])
        self.assertEqual(answer.status, 200, answer)
        return answer.body

    def there_and_back(self, format_, read, unwanted=lambda value: False):
        for i, want in self.trees(unwanted):
            text = self.export(self.put(want), format_)
            try:
                got = read(text)
            except Exception as error:
                self.fail(f"SEED={SEED + i}: {error!r}\n{text.decode()[:3000]}")
            self.assertIsNone(first_difference(want, got), f"SEED={SEED + i}\n{text.decode()[:3000]}")

    def back_and_there(self, format_, write, unwanted=lambda value: False, read=None):
        """@read: what they themselves read in what they wrote, where that is not always the same."""
        for i, want in self.trees(unwanted):
            text = write(want)
            want = read(text) if read else want
            got = json.loads(self.export(self.put(text, TYPES[format_]), "json"))
            self.assertIsNone(first_difference(want, got), f"SEED={SEED + i}\n{text[:3000]}")

    # ---- JSON, YAML, TOML

    def test_json_is_read_alike(self):
        self.there_and_back("json", json.loads)

    def test_json_of_others_is_read_alike(self):
        self.back_and_there("json", lambda t: json.dumps(t, ensure_ascii=False, indent=1))
        self.back_and_there("json", json.dumps)

    @unittest.skipUnless(yaml, "PyYAML is not installed")
    def test_yaml_is_read_alike(self):
        self.there_and_back("yaml", yaml.safe_load)

    # PyYAML is of YAML 1.1, for which these are text; of YAML 1.2 they are numbers (docs/formats.md).
    NUMBERS_OF_1_2 = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+")

    @unittest.skipUnless(yaml, "PyYAML is not installed")
    def test_yaml_of_others_is_read_alike(self):
        def is_number(value):
            return isinstance(value, str) and self.NUMBERS_OF_1_2.fullmatch(value)
        for options in ({}, {"default_flow_style": True}, {"default_style": '"'}, {"default_style": "|"},
                        {"allow_unicode": True, "width": 40}, {"default_style": "'"}, {"indent": 4, "explicit_start": True}):
            with self.subTest(options):
                self.back_and_there("yaml", lambda t: yaml.safe_dump(t, sort_keys=False, **options),
                                    is_number, yaml.safe_load)

    def test_toml_is_read_alike(self):
        self.there_and_back("toml", lambda text: tomllib.loads(text.decode()), lambda value: value is None)


    # ---- .env, INI and properties: names and texts

    def flat_trees(self, names, is_good=lambda name, text: True):
        """(number, namespace, {name: text as the daemon has it})"""
        client = self.daemon.client()
        self.addCleanup(client.close)
        for i in range(TREES):
            dice = random.Random(SEED + i)
            made = {name: scalar(dice) for name in dice.sample(names, min(len(names), 8))}
            namespace = self.put(made)
            keys = [key for key, _ in flat(made)]
            texts = {key: client("GET", f"{namespace}/{key}").decode() for key in keys}
            bad = [key for key, text in texts.items() if not is_good(key, text)]
            for key in bad:
                client("DEL", f"{namespace}/{key}")
                del texts[key]
            yield i, namespace, texts

    SHELL_NAMES = ["A", "B_1", "_x", "LONG_NAME", "a", "Zz9", "_", "i18n", "path", "K"]

    def bash_reads(self, text, names):
        path = self.folder / "file.env"
        path.write_bytes(text)
        script = 'set -a; . "$0"; for name; do printf "%s\\0" "${!name}"; done'
        done = subprocess.run(["bash", "-c", script, str(path), *names], capture_output=True, check=False,
                              env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, cwd=self.folder)
        self.assertEqual((done.returncode, done.stderr), (0, b""), text)
        return dict(zip(names, done.stdout.decode().split("\0")))

    @unittest.skipUnless(shutil.which("bash"), "bash is not installed")
    def test_env_files_are_read_alike_by_a_shell(self):
        names = [name for name in self.SHELL_NAMES if name not in ("_", "path")]
        for i, namespace, want in self.flat_trees(names):
            text = self.export(namespace, "env")
            self.assertIsNone(first_difference(want, self.bash_reads(text, list(want))),
                              f"SEED={SEED + i}\n{text.decode()[:3000]}")

    @unittest.skipUnless(dotenv, "python-dotenv is not installed")
    def test_env_files_are_read_alike_by_dotenv(self):
        # It takes a backslash before the closing quote, itself escaped or not, for one of the quote.
        def is_good(_, text):  # \\$ and \\` are escapes for shells alone, \\\\ in single quotes for dotenv alone
            if text.endswith("\\"):
                return False
            return not re.search("[$`]", text) or not re.search("[\\\\']", text)
        for i, namespace, want in self.flat_trees(self.SHELL_NAMES, is_good):
            text = self.export(namespace, "env")
            got = dotenv.dotenv_values(stream=io.StringIO(text.decode(), newline=""), interpolate=False)
            want = {key: value.replace("\r\n", "\n").replace("\r", "\n") for key, value in want.items()}
            got = {key: value.replace("\r\n", "\n").replace("\r", "\n") for key, value in got.items()}
            self.assertIsNone(first_difference(want, got), f"SEED={SEED + i}\n{text.decode()[:3000]}")

    @unittest.skipUnless(shutil.which("bash"), "bash is not installed")
    def test_env_files_of_others_are_read_alike(self):
        names = [name for name in self.SHELL_NAMES if name not in ("_", "path")]
        for i, _, want in self.flat_trees(names, lambda _, text: "'" not in text):
            text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in want.items())
            self.assertIsNone(first_difference(want, self.bash_reads(text.encode(), list(want))), text)
            got = json.loads(self.export(self.put(text, TYPES["env"]), "json"))
            self.assertIsNone(first_difference(want, got), f"SEED={SEED + i}\n{text[:3000]}")

    def test_a_zero_byte_is_refused_by_name_where_nothing_can_carry_it(self):
        namespace = self.put({"A": "a\0b"})
        answer = self.http.get("/v1/export/" + namespace, Accept=TYPES["env"])
        self.assertIn(answer.status, (409, 422), answer)
        self.assertIn("'A' holds a zero byte", answer.json["detail"])

    INI_NAMES = [name for name in NAMES if not re.search('[=:]|^["\\[;#\ufeff]|[ \t][;#]', name) and name.strip() == name]

    @staticmethod
    def ini():
        parser = configparser.RawConfigParser(default_section="\0")
        parser.optionxform = str
        return parser

    @staticmethod
    def unquoted(text):
        """What stands in double quotes, by our rules; others have no quotes."""
        if not text.startswith('"'):
            return text
        return re.sub(r"\\(.)", lambda found: {"n": "\n", "r": "\r", "t": "\t"}.get(found[1], found[1]), text[1:-1])

    def ini_reads(self, text):
        parser = self.ini()
        parser.read_string(text)
        return {f"{section}.{name}": value for section in parser.sections()
                for name, value in parser[section].items()}

    def test_ini_files_are_read_alike(self):
        names = [f"{a}\0{b}" for a in self.INI_NAMES[:12] for b in self.INI_NAMES]
        client = self.daemon.client()
        self.addCleanup(client.close)
        for i in range(TREES):
            dice = random.Random(SEED + i)
            made = {}
            for name in dice.sample(names, 8):
                section, option = name.split("\0")
                made.setdefault(section, {})[option] = scalar(dice)
            namespace = self.put(made)
            want = {key: client("GET", f"{namespace}/{key}").decode() for key, _ in flat(made)}
            text = self.export(namespace, "ini").decode()
            got = self.ini_reads(text)
            plain = {key: value for key, value in got.items() if not value.startswith('"')}
            for key, value in plain.items():
                self.assertEqual(value, want[key], f"SEED={SEED + i}\n{text[:3000]}")
            self.assertIsNone(first_difference(want, {key: self.unquoted(value) for key, value in got.items()}),
                              f"SEED={SEED + i}\n{text[:3000]}")
            for key in want.keys() - plain.keys():  # quoted is only what others read differently without
                self.assertRegex(want[key], "^[\"';#\ufeff]|[\x00-\x1f\x7f]|^\\s|[\\s\ufeff]$|[ \t][;#]",
                                 f"{key}: SEED={SEED + i}\n{text[:3000]}")

    def test_ini_files_of_others_are_read_alike(self):
        def is_good(_, text):
            return text.strip() == text and not re.search("^[\"';#]|[\x00-\x1f\x7f\u0085\u2028\u2029]|[ \t][;#]", text)
        for i, _, want in self.flat_trees(self.INI_NAMES, is_good):
            if not want:
                continue
            parser, out = self.ini(), io.StringIO()
            parser["sec tion"] = want
            parser.write(out)
            namespace = self.put(out.getvalue(), TYPES["ini"])
            client = self.daemon.client()
            got = {key: client("GET", f"{namespace}/sec tion.{key}").decode() for key in want}
            client.close()
            self.assertIsNone(first_difference(want, got), f"SEED={SEED + i}\n{out.getvalue()[:3000]}")

    @staticmethod
    def properties_read(text):
        """As java.util.Properties.load() documents it, of ISO-8859-1."""
        def unescaped(part):
            part = re.sub(r"\\u([0-9a-fA-F]{4})|\\(.)", lambda found: chr(int(found[1], 16)) if found[1]
                          else {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(found[2], found[2]), part, flags=re.S)
            return part.encode("utf-16", "surrogatepass").decode("utf-16")
        text = text.decode("latin-1").replace("\r\n", "\n").replace("\r", "\n")
        lines, read = text.split("\n"), {}
        while lines:
            line = lines.pop(0).lstrip(" \t\f")
            if not line or line[0] in "#!":
                continue
            while re.search(r"(?<!\\)(\\\\)*\\$", line) and lines:
                line = line[:-1] + lines.pop(0).lstrip(" \t\f")
            name = re.match(r"(?:\\.|[^\\=: \t\f])*", line, re.S)[0]
            rest = re.sub(r"^[ \t\f]*[=:]?[ \t\f]*", "", line[len(name):], count=1)
            read[unescaped(name)] = unescaped(rest)
        return read

    def test_properties_are_read_alike(self):
        for i, namespace, want in self.flat_trees(NAMES):
            text = self.export(namespace, "properties")
            self.assertIsNone(first_difference(want, self.properties_read(text)),
                              f"SEED={SEED + i}\n{text.decode()[:3000]}")

    JAVA = """
import java.io.*; import java.nio.charset.StandardCharsets; import java.util.*;
public class Props {
    static String coded(String s) {
        return Base64.getEncoder().encodeToString(s.getBytes(StandardCharsets.UTF_8)) + "."; }
    static String plain(String s) {
        return new String(Base64.getDecoder().decode(s.substring(0, s.length() - 1)), StandardCharsets.UTF_8); }
    public static void main(String[] args) throws Exception {
        for (File file : new File(args[0]).listFiles()) {
            String path = file.getPath();
            if (path.endsWith(".properties")) {
                Properties p = new Properties();
                try (InputStream in = new FileInputStream(file)) { p.load(in); }
                try (PrintWriter out = new PrintWriter(path + ".read")) {
                    for (String name : p.stringPropertyNames())
                        out.println(coded(name) + " " + coded(p.getProperty(name))); }
            } else if (path.endsWith(".write")) {
                Properties p = new Properties();
                try (Scanner in = new Scanner(file)) {
                    while (in.hasNext()) { String name = plain(in.next()); p.setProperty(name, plain(in.next())); } }
                try (OutputStream out = new FileOutputStream(path + ".latin1")) { p.store(out, "a comment"); }
                try (Writer out = new OutputStreamWriter(new FileOutputStream(path + ".utf8"), "UTF-8")) {
                    p.store(out, null); }
            }
        }
    }
}
"""

    @staticmethod
    def coded(text):
        return base64.b64encode(text.encode()).decode() + "."

    def test_properties_are_read_and_written_alike_by_java(self):
        source = self.folder / "Props.java"
        source.write_text(self.JAVA)
        files = self.folder / "files"
        files.mkdir()
        try:
            subprocess.run(["java", str(source), str(files)], check=True, capture_output=True, timeout=100)
        except (OSError, subprocess.SubprocessError) as error:
            self.skipTest(f"java with its compiler is not installed: {error}")
        wants = {}
        for i, namespace, want in self.flat_trees(NAMES):
            wants[i] = want
            (files / f"{i}.properties").write_bytes(self.export(namespace, "properties"))
            (files / f"{i}.write").write_text("".join(f"{self.coded(k)} {self.coded(v)}\n" for k, v in want.items()))
        subprocess.run(["java", str(source), str(files)], check=True, timeout=200)
        client = self.daemon.client()
        self.addCleanup(client.close)
        for i, want in wants.items():
            got = {}
            for line in (files / f"{i}.properties.read").read_text().splitlines():
                name, value = (base64.b64decode(word[:-1]).decode() for word in line.split(" "))
                got[name] = value
            self.assertIsNone(first_difference(want, got), f"SEED={SEED + i}")
            for kind in ("latin1", "utf8"):
                text = (files / f"{i}.write.{kind}").read_bytes()
                namespace = self.put(text, TYPES["properties"])
                got = {key: client("GET", f"{namespace}/{key}") for key in want}
                got = {key: value if value is None else value.decode() for key, value in got.items()}
                self.assertIsNone(first_difference(want, got), f"SEED={SEED + i}\n{text[:3000]}")


if __name__ == "__main__":
    mp_tap.main()
