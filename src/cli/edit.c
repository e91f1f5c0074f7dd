/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism edit: a key, or all below a prefix, in the user's own editor.
 *
 *   fetch -> editor -> read again -> show the difference -> ask -> compare and set, all or none
 *               ^          | error        | "e"                        | somebody was faster
 *               +----------+--------------+                            v
 *                                                        the file stays; its name is said
 *
 * What was typed is never thrown away: the file is deleted only once it is written, or when it says
 * what the daemon has, or what the editor was given. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "cli/files.h"
#include "cli/staging.h"
#include "core/json_read.h"
#include "core/alloc.h"
#include "core/env.h"

const mp__flag mp__edit_flags[] = {
    {"--format", "-f", "NAME", "Of the file that shows many keys; yaml by default."},
    {"--yes", "-y", NULL, "Write without asking."},
    {NULL, NULL, NULL, NULL},
};

enum { EDITED_MAX = 64 * 1024 * 1024 };

typedef struct edit {
    const mp__arguments *arguments;
    mp__client *client;
    const mp__format *format;
    mp__buf prefix;    /* "namespace/" and what was said behind it */
    mp_str namespace_; /* of it */
    bool is_single;    /* one key: the file is its value */
    mp_str media_type; /* of the single one */
    bool adds_newline; /* the single value had none at its end, editors want one */
    mp__keyset before, after;
    mp__deltas deltas;
    mp_str offered; /* what the editor was given */
    char path[512];
} edit;

/* ---- what there is ---- */

static int fetch(edit *e)
{
    const mp__arguments *arguments = e->arguments;
    const mp__key *key;
    const char *slash;
    int code;

    (void)mp__cli_key(arguments, arguments->words[0], &e->prefix);
    if (!e->prefix.size || !memchr(e->prefix.data, '/', e->prefix.size)) {
        mp__buf_reset(&e->prefix);
        (void)mp__buf_printf(&e->prefix, "default/%s", arguments->words[0]);
    }
    slash = memchr(e->prefix.data, '/', e->prefix.size);
    e->namespace_ = mp_str_new(e->prefix.data, (size_t)(slash - e->prefix.data));
    code = mp__keyset_fetch(arguments, e->client, mp__buf_str(&e->prefix), 0, &e->before);
    if (code)
        return code;
    key = mp__keyset_find(&e->before, mp__buf_str(&e->prefix));
    e->is_single = key || (e->before.count == 0 && e->prefix.data[e->prefix.size - 1] != '/');
    e->media_type = key ? key->media_type : MP_STR("text/plain");
    if (!e->is_single && e->before.count == 0)
        return mp__cli_fail(arguments, MP__EXIT_ABSENT, "there is no key that begins with '%s'",
                            arguments->words[0]);
    if (e->is_single && key) { /* only it, not those that go on behind it */
        mp__key only = *key;
        mp__keyset one = {0};
        int rc = mp__keyset_add(&one, mp_str_new("", 0), &only);

        mp__keyset_done(&e->before);
        e->before = one;
        if (rc)
            return mp__cli_fail(arguments, MP__EXIT_ERROR, "out of memory");
        e->media_type = e->before.items[0].media_type;
    }
    return 0;
}

static int make_text(edit *e, mp__buf *text)
{
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    int rc;

    if (e->is_single) {
        mp_str value = e->before.count ? e->before.items[0].value : mp_str_new("", 0);

        (void)mp__buf_add_str(text, value);
        e->adds_newline = value.size == 0 || value.data[value.size - 1] != '\n';
        if (e->adds_newline && value.size)
            (void)mp__buf_add_char(text, '\n');
        return text->error ? mp__cli_fail(e->arguments, MP__EXIT_ERROR, "out of memory") : 0;
    }
    rc = mp__keyset_leaves(&e->before, e->namespace_, &leaves);
    if (rc == 0)
        rc = e->format->print(&leaves, text, &diag);
    mp__leaves_done(&leaves);
    return rc ? mp__cli_fail(e->arguments, MP__EXIT_ERROR,
                             "these keys cannot be shown as %s: %s; another --format, or one key "
                             "alone, may do",
                             e->format->name, diag.text[0] ? diag.text : mp_strerror(rc))
              : 0;
}

