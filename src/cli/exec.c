/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism exec: a program with configuration in its environment. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/environments.h"
#include "core/alloc.h"
#include "core/bytes.h"
#include "core/json.h"

const mp__flag mp__exec_flags[] = {
    {"--prefix", "-p", "PREFIX", "Keys that begin so, as NAMESPACE/KEY; all keys without it."},
    {"--prepend", NULL, "TEXT", "Put before every name, as APP_."},
    {"--pristine", NULL, NULL, "Nothing of this environment but PATH, HOME, USER, LANG and TERM."},
    {"--print", NULL, NULL, "Print the variables instead of running anything."},
    {"--allow-unsafe", NULL, NULL,
     "Also variables that say which code programs run, as PATH and LD_PRELOAD."},
    {NULL, NULL, NULL, NULL},
};

enum { STRING_MAX = 131071 }; /* of one variable, without its end: execve(2), MAX_ARG_STRLEN */

typedef struct variable {
    char *text; /* "NAME=VALUE", ours */
    size_t name_size, size;
    const char *key; /* the key it is made of, behind the text */
} variable;

typedef struct variables {
    const mp__arguments *arguments;
    size_t skip; /* bytes of the key that the prefix stands for */
    variable *items;
    size_t count, capacity, bytes;
    char **environment; /* made of them; ours */
    mp__buf name;
} variables;

/* A byte of a character of UTF-8 that is not its first. */
static bool goes_on(mp_str key, size_t i)
{
    return i > 0 && ((unsigned char)key.data[i] & 0xc0) == 0x80 && (key.data[i - 1] & 0x80);
}

