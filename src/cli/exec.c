/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism exec: a program with configuration in its environment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/environments.h"
#include "core/alloc.h"

const mp__flag mp__exec_flags[] = {
    {"--prefix", "-p", "PREFIX", "Keys that begin so, as NAMESPACE/KEY; all keys without it."},
    {"--prepend", NULL, "TEXT", "Put before every name, as APP_."},
    {"--pristine", NULL, NULL, "Nothing of this environment but PATH, HOME, USER, LANG and TERM."},
    {"--print", NULL, NULL, "Print the variables instead of running anything."},
    {"--allow-unsafe", NULL, NULL,
     "Also variables that say which code programs run, as PATH and LD_PRELOAD."},
    {NULL, NULL, NULL, NULL},
};

enum { VARIABLES_MAX = 10000 }; /* each is looked for among all before it */

typedef struct variables {
    const mp__arguments *arguments;
    size_t skip; /* bytes of the key that the prefix stands for */
    size_t count;
    mp__buf name, seen;
} variables;

/* A name that a shell can say: letters, digits and underscores, in capitals, no digit first. */
static void make_name(variables *v, mp_str key)
{
    const char *before = mp__flag_value(v->arguments, "--prepend");

    mp__buf_reset(&v->name);
    (void)mp__buf_add_str(&v->name, mp_str_of(before ? before : ""));
    while (key.size && (*key.data == '.' || *key.data == '/'))
        key = mp_str_new(key.data + 1, key.size - 1);
    if (v->name.size == 0 && key.size && *key.data >= '0' && *key.data <= '9')
        (void)mp__buf_add_char(&v->name, '_');
    for (size_t i = 0; i < key.size; i++) {
        char c = key.data[i];

        if (c == ']')
            continue;
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        else if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
            c = '_';
        (void)mp__buf_add_char(&v->name, c);
    }
    (void)mp__buf_add_char(&v->name, '\0');
}

/* Two keys that would be one variable are a mistake that nobody should have to find by himself. */
static int check_name(variables *v, mp_str key)
{
    const char *at = v->seen.data, *end = at + v->seen.size;

    for (; v->seen.size && at < end; at += strlen(at) + 1)
        if (strcmp(at, v->name.data) == 0)
            return mp__cli_fail(v->arguments, MP__EXIT_ERROR,
                                "%.*s and another key are both the variable %s; take a longer "
                                "--prefix, or rename one of them",
                                (int)key.size, key.data, v->name.data);
    return mp__buf_add(&v->seen, v->name.data, v->name.size) ? MP__EXIT_ERROR : 0;
}

/* Who may write configuration shall not thereby say which code runs: where programs and libraries
 * are looked for, and what shells and interpreters read before their script. */
