/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/json.h"
#include "core/option.h"

const mp__flag mp__no_flags[] = {{NULL, NULL, NULL, NULL}};

/* Flags that every verb that speaks to a daemon takes. */
const mp__flag mp__client_flags[] = {
    {"--resp", NULL, "HOST:PORT", "The daemon; else $MARKETPRISM_ADDR, else 127.0.0.1:7480."},
    {"--env", "-e", "NAME", "Environment; else the daemon's first, production by default."},
    {"--region", NULL, "NAME", "Region of the environment; its keys stand before those of it."},
    {"--instance", NULL, "NAME", "Instance of the region, the nearest layer of all."},
    {"--namespace", "-n", "NAME", "Namespace of the keys that are named without one."},
    {"--json", NULL, NULL, "Print JSON."},
    {"--timeout", NULL, "TIME",
     "Longest wait for an answer, in seconds or as 500ms, 2m; 5 by default."},
    {NULL, NULL, NULL, NULL},
};
static const mp__flag common_flags[] = {
    {"--help", "-h", NULL, "Print this help."},
    {NULL, NULL, NULL, NULL},
};

const mp__verb mp__verbs[] = {
    {"serve",
     "[--config FILE] [--data-dir DIR] [--resp HOST:PORT] [--http HOST:PORT] [--set KEY=VALUE]",
     "Run the daemon.",
     "Prints a ready line as JSON once it answers. SIGTERM lets commands under way be answered and "
     "stops; "
     "SIGHUP reads the configuration again. A daemon before this one on the same folder that is "
     "just "
     "ending is waited for, up to two seconds.",
     mp__serve_flags, 0, 0, mp__verb_serve, false},
    {"get", "KEY", "Print a value.",
     "Exit code 0: found; 3: the origin says there is none; 4: nobody can be asked and nothing is "
     "kept.",
     mp__get_flags, 1, 1, mp__verb_get, true},
    {"set", "KEY VALUE", "Set a value, durable before the answer. VALUE - reads standard input.",
     "", mp__set_flags, 2, 2, mp__verb_set, true},
    {"del", "KEY...", "Delete keys, all or none. Exit code 3 when none of them was there.", "",
     mp__del_flags, 1, -1, mp__verb_del, true},
    {"ls", "[PREFIX]",
     "List keys that begin with PREFIX, as NAMESPACE/KEY or KEY of the default namespace.",
     "Exit code 3: there is no key that begins with PREFIX.", mp__ls_flags, 0, 1, mp__verb_ls,
     true},
    {"watch", "[PREFIX...]", "Print changes as they happen, values too.",
     "Ends on Ctrl-C or after --count changes, and with --no-resume when the daemon goes.",
     mp__watch_flags, 0, -1, mp__verb_watch, true},
    {"history", "KEY", "Every revision of a key, newest first.", "", mp__history_flags, 1, 1,
     mp__verb_history, true},
    {"rollback", "KEY REVISION", "Make the value of an earlier revision the newest again.", "",
     mp__no_flags, 2, 2, mp__verb_rollback, true},
    {"import", "PATH...|-", "Import configuration files as keys, unchanged ones left alone.",
     "JSON, YAML, TOML, .env, INI and Java properties, by the ending. A folder of files: "
     "NAMESPACE.yaml "
     "becomes the namespace of its name; a folder of folders: "
     "the "
     "first level names environments. All files are read before the first key is written, so an "
     "error "
     "in one of them changes nothing; and all keys are written at once, or none. PATH - reads "
     "standard input, whose format --format says; its namespace is `default` unless --namespace "
     "says another.",
     mp__import_flags, 1, -1, mp__verb_import, true},
    {"export", "[NAMESPACE/[KEY-PREFIX]]", "Export keys as configuration files, one a namespace.",
     "Data and types are kept; comments and order are not. A file is replaced as a whole or stays "
     "as it was.",
     mp__export_flags, 0, 1, mp__verb_export, true},
    {"diff", "PREFIX --to-env NAME | PREFIX --revision N [--to-revision N] | FILE...",
     "Compare two environments, two revisions, or files with the daemon.",
     "One line a key: + is added, - is removed, ~ is changed from -> to. Files, and - for "
     "standard input, are those that import would take; keys of their namespaces that are in no "
     "file are shown as removed. Exit code 3: neither of two environments or revisions has a key.",
     mp__diff_flags, 0, -1, mp__verb_diff, true},
    {"edit", "KEY|PREFIX", "Edit a value, or all keys below a prefix, in your editor.",
     "$VISUAL, else $EDITOR, else vi. The difference is shown before it is written, all or "
     "nothing; "
     "a key that was changed meanwhile refuses it, and the file with what you typed stays.",
     mp__edit_flags, 1, 1, mp__verb_edit, true},
    {"validate", "FILE...", "Check configuration files without a daemon, errors with their place.",
     "Files, folders and - as import takes them; with --schema each is checked against a JSON "
     "Schema. "
     "Exit code 1 when one is not good.",
     mp__validate_flags, 1, -1, mp__verb_validate, false},
    {"render", "TEMPLATE", "Render a template into a file, again on every change with --watch.",
     "{{feeds/kraken.url}} stands for a value, {{key | default \"x\"}} for one that may be absent; "
     "further filters are json, shell, upper, lower, trim and base64. {{if key}} .. {{else}} .. "
     "{{end}} asks whether a key is there and says neither 0, false, no, off nor nothing. {{range "
     "feeds/}} {{.key}} {{.name}} {{.value}} {{end}} goes through the keys of a prefix. {{- and "
     "-}} "
     "take the white space beside them. The file is replaced as a whole, or stays as it was. "
     "TEMPLATE - reads standard input.",
     mp__render_flags, 1, 1, mp__verb_render, true},
    {"exec", "[--prefix PREFIX] -- COMMAND [ARGUMENT...]",
     "Run a program with configuration in its environment.",
     "feeds/kraken.rate_limit with --prefix feeds/ is KRAKEN_RATE_LIMIT. Exit code: the program's; "
     "127 when it is not found, 126 when it cannot be run.",
     mp__exec_flags, 0, -1, mp__verb_exec, true},
    {"explain", "KEY",
     "Why a read of the key is answered as it is; `cache`: what another size would hit.",
     "Shows each layer of its overlay and what is kept of the key there; the one that answers is "
     "marked with >. Exit code: 3 when a read finds none, 4 when nothing is kept and the origin "
     "cannot be asked.",
     mp__no_flags, 1, 1, mp__verb_explain, true},
    {"pin", "KEY", "Keep a key in memory whatever comes; a * at the end: all that begin so.",
     "At most half of the memory can be pinned. Pins survive a restart. See `pins`.", mp__no_flags,
     1, 1, mp__verb_pin, true},
    {"unpin", "KEY", "Take that very pin away. Exit code 3: there is none.", "", mp__no_flags, 1, 1,
     mp__verb_unpin, true},
    {"pins", "", "What is pinned, and how much memory that takes.", "", mp__no_flags, 0, 0,
     mp__verb_pins, true},
    {"preload", "[PATTERN...]",
     "Bring keys into memory before they are read, and wait until they are there.",
     "PATTERN is a key, or the beginning of keys with a * behind. Ends when all are there or the "
     "budget is used up, the first named first. Without a pattern it waits for the one under way "
     "and says how it went. Exit code 3: no pattern found a key.",
     mp__preload_flags, 0, -1, mp__verb_preload, true},
    {"consumers", "[--limit N]", "Who watches what, and how far each was told.",
     "Streams, long polls and RESP connections that wait for changes, of all loops. `behind` "
     "counts revisions that the one has not been told of; `state` is live, catching-up, slow or "
     "lapsed.",
     mp__consumers_flags, 0, 0, mp__verb_consumers, true},
    {"schema", "set NAME FILE | check NAME FILE | get NAME | del NAME | ls",
     "What values must be: JSON Schema for a namespace or what begins so.",
     "NAME is NAMESPACE (the document that its keys make), NAMESPACE/PATH (the part below a path) "
     "or "
     "NAMESPACE/BEGIN/ (each value, a document by itself). A write that breaks a schema is "
     "refused. FILE - reads standard input.",
     mp__schema_flags, 1, 3, mp__verb_schema, true},
    {"status", "", "State of the daemon.",
     "With --check, exit code 0: the origin is live; 5: degraded, it serves what it kept or does "
     "not "
     "get to its disk; 4: not ready, there is nothing to serve; 1: nobody answers.",
     mp__status_flags, 0, 0, mp__verb_status, true},
    {"doctor", "[--config FILE] [--data-dir DIR]",
     "Look for what is wrong or will be: each finding in a line, with what to do.",
     "With a daemon or without: disk, limits, memory, clock, ports, permissions, origin, damage, "
     "formats, kernel, service. Changes nothing. Exit code 1 when something is in trouble.",
     mp__doctor_flags, 0, 0, mp__verb_doctor, false},
    {"backup", "--out FOLDER [--data-dir DIR]",
     "Copy a data directory into an archive, also while its daemon runs.",
     "The origin as it stands at one moment, what the cache keeps on disk, and a manifest with the "
     "size and checksum of each file. The files of a file origin are not in it: they are yours.",
     mp__backup_flags, 0, 0, mp__verb_backup, false},
    {"restore", "--from FOLDER [--data-dir DIR] [--force]",
     "Make a data directory from an archive of backup.",
     "Every checksum is checked before anything is changed. Never over files that are there, "
     "unless "
     "--force is given, which moves them aside. The origin begins a new life: clients that watch "
     "are told to look again.",
     mp__restore_flags, 0, 0, mp__verb_restore, false},
    {"check-config", "FILE", "Check a configuration file; errors come with file:line:column.", "",
     mp__json_flags, 1, 1, mp__verb_check_config, false},
    {"bench", "[NAME...]", "Measure parts of the product, each beside a reference in the same run.",
     "Without a name all of them, which takes a minute or two and a GB in /tmp; --list names them. "
     "On a quiet machine. Ratios travel between machines, nanoseconds do not.",
     mp__bench_flags, 0, -1, mp__verb_bench, false},
    {"replay", "--trace FILE --capacity N --policy NAME",
     "What a trace of requests would have hit, by policy and size.",
     "Objects are counted, the cache begins empty, and every miss fills it. The policies are those "
     "of the live cache.",
     mp__replay_flags, 0, 0, mp__verb_replay, false},
    {"policies", "", "The eviction policies, each with its source.", "", mp__json_flags, 0, 0,
     mp__verb_policies, false},
    {"metrics", "", "The metrics of /metrics and what they mean.", "", mp__json_flags, 0, 0,
     mp__verb_metrics, false},
    {"completions", "bash|zsh|fish", "Print the completion script of a shell.",
     "Where each shell looks for it: bash in "
     "~/.local/share/bash-completion/completions/marketprism, "
     "fish in ~/.config/fish/completions/marketprism.fish, zsh in a file _marketprism of a folder "
     "that fpath names. Packages and make install bring all three.",
     mp__no_flags, 1, 1, mp__verb_completions, false},
    {"version", "", "Print the version.", "", mp__json_flags, 0, 0, mp__verb_version, false},
    {"help", "[VERB]", "Print help.", "", mp__no_flags, 0, 1, mp__verb_help, false},
};
const size_t mp__verb_count = sizeof(mp__verbs) / sizeof(mp__verbs[0]);

