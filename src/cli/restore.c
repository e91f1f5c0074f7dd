/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism restore: a data directory from an archive of `backup`.
 *
 * Every sum is checked before anything is changed, and again while the files are copied to a folder
 * inside the data directory. What stands there is moved aside, never deleted; then the new files
 * take their names, the database last. The directory is locked all along. A restore that is cut off
 * leaves the old files in before-restore-*, the new in restore-*, and a daemon that starts in
 * between finds its origin lost, which it says, rather than half of each. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/archive.h"
#include "cli/cli.h"
#include "core/alloc.h"
#include "core/env.h"
#include "core/json.h"
#include "core/option.h"
#include "origin/origin.h"

enum { MANIFEST_MAX = 256 << 20 };

const mp__flag mp__restore_flags[] = {
    {"--data-dir", "-d", "DIR", "The data directory to make."},
    {"--from", NULL, "FOLDER", "The archive that `marketprism backup` made."},
    {"--force", NULL, NULL, "Where there are files already, move them aside first."},
    {"--config", "-c", "FILE", "The configuration file of the daemon, for data_dir."},
    {"--set", NULL, "KEY=VALUE", "Set any option, as for serve."},
    {"--json", NULL, NULL, "Print JSON."},
    {NULL, NULL, NULL, NULL},
};

typedef struct restore {
    mp_env *env;
    const char *data_dir, *from;
    char staging[MP__ARCHIVE_PATH], aside[MP__ARCHIVE_PATH];
    mp__archive archive;
    mp__file *lock;
    size_t there; /* entries of the data directory that would be in the way */
    mp__diag *diag;
} restore;

static int failed(restore *r, int rc, const char *path)
{
    return mp__diag_set(r->diag, rc, "%s: %s", path, mp_strerror(rc));
}

/* ---- the archive ---- */

static int read_manifest(restore *r)
{
    MP__CLEANUP_FREE char *text = NULL;
    char path[MP__ARCHIVE_PATH];
    size_t size = 0;
    int rc = mp__archive_path(r->from, "manifest.json", path);

    if (rc == 0)
        rc = mp__env_read_file(r->env, path, MANIFEST_MAX, &text, &size);
    if (rc == -ENOENT)
        return mp__diag_set(r->diag, rc,
                            "%s has no manifest.json: it is no archive of `marketprism backup`, or "
                            "one that was interrupted",
                            r->from);
    if (rc)
        return failed(r, rc, path);
    (void)snprintf(r->diag->file, sizeof(r->diag->file), "%.255s", path);
    rc = mp__archive_parse(mp_str_new(text, size), &r->archive, r->diag);
    if (rc == 0)
        r->diag->file[0] = '\0';
    return rc;
}

static int check_sums(restore *r, const char *folder)
{
    int rc = 0;

    for (size_t i = 0; i < r->archive.count && rc == 0; i++) {
        const mp__archived *file = &r->archive.files[i];
        char path[MP__ARCHIVE_PATH];
        uint64_t bytes = 0, sum = 0;

        rc = mp__archive_path(folder, file->name, path);
        if (rc == 0)
            rc = mp__archive_sum(r->env, path, &bytes, &sum);
        if (rc)
            return failed(r, rc, path);
        if (bytes != file->bytes || sum != file->sum)
            rc = mp__diag_set(r->diag, MP_ECORRUPT,
                              "%s is not what was backed up; nothing was restored, take another "
                              "archive",
                              path);
    }
    return rc;
}

/* ---- the data directory ---- */

static int lock(restore *r)
{
    char path[MP__ARCHIVE_PATH];
    int rc = mp__env_mkdir(r->env, r->data_dir);

    if (rc == 0)
        rc = mp__archive_path(r->data_dir, "lock", path);
    if (rc == 0)
        rc = mp__file_open(r->env, path, MP__OPEN_WRITE | MP__OPEN_CREATE, &r->lock);
    if (rc == 0)
        rc = mp__file_lock(r->lock);
    if (rc == MP_ELOCKED)
        return mp__diag_set(r->diag, rc, "a daemon runs on %s; stop it first", r->data_dir);
    return rc ? failed(r, rc, r->data_dir) : 0;
}

