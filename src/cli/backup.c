/* SPDX-License-Identifier: Apache-2.0 */
/* marketprism backup: a data directory into a folder, also while its daemon runs.
 *
 * In this order: small files, then L3, then the databases, then the journal of write-back. So what
 * L3 has in the archive is never newer than the origin in it, whose moment is that of the backup;
 * and the journal, which is cut to that moment, has every write that was not in the origin then.
 * Where it was begun anew meanwhile, and may have thrown some out, database and journal are copied
 * again. Segments are only ever appended to, and what reclaim moves out of one goes to a newer one:
 * they are copied oldest first, and those that came or grew meanwhile once more. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/archive.h"
#include "cli/cli.h"
#include "core/alloc.h"
#include "core/env.h"
#include "core/json.h"
#include "core/option.h"
#include "manager/manager.h"
#include "origin/origin.h"

enum { SEGMENT_PASSES = 8, JOURNAL_PASSES = 8, JOURNAL_HEAD = 40 };
static const char journal_name[] = "write-back.log";

const mp__flag mp__backup_flags[] = {
    {"--data-dir", "-d", "DIR", "The data directory."},
    {"--out", "-o", "FOLDER", "The archive; it must not be there yet."},
    {"--config", "-c", "FILE",
     "The configuration file of the daemon, for data_dir and origin.path."},
    {"--set", NULL, "KEY=VALUE", "Set any option, as for serve."},
    {"--json", NULL, NULL, "Print JSON."},
    {NULL, NULL, NULL, NULL},
};

typedef struct backup {
    mp_env *env;
    const char *data_dir, *database; /* database: of the origin, or "" for that in data_dir */
    char folder[MP__ARCHIVE_PATH];   /* until it is complete */
    mp__archive archive;
    uint64_t revision; /* of the origin's copy */
    bool found;        /* something that is worth a backup */
    bool segments;     /* this pass looks at l3/ */
    bool has_more;     /* the pass found something new */
    char **names;      /* of the pass */
    size_t count, capacity;
    mp__diag *diag;
} backup;

static bool ends_with(const char *name, const char *ending)
{
    size_t size = strlen(name), tail = strlen(ending);

    return size > tail && strcmp(name + size - tail, ending) == 0;
}

/* What belongs to this directory and this life alone, or can be made again. */
static bool is_left_out(const char *name)
{
    static const char *const names[] = {"lock", "l3.epoch", "l3.lock", "l3.life"};
    static const char *const endings[] = {
        ".id",  ".mark", ".db-wal", ".db-shm", ".db-journal",
        ".bad", ".part", ".tmp",    ".new",    ".journal" /* it is merged into its database */};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (ends_with(name, endings[i]) && strcmp(name, "l3.id") != 0)
            return true;
    return name[0] == '.';
}

/* ---- lists ---- */

static int note_name(void *context, const char *name)
{
    backup *b = context;

    if (is_left_out(name))
        return 0;
    if (mp__grow(&b->names, b->count, &b->capacity, sizeof(*b->names)) != 0)
        return MP_ENOMEM;
    b->names[b->count] = mp__strdup(name);
    return b->names[b->count] ? (b->count++, 0) : MP_ENOMEM;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;

    return strcmp(*x, *y);
}

/* The entries of a folder by name: segments oldest first, and l3.id after them. */
static int list(backup *b, const char *folder)
{
    int rc;

    for (size_t i = 0; i < b->count; i++)
        (void)mp__free(b->names[i]);
    b->count = 0;
    rc = mp__env_list(b->env, folder, note_name, b);
    if (rc == 0 && b->count)
        qsort(b->names, b->count, sizeof(*b->names), compare_names);
    return rc;
}

/* ---- copying ---- */

static int failed(backup *b, int rc, const char *path)
{
    return mp__diag_set(b->diag, rc, "%s: %s", path, mp_strerror(rc));
}

