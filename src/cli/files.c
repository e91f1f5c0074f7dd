/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/address.h"
#include "core/alloc.h"
#include "core/env.h"
#include "core/json.h"
#include "core/option.h"

const mp__flag mp__format_flag = {"--format", "-f", "NAME",
                                  MP__FORMAT_NAMES "; whatever the file is called."};

static void source_done(mp__source *s)
{
    (void)mp__free(s->environment);
    (void)mp__free(s->namespace_);
    (void)mp__free(s->path);
    mp__leaves_done(&s->leaves);
}

void mp__sources_done(mp__sources *sources)
{
    for (size_t i = 0; i < sources->count; i++)
        source_done(&sources->items[i]);
    (void)mp__free(sources->items);
    sources->items = NULL;
    sources->count = sources->capacity = 0;
}

const mp__format *mp__cli_format(const mp__arguments *arguments, const char *name, int *ret_code)
{
    const mp__format *format = mp__format_find(name);
    const char *names[16], *near;
    size_t n = 0;

    if (format)
        return format;
    for (; n < 16 && mp__formats[n]; n++)
        names[n] = mp__formats[n]->name;
    near = mp__did_you_mean(name, names, n);
    *ret_code = near ? mp__cli_fail(arguments, MP__EXIT_USAGE,
                                    "there is no format '%s'; did you mean '%s'?", name, near)
                     : mp__cli_fail(arguments, MP__EXIT_USAGE,
                                    "there is no format '%s'; there are " MP__FORMAT_NAMES, name);
    return NULL;
}

bool mp__cli_is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The stem of a path's last part: "a/b/feeds.yaml" is "feeds", ".env" is "default". */
static char *stem_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t size = dot ? (size_t)(dot - name) : strlen(name);

    return size ? mp__str_dup(mp_str_new(name, size)) : mp__strdup("default");
}

static const mp__format *format_for(const mp__sources *sources, const char *path)
{
    const char *name = mp__flag_value(sources->arguments, "--format");

    return name ? mp__format_find(name) : mp__format_of_path(path);
}

const char *mp__cli_input_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* To the end, since what comes through a pipe has no size that could be asked for. */
static int read_all(int fd, mp__buf *out)
{
    for (;;) {
        ssize_t n;

        if (mp__buf_reserve(out, 1) != 0)
            return out->error;
        n = read(fd, out->data + out->size, out->capacity - out->size);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            out->size += (size_t)n;
        if (out->size >= out->size_max)
            return MP_ELIMIT;
    }
}

int mp__cli_read_input(const char *path, size_t size_max, char **ret_text, size_t *ret_size)
{
    bool is_stdin = strcmp(path, "-") == 0;
    mp__buf text = {.size_max = size_max + 1}; /* one byte more tells that there is more */
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : read_all(fd, &text);

    if (fd >= 0 && !is_stdin)
        (void)close(fd);
    if (rc == 0)
        rc = mp__buf_add_char(&text, '\0');
    if (rc) {
        mp__buf_done(&text);
        return rc;
    }
    *ret_text = text.data; /* a buffer's memory is the allocator's */
    *ret_size = text.size - 1;
    return 0;
}

/* An error with its place, said or kept for the verb's own answer. */
static int fail_at(const mp__sources *sources, const mp__diag *diag)
{
    char said[900];

    if (!sources->errors)
        return mp__cli_fail(sources->arguments, MP__EXIT_ERROR, "%s%s",
                            mp__diag_format(diag, said, sizeof(said)), sources->consequence);
    mp__json_begin(sources->errors, '{');
    mp__json_add_text(sources->errors, "file", diag->file);
    mp__json_add_i64(sources->errors, "line", diag->line);
    mp__json_add_i64(sources->errors, "column", diag->column);
    mp__json_add_text(sources->errors, "text", diag->text);
    mp__json_end(sources->errors, '}');
    return MP__EXIT_ERROR;
}

/* The same of a file as a whole. */
static int fail_whole(const mp__sources *sources, const char *path, const char *text)
{
    mp__diag diag = {0};

    (void)snprintf(diag.file, sizeof(diag.file), "%.255s", path);
    (void)mp__diag_set(&diag, MP_EINVAL, "%s", text);
    return fail_at(sources, &diag);
}