/* ---- saying ---- */

bool mp__cli_colour(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

    return isatty(fd) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

int mp__cli_fail(const mp__arguments *arguments, int code, const char *format, ...)
{
    bool colour = mp__cli_colour(2);
    va_list args;

    if (colour)
        mp__cli_own(stderr, "\033[31m");
    (void)fprintf(stderr, "marketprism%s%s:", arguments && arguments->verb ? " " : "",
                  arguments && arguments->verb ? arguments->verb : "");
    if (colour)
        mp__cli_own(stderr, "\033[0m");
    (void)fputc(' ', stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    return code;
}

const mp__verb *mp__verb_find(const char *name)
{
    for (size_t i = 0; i < mp__verb_count; i++)
        if (strcmp(mp__verbs[i].name, name) == 0)
            return &mp__verbs[i];
    return NULL;
}

/* @text in lines of at most HELP_COLUMNS, the first from column @at on, the others @indent. */
static void fill(FILE *to, size_t at, size_t indent, const char *text)
{
    enum { HELP_COLUMNS = 80 };

    while (*text) {
        size_t size = strcspn(text, " ");

        if (at > indent && at + 1 + size > HELP_COLUMNS) {
            (void)fprintf(to, "\n%*s", (int)indent, "");
            at = indent;
        } else if (at > indent) {
            (void)fputc(' ', to);
            at++;
        }
        (void)fwrite(text, 1, size, to);
        at += size;
        text += size + strspn(text + size, " ");
    }
    (void)fputc('\n', to);
}

static void flags_print(FILE *to, const char *title, const mp__flag *flags)
{
    if (!flags->name)
        return;
    (void)fprintf(to, "\n%s:\n", title);
    for (; flags->name; flags++) {
        char left[64];

        (void)snprintf(left, sizeof(left), "%s%s%s%s%s", flags->short_name ? flags->short_name : "",
                       flags->short_name ? ", " : "", flags->name, flags->value ? " " : "",
                       flags->value ? flags->value : "");
        fill(to, (size_t)fprintf(to, "  %-26s ", left), 29, flags->help);
    }
}

/* What stands between the verb and its synopsis. */
static const char *blank_of(const mp__verb *verb)
{
    return verb->synopsis[0] ? " " : "";
}

static void verb_help(FILE *to, const mp__verb *verb)
{
    (void)fprintf(to, "Usage: marketprism %s%s%s\n\n", verb->name, blank_of(verb), verb->synopsis);
    fill(to, 0, 0, verb->summary);
    if (verb->details[0]) {
        (void)fputc('\n', to);
        fill(to, 0, 0, verb->details);
    }
    flags_print(to, "Options", verb->flags);
    if (verb->is_client)
        flags_print(to, "The daemon", mp__client_flags);
}

static void general_help(FILE *to)
{
    (void)fprintf(
        to, "MarketPrism delivers configuration at memory speed, keeps delivering it when its "
            "origin is gone,\nand says how old and how certain every answer is.\n\n"
            "Usage: marketprism VERB [OPTIONS]\n\n");
    for (size_t i = 0; i < mp__verb_count; i++)
        (void)fprintf(to, "  %-14s %s\n", mp__verbs[i].name, mp__verbs[i].summary);
    (void)fputc('\n', to);
    fill(
        to, 0, 0,
        "marketprism help VERB says more. Exit codes: 0 found or done, 1 error, 2 usage, 3 absent, "
        "4 unknown, 5 degraded (status --check).");
}

static int unknown_verb(const char *name)
{
    const char *names[64], *near;
    size_t n = 0;

    for (; n < mp__verb_count && n < 64; n++)
        names[n] = mp__verbs[n].name;
    near = mp__did_you_mean(name, names, n);
    if (near)
        return mp__cli_fail(NULL, MP__EXIT_USAGE, "there is no verb '%s'; did you mean '%s'?", name,
                            near);
    return mp__cli_fail(NULL, MP__EXIT_USAGE, "there is no verb '%s'; marketprism help lists them",
                        name);
}

int mp__verb_help(const mp__arguments *arguments)
{
    const mp__verb *verb;

    if (arguments->word_count == 0) {
        general_help(stdout);
        return 0;
    }
    verb = mp__verb_find(arguments->words[0]);
    if (!verb)
        return unknown_verb(arguments->words[0]);
    verb_help(stdout, verb);
    return 0;
}

/* ---- parsing ---- */

typedef struct parsing {
    mp__arguments arguments;
    mp__flag flags[48];
    const char *values[48];
} parsing;

static void flags_take(parsing *p, const mp__flag *flags)
{
    for (; flags->name && p->arguments.flag_count < 48; flags++)
        p->flags[p->arguments.flag_count++] = *flags;
}

static int flag_find(const parsing *p, const char *word, size_t size)
{
    for (int i = 0; i < p->arguments.flag_count; i++)
        if ((strlen(p->flags[i].name) == size && strncmp(p->flags[i].name, word, size) == 0) ||
            (p->flags[i].short_name && strlen(p->flags[i].short_name) == size &&
             strncmp(p->flags[i].short_name, word, size) == 0))
            return i;
    return -1;
}

/* What others call a flag of ours that the verb has. */
static const char *synonym_of(const parsing *p, const char *word)
{
    static const char *const others[] = {"--server", "--address", "--addr", "--host", "--endpoint"};

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(word, others[i]) == 0 && flag_find(p, "--resp", strlen("--resp")) >= 0)
            return "--resp";
    return NULL;
}

static int unknown_flag(const parsing *p, const char *given)
{
    const char *names[48], *near;
    char word[64];
    int n = p->arguments.flag_count;

    (void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(given, "="), given);
    for (int i = 0; i < n; i++)
        names[i] = p->flags[i].name;
    near = synonym_of(p, word);
    if (!near)
        near = mp__did_you_mean(word, names, (size_t)n);
    if (near)
        return mp__cli_fail(&p->arguments, MP__EXIT_USAGE,
                            "there is no option %s; did you mean %s?", word, near);
    if (word[1] >= '0' && word[1] <= '9') /* set limit -5 */
        return mp__cli_fail(
            &p->arguments, MP__EXIT_USAGE,
            "there is no option %s; what begins with - and is none stands behind --", word);
    return mp__cli_fail(&p->arguments, MP__EXIT_USAGE,
                        "there is no option %s; see marketprism help %s", word, p->arguments.verb);
}

/* One flag at argv[*i]; 0 or an exit code. */
static int flag_take(parsing *p, int argc, char **argv, int *i)
{
    const char *word = argv[*i], *equals = strchr(word, '=');
    size_t size = equals && word[1] == '-' ? (size_t)(equals - word) : strlen(word);
    int f = flag_find(p, word, size);
    const char *value = "";

    if (f < 0)
        return unknown_flag(p, word);
    if (p->flags[f].value) {
        if (size < strlen(word))
            value = equals + 1;
        else if (*i + 1 < argc)
            value = argv[++*i];
        else
            return mp__cli_fail(&p->arguments, MP__EXIT_USAGE, "%s needs %s", word,
                                p->flags[f].value);
    } else if (size < strlen(word)) {
        return mp__cli_fail(&p->arguments, MP__EXIT_USAGE, "%s takes no value", p->flags[f].name);
    }
    p->values[f] = value;
    if (strcmp(p->flags[f].name, "--set") == 0 || strcmp(p->flags[f].name, "--trace") == 0)
        p->arguments.sets[p->arguments.set_count++] = (char *)(uintptr_t)value;
    return 0;
}

static int parse(parsing *p, const mp__verb *verb, int argc, char **argv)
{
    bool only_words = false;

    p->arguments.verb = verb->name;
    flags_take(p, verb->flags);
    if (verb->is_client)
        flags_take(p, mp__client_flags);
    flags_take(p, common_flags);
    p->arguments.flags = p->flags;
    p->arguments.values = p->values;
    for (int i = 2; i < argc; i++) {
        int rc;

        if (only_words || argv[i][0] != '-' || argv[i][1] == '\0') {
            p->arguments.words[p->arguments.word_count++] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            only_words = true;
            p->arguments.words_ahead = p->arguments.word_count;
            continue;
        }
        rc = flag_take(p, argc, argv, &i);
        if (rc)
            return rc;
    }
    return 0;
}

const char *mp__flag_value(const mp__arguments *arguments, const char *name)
{
    for (int i = 0; i < arguments->flag_count; i++)
        if (strcmp(arguments->flags[i].name, name) == 0)
            return arguments->values[i];
    return NULL;
}

static int check_words(const mp__arguments *arguments, const mp__verb *verb)
{
    if (arguments->word_count < verb->words_least)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "too few words; usage: marketprism %s%s%s",
                            verb->name, blank_of(verb), verb->synopsis);
    if (verb->words_most >= 0 && arguments->word_count > verb->words_most)
        return mp__cli_fail(
            arguments, MP__EXIT_USAGE, "'%s' is one word too many; usage: marketprism %s%s%s",
            arguments->words[verb->words_most], verb->name, blank_of(verb), verb->synopsis);
    return 0;
}