/* One that is gone meanwhile is not missed: what was needed of it is in a newer one. */
static int copy_file(backup *b, const char *name)
{
    const mp__archived *known = mp__archive_find(&b->archive, name);
    char from[MP__ARCHIVE_PATH], to[MP__ARCHIVE_PATH];
    uint64_t bytes, sum;
    mp__stat stat;
    int rc = mp__archive_path(b->data_dir, name, from);

    if (rc == 0)
        rc = mp__archive_path(b->folder, name, to);
    if (rc == 0)
        rc = mp__env_stat(b->env, from, &stat);
    if (rc == -ENOENT || (rc == 0 && (stat.is_dir || stat.is_special)))
        return 0;
    if (rc == 0 && known && known->bytes == stat.size)
        return 0;
    if (rc == 0)
        rc = mp__archive_copy(b->env, from, to, &bytes, &sum);
    if (rc == -ENOENT)
        return 0;
    if (rc == 0)
        rc = mp__archive_add(&b->archive, name, bytes, sum);
    b->has_more = true;
    return rc ? mp__diag_set(b->diag, rc, "%s cannot be copied to %s: %s", from, to,
                             mp_strerror(rc))
              : 0;
}

static int copy_small(backup *b)
{
    int rc = list(b, b->data_dir);

    if (rc)
        return mp__diag_set(b->diag, rc, "%s cannot be read: %s", b->data_dir, mp_strerror(rc));
    for (size_t i = 0; i < b->count && rc == 0; i++) {
        b->found |= ends_with(b->names[i], ".db") || strcmp(b->names[i], "l3") == 0;
        if (!ends_with(b->names[i], ".db") && strcmp(b->names[i], journal_name) != 0)
            rc = copy_file(b, b->names[i]);
    }
    if (rc == 0 && !b->found && !b->database[0])
        rc =
            mp__diag_set(b->diag, MP_EINVAL, "%s is no data directory of marketprism", b->data_dir);
    return rc;
}

static int copy_segments(backup *b)
{
    char folder[MP__ARCHIVE_PATH], to[MP__ARCHIVE_PATH], name[MP__ARCHIVE_PATH];
    int rc = mp__archive_path(b->data_dir, "l3", folder);

    if (rc == 0)
        rc = mp__archive_path(b->folder, "l3", to);
    if (rc == 0)
        rc = mp__env_mkdir(b->env, to);
    b->has_more = true;
    for (int pass = 0; pass < SEGMENT_PASSES && rc == 0 && b->has_more; pass++) {
        b->has_more = false;
        rc = list(b, folder);
        if (rc == -ENOENT)
            return 0; /* nothing is kept on disk */
        for (size_t i = 0; i < b->count && rc == 0; i++) {
            rc = mp__archive_path("l3", b->names[i], name);
            if (rc == 0)
                rc = copy_file(b, name);
        }
    }
    return rc == 0 ? mp__env_sync_dir(b->env, to) : rc;
}

static int copy_database(backup *b, const char *from, const char *name)
{
    char to[MP__ARCHIVE_PATH];
    uint64_t bytes, sum, revision;
    mp__file *file;
    int rc = mp__archive_path(b->folder, name, to);

    if (rc == 0)
        (void)mp__env_unlink(b->env, to); /* of a pass before */
    if (rc == 0)
        rc = mp__origin_backup(b->env, from, to, &revision, b->diag);
    if (rc)
        return rc;
    if (strcmp(name, "origin.db") == 0)
        b->revision = revision;
    rc = mp__file_open(b->env, to, MP__OPEN_WRITE, &file);
    if (rc == 0) {
        rc = mp__file_sync(file);
        mp__file_close(file);
    }
    if (rc == 0)
        rc = mp__archive_sum(b->env, to, &bytes, &sum);
    if (rc == 0)
        rc = mp__archive_add(&b->archive, name, bytes, sum);
    return rc ? failed(b, rc, to) : 0;
}