static bool is_unsafe(const char *name)
{
    static const char *const names[] = {
        "PATH",      "IFS",      "ENV",           "BASH_ENV",          "SHELLOPTS",
        "BASHOPTS",  "PS4",      "CDPATH",        "PROMPT_COMMAND",    "GCONV_PATH",
        "PERL5LIB",  "PERL5OPT", "PERLLIB",       "PYTHONPATH",        "PYTHONHOME",
        "RUBYLIB",   "RUBYOPT",  "PYTHONSTARTUP", "JAVA_TOOL_OPTIONS", "NODE_OPTIONS",
        "NODE_PATH", "PHPRC",    "CLASSPATH",     "GIT_SSH_COMMAND",   "EDITOR",
        "PAGER",     "VISUAL",   "BROWSER",       "ZDOTDIR",           "LUA_INIT",
    };

    if (strncmp(name, "LD_", 3) == 0 || strncmp(name, "DYLD_", 5) == 0)
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

static int check_safe(const variables *v, mp_str key)
{
    if (mp__flag_given(v->arguments, "--allow-unsafe") || !is_unsafe(v->name.data))
        return 0;
    return mp__cli_fail(v->arguments, MP__EXIT_ERROR,
                        "%.*s would be the variable %s, which says what code programs run; rename "
                        "the key, put something before the names with --prepend, or say "
                        "--allow-unsafe",
                        (int)key.size, key.data, v->name.data);
}

static int take(void *context, const mp__listed *listed)
{
    variables *v = context;
    size_t skip = v->skip < listed->key.size ? v->skip : 0;
    MP__CLEANUP_FREE char *value = mp__str_dup(listed->value);
    int code;

    if (v->count == VARIABLES_MAX)
        return mp__cli_fail(
            v->arguments, MP__EXIT_ERROR,
            "more than %d keys would be variables, which is more than a program can "
            "be given; take a longer --prefix",
            VARIABLES_MAX);
    make_name(v, mp_str_new(listed->key.data + skip, listed->key.size - skip));
    if (!value || v->name.error)
        return mp__cli_fail(v->arguments, MP__EXIT_ERROR, "out of memory");
    if (strlen(value) != listed->value.size)
        return mp__cli_fail(v->arguments, MP__EXIT_ERROR,
                            "%.*s holds a zero byte, which no environment can carry",
                            (int)listed->key.size, listed->key.data);
    code = check_safe(v, listed->key);
    if (code == 0)
        code = check_name(v, listed->key);
    if (code)
        return code;
    v->count++;
    if (mp__flag_given(v->arguments, "--print"))
        return printf("%s=%s\n", v->name.data, value) < 0 ? MP__EXIT_ERROR : 0;
    return setenv(v->name.data, value, 1) ? MP__EXIT_ERROR : 0;
}

static void forget_environment(void)
{
    static const char *const kept[] = {"PATH", "HOME", "USER", "LANG", "TERM"};
    enum { KEPT = sizeof(kept) / sizeof(kept[0]) };
    char *values[KEPT];

    for (size_t i = 0; i < KEPT; i++) {
        const char *value = getenv(kept[i]);

        values[i] = value ? mp__strdup(value) : NULL;
    }
    (void)clearenv();
    for (size_t i = 0; i < KEPT; i++) {
        if (values[i])
            (void)setenv(kept[i], values[i], 1);
        (void)mp__free(values[i]);
    }
}

static int fill(const mp__arguments *arguments)
{
    const char *prefix = mp__flag_value(arguments, "--prefix");
    variables v = {.arguments = arguments};
    mp__buf name = MP__BUF_INIT;
    mp_str whole = mp__cli_key(arguments, prefix ? prefix : "", &name);
    int code = 0;
    mp__client *client = mp__cli_connect(arguments, &code);

    v.skip = whole.size;
    if (client && mp__flag_given(arguments, "--pristine"))
        forget_environment();
    if (client)
        code = mp__cli_each(arguments, client, whole, true, take, &v);
    if (client && code == 0 && v.count == 0) {
        code = mp__cli_fail(arguments, MP__EXIT_ABSENT, "there is no key that begins with '%s'",
                            prefix ? prefix : "");
        mp__cli_note_environment(arguments, client, mp__flag_value(arguments, "--env"), false);
    }
    (void)mp__client_close(client);
    mp__buf_done(&v.name);
    mp__buf_done(&v.seen);
    mp__buf_done(&name);
    return code;
}

int mp__verb_exec(const mp__arguments *arguments)
{
    int code;

    if (mp__flag_given(arguments, "--print") == (arguments->word_count > 0))
        return mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "either a command behind --, or --print; usage: marketprism exec "
                            "[OPTIONS] -- COMMAND [ARGUMENT...]");
    code = fill(arguments);
    if (code || arguments->word_count == 0)
        return code;
    (void)execvp(arguments->words[0], arguments->words);
    code = errno;
    /* 126 and 127 as shells do (POSIX shell, 2.8.2). */
    return mp__cli_fail(arguments, code == ENOENT ? 127 : 126, "cannot run %s: %s",
                        arguments->words[0], mp_strerror(-code));
}
