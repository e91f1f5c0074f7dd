/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor's look at the folder of a file origin: whether every file parses, and, where no daemon
 * says it better, whether what they hold is as their schemas want it. Judged is what the origin
 * would propose at a first start: all files at once, with nothing of before. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/doctor.h"
#include "core/alloc.h"
#include "format/format.h"
#include "manager/manager.h"

enum { FILE_MOST = 64 << 20, FILES_MAX = 10000, FILES_NAMED = 10 };

/* A file of the folder: "production/exchanges.yaml". */
typedef struct given {
    char *scope, *namespace_, *path; /* where it is */
    const mp__format *format;
    mp__leaves leaves; /* only where there is a schema */
    bool is_judged;    /* with another of its namespace */
} given;

typedef struct folder {
    mp__doctor *d;
    const char *path, *scope; /* scope NULL: names in it are scopes */
    given *files;
    size_t count, capacity, wrong;
    bool has_schemas;
    int rc; /* MP_ENOMEM, MP_ELIMIT: not all is known */
} folder;

static void say_wrong(folder *f, const mp__diag *diag, const char *remedy)
{
    char said[900];

    if (f->wrong++ < FILES_NAMED)
        mp__doctor_say(f->d, MP__FINDING_TROUBLE, remedy, "%.390s",
                       mp__diag_format(diag, said, sizeof(said)));
}

/* ---- what there is ---- */

static int file_add(folder *f, const char *name, const char *path)
{
    const char *dot = strrchr(name, '.');
    given *file;

    if (f->count == FILES_MAX)
        return MP_ELIMIT;
    if (mp__grow(&f->files, f->count, &f->capacity, sizeof(*f->files)) != 0)
        return MP_ENOMEM;
    file = &f->files[f->count++];
    *file = (given){.scope = mp__strdup(f->scope),
                    .namespace_ = dot == name ? mp__strdup("default")
                                              : mp__str_dup(mp_str_new(name, (size_t)(dot - name))),
                    .path = mp__strdup(path),
                    .format = mp__format_of_path(name)};
    if (!file->scope || !file->namespace_ || !file->path)
        return MP_ENOMEM;
    f->has_schemas |= strcmp(file->namespace_, MP__SCHEMA_NAMESPACE) == 0;
    return 0;
}

static int add_entry(void *context, const char *name)
{
    folder *f = context;
    const char *outer = f->path;
    char path[4300];
    mp__stat stat;

    if ((name[0] == '.' && strcmp(name, ".env") != 0) || f->rc)
        return 0;
    (void)snprintf(path, sizeof(path), "%s/%s", f->path, name);
    if (mp__env_stat(f->d->env, path, &stat) != 0 || stat.is_special)
        return 0;
    if (stat.is_dir && !f->scope) {
        f->path = path;
        f->scope = name;
        (void)mp__env_list(f->d->env, path, add_entry, f);
        f->path = outer;
        f->scope = NULL;
    } else if (!stat.is_dir && f->scope && mp__format_of_path(name)) {
        f->rc = file_add(f, name, path);
    }
    return 0;
}

static void parse(folder *f, given *file)
{
    MP__CLEANUP_FREE char *text = NULL;
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    size_t size;
    int rc = mp__env_read_file(f->d->env, file->path, FILE_MOST, &text, &size);

    if (rc == 0)
        rc = file->format->parse(mp_str_new(text, size), &leaves, &diag);
    if (rc == 0 && f->has_schemas)
        file->leaves = leaves;
    else
        mp__leaves_done(&leaves);
    if (rc == 0)
        return;
    if (!diag.text[0])
        (void)mp__diag_set(&diag, rc, "%s", mp_strerror(rc));
    (void)snprintf(diag.file, sizeof(diag.file), "%.255s", file->path);
    say_wrong(f, &diag, "mend the place; until then its last good version stays");
}

/* ---- whether it may be so ---- */

typedef struct proposal {
    mp__proposal base; /* first */
    const folder *f;
} proposal;

static bool is_of(const given *file, mp_str scope, mp_str namespace_)
{
    return mp_str_equal(mp_str_of(file->scope), scope) &&
           mp_str_equal(mp_str_of(file->namespace_), namespace_);
}

static int keys_of(mp__proposal *asked, mp_str scope, mp_str namespace_, bool as_it_stands,
                   mp__leaves *leaves)
{
    const folder *f = ((proposal *)asked)->f;
    int rc = 0;

    for (size_t i = 0; i < f->count && !as_it_stands; i++) {
        const given *file = &f->files[i];

        for (size_t k = 0; is_of(file, scope, namespace_) && k < file->leaves.count && rc == 0;
             k++) {
            const mp__leaf *leaf = &file->leaves.items[k];
            bool is_json = mp_str_equal(leaf->media_type, MP_STR("application/json"));

            rc = mp__leaves_add(leaves, leaf->key, leaf->value,
                                is_json ? "application/json" : "text/plain");
        }
    }
    return rc;
}

