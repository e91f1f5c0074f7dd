/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism import: files into keys. Everything is read before the first key is written. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "core/address.h"
#include "core/alloc.h"
#include "core/env.h"
#include "format/format.h"

const mp__flag mp__import_flags[] = {
    {"--dry-run", NULL, NULL, "Read and check everything, write nothing."},
    {"--format", "-f", "NAME", MP__FORMAT_NAMES "; whatever the file is called."},
    {NULL, NULL, NULL, NULL},
};

enum { FILE_MAX_BYTES = 64 * 1024 * 1024, PUT_KEYS = 300, PUT_BYTES = 512 * 1024 };

/* One file's keys and where they go. */
typedef struct source {
    char *environment; /* NULL: the connection's */
    char *namespace_;
    char *path;
    mp__leaves leaves;
} source;

typedef struct import {
    const mp__arguments *arguments;
    source *sources;
    size_t count, capacity, keys, written, changed;
    bool progress;
} import;

static void import_done(import *im)
{
    for (size_t i = 0; i < im->count; i++) {
        (void)mp__free(im->sources[i].environment);
        (void)mp__free(im->sources[i].namespace_);
        (void)mp__free(im->sources[i].path);
        mp__leaves_done(&im->sources[i].leaves);
    }
    (void)mp__free(im->sources);
}

/* ---- reading ---- */

/* The stem of a path's last part: "a/b/feeds.yaml" is "feeds", ".env" is "default". */
static char *stem_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t size = dot ? (size_t)(dot - name) : strlen(name);

    return size ? mp__str_dup(mp_str_new(name, size)) : mp__strdup("default");
}

static const mp__format *format_for(const import *im, const char *path)
{
    const char *name = mp__flag_value(im->arguments, "--format");

    return name ? mp__format_find(name) : mp__format_of_path(path);
}