/* Whether all that was printed has got to where it should; who closed a pipe knows. */
static int output_ends(const mp__arguments *arguments, int code)
{
    errno = 0;
    if (mp__terminal_end() == 0 && !ferror(stdout))
        return code;
    if (errno != EPIPE)
        (void)mp__cli_fail(arguments, MP__EXIT_ERROR, "standard output: %s",
                           errno ? strerror(errno) : "not all of it could be written");
    return code ? code : MP__EXIT_ERROR;
}

int mp__cli_main(int argc, char **argv)
{
    parsing p = {0};
    const mp__verb *verb;
    int code;

    mp__terminal_begin();
    if (argc < 2) {
        general_help(stderr);
        return MP__EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        argv[1] = (char *)(uintptr_t) "help";
    if (strcmp(argv[1], "--version") == 0)
        argv[1] = (char *)(uintptr_t) "version";
    verb = mp__verb_find(argv[1]);
    if (!verb)
        return unknown_verb(argv[1]);
    p.arguments.words = mp__calloc((size_t)argc, sizeof(char *));
    p.arguments.sets = mp__calloc((size_t)argc, sizeof(char *));
    if (!p.arguments.words || !p.arguments.sets) {
        (void)mp__free(p.arguments.words);
        return mp__cli_fail(NULL, MP__EXIT_ERROR, "out of memory");
    }
    code = parse(&p, verb, argc, argv);
    if (code == 0 && mp__flag_given(&p.arguments, "--help")) {
        verb_help(stdout, verb);
    } else if (code == 0) {
        code = check_words(&p.arguments, verb);
        if (code == 0)
            code = verb->run(&p.arguments);
    }
    (void)mp__free(p.arguments.words);
    (void)mp__free(p.arguments.sets);
    return output_ends(&p.arguments, code);
}

/* ---- for the verbs ---- */

int mp__cli_choice(const mp__arguments *arguments, const char *name, const char *const *choices,
                   size_t count)
{
    const char *value = mp__flag_value(arguments, name), *near;
    char known[200];
    size_t used = 0;

    if (!value)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(value, choices[i]) == 0)
            return 0;
    near = mp__did_you_mean(value, choices, count);
    if (near)
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "%s: there is no '%s'; did you mean '%s'?",
                            name, value, near);
    for (size_t i = 0; i < count && used < sizeof(known); i++)
        used +=
            (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "", choices[i]);
    return mp__cli_fail(arguments, MP__EXIT_USAGE, "%s: there is no '%s'; it takes %s", name, value,
                        known);
}