static int copy_databases(backup *b)
{
    char from[MP__ARCHIVE_PATH];
    int rc = list(b, b->data_dir);

    for (size_t i = 0; i < b->count && rc == 0; i++) {
        if (!ends_with(b->names[i], ".db"))
            continue;
        rc = mp__archive_path(b->data_dir, b->names[i], from);
        if (rc == 0)
            rc = copy_database(b, from, b->names[i]);
    }
    if (rc == 0 && b->database[0])
        rc = copy_database(b, b->database, "origin.db");
    return rc;
}

/* The head of the journal, which no other has; zeros where there is none. */
static int look_at_journal(backup *b, unsigned char head[JOURNAL_HEAD])
{
    char path[MP__ARCHIVE_PATH];
    mp__file *file = NULL;
    int64_t n = 0;
    int rc = mp__archive_path(b->data_dir, journal_name, path);

    memset(head, 0, JOURNAL_HEAD);
    if (rc == 0)
        rc = mp__file_open(b->env, path, MP__OPEN_READ, &file);
    if (rc == -ENOENT)
        return 0;
    if (rc == 0)
        n = mp__file_pread(file, head, JOURNAL_HEAD, 0);
    mp__file_close(file);
    if (rc == 0 && n < 0)
        rc = (int)n;
    return rc ? failed(b, rc, path) : 0;
}

/* What is on its way, as of the moment of the database. Without one the origin stands elsewhere,
 * and what has arrived there has. */
static int cut_journal(backup *b)
{
    char path[MP__ARCHIVE_PATH];
    uint64_t bytes, sum;
    int rc = mp__archive_path(b->folder, journal_name, path);

    if (rc || !mp__archive_find(&b->archive, "origin.db") ||
        !mp__archive_find(&b->archive, journal_name))
        return rc;
    rc = mp__back_cut_copy(b->env, path, b->revision, b->diag);
    if (rc == 0)
        rc = mp__archive_sum(b->env, path, &bytes, &sum);
    if (rc == 0)
        rc = mp__archive_add(&b->archive, journal_name, bytes, sum);
    return rc ? failed(b, rc, path) : 0;
}

/* The databases, then the journal; both once more if that is another one by then. Conflicts are
 * copied again, since what left the journal as one stands there. */
static int copy_moment(backup *b)
{
    unsigned char before[JOURNAL_HEAD], after[JOURNAL_HEAD];
    int rc = 0;

    for (int pass = 0; pass < JOURNAL_PASSES && rc == 0; pass++) {
        rc = look_at_journal(b, before);
        if (rc == 0)
            rc = copy_databases(b);
        if (rc == 0)
            rc = copy_file(b, journal_name);
        if (rc == 0)
            rc = look_at_journal(b, after);
        if (rc == 0 && memcmp(before, after, JOURNAL_HEAD) == 0) {
            rc = copy_file(b, "conflicts.jsonl");
            return rc ? rc : cut_journal(b);
        }
    }
    return rc ? rc
              : mp__diag_set(b->diag, MP_EAGAIN,
                             "%s is begun anew again and again while it is copied: try it when "
                             "less is written",
                             journal_name);
}

static int write_manifest(backup *b)
{
    char path[MP__ARCHIVE_PATH];
    mp__buf text = MP__BUF_INIT;
    int rc = mp__archive_path(b->folder, "manifest.json", path);

    b->archive.created_ms = mp__env_wall_ms(b->env);
    if (rc == 0)
        rc = mp__archive_print(&b->archive, &text);
    if (rc == 0)
        rc = mp__env_write_file_atomic(b->env, path, text.data, text.size);
    mp__buf_done(&text);
    return rc ? failed(b, rc, path) : 0;
}

/* ---- all of it ---- */