/* ---- the editor ---- */

static int write_file(edit *e, mp_str text)
{
    const char *folder = getenv("TMPDIR");
    const char *ending = !e->is_single ? e->format->extensions[0]
                         : mp_str_equal(e->media_type, MP_STR("application/json")) ? ".json"
                                                                                   : ".txt";
    int fd, rc;

    (void)snprintf(e->path, sizeof(e->path), "%s/marketprism-edit-XXXXXX%s",
                   folder && *folder ? folder : "/tmp", ending);
    fd = mkstemps(e->path, (int)strlen(ending)); /* mode 0600: values may be secrets */
    if (fd < 0) {
        rc = mp__cli_fail(e->arguments, MP__EXIT_ERROR, "cannot make %s: %s", e->path,
                          mp_strerror(-errno));
        e->path[0] = '\0';
        return rc;
    }
    (void)close(fd);
    rc = mp__cli_replace_file(e->path, text, 0600);
    return rc ? mp__cli_fail(e->arguments, MP__EXIT_ERROR, "cannot write %s: %s", e->path,
                             mp_strerror(rc))
              : 0;
}

/* $VISUAL, else $EDITOR, else vi; it may bring options along, as "code --wait". */
static int run_editor(const edit *e)
{
    const char *editor = getenv("VISUAL");
    MP__CLEANUP_FREE char *line = NULL;
    mp__buf command = MP__BUF_INIT;
    int status = 0;
    pid_t pid;

    if (!editor || !*editor)
        editor = getenv("EDITOR");
    if (!editor || !*editor)
        editor = "vi";
    (void)mp__buf_printf(&command, "%s \"$1\"", editor);
    line = mp__str_dup(mp__buf_str(&command));
    mp__buf_done(&command);
    (void)fflush(NULL);
    pid = line ? fork() : -1;
    if (pid == 0) {
        char sh[] = "sh", c[] = "-c";

        (void)execv("/bin/sh", (char *[]){sh, c, line, sh, (char *)(uintptr_t)e->path, NULL});
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return mp__cli_fail(e->arguments, MP__EXIT_ERROR,
                            "the editor '%s' failed; set VISUAL or EDITOR to another one", editor);
    return 0;
}

/* ---- what it became ---- */

static int read_single(edit *e, mp_str text)
{
    mp__key key = {.name = mp__buf_str(&e->prefix), .media_type = e->media_type};
    mp__diag diag = {0};
    json_t *json;

    if (e->adds_newline && text.size && text.data[text.size - 1] == '\n')
        text.size--;
    key.value = text;
    if (mp_str_equal(e->media_type, MP_STR("application/json"))) {
        int rc = mp__json_read(text, false, &json, &diag);

        if (rc == MP_ENOMEM)
            return mp__cli_fail(e->arguments, MP__EXIT_ERROR, "out of memory");
        if (rc)
            return mp__cli_fail(e->arguments, MP__EXIT_ERROR, "%s:%d:%d: %s", e->path, diag.line,
                                diag.column, diag.text);
        json_decref(json);
    }
    return mp__keyset_add(&e->after, mp_str_new("", 0), &key)
               ? mp__cli_fail(e->arguments, MP__EXIT_ERROR, "out of memory")
               : 0;
}

/* A file of text keeps the media types that it cannot say: of what was left as it was, and of texts
 * that have another type than plain. */
static mp_str kept_type(const edit *e, const mp__key *key)
{
    mp__buf name = MP__BUF_INIT;
    const mp__key *old;

    (void)mp__buf_printf(&name, "%.*s/%.*s", (int)e->namespace_.size, e->namespace_.data,
                         (int)key->name.size, key->name.data);
    old = mp__keyset_find(&e->before, mp__buf_str(&name));
    mp__buf_done(&name);
    if (!old || !mp_str_equal(key->media_type, MP_STR("text/plain")) ||
        mp_str_equal(old->media_type, MP_STR("application/json")))
        return key->media_type;
    if (mp_str_equal(old->media_type, MP_STR("application/toml")) &&
        !mp_str_equal(old->value, key->value))
        return key->media_type;
    return old->media_type;
}

static int read_many(edit *e, mp_str text)
{
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    char said[900];
    int rc = e->format->parse(text, &leaves, &diag);

    if (rc && !diag.text[0])
        (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
    (void)snprintf(diag.file, sizeof(diag.file), "%.255s", e->path);
    if (rc)
        return mp__cli_fail(e->arguments, MP__EXIT_ERROR, "%s",
                            mp__diag_format(&diag, said, sizeof(said)));
    for (size_t i = 0; i < leaves.count && rc == 0; i++) {
        mp__key key = {.name = leaves.items[i].key,
                       .value = leaves.items[i].value,
                       .media_type = leaves.items[i].media_type,
                       .path = e->path,
                       .line = leaves.items[i].line,
                       .column = leaves.items[i].column};

        key.media_type = kept_type(e, &key);
        rc = mp__keyset_add(&e->after, e->namespace_, &key);
    }
    mp__leaves_done(&leaves);
    (void)mp__keyset_sort(&e->after);
    for (size_t i = 0; i < e->after.count && rc == 0; i++) {
        mp_str name = e->after.items[i].name;

        if (name.size < e->prefix.size || memcmp(name.data, e->prefix.data, e->prefix.size) != 0)
            return mp__cli_fail(e->arguments, MP__EXIT_ERROR,
                                "%s: '%.*s' does not begin with '%.*s', which is what is edited",
                                e->path, (int)name.size, name.data, (int)e->prefix.size,
                                e->prefix.data);
    }
    return rc ? mp__cli_fail(e->arguments, MP__EXIT_ERROR, "out of memory") : 0;
}

/* Read the file again and compare. 0 or the exit code of what is wrong in it. */
static int read_back(edit *e)
{
    MP__CLEANUP_FREE char *text = NULL;
    size_t size;
    int rc = mp__env_read_file(mp__env_real(), e->path, EDITED_MAX, &text, &size), code;

    mp__keyset_done(&e->after);
    mp__deltas_done(&e->deltas);
    if (rc)
        return mp__cli_fail(e->arguments, MP__EXIT_ERROR, "cannot read %s: %s", e->path,
                            mp_strerror(rc));
    if (mp_str_equal(mp_str_new(text, size), e->offered))
        return 0;
    code = e->is_single ? read_single(e, mp_str_new(text, size))
                        : read_many(e, mp_str_new(text, size));
    if (code == 0 && mp__deltas_add(&e->deltas, &e->before, &e->after, true) != 0)
        code = mp__cli_fail(e->arguments, MP__EXIT_ERROR, "out of memory");
    return code;
}

/* ---- asking and writing ---- */

/* The first letter of the answer; 'n' at the end of the input. */
static char ask(const char *question)
{
    char line[64];

    (void)fflush(stdout);
    (void)fprintf(stderr, "%s ", question);
    (void)fflush(stderr);
    if (!fgets(line, sizeof(line), stdin)) {
        (void)fputc('\n', stderr); /* what is said next begins a line */
        return 'n';
    }
    return line[0];
}

/* Whether the file is as the editor was given it: nothing was typed that could be lost, and what is
 * not there yet is not made by looking at it. */
static bool is_untouched(const edit *e)
{
    MP__CLEANUP_FREE char *text = NULL;
    size_t size;

    return mp__env_read_file(mp__env_real(), e->path, EDITED_MAX, &text, &size) == 0 &&
           mp_str_equal(mp_str_new(text, size), e->offered);
}

static int keep(const edit *e, int code)
{
    if (is_untouched(e)) {
        (void)unlink(e->path);
        return mp__cli_fail(e->arguments, code, "nothing was changed");
    }
    (void)mp__cli_fail(e->arguments, code, "nothing was changed; what you typed is in %s", e->path);
    return code;
}

static const mp__key *find(const void *context, const mp__told *told)
{
    MP__CLEANUP_FREE char *pointer = mp__str_dup(told->instance);

    return pointer ? mp__keyset_at(&((const edit *)context)->after, told->where, pointer) : NULL;
}

/* Stage what was edited. Editing may have taken long: the daemon may be another process by now.
 * With 0 *staging is to be ended or checked, else it is done with. */
static int stage_changes(edit *e, mp__staging *staging)
{
    int code = 0;

    (void)mp__client_close(e->client);
    e->client = mp__cli_connect(e->arguments, &code);
    if (!e->client)
        return code;
    mp__staging_begin(staging, e->arguments, e->client, "writing", e->deltas.count);
    staging->find = find;
    staging->find_context = e;
    for (size_t i = 0; i < e->deltas.count && code == 0; i++) {
        const mp__delta *d = &e->deltas.items[i];

        code = !d->to ? mp__staging_delete(staging, d->from)
                      : mp__staging_edit(staging, d->to, d->from);
    }
    return code ? mp__staging_end(staging, code, NULL) : 0;
}

/* Whether it would be taken, before anybody is asked: 0, or the exit code of what was said. */
static int check_changes(edit *e)
{
    mp__staging staging;
    int code = stage_changes(e, &staging);

    return code ? code : mp__staging_check(&staging, 0);
}

static int write_changes(edit *e)
{
    mp__staging staging;
    int64_t changed = 0;
    int code = stage_changes(e, &staging);

    if (code == 0)
        code = mp__staging_end(&staging, 0, &changed);
    if (code)
        return keep(e, code);
    (void)unlink(e->path);
    (void)printf("%zu added, %zu changed, %zu removed\n", e->deltas.added, e->deltas.changed,
                 e->deltas.removed);
    return 0;
}

/* An origin that takes no writes is told before somebody types, as the write would be refused: 0,
 * or the exit code of what was said. */
static int may_write(edit *e)
{
    mp_str words[] = {MP_STR("INFO"), MP_STR("marketprism")}, info;
    mp__key key = {.name = mp__buf_str(&e->prefix),
                   .value = mp_str_new("", 0),
                   .media_type = mp_str_new("", 0)};
    mp__staging staging;
    mp__reply *reply;
    int code = 0;
    bool takes;

    reply = mp__cli_call(e->arguments, e->client, &code, words, 2);
    if (!reply)
        return code;
    info = mp__reply_text(reply);
    takes = memmem(info.data, info.size, "origin_writable:0", 17) == NULL;
    (void)mp__reply_free(reply);
    if (takes)
        return 0;
    if (e->before.count)
        key = e->before.items[0];
    mp__staging_begin(&staging, e->arguments, e->client, "asking", 1);
    return mp__staging_check(&staging, mp__staging_put(&staging, &key));
}

/* The editor, as often as he wants it. */
static int rounds(edit *e)
{
    for (;;) {
        char answer;
        int code = run_editor(e);

        if (code)
            return keep(e, code);
        code = read_back(e);
        if (code == 0 && e->deltas.count && !mp__flag_given(e->arguments, "--yes"))
            code = check_changes(e);
        if (code) {
            answer = ask("edit again? [y/n]");
            if (answer != 'y')
                return keep(e, code);
            continue;
        }
        if (e->deltas.count == 0) {
            (void)unlink(e->path);
            (void)printf("nothing was changed\n");
            return 0;
        }
        mp__deltas_print(&e->deltas, 0, NULL);
        if (mp__flag_given(e->arguments, "--yes"))
            return write_changes(e);
        answer = ask("write this? [y]es, [n]o, [e]dit again");
        if (answer == 'y')
            return write_changes(e);
        if (answer != 'e')
            return keep(e, MP__EXIT_ERROR);
    }
}

int mp__verb_edit(const mp__arguments *arguments)
{
    const char *format = mp__flag_value(arguments, "--format");
    edit e = {.arguments = arguments};
    mp__buf text = MP__BUF_INIT;
    int code = 0;

    e.format = mp__cli_format(arguments, format ? format : "yaml", &code);
    if (!e.format)
        return code;
    e.client = mp__cli_connect(arguments, &code);
    if (e.client)
        code = fetch(&e);
    if (code == 0)
        code = may_write(&e);
    if (code == 0)
        code = make_text(&e, &text);
    e.offered = mp__buf_str(&text);
    if (code == 0)
        code = write_file(&e, e.offered);
    if (code == 0)
        code = rounds(&e);
    (void)mp__client_close(e.client);
    mp__deltas_done(&e.deltas);
    mp__keyset_done(&e.before);
    mp__keyset_done(&e.after);
    mp__buf_done(&e.prefix);
    mp__buf_done(&text);
    return code;
}