int mp__cli_number(const mp__arguments *arguments, const char *name, const char *text,
                   uint64_t least, uint64_t *ret_number)
{
    uint64_t number;

    if (mp__digits_u64(mp_str_of(text), &number) && number >= least && number <= INT64_MAX - 1) {
        *ret_number = number;
        return 0;
    }
    return mp__cli_fail(arguments, MP__EXIT_USAGE,
                        "%s: '%s' is no whole number from %" PRIu64 " on", name, text, least);
}

static const char *address_of(const mp__arguments *arguments)
{
    const char *address = mp__flag_value(arguments, "--resp");

    if (!address)
        address = getenv("MARKETPRISM_ADDR");
    return address && *address ? address : "127.0.0.1:7480";
}

bool mp__cli_is_there(const mp__arguments *arguments)
{
    mp__client *client = NULL;
    mp__diag diag;
    int rc = mp__client_open(address_of(arguments), 0, &client, &diag);

    (void)mp__client_close(client);
    return rc == 0;
}

enum { TIMEOUT_MAX_MS = 1000 * 1000 * 1000 }; /* longer than a week */

static mp__client *connect_to(const mp__arguments *arguments, int *ret_code)
{
    const char *address = address_of(arguments), *timeout;
    mp__client *client = NULL;
    mp__diag diag = {0};
    uint64_t timeout_ms = 0;
    int rc;

    timeout = mp__flag_value(arguments, "--timeout");
    if (timeout) {
        int64_t ms;

        if (!mp__duration_ms(mp_str_of(timeout), &ms) || ms < 1 || ms > TIMEOUT_MAX_MS) {
            *ret_code =
                mp__cli_fail(arguments, MP__EXIT_USAGE,
                             "--timeout: '%s' is no time, such as 5, 0.5, 500ms or 2m", timeout);
            return NULL;
        }
        timeout_ms = (uint64_t)ms;
    }
    rc = mp__client_open(address, timeout_ms, &client, &diag);
    if (rc == MP_EINVAL)
        *ret_code = mp__cli_fail(
            arguments, MP__EXIT_USAGE, "%s: %s",
            mp__flag_given(arguments, "--resp") ? "--resp" : "MARKETPRISM_ADDR", diag.text);
    else if (rc)
        *ret_code = mp__cli_fail(arguments, MP__EXIT_ERROR, "%s",
                                 diag.text[0] ? diag.text : "out of memory");
    return client;
}

