/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism render: a template into a file, replaced as a whole, again whenever what it names
 * changed, with a command that tells its reader. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/changes.h"
#include "cli/files.h"
#include "cli/template.h"
#include "core/alloc.h"
#include "core/env.h"
#include "core/json.h"

const mp__flag mp__render_flags[] = {
    {"--output", "-o", "FILE", "Where to; standard output without it."},
    {"--watch", "-w", NULL, "Stay, and render again when a key that the template names changes."},
    {"--reload", "-r", "COMMAND", "Run with /bin/sh whenever the file was replaced."},
    {"--mode", NULL, "OCTAL", "Mode of a new file, 0644 by default; an old one keeps its own."},
    {"--dry-run", NULL, NULL, "Only say whether the file would change: exit code 0 no, 1 yes."},
    {NULL, NULL, NULL, NULL},
};

enum { TEMPLATE_MAX = 8 * 1024 * 1024, RETRY_FIRST_MS = 250, RETRY_MOST_MS = 10000 };

typedef struct rendering {
    const mp__arguments *arguments;
    mp__client *client;
    mp__template *template_;
    const char *path; /* of the template */
    const char *output;
    mode_t mode;
    /* Of the values that were asked for one by one, what may be outdated: how many, and of the
     * one that was verified longest ago the age and why. */
    size_t stale;
    int64_t stale_ms;
    char stale_why[32];
} rendering;

/* ---- what the template asks ---- */

static int call(rendering *r, const mp_str *words, size_t count, mp__reply **ret_reply,
                mp__diag *diag)
{
    int rc = mp__client_call(r->client, words, count, ret_reply, diag);

    if (rc == 0 && (*ret_reply)->type == MP__REPLY_ERROR) {
        mp_str text = (*ret_reply)->text;
        bool is_unknown = text.size > 7 && memcmp(text.data, "UNKNOWN", 7) == 0;

        rc = mp__diag_set(diag, is_unknown ? MP_EUNKNOWN : MP_EORIGIN, "%.*s", (int)text.size,
                          text.data);
        *ret_reply = mp__reply_free(*ret_reply);
    }
    return rc;
}

/* What @meta says of a value: it is added to @out, MP_EABSENT or MP_EUNKNOWN. */
static int take_value(rendering *r, const mp__reply *meta, mp__buf *out, mp__diag *diag)
{
    mp_str state = mp__reply_text(mp__reply_member(meta, "state"));
    mp_str why = mp__reply_text(mp__reply_member(meta, "reason"));
    int64_t age_ms = mp__reply_integer(mp__reply_member(meta, "age_ms"));

    if (mp_str_equal(state, MP_STR("absent")))
        return MP_EABSENT;
    if (!mp_str_equal(state, MP_STR("present")))
        return mp__diag_set(diag, MP_EUNKNOWN,
                            "unknown: nobody can be asked and nothing is kept; see marketprism "
                            "status");
    if (mp__reply_integer(mp__reply_member(meta, "stale")) != 0) {
        if (r->stale++ == 0 || age_ms > r->stale_ms) {
            r->stale_ms = age_ms;
            (void)snprintf(r->stale_why, sizeof(r->stale_why), "%.*s", (int)why.size, why.data);
        }
    }
    return mp__buf_add_str(out, mp__reply_text(mp__reply_member(meta, "value")));
}

static int get(void *context, mp_str key, mp__buf *out, mp__diag *diag)
{
    rendering *r = context;
    MP__CLEANUP_FREE char *word = mp__str_dup(key);
    mp__buf name = MP__BUF_INIT;
    mp__reply *reply = NULL;
    mp_str words[3] = {MP_STR("MP.GET"), mp_str_new("", 0), MP_STR("META")};
    int rc;

    if (!word)
        return MP_ENOMEM;
    words[1] = mp__cli_key(r->arguments, word, &name);
    rc = call(r, words, 3, &reply, diag);
    mp__buf_done(&name);
    if (rc == 0)
        rc = take_value(r, reply, out, diag);
    (void)mp__reply_free(reply);
    return rc;
}

typedef struct ranging {
    mp_str prefix;
    int (*each)(void *each_context, mp_str key, mp_str name, mp_str value);
    void *each_context;
    int rc; /* of each, whose numbers are not exit codes */
} ranging;

static int range_one(void *context, const mp__listed *listed)
{
    ranging *g = context;
    size_t skip = g->prefix.size < listed->key.size ? g->prefix.size : listed->key.size;

    g->rc = g->each(g->each_context, listed->key,
                    mp_str_new(listed->key.data + skip, listed->key.size - skip), listed->value);
    return g->rc ? MP__EXIT_ERROR : 0;
}