/* The folder of a restore that was stopped before it was done: a copy, and in nobody's way. */
static bool is_staging(const char *name)
{
    static const char begin[] = "restore-";
    size_t size = strlen(begin), digits = 0;

    if (strncmp(name, begin, size) == 0)
        digits = strspn(name + size, "0123456789");
    return digits && !name[size + digits];
}

static int count_entry(void *context, const char *name)
{
    restore *r = context;

    r->there += strcmp(name, "lock") != 0 && !is_staging(name);
    return 0;
}

static int remove_staging(void *context, const char *name)
{
    restore *r = context;
    char path[MP__ARCHIVE_PATH];

    if (is_staging(name) && mp__archive_path(r->data_dir, name, path) == 0)
        mp__archive_remove(r->env, path);
    return 0;
}

static int look(restore *r)
{
    int rc = mp__env_list(r->env, r->data_dir, count_entry, r);

    return rc ? failed(r, rc, r->data_dir) : 0;
}

static int stage(restore *r)
{
    char from[MP__ARCHIVE_PATH], to[MP__ARCHIVE_PATH], l3[MP__ARCHIVE_PATH];
    uint64_t bytes, sum;
    int rc = mp__archive_path(r->staging, "l3", l3);

    if (rc == 0)
        rc = mp__env_mkdir(r->env, l3);
    for (size_t i = 0; i < r->archive.count && rc == 0; i++) {
        const mp__archived *file = &r->archive.files[i];

        rc = mp__archive_path(r->from, file->name, from);
        if (rc == 0)
            rc = mp__archive_path(r->staging, file->name, to);
        if (rc == 0)
            rc = mp__archive_copy(r->env, from, to, &bytes, &sum);
        if (rc == 0 && (bytes != file->bytes || sum != file->sum))
            rc = MP_ECORRUPT;
        if (rc)
            return mp__diag_set(r->diag, rc, "%s cannot be copied to %s: %s", from, r->data_dir,
                                mp_strerror(rc));
    }
    if (rc == 0 && mp__archive_find(&r->archive, "origin.db")) {
        rc = mp__archive_path(r->staging, "origin.db", to);
        if (rc == 0)
            rc = mp__origin_renew(r->env, to, r->diag);
        if (rc)
            return rc;
    }
    if (rc == 0)
        rc = mp__env_sync_dir(r->env, l3);
    if (rc == 0)
        rc = mp__env_sync_dir(r->env, r->staging);
    return rc ? failed(r, rc, r->staging) : 0;
}

static int move_aside(void *context, const char *name)
{
    restore *r = context;
    char from[MP__ARCHIVE_PATH], to[MP__ARCHIVE_PATH];
    int rc = mp__archive_path(r->data_dir, name, from);

    if (rc == 0 &&
        (strcmp(name, "lock") == 0 || strcmp(from, r->staging) == 0 || strcmp(from, r->aside) == 0))
        return 0;
    if (rc == 0)
        rc = mp__archive_path(r->aside, name, to);
    if (rc == 0)
        rc = mp__env_rename(r->env, from, to);
    return rc == -ENOENT ? 0 : rc; /* the WAL of a database goes when that is closed */
}

static int take_name(restore *r, const char *name)
{
    char from[MP__ARCHIVE_PATH], to[MP__ARCHIVE_PATH];
    int rc = mp__archive_path(r->staging, name, from);

    if (rc == 0)
        rc = mp__archive_path(r->data_dir, name, to);
    return rc == 0 ? mp__env_rename(r->env, from, to) : rc;
}

static int take_names(restore *r)
{
    int rc = take_name(r, "l3");

    for (size_t i = 0; i < r->archive.count && rc == 0; i++) {
        const char *name = r->archive.files[i].name;

        if (!strchr(name, '/') && strcmp(name, "origin.db") != 0)
            rc = take_name(r, name);
    }
    if (rc == 0)
        rc = mp__env_sync_dir(r->env, r->data_dir);
    if (rc == 0 && mp__archive_find(&r->archive, "origin.db"))
        rc = take_name(r, "origin.db");
    if (rc == 0)
        rc = mp__env_sync_dir(r->env, r->data_dir);
    if (rc == 0)
        (void)rmdir(r->staging);
    return rc;
}