static int fail_to_read(const mp__sources *sources, const char *path, int rc)
{
    char text[256];

    (void)snprintf(text, sizeof(text), "cannot be read: %s", mp_strerror(rc));
    return fail_whole(sources, path, text);
}

static int read_leaves(const mp__sources *sources, mp__source *s, const char *path)
{
    mp__diag diag = {0};
    char *text = NULL;
    size_t size = 0;
    int rc = mp__cli_read_input(path, MP__CLI_INPUT_MAX, &text, &size);

    if (rc)
        return fail_to_read(sources, s->path, rc);
    s->is_blank = mp__format_is_blank(s->format, mp_str_new(text, size));
    rc = s->format->parse(mp_str_new(text, size), &s->leaves, &diag);
    (void)mp__free(text);
    if (rc == 0)
        return 0;
    (void)snprintf(diag.file, sizeof(diag.file), "%s", s->path);
    if (!diag.text[0])
        (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
    return fail_at(sources, &diag);
}

/* Every key must make a good address before anything is written. */
static int check_keys(const mp__sources *sources, const mp__source *s)
{
    char address[MP__ADDRESS_MAX];

    for (size_t i = 0; i < s->leaves.count; i++) {
        const mp__leaf *leaf = &s->leaves.items[i];
        mp__diag why = {0}, diag = {0};

        if (mp__address_join(mp_str_of(s->environment ? s->environment : "x"),
                             mp_str_of(s->namespace_), leaf->key, address, &why) >= 0)
            continue;
        (void)mp__diag_at(&diag, MP_EINVAL, leaf->line, leaf->column, "%.*s: %s",
                          (int)leaf->key.size, leaf->key.data, why.text);
        (void)snprintf(diag.file, sizeof(diag.file), "%s", s->path);
        return fail_at(sources, &diag);
    }
    return 0;
}

static mp__source *source_add(mp__sources *sources)
{
    if (mp__grow(&sources->items, sources->count, &sources->capacity, sizeof(*sources->items)) != 0)
        return NULL;
    sources->items[sources->count] = (mp__source){0};
    return &sources->items[sources->count++];
}

static int read_file(mp__sources *sources, const char *path, const char *environment)
{
    const char *namespace_ = mp__flag_value(sources->arguments, "--namespace");
    const char *chosen = mp__flag_value(sources->arguments, "--env");
    const mp__format *format = format_for(sources, path);
    bool is_stdin = strcmp(path, "-") == 0;
    mp__source *s;

    if (!format && access(path, F_OK) != 0)
        return fail_to_read(sources, path, -errno);
    if (!format)
        return fail_whole(sources, path,
                          "the ending says no format; give --format, one of " MP__FORMAT_NAMES);
    s = source_add(sources);
    environment = chosen ? chosen : environment;
    if (s) {
        s->format = format;
        s->path = mp__strdup(mp__cli_input_name(path));
        s->environment = environment ? mp__strdup(environment) : NULL;
        s->namespace_ = namespace_ ? mp__strdup(namespace_)
                        : is_stdin ? mp__strdup("default")
                                   : stem_of(path);
    }
    if (!s || !s->path || !s->namespace_ || (environment && !s->environment))
        return mp__cli_fail(sources->arguments, MP__EXIT_ERROR, "out of memory");
    if (read_leaves(sources, s, path) != 0 || check_keys(sources, s) != 0) {
        source_done(s);
        sources->count--;
        return MP__EXIT_ERROR;
    }
    sources->keys += s->leaves.count;
    return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.' || strcmp(entry->d_name, ".env") == 0;
}

static bool goes_on(mp__sources *sources, int *code)
{
    if (*code && sources->go_on) {
        sources->failed++;
        *code = 0;
    }
    return *code == 0;
}

/* A folder's files; @depth 0: folders in it name environments. */
static int read_folder(mp__sources *sources, const char *path, const char *environment, int depth)
{
    struct dirent **entries = NULL;
    size_t size = strlen(path);
    int n = scandir(path, &entries, not_hidden, by_name), code = 0;

    if (n < 0)
        return fail_to_read(sources, path, -errno);
    for (int i = 0; i < n; i++) {
        char inside[4096];

        (void)snprintf(inside, sizeof(inside), "%s%s%s", path,
                       size && path[size - 1] == '/' ? "" : "/", entries[i]->d_name);
        if (!goes_on(sources, &code))
            ;
        else if (mp__cli_is_folder(inside) && depth == 0)
            code = read_folder(sources, inside, entries[i]->d_name, 1);
        else if (mp__cli_is_folder(inside))
            code =
                fail_whole(sources, inside,
                           "folders are nested too deep; environment/namespace.yaml is the form");
        else if (format_for(sources, inside))
            code = read_file(sources, inside, environment);
        free(entries[i]);
    }
    free(entries);
    return code;
}

/* A folder that is named is meant to have something: a mistyped one must not pass for done. */
static int read_named_folder(mp__sources *sources, const char *path)
{
    size_t count = sources->count, failed = sources->failed;
    int code = read_folder(sources, path, NULL, 0);

    if (code == 0 && sources->count == count && sources->failed == failed)
        return fail_whole(sources, path,
                          "no file in it ends as one of a format does: " MP__FORMAT_NAMES);
    return code;
}

int mp__sources_read(mp__sources *sources)
{
    const mp__arguments *arguments = sources->arguments;
    const char *format = mp__flag_value(arguments, "--format");
    int code = 0, inputs = 0;

    if (format && !mp__cli_format(arguments, format, &code))
        return code;
    for (int i = 0; i < arguments->word_count; i++)
        inputs += strcmp(arguments->words[i], "-") == 0;
    if (inputs > 1)
        return mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "- is standard input, which can be read only once");
    if (inputs && !format)
        return mp__cli_fail(
            arguments, MP__EXIT_USAGE,
            "what format has standard input? Give --format, one of " MP__FORMAT_NAMES);
    for (int i = 0; i < arguments->word_count && goes_on(sources, &code); i++)
        code = mp__cli_is_folder(arguments->words[i])
                   ? read_named_folder(sources, arguments->words[i])
                   : read_file(sources, arguments->words[i], NULL);
    (void)goes_on(sources, &code);
    return code;
}