static int begin(backup *b, const char *out)
{
    mp__stat stat;
    int n = snprintf(b->folder, sizeof(b->folder), "%s.part", out);

    if (n < 0 || (size_t)n >= sizeof(b->folder) - 256)
        return mp__diag_set(b->diag, -ENAMETOOLONG, "the name of the archive is too long");
    if (mp__env_stat(b->env, out, &stat) == 0)
        return mp__diag_set(b->diag, MP_EEXISTS,
                            "%s is there already; name a new folder, or remove it", out);
    if (mp__env_stat(b->env, b->folder, &stat) == 0)
        return mp__diag_set(b->diag, MP_EEXISTS,
                            "%s is what a backup left that was interrupted; remove it", b->folder);
    if (mp__env_stat(b->env, b->data_dir, &stat) != 0)
        return mp__diag_set(b->diag, -ENOENT,
                            "there is no data directory %s; say which with "
                            "--data-dir",
                            b->data_dir);
    n = mp__env_mkdir(b->env, b->folder);
    return n ? failed(b, n, b->folder) : 0;
}

static int run(backup *b, const char *out)
{
    char parent[MP__ARCHIVE_PATH];
    char *slash;
    int rc = begin(b, out);

    if (rc)
        return rc;
    rc = copy_small(b);
    if (rc == 0)
        rc = copy_segments(b);
    if (rc == 0)
        rc = copy_moment(b);
    if (rc == 0)
        rc = write_manifest(b);
    if (rc == 0)
        rc = mp__env_rename(b->env, b->folder, out);
    if (rc) {
        rc = b->diag->text[0] ? rc : failed(b, rc, b->folder);
        mp__archive_remove(b->env, b->folder); /* what did not become one is in nobody's way */
        return rc;
    }
    (void)snprintf(parent, sizeof(parent), "%s", out);
    slash = strrchr(parent, '/');
    if (slash)
        *slash = '\0';
    return mp__env_sync_dir(b->env, slash && slash != parent ? parent : slash ? "/" : ".");
}

static int say(const backup *b, const char *out, bool as_json)
{
    mp__buf text = MP__BUF_INIT;
    int rc;

    if (as_json) {
        mp__json_begin(&text, '{');
        mp__json_add_text(&text, "archive", out);
        mp__json_add_u64(&text, "files", b->archive.count);
        mp__json_add_u64(&text, "bytes", mp__archive_bytes(&b->archive));
        mp__json_add_i64(&text, "created_ms", b->archive.created_ms);
        mp__json_end(&text, '}');
        (void)mp__buf_add_char(&text, '\n');
    } else {
        (void)mp__buf_printf(&text, "%zu files, %llu bytes of %s are in %s\n", b->archive.count,
                             (unsigned long long)mp__archive_bytes(&b->archive), b->data_dir, out);
    }
    rc = mp__cli_put(mp__buf_str(&text));
    mp__buf_done(&text);
    return rc;
}

int mp__verb_backup(const mp__arguments *arguments)
{
    const char *out = mp__flag_value(arguments, "--out");
    mp__diag diag = {0};
    mp__options *options = NULL;
    backup b = {.env = mp__env_real(), .diag = &diag};
    char text[900];
    int rc;

    if (!out || !out[0])
        return mp__cli_fail(arguments, MP__EXIT_USAGE, "say where to with --out FOLDER");
    (void)signal(SIGXFSZ, SIG_IGN); /* a limit of the size of files then is an error of the write */
    rc = mp__cli_options(arguments, &options, &diag);
    if (rc == 0) {
        b.data_dir = mp__options_text(options, "data_dir");
        b.database = strcmp(mp__options_text(options, "origin.type"), "sqlite") == 0
                         ? mp__options_text(options, "origin.path")
                         : "";
        rc = run(&b, out);
    }
    if (rc)
        rc = mp__cli_fail(arguments, MP__EXIT_ERROR, "%s",
                          diag.text[0] ? mp__diag_format(&diag, text, sizeof(text))
                                       : mp_strerror(rc));
    else
        rc = say(&b, out, mp__flag_given(arguments, "--json"));
    for (size_t i = 0; i < b.count; i++)
        (void)mp__free(b.names[i]);
    (void)mp__free(b.names);
    mp__archive_done(&b.archive);
    (void)mp__options_free(options);
    return rc;
}
