/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a database as it stands at one moment, also while a daemon writes to it: SQLite's
 * online backup, in one step, so that all of it is read in one transaction. In WAL mode that holds
 * up no writer. */
#include <errno.h>
#include <stdio.h>

#include "origin/sqlite.h"

enum { BUSY_MS = 10000, JOURNAL_MAX = 1 << 30 };

static int open_plain(const char *path, const char *vfs, int flags, sqlite3 **ret_db)
{
    int code = sqlite3_open_v2(path, ret_db,
                               SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE | flags,
                               vfs);

    if (!*ret_db)
        return MP_ENOMEM;
    (void)sqlite3_busy_timeout(*ret_db, BUSY_MS);
    return code == SQLITE_OK ? 0 : mp__sqlite_error(*ret_db, code);
}

/* The target is synced once at its end, by who asked for it: until then it is nothing. */
static int copy(sqlite3 *from, sqlite3 *to)
{
    sqlite3_backup *backup;
    int code = sqlite3_exec(to, "PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY", NULL,
                            NULL, NULL);
    int rc;

    if (code != SQLITE_OK)
        return mp__sqlite_error(to, code);
    backup = sqlite3_backup_init(to, "main", from, "main");
    if (!backup)
        return mp__sqlite_error(to, sqlite3_extended_errcode(to));
    code = sqlite3_backup_step(backup, -1);
    rc = sqlite3_backup_finish(backup);
    if (code != SQLITE_DONE)
        return mp__sqlite_error(from, code);
    return rc == SQLITE_OK ? 0 : mp__sqlite_error(to, rc);
}

static int revision_of(sqlite3 *db, uint64_t *ret_revision)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE name = 'revision'", -1,
                                  &statement, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW)
        *ret_revision = (uint64_t)sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement);
    return code == SQLITE_ROW ? 0 : mp__sqlite_error(db, code);
}

/* ---- what is acknowledged and not in the database yet ---- */

/* The journal of the database at @path, as it is now, beside @out. MP_EABSENT: there is none. It is
 * copied before the database: what it has no more then, the database has. */
static int copy_journal(mp_env *env, const char *path, const char *out)
{
    MP__CLEANUP_FREE char *from = mp__sqlite_beside(path, ".journal");
    MP__CLEANUP_FREE char *to = mp__sqlite_beside(out, ".journal");
    MP__CLEANUP_FREE char *data = NULL;
    size_t size = 0;
    int rc;

    if (!from || !to)
        return MP_ENOMEM;
    rc = mp__env_read_file(env, from, JOURNAL_MAX, &data, &size);
    if (rc)
        return rc == -ENOENT ? MP_EABSENT : rc;
    return mp__env_write_file_atomic(env, to, data, size);
}

static int merge_into(mp__sqlite *s, uint64_t *ret_revision, mp__diag *diag)
{
    char epoch[33] = "";
    int64_t revision = 0;
    int rc = mp__sqlite_meta_text(&s->write_db, "epoch", epoch, sizeof(epoch));

    if (rc == 0)
        rc = mp__sqlite_number(&s->write_db, MP__SQL_REVISION, &revision);
    if (rc)
        return rc;
    mp__origin_epoch_set(&s->base, epoch);
    s->stored = (uint64_t)revision;
    rc = mp__sqlite_journal_merge(s, diag);
    if (rc == 0)
        rc = mp__sqlite_flush(s);
    if (rc == 0)
        rc = mp__sqlite_number(&s->write_db, MP__SQL_REVISION, &revision);
    if (rc == 0)
        *ret_revision = (uint64_t)revision;
    return rc;
}

/* The journal that was copied beside @out comes into it, and goes. */
static int merge_journal(mp_env *env, mp__vfs *vfs, const char *out, uint64_t *ret_revision,
                         mp__diag *diag)
{
    mp__sqlite *s = mp__calloc(1, sizeof(*s));
    int rc = MP_ENOMEM;

    if (!s)
        return rc;
    s->env = env;
    s->journal_path = mp__sqlite_beside(out, ".journal");
    mp__env_random(env, &s->pending.key, sizeof(s->pending.key));
    if (s->journal_path)
        rc = mp__sqlite_db_open(&s->write_db, env, vfs, out, BUSY_MS, false, diag);
    if (rc == 0) {
        rc = merge_into(s, ret_revision, diag);
        mp__sqlite_db_close(&s->write_db);
    }
    if (s->journal_path)
        (void)mp__env_unlink(env, s->journal_path);
    mp__sqlite_pending_done(&s->pending);
    mp__sqlite_pending_done(&s->known);
    (void)mp__free(s->journal_path);
    (void)mp__free(s);
    return rc;
}

int mp__origin_backup(mp_env *env, const char *path, const char *out, uint64_t *ret_revision,
                      mp__diag *diag)
{
    mp__origin_examined is = {0};
    sqlite3 *from = NULL, *to = NULL;
    const char *name = NULL;
    bool has_journal = false;
    mp__vfs *vfs = NULL;
    int rc = mp__origin_examine(env, path, 0, &is);

    if (rc == 0 && is.is_ours)
        rc = mp__vfs_new(env, &vfs);
    name = vfs ? mp__vfs_name(vfs) : NULL;
    if (rc == 0 && is.is_ours) {
        rc = copy_journal(env, path, out);
        has_journal = rc == 0;
        rc = rc == MP_EABSENT ? 0 : rc;
    }
    if (rc == 0)
        rc = open_plain(path, name, 0, &from);
    if (rc == 0) /* the source stays as it is, also where nobody else has it open */
        (void)sqlite3_db_config(from, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == 0)
        rc = mp__sqlite_make_private(env, out);
    if (rc == 0)
        rc = open_plain(out, name, SQLITE_OPEN_CREATE, &to);
    if (rc == 0)
        rc = copy(from, to);
    *ret_revision = 0;
    if (rc == 0 && is.is_ours)
        rc = revision_of(to, ret_revision);
    (void)sqlite3_close_v2(to);
    (void)sqlite3_close_v2(from);
    if (rc == 0 && has_journal)
        rc = merge_journal(env, vfs, out, ret_revision, diag);
    if (rc && !diag->text[0])
        (void)mp__diag_set(diag, rc, "%s cannot be copied: %s", path, mp_strerror(rc));
    (void)mp__vfs_free(vfs);
    return rc;
}

/* ---- a new life ---- */

static int renew(mp__sqlite_db *db)
{
    unsigned char bytes[16];
    char text[192];
    int size = snprintf(text, sizeof(text), "UPDATE meta SET value = '");

    mp__env_random(db->env, bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        size += snprintf(text + size, sizeof(text) - (size_t)size, "%02x", bytes[i]);
    (void)snprintf(text + size, sizeof(text) - (size_t)size,
                   "' WHERE name = 'epoch'; DELETE FROM meta WHERE name = 'shared'");
    return mp__sqlite_exec(db, text);
}

int mp__origin_renew(mp_env *env, const char *path, mp__diag *diag)
{
    mp__vfs *vfs = NULL;
    mp__sqlite_db db;
    int rc = mp__vfs_new(env, &vfs);

    if (rc == 0)
        rc = mp__sqlite_db_open(&db, env, vfs, path, BUSY_MS, false, diag);
    if (rc == 0) {
        rc = renew(&db);
        if (rc)
            (void)mp__diag_set(diag, rc, "%s cannot be written to: %s", path, mp_strerror(rc));
        mp__sqlite_db_close(&db);
    }
    (void)mp__vfs_free(vfs);
    return rc;
}