static mp_str scope_at(mp__proposal *asked, size_t i)
{
    const folder *f = ((proposal *)asked)->f;

    for (size_t k = 0; k < f->count; k++) { /* those of one scope stand together */
        bool is_first = k == 0 || strcmp(f->files[k].scope, f->files[k - 1].scope) != 0;

        if (is_first && i-- == 0)
            return mp_str_of(f->files[k].scope);
    }
    return mp_str_new("", 0);
}

/* Name the file, and the place in it, that gives the key which breaks a rule, else each of them. */
static void blame(folder *f, const mp__proposal *p)
{
    static const char *const remedy =
        "mend the file, or its schema if that is wrong: until then its "
        "last good version stays, and where there is none it is "
        "served at the first start";
    mp__diag diag = {0};

    (void)mp__diag_set(&diag, MP_EINVALID, "%s", p->text);
    for (size_t i = 0; i < f->count; i++) {
        const given *file = &f->files[i];

        for (size_t k = 0; is_of(file, p->scope, p->namespace_) && k < file->leaves.count; k++)
            if (mp_str_equal(file->leaves.items[k].key, mp_str_of(p->key))) {
                diag.line = file->leaves.items[k].line;
                diag.column = file->leaves.items[k].column;
                (void)snprintf(diag.file, sizeof(diag.file), "%.255s", file->path);
                say_wrong(f, &diag, remedy);
                return;
            }
    }
    for (size_t i = 0; i < f->count; i++)
        if (is_of(&f->files[i], p->scope, p->namespace_)) {
            (void)snprintf(diag.file, sizeof(diag.file), "%.255s", f->files[i].path);
            say_wrong(f, &diag, remedy);
        }
}

static int judge(folder *f, const given *file)
{
    proposal p = {.base = {.scope = mp_str_of(file->scope),
                           .namespace_ = mp_str_of(file->namespace_),
                           .changes = true,
                           .keys = keys_of,
                           .scopes = scope_at},
                  .f = f};
    int rc;

    for (size_t i = 0; i < f->count; i++)
        f->files[i].is_judged |= is_of(&f->files[i], p.base.scope, p.base.namespace_);
    rc = mp__manager_judge(f->d->options, &p.base);
    if (rc == 0 && p.base.text[0])
        blame(f, &p.base);
    return rc;
}

/* ---- the folder ---- */

static int by_path(const void *a, const void *b)
{
    return strcmp(((const given *)a)->path, ((const given *)b)->path);
}

static void say_whole(folder *f)
{
    if (f->rc)
        mp__doctor_say(f->d, MP__FINDING_WARNING, "`marketprism serve` says what it makes of them",
                       "not all files of %s were looked at: %s", f->path, mp_strerror(f->rc));
    else if (f->count == 0)
        mp__doctor_say(f->d, MP__FINDING_WARNING, "files go to ENVIRONMENT/NAMESPACE.yaml in it",
                       "%s holds no files", f->path);
    else if (f->wrong > FILES_NAMED)
        mp__doctor_say(f->d, MP__FINDING_TROUBLE, "mend those that are named, and look again",
                       "%zu more of its files are wrong", f->wrong - FILES_NAMED);
    else if (f->wrong == 0)
        mp__doctor_say(
            f->d, MP__FINDING_OK, "", "%zu files in %s, all of them parse%s", f->count, f->path,
            f->has_schemas && !f->d->status ? " and are as their schemas want them" : "");
}

void mp__check_folder(mp__doctor *d)
{
    folder f = {.d = d, .path = mp__options_text(d->options, "origin.path")};
    int rc = f.path[0] ? mp__env_list(d->env, f.path, add_entry, &f) : MP_EINVAL;
    bool is_judged;

    if (f.count && f.rc == 0)
        qsort(f.files, f.count, sizeof(*f.files), by_path);
    for (size_t i = 0; i < f.count && rc == 0 && f.rc == 0; i++)
        parse(&f, &f.files[i]);
    /* what is in a file that does not parse is not known, and neither what is seen of others */
    is_judged = f.has_schemas && f.wrong == 0 && !d->status;
    for (size_t i = 0; i < f.count && rc == 0 && f.rc == 0 && is_judged; i++)
        if (!f.files[i].is_judged)
            f.rc = judge(&f, &f.files[i]);
    if (!f.path[0])
        mp__doctor_say(d, MP__FINDING_TROUBLE, "set origin.path to the folder of the files",
                       "origin.type is file, and origin.path is empty");
    else if (rc)
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       rc == -EACCES ? "let who runs the daemon read it"
                                     : "put it back or mount it; what it last gave is served",
                       "the folder %s: %s", f.path, mp_strerror(rc));
    else
        say_whole(&f);
    for (size_t i = 0; i < f.count; i++) {
        (void)mp__free(f.files[i].scope);
        (void)mp__free(f.files[i].namespace_);
        (void)mp__free(f.files[i].path);
        mp__leaves_done(&f.files[i].leaves);
    }
    (void)mp__free(f.files);
}