/* ---- writing ---- */

/* Mode and owner of the file that is replaced. */
static int take_over(const char *path, unsigned mode, int fd)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return fchmod(fd, mode) == 0 ? 0 : -errno;
    if (fchown(fd, st.st_uid, st.st_gid) != 0 && geteuid() == 0)
        return -errno;
    return fchmod(fd, st.st_mode & 07777) == 0 ? 0 : -errno;
}

int mp__cli_replace_file(const char *path, mp_str text, unsigned mode)
{
    mp__buf temporary = MP__BUF_INIT;
    const char *slash = strrchr(path, '/');
    void (*before)(int);
    int fd, rc;

    (void)mp__buf_printf(&temporary, "%.*s.%s.XXXXXX", slash ? (int)(slash - path + 1) : 0, path,
                         slash ? slash + 1 : path);
    if (mp__buf_add_char(&temporary, '\0') != 0)
        return MP_ENOMEM;
    fd = mkstemp(temporary.data);
    before =
        signal(SIGXFSZ, SIG_IGN); /* a limit of the size of files then is an error like others */
    rc = fd < 0 ? -errno : mp__cli_write_all(fd, text);
    (void)signal(SIGXFSZ, before);
    if (rc == 0 && fsync(fd) != 0)
        rc = -errno;
    if (rc == 0)
        rc = take_over(path, mode, fd);
    if (fd >= 0 && close(fd) != 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(temporary.data, path) != 0)
        rc = -errno;
    if (rc && fd >= 0)
        (void)unlink(temporary.data);
    mp__buf_done(&temporary);
    if (rc == 0) {
        MP__CLEANUP_FREE char *folder =
            mp__str_dup(slash ? mp_str_new(path, (size_t)(slash - path + 1)) : MP_STR("."));

        rc = folder ? mp__env_sync_dir(mp__env_real(), folder) : MP_ENOMEM;
    }
    return rc;
}