static bool choose(const mp__arguments *arguments, mp__client *client, int *ret_code,
                   const mp_str *words, size_t count)
{
    mp__reply *reply = mp__cli_call(arguments, client, ret_code, words, count);
    bool good = reply != NULL;

    (void)mp__reply_free(reply);
    return good;
}

mp__client *mp__cli_connect(const mp__arguments *arguments, int *ret_code)
{
    const char *environment = mp__flag_value(arguments, "--env");
    const char *region = mp__flag_value(arguments, "--region");
    const char *instance = mp__flag_value(arguments, "--instance");
    mp__client *client;

    if (instance && !region) {
        *ret_code = mp__cli_fail(arguments, MP__EXIT_USAGE,
                                 "an --instance is one of a region: name it with --region");
        return NULL;
    }
    if (region && environment && strchr(environment, '~')) {
        *ret_code =
            mp__cli_fail(arguments, MP__EXIT_USAGE,
                         "--env %s names a region already: leave --region out", environment);
        return NULL;
    }
    client = connect_to(arguments, ret_code);
    if (client && environment &&
        !choose(arguments, client, ret_code, (mp_str[]){MP_STR("MP.ENV"), mp_str_of(environment)},
                2))
        client = mp__client_close(client);
    if (client && region &&
        !choose(
            arguments, client, ret_code,
            (mp_str[]){MP_STR("MP.SCOPE"), mp_str_of(region), mp_str_of(instance ? instance : "")},
            3))
        client = mp__client_close(client);
    return client;
}