/* A name that a shell can say: letters, digits and underscores, in capitals, no digit first; any
 * other character is one underscore. */
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

        if (c == ']' || goes_on(key, i))
            continue;
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        else if (!(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9'))
            c = '_';
        (void)mp__buf_add_char(&v->name, c);
    }
    (void)mp__buf_add_char(&v->name, '\0');
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

static int add(variables *v, mp_str key, mp_str value)
{
    size_t name_size = v->name.size - 1, size = name_size + 1 + value.size;
    char *text;

    if (mp__grow(&v->items, v->count, &v->capacity, sizeof(*v->items)) != 0)
        return MP_ENOMEM;
    text = mp__malloc(size + 1 + key.size + 1);
    if (!text)
        return MP_ENOMEM;
    (void)snprintf(text, size + 1, "%s=%.*s", v->name.data, (int)value.size, value.data);
    (void)snprintf(text + size + 1, key.size + 1, "%.*s", (int)key.size, key.data);
    v->items[v->count++] = (variable){text, name_size, size, text + size + 1};
    v->bytes += size + 1 + sizeof(char *);
    return 0;
}

static int take(void *context, const mp__listed *listed)
{
    variables *v = context;
    size_t skip = v->skip < listed->key.size ? v->skip : 0;
    int code;

    make_name(v, mp_str_new(listed->key.data + skip, listed->key.size - skip));
    if (v->name.error)
        return mp__cli_fail(v->arguments, MP__EXIT_ERROR, "out of memory");
    if (listed->value.size && memchr(listed->value.data, '\0', listed->value.size))
        return mp__cli_fail(v->arguments, MP__EXIT_ERROR,
                            "%.*s holds a zero byte, which no environment can carry",
                            (int)listed->key.size, listed->key.data);
    code = check_safe(v, listed->key);
    if (code == 0 && add(v, listed->key, listed->value) != 0)
        code = mp__cli_fail(v->arguments, MP__EXIT_ERROR, "out of memory");
    return code;
}

static mp_str name_of(const variable *v)
{
    return mp_str_new(v->text, v->name_size);
}

/* By name; of those of one name by key, so that what is said is the same each time. */
static int compare(const void *a, const void *b)
{
    const variable *x = a, *y = b;
    int order = mp__bytes_order(name_of(x), name_of(y));

    return order ? order : strcmp(x->key, y->key);
}

/* Two keys that would be one variable are a mistake that nobody should have to find by himself. */
static int sort(variables *v)
{
    if (v->count)
        qsort(v->items, v->count, sizeof(*v->items), compare);
    for (size_t i = 1; i < v->count; i++) {
        const variable *a = &v->items[i - 1], *b = &v->items[i];

        if (mp_str_equal(name_of(a), name_of(b)))
            return mp__cli_fail(v->arguments, MP__EXIT_ERROR,
                                "%s and %s are both the variable %.*s; take a longer --prefix, or "
                                "rename one of them",
                                a->key, b->key, (int)a->name_size, a->text);
    }
    return 0;
}

static int print_json(const variables *v)
{
    mp__buf json = MP__BUF_INIT;
    int code;

    mp__json_begin(&json, '[');
    for (size_t i = 0; i < v->count; i++) {
        const variable *one = &v->items[i];
        const char *value = one->text + one->name_size + 1;

        mp__json_begin(&json, '{');
        mp__json_add_string(&json, "name", mp_str_new(one->text, one->name_size));
        mp__cli_add_value(&json, "value", mp_str_of(value), MP_STR("text/plain"));
        mp__json_end(&json, '}');
    }
    mp__json_end(&json, ']');
    (void)mp__buf_add_char(&json, '\n');
    code = mp__cli_put(mp__buf_str(&json));
    mp__buf_done(&json);
    return code;
}

static int print(const variables *v)
{
    int code = 0;

    if (mp__flag_given(v->arguments, "--json"))
        return print_json(v);
    for (size_t i = 0; i < v->count && code == 0; i++)
        code = printf("%s\n", v->items[i].text) < 0 ? MP__EXIT_ERROR : 0;
    return code;
}

static bool is_among(const variables *v, const char *text)
{
    mp_str name = mp_str_new(text, strcspn(text, "="));
    size_t low = 0, high = v->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = mp__bytes_order(name_of(&v->items[middle]), name);

        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* What there is, but for what is also among the variables, and these. One array made at once:
 * setenv() looks through all of it each time. */
static int set_environment(variables *v)
{
    char **made;
    size_t n = 0, count = 0;

    while (environ && environ[n])
        n++;
    made = mp__calloc(n + v->count + 1, sizeof(*made));
    if (!made)
        return mp__cli_fail(v->arguments, MP__EXIT_ERROR, "out of memory");
    for (size_t i = 0; i < n; i++)
        if (!is_among(v, environ[i]))
            made[count++] = environ[i];
    for (size_t i = 0; i < v->count; i++)
        made[count++] = v->items[i].text;
    environ = v->environment = made;
    return 0;
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

static int fetch(const mp__arguments *arguments, variables *v)
{
    const char *prefix = mp__flag_value(arguments, "--prefix");
    mp__buf name = MP__BUF_INIT;
    mp_str whole = mp__cli_key(arguments, prefix ? prefix : "", &name);
    int code = 0;
    mp__client *client = mp__cli_connect(arguments, &code);

    v->skip = whole.size;
    if (client)
        code = mp__cli_each(arguments, client, whole, true, take, v);
    if (client && code == 0 && v->count == 0) {
        code = mp__cli_fail(arguments, MP__EXIT_ABSENT, "there is no key that begins with '%s'",
                            prefix ? prefix : "");
        mp__cli_note_environment(arguments, client, mp__flag_value(arguments, "--env"), false);
    }
    (void)mp__client_close(client);
    mp__buf_done(&name);
    return code ? code : sort(v);
}

/* E2BIG has two causes: one string is too long, or all together are (the system gives them a fourth
 * of the stack's limit, and at most 6 MiB). */
static int too_much(const variables *v)
{
    const variable *longest = NULL;

    for (size_t i = 0; i < v->count; i++)
        if (!longest || v->items[i].size > longest->size)
            longest = &v->items[i];
    if (longest && longest->size > STRING_MAX)
        return mp__cli_fail(v->arguments, 126,
                            "cannot run %s: %s would be a variable of %zu bytes, and the system "
                            "lets one have %d; take a --prefix without it, or have it in a file "
                            "with marketprism render",
                            v->arguments->words[0], longest->key, longest->size, STRING_MAX);
    return mp__cli_fail(v->arguments, 126,
                        "cannot run %s: %zu variables of %zu bytes are more than the system lets a "
                        "program be given (%ld bytes here, with its arguments); take a longer "
                        "--prefix, raise the limit (ulimit -s), or have them in a file with "
                        "marketprism render",
                        v->arguments->words[0], v->count, v->bytes, sysconf(_SC_ARG_MAX));
}

static int run(variables *v)
{
    char **words = v->arguments->words;
    int code;

    if (mp__flag_given(v->arguments, "--pristine"))
        forget_environment();
    code = set_environment(v);
    if (code)
        return code;
    (void)execvp(words[0], words);
    code = errno;
    if (code == E2BIG)
        return too_much(v);
    /* 126 and 127 as shells do (POSIX shell, 2.8.2). */
    return mp__cli_fail(v->arguments, code == ENOENT ? 127 : 126, "cannot run %s: %s", words[0],
                        mp_strerror(-code));
}

/* What stands before all names must be the beginning of one. */
static int check_before(const mp__arguments *arguments)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    const char *before = mp__flag_value(arguments, "--prepend");
    char rest[sizeof(letters) + 10];

    if (!before || !*before)
        return 0;
    (void)snprintf(rest, sizeof(rest), "%s0123456789", letters);
    if (strchr(letters, *before) && before[strspn(before, rest)] == '\0')
        return 0;
    return mp__cli_fail(arguments, MP__EXIT_USAGE,
                        "--prepend '%s': a variable's name has letters, digits and _, and no digit "
                        "first",
                        before);
}

int mp__verb_exec(const mp__arguments *arguments)
{
    variables v = {.arguments = arguments};
    int code;

    if (mp__flag_given(arguments, "--print") == (arguments->word_count > 0))
        return mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "either a command behind --, or --print; usage: marketprism exec "
                            "[OPTIONS] -- COMMAND [ARGUMENT...]");
    if (arguments->words_ahead)
        return mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "'%s' stands before the -- of the command; a prefix is given with "
                            "--prefix",
                            arguments->words[0]);
    code = check_before(arguments);
    if (code == 0)
        code = fetch(arguments, &v);
    if (code == 0)
        code = arguments->word_count ? run(&v) : print(&v);
    if (v.environment)
        environ = NULL;
    (void)mp__free(v.environment);
    for (size_t i = 0; i < v.count; i++)
        (void)mp__free(v.items[i].text);
    (void)mp__free(v.items);
    mp__buf_done(&v.name);
    return code;
}