static int range(void *context, mp_str prefix,
                 int (*each)(void *each_context, mp_str key, mp_str name, mp_str value),
                 void *each_context, mp__diag *diag)
{
    rendering *r = context;
    MP__CLEANUP_FREE char *word = mp__str_dup(prefix);
    mp__buf name = MP__BUF_INIT;
    ranging g = {.each = each, .each_context = each_context};
    int code;

    if (!word)
        return MP_ENOMEM;
    g.prefix = mp__cli_key(r->arguments, word, &name);
    code = mp__cli_each(r->arguments, r->client, g.prefix, true, range_one, &g);
    mp__buf_done(&name);
    if (g.rc)
        return g.rc;
    return code ? mp__diag_set(diag, MP_EORIGIN, "the list was refused") : 0;
}

/* ---- the file ---- */

static bool is_same(const rendering *r, mp_str text)
{
    char *old = NULL;
    size_t size = 0;
    bool same = mp__env_read_file(mp__env_real(), r->output, text.size, &old, &size) == 0 &&
                mp_str_equal(mp_str_new(old, size), text);

    (void)mp__free(old);
    return same;
}

/* The user's own command line, in his own shell as he wrote it. Its exit status, as of waitpid(),
 * or -errno. */
static int run_shell(const char *command)
{
    char sh[] = "sh", c[] = "-c";
    MP__CLEANUP_FREE char *line = mp__strdup(command);
    int status = 0;
    pid_t pid;

    if (!line)
        return -ENOMEM;
    (void)fflush(NULL);
    pid = fork();
    if (pid == 0) {
        (void)execv("/bin/sh", (char *[]){sh, c, line, NULL});
        _exit(127);
    }
    if (pid < 0)
        return -errno;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return status;
}

/* The file stands as it should in any case; that its reader was not told is an error of its own. */
static int reload(const rendering *r)
{
    const char *command = mp__flag_value(r->arguments, "--reload");
    int status = command ? run_shell(command) : 0;

    if (status == 0)
        return 0;
    if (status < 0)
        return mp__cli_fail(r->arguments, MP__EXIT_ERROR,
                            "%s is written, but '%s' cannot be run: %s", r->output, command,
                            mp_strerror(status));
    if (WIFEXITED(status))
        return mp__cli_fail(r->arguments, MP__EXIT_ERROR, "%s is written, but '%s' ended with %d",
                            r->output, command, WEXITSTATUS(status));
    return mp__cli_fail(r->arguments, MP__EXIT_ERROR,
                        "%s is written, but '%s' was ended by a signal", r->output, command);
}

/* ---- the verb ---- */

static int say_dry(const rendering *r, bool changes)
{
    mp__buf json = MP__BUF_INIT;
    int code = 0;

    if (mp__flag_given(r->arguments, "--json")) {
        mp__json_begin(&json, '{');
        mp__json_add_text(&json, "output", r->output);
        mp__json_add_bool(&json, "would_change", changes);
        mp__json_end(&json, '}');
        (void)mp__buf_add_char(&json, '\n');
        code = mp__cli_put(mp__buf_str(&json));
        mp__buf_done(&json);
    } else if (changes) {
        (void)printf("%s would change\n", r->output);
    }
    return code == 0 && changes ? MP__EXIT_ERROR : code;
}

static int deliver(const rendering *r, mp_str text)
{
    int rc;

    if (!r->output)
        return mp__cli_put(text) || fflush(stdout) ? MP__EXIT_ERROR : 0;
    if (mp__flag_given(r->arguments, "--dry-run"))
        return say_dry(r, !is_same(r, text));
    if (is_same(r, text))
        return 0;
    rc = mp__cli_replace_file(r->output, text, r->mode);
    if (rc)
        return mp__cli_fail(r->arguments, MP__EXIT_ERROR, "cannot write %s: %s; it is as before",
                            r->output, mp_strerror(rc));
    if (mp__flag_given(r->arguments, "--watch"))
        (void)fprintf(stderr, "rendered %s, %zu bytes\n", r->output, text.size);
    return reload(r);
}

/* A file does not say how certain it is. */
static void say_stale(const rendering *r)
{
    char age[32];

    if (r->stale)
        (void)mp__cli_fail(r->arguments, 0, "%zu of the values %s stale, age %s, %s", r->stale,
                           r->stale == 1 ? "is" : "are", mp__cli_ago(r->stale_ms, age, sizeof(age)),
                           r->stale_why);
}