static int code_of_error(mp_str text)
{
    if (text.size >= 7 && memcmp(text.data, "UNKNOWN", 7) == 0)
        return MP__EXIT_UNKNOWN;
    if (text.size >= 6 && memcmp(text.data, "ABSENT", 6) == 0)
        return MP__EXIT_ABSENT;
    return MP__EXIT_ERROR;
}

mp__reply *mp__cli_call(const mp__arguments *arguments, mp__client *client, int *ret_code,
                        const mp_str *words, size_t count)
{
    mp__reply *reply = NULL;
    mp__diag diag = {0};

    if (mp__client_call(client, words, count, &reply, &diag) != 0) {
        *ret_code = mp__cli_fail(arguments, MP__EXIT_ERROR, "%s", diag.text);
        return NULL;
    }
    return mp__cli_take(arguments, reply, ret_code);
}

mp__reply *mp__cli_take(const mp__arguments *arguments, mp__reply *reply, int *ret_code)
{
    const char *text;
    size_t size;

    if (reply->type != MP__REPLY_ERROR)
        return reply;
    text = reply->text.data;
    size = reply->text.size;
    if (size > 4 && memcmp(text, "ERR ", 4) == 0) {
        text += 4;
        size -= 4;
    }
    *ret_code = mp__cli_fail(arguments, code_of_error(reply->text), "%.*s", (int)size, text);
    (void)mp__reply_free(reply);
    return NULL;
}