static int read_leaves(import *im, const char *path, const mp__format *format, mp__leaves *leaves)
{
    mp__diag diag = {0};
    char *text, said[900];
    size_t size;
    int rc = mp__env_read_file(mp__env_real(), path, FILE_MAX_BYTES, &text, &size);

    if (rc)
        return mp__cli_fail(im->arguments, MP__EXIT_ERROR, "cannot read %s: %s", path,
                            mp_strerror(rc));
    rc = format->parse(mp_str_new(text, size), leaves, &diag);
    (void)mp__free(text);
    if (rc == 0)
        return 0;
    (void)snprintf(diag.file, sizeof(diag.file), "%s", path);
    if (!diag.text[0])
        (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
    return mp__cli_fail(im->arguments, MP__EXIT_ERROR, "%s; nothing was imported",
                        mp__diag_format(&diag, said, sizeof(said)));
}

/* Every key must make a good address before anything is written. */
static int check_keys(import *im, const source *s)
{
    char address[MP__ADDRESS_MAX];

    for (size_t i = 0; i < s->leaves.count; i++) {
        mp__diag diag = {0};

        if (mp__address_join(mp_str_of(s->environment ? s->environment : "x"),
                             mp_str_of(s->namespace_), s->leaves.items[i].key, address, &diag) < 0)
            return mp__cli_fail(im->arguments, MP__EXIT_ERROR, "%s: %.*s: %s; nothing was imported",
                                s->path, (int)s->leaves.items[i].key.size,
                                s->leaves.items[i].key.data, diag.text);
    }
    return 0;
}

static int read_file(import *im, const char *path, const char *environment)
{
    const char *namespace_ = mp__flag_value(im->arguments, "--namespace");
    const char *chosen = mp__flag_value(im->arguments, "--env");
    const mp__format *format = format_for(im, path);
    source *s;

    if (!format)
        return mp__cli_fail(
            im->arguments, MP__EXIT_ERROR,
            "%s: the ending says no format; give --format, one of " MP__FORMAT_NAMES, path);
    if (im->count == im->capacity) {
        size_t capacity = im->capacity ? im->capacity * 2 : 16;
        source *sources = mp__realloc_array(im->sources, capacity, sizeof(*sources));

        if (!sources)
            return mp__cli_fail(im->arguments, MP__EXIT_ERROR, "out of memory");
        im->sources = sources;
        im->capacity = capacity;
    }
    s = &im->sources[im->count];
    *s = (source){0};
    environment = chosen ? chosen : environment;
    s->path = mp__strdup(path);
    s->environment = environment ? mp__strdup(environment) : NULL;
    s->namespace_ = namespace_ ? mp__strdup(namespace_) : stem_of(path);
    im->count++;
    if (!s->path || !s->namespace_)
        return mp__cli_fail(im->arguments, MP__EXIT_ERROR, "out of memory");
    if (read_leaves(im, path, format, &s->leaves) != 0 || check_keys(im, s) != 0)
        return MP__EXIT_ERROR;
    im->keys += s->leaves.count;
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

static bool is_folder(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A folder's files; @depth 0: folders in it name environments. */
static int read_folder(import *im, const char *path, const char *environment, int depth)
{
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, not_hidden, by_name), code = 0;

    if (n < 0)
        return mp__cli_fail(im->arguments, MP__EXIT_ERROR, "cannot read %s: %s", path,
                            mp_strerror(-errno));
    for (int i = 0; i < n; i++) {
        char inside[4096];

        (void)snprintf(inside, sizeof(inside), "%s/%s", path, entries[i]->d_name);
        if (code)
            ;
        else if (is_folder(inside) && depth == 0)
            code = read_folder(im, inside, entries[i]->d_name, 1);
        else if (is_folder(inside))
            code = mp__cli_fail(
                im->arguments, MP__EXIT_ERROR,
                "%s: folders are nested too deep; environment/namespace.yaml is the form", inside);
        else if (format_for(im, inside))
            code = read_file(im, inside, environment);
        free(entries[i]);
    }
    free(entries);
    return code;
}

/* ---- writing ---- */

static void show_progress(const import *im, bool last)
{
    if (!im->progress)
        return;
    (void)fprintf(stderr, "\rimporting %zu of %zu keys%s", im->written, im->keys, last ? "\n" : "");
    (void)fflush(stderr);
}

static int use_environment(import *im, mp__client *client, const char *environment)
{
    int code = 0;
    mp__reply *reply;

    if (!environment)
        return 0;
    reply = mp__cli_call(im->arguments, client, &code,
                         (mp_str[]){MP_STR("MP.ENV"), mp_str_of(environment)}, 2);
    (void)mp__reply_free(reply);
    return code;
}

/* As many leaves from @first on as one transaction takes; *ret_next is the first that is left. */
static int put_some(import *im, mp__client *client, const source *s, size_t first, size_t *ret_next)
{
    mp_str words[1 + 3 * PUT_KEYS] = {MP_STR("MP.PUT")};
    mp__buf names = MP__BUF_INIT;
    size_t offsets[PUT_KEYS], n = 0, bytes = 0, i = first;
    int code = 0;
    mp__reply *reply;

    for (; i < s->leaves.count && n < PUT_KEYS && (n == 0 || bytes < PUT_BYTES); i++, n++) {
        offsets[n] = names.size;
        (void)mp__buf_printf(&names, "%s/%.*s", s->namespace_, (int)s->leaves.items[i].key.size,
                             s->leaves.items[i].key.data);
        bytes += s->leaves.items[i].value.size;
    }
    for (size_t k = 0; k < n; k++) {
        size_t end = k + 1 < n ? offsets[k + 1] : names.size;

        words[1 + 3 * k] = mp_str_new(names.data + offsets[k], end - offsets[k]);
        words[2 + 3 * k] = s->leaves.items[first + k].media_type;
        words[3 + 3 * k] = s->leaves.items[first + k].value;
    }
    *ret_next = i;
    reply = mp__cli_call(im->arguments, client, &code, words, 1 + 3 * n);
    if (reply && reply->count == 2)
        im->changed += (size_t)mp__reply_integer(&reply->items[0]);
    im->written += n;
    (void)mp__reply_free(reply);
    mp__buf_done(&names);
    return code;
}

static int write_all(import *im)
{
    int code = 0;
    mp__client *client = mp__cli_connect(im->arguments, &code);

    for (size_t i = 0; client && i < im->count && code == 0; i++) {
        const source *s = &im->sources[i];

        code = use_environment(im, client, s->environment);
        for (size_t at = 0; at < s->leaves.count && code == 0;) {
            code = put_some(im, client, s, at, &at);
            show_progress(im, false);
        }
    }
    show_progress(im, true);
    (void)mp__client_close(client);
    return code;
}

static void dry_run(const import *im)
{
    for (size_t i = 0; i < im->count; i++)
        (void)printf("%s: %zu keys into %s%s%s\n", im->sources[i].path, im->sources[i].leaves.count,
                     im->sources[i].environment ? im->sources[i].environment : "",
                     im->sources[i].environment ? "/" : "", im->sources[i].namespace_);
    (void)printf("%zu keys in %zu files are good; nothing was written\n", im->keys, im->count);
}

int mp__verb_import(const mp__arguments *arguments)
{
import im = {.arguments = arguments, .progress = isatty(2) };
    const char *format = mp__flag_value(arguments, "--format");
    int code = 0;

    if (format && !mp__format_find(format))
        return mp__cli_fail(arguments, MP__EXIT_USAGE,
                            "--format: '%s' is none of " MP__FORMAT_NAMES, format);
    for (int i = 0; i < arguments->word_count && code == 0; i++)
        code = is_folder(arguments->words[i]) ? read_folder(&im, arguments->words[i], NULL, 0)
                                              : read_file(&im, arguments->words[i], NULL);
    if (code == 0 && mp__flag_given(arguments, "--dry-run")) {
        dry_run(&im);
    } else if (code == 0) {
        code = write_all(&im);
        if (code == 0 && mp__flag_given(arguments, "--json"))
            (void)printf("{\"files\":%zu,\"keys\":%zu,\"changed\":%zu}\n", im.count, im.keys,
                         im.changed);
        else if (code == 0)
            (void)printf("imported %zu key%s of %zu file%s, %zu of them new or changed\n", im.keys,
                         im.keys == 1 ? "" : "s", im.count, im.count == 1 ? "" : "s", im.changed);
    }
    import_done(&im);
    return code;
}