static int render_once(rendering *r)
{
    mp__template_source source = {r, get, range};
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};
    char said[900];
    int rc, code;

    r->stale = 0;
    rc = mp__template_render(r->template_, &source, &out, &diag);
    if (rc == 0) {
        say_stale(r);
        code = deliver(r, mp__buf_str(&out));
    } else {
        (void)snprintf(diag.file, sizeof(diag.file), "%s", r->path);
        if (!diag.text[0])
            (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
        code = mp__cli_fail(r->arguments,
                            rc == MP_EABSENT    ? MP__EXIT_ABSENT
                            : rc == MP_EUNKNOWN ? MP__EXIT_UNKNOWN
                                                : MP__EXIT_ERROR,
                            "%s", mp__diag_format(&diag, said, sizeof(said)));
    }
    mp__buf_done(&out);
    return code;
}

/* Until a signal ends it. What goes wrong is said and tried again: the file of before stays. */
static int render_always(rendering *r)
{
    unsigned retry_ms = RETRY_FIRST_MS;
    mp__changes *changes = NULL;

    for (;;) {
        int code = 0;

        if (!r->client)
            r->client = mp__cli_connect(r->arguments, &code);
        if (r->client && !changes)
            changes = mp__changes_open(r->arguments, false, &code);
        if (code == 0)
            code = render_once(r);
        /* An absent key may come: then the watch tells it. */
        if ((code == 0 || code == MP__EXIT_ABSENT) && mp__changes_wait(changes, &code)) {
            retry_ms = RETRY_FIRST_MS;
            continue;
        }
        if (code == MP__EXIT_USAGE)
            return code;
        changes = mp__changes_close(changes);
        r->client = mp__client_close(r->client);
        mp__cli_wait_ms(retry_ms);
        retry_ms = retry_ms * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : retry_ms * 2;
    }
}

/* Whether what is written would replace the template, under whatever name. */
static bool is_output(const rendering *r)
{
    struct stat from, to;

    return r->output && stat(r->path, &from) == 0 && stat(r->output, &to) == 0 &&
           from.st_dev == to.st_dev && from.st_ino == to.st_ino;
}

static int read_template(rendering *r)
{
    mp__diag diag = {0};
    char *text = NULL, said[900];
    size_t size;
    int rc;

    if (is_output(r))
        return mp__cli_fail(r->arguments, MP__EXIT_USAGE,
                            "--output: %s is the template itself, which would be lost", r->output);
    rc = mp__cli_read_input(r->path, TEMPLATE_MAX, &text, &size);
    r->path = mp__cli_input_name(r->path); /* as errors call it from here on */
    if (rc)
        return mp__cli_fail(r->arguments, MP__EXIT_ERROR, "cannot read %s: %s", r->path,
                            mp_strerror(rc));
    rc = mp__template_new(mp_str_new(text, size), &r->template_, &diag);
    (void)mp__free(text);
    if (rc == 0)
        return 0;
    (void)snprintf(diag.file, sizeof(diag.file), "%s", r->path);
    return mp__cli_fail(r->arguments, MP__EXIT_ERROR, "%s",
                        mp__diag_format(&diag, said, sizeof(said)));
}

static int read_flags(rendering *r)
{
    const char *mode = mp__flag_value(r->arguments, "--mode");
    char *end = NULL;

    r->output = mp__flag_value(r->arguments, "--output");
    r->mode = mode ? (mode_t)strtoul(mode, &end, 8) : 0644;
    if (mode && (!*mode || *end || r->mode > 07777))
        return mp__cli_fail(r->arguments, MP__EXIT_USAGE, "--mode: '%s' is no octal mode as 0640",
                            mode);
    if (!r->output &&
        (mp__flag_given(r->arguments, "--watch") || mode ||
         mp__flag_given(r->arguments, "--reload") || mp__flag_given(r->arguments, "--dry-run")))
        return mp__cli_fail(r->arguments, MP__EXIT_USAGE,
                            "--watch, --reload, --mode and --dry-run need --output FILE");
    return 0;
}

int mp__verb_render(const mp__arguments *arguments)
{
    rendering r = {.arguments = arguments, .path = arguments->words[0]};
    int code = read_flags(&r);

    if (code == 0)
        code = read_template(&r);
    if (code == 0 && mp__flag_given(arguments, "--watch")) {
        code = render_always(&r);
    } else if (code == 0) {
        r.client = mp__cli_connect(arguments, &code);
        if (r.client)
            code = render_once(&r);
    }
    (void)mp__client_close(r.client);
    (void)mp__template_free(r.template_);
    return code;
}