mp_str mp__reply_text(const mp__reply *reply)
{
    return reply && (reply->type == MP__REPLY_BULK || reply->type == MP__REPLY_SIMPLE ||
                     reply->type == MP__REPLY_VERBATIM)
               ? reply->text
               : mp_str_new("", 0);
}

int64_t mp__reply_integer(const mp__reply *reply)
{
    return reply && (reply->type == MP__REPLY_INTEGER || reply->type == MP__REPLY_BOOL)
               ? reply->integer
               : 0;
}

const mp__reply *mp__reply_member(const mp__reply *map, const char *name)
{
    size_t n = !map ? 0 : map->type == MP__REPLY_MAP ? map->count * 2 : map->count;

    for (size_t i = 0; i + 1 < n; i += 2)
        if (mp_str_equal(mp__reply_text(&map->items[i]), mp_str_of(name)))
            return &map->items[i + 1];
    return NULL;
}

mp_str mp__cli_key(const mp__arguments *arguments, const char *word, mp__buf *out)
{
    const char *namespace_ = mp__flag_value(arguments, "--namespace");

    mp__buf_reset(out);
    if (namespace_)
        (void)mp__buf_printf(out, "%s/", namespace_);
    (void)mp__buf_add_str(out, mp_str_of(word));
    return mp__buf_str(out);
}