static int run(restore *r, bool force)
{
    long long now = (long long)mp__env_wall_ms(r->env);
    int n = snprintf(r->staging, sizeof(r->staging), "%s/restore-%lld", r->data_dir, now);
    int rc;

    if (n < 0 || n >= MP__ARCHIVE_PATH - 256)
        return mp__diag_set(r->diag, -ENAMETOOLONG, "the name of the data directory is too long");
    (void)snprintf(r->aside, sizeof(r->aside), "%s/before-restore-%lld", r->data_dir, now);
    rc = read_manifest(r);
    if (rc == 0)
        rc = check_sums(r, r->from);
    if (rc == 0)
        rc = lock(r);
    if (rc == 0)
        rc = look(r);
    if (rc == 0 && r->there && !force)
        rc = mp__diag_set(r->diag, MP_EEXISTS,
                          "%s is not empty; --force moves what is there aside, to before-restore-* "
                          "in it",
                          r->data_dir);
    if (rc == 0)
        rc = mp__env_list(r->env, r->data_dir, remove_staging, r);
    if (rc == 0) {
        rc = stage(r);
        if (rc)
            mp__archive_remove(r->env, r->staging);
    }
    if (rc == 0 && r->there) {
        rc = mp__env_mkdir(r->env, r->aside);
        if (rc == 0)
            rc = mp__env_list(r->env, r->data_dir, move_aside, r);
        if (rc)
            return failed(r, rc, r->aside);
    }
    if (rc == 0) {
        rc = take_names(r);
        if (rc)
            return failed(r, rc, r->staging);
    }
    return rc;
}

static int say(const restore *r, bool as_json)
{
    mp__buf text = MP__BUF_INIT;
    int rc;

    if (as_json) {
        mp__json_begin(&text, '{');
        mp__json_add_text(&text, "data_dir", r->data_dir);
        mp__json_add_u64(&text, "files", r->archive.count);
        mp__json_add_u64(&text, "bytes", mp__archive_bytes(&r->archive));
        mp__json_add_i64(&text, "as_of_ms", r->archive.created_ms);
        mp__json_add_text(&text, "moved_aside", r->there ? r->aside : "");
        mp__json_end(&text, '}');
        (void)mp__buf_add_char(&text, '\n');
    } else {
        char ago[64];

        (void)mp__buf_printf(
            &text, "%zu files, %llu bytes from %s, made %s ago, are in %s\n", r->archive.count,
            (unsigned long long)mp__archive_bytes(&r->archive), r->from,
            mp__cli_ago(mp__cli_now_ms() - r->archive.created_ms, ago, sizeof(ago)), r->data_dir);
        if (r->there)
            (void)mp__buf_printf(&text, "what was there before is in %s\n", r->aside);
    }
    rc = mp__cli_put(mp__buf_str(&text));
    mp__buf_done(&text);
    return rc;
}

int mp__verb_restore(const mp__arguments *arguments)
{
    mp__diag diag = {0};
    mp__options *options = NULL;
    restore r = {.env = mp__env_real(), .from = mp__flag_value(arguments, "--from"), .diag = &diag};
    char text[900];
    int rc;

    if (!r.from || !r.from[0])
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "say which archive with --from FOLDER");
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit of the size of files then is an error of the write */
    rc = mp__cli_options(arguments, &options, &diag);
    if (rc == 0) {
        r.data_dir = mp__options_text(options, "data_dir");
        rc = run(&r, mp__flag_given(arguments, "--force"));
    }
    if (rc)
        rc = mp__cli_fail(arguments, MP__EXIT_ERROR, "%s",
                          diag.text[0] ? mp__diag_format(&diag, text, sizeof(text))
                                       : mp_strerror(rc));
    else
        rc = say(&r, mp__flag_given(arguments, "--json"));
    mp__file_close(r.lock);
    mp__archive_done(&r.archive);
    (void)mp__options_free(options);
    return rc;
}