bool mp__cli_in_default(mp_str prefix, mp__buf *out)
{
    if (prefix.size == 0 || memchr(prefix.data, '/', prefix.size))
        return false;
    (void)mp__buf_printf(out, "default/%.*s", (int)prefix.size, prefix.data);
    return true;
}

const char *mp__cli_ago(int64_t ms, char *text, size_t capacity)
{
    if (ms < 1000)
        (void)snprintf(text, capacity, "%lld ms", (long long)(ms < 0 ? 0 : ms));
    else if (ms < 120 * 1000)
        (void)snprintf(text, capacity, "%lld s", (long long)ms / 1000);
    else if (ms < 2 * 3600 * 1000LL)
        (void)snprintf(text, capacity, "%lld min", (long long)ms / 60000);
    else if (ms < 2 * 86400 * 1000LL)
        (void)snprintf(text, capacity, "%lld h", (long long)ms / 3600000);
    else
        (void)snprintf(text, capacity, "%lld days", (long long)ms / 86400000);
    return text;
}

int mp__cli_put(mp_str text)
{
    return text.size == 0 || fwrite(text.data, 1, text.size, stdout) == text.size ? 0
                                                                                  : MP__EXIT_ERROR;
}

void mp__cli_put_shown(mp_str text)
{
    mp__buf quoted = MP__BUF_INIT;

    if (!mp__is_printable(text))
        mp__json_string(&quoted, text);
    (void)mp__cli_put(quoted.size ? mp__buf_str(&quoted) : text);
    mp__buf_done(&quoted);
}

void mp__cli_put_listed(mp_str text)
{
    if (isatty(1))
        mp__cli_put_shown(text);
    else
        (void)mp__cli_put(text);
}
