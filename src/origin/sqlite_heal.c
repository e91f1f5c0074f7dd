/* SPDX-License-Identifier: Apache-2.0 */
/* Setting a damaged file right as far as that is certain. On the writer's thread.
 *
 * A flipped bit that was mended on reading is mended on disk. A page without its checksum may also
 * have been written by another program (the sqlite3 shell, while the daemon was down): then the
 * file is sound in itself, SQLite's own check of all its structure says so, and its pages are
 * sealed as they are. Rows still have their own checksums, so that a value which was changed on the
 * way is not believed. Everything else is left alone: what is on a damaged page is unknown. */
#include "origin/sqlite.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { HEAL_AGAIN_S = 60 };

/* Only what the file itself says counts: a disk that fails says nothing of it. */
enum verdict { SOUND, UNSOUND, UNKNOWN };

static enum verdict verdict_of(int error)
{
    switch (error & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return UNSOUND;
    default:
        return UNKNOWN;
    }
}

/* One text out of SQL that is not kept. */
static enum verdict says(mp__sqlite_db *db, const char *question, const char *answer)
{
    sqlite3_stmt *statement = NULL;
    const char *text = NULL;
    enum verdict verdict;
    int rc = sqlite3_prepare_v2(db->db, question, -1, &statement, NULL);

    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        text = (const char *)sqlite3_column_text(statement, 0);
    if (text)
        verdict = strcmp(text, answer) == 0 ? SOUND : UNSOUND;
    else /* a NULL is an answer, too: there is nothing of what was asked for */
        verdict = rc == SQLITE_ROW && sqlite3_column_type(statement, 0) == SQLITE_NULL
                      ? UNSOUND
                      : verdict_of(rc);
    (void)sqlite3_finalize(statement);
    return verdict;
}

static enum verdict judge(mp__sqlite_db *db, const char *epoch)
{
    char is[33] = "";
    enum verdict verdict = says(db, "PRAGMA integrity_check(1)", "ok");
    int rc;

    if (verdict == SOUND)
        verdict = says(db,
                       "SELECT value = (SELECT coalesce(max(revision), 0) FROM history) FROM meta"
                       " WHERE name = 'revision'",
                       "1");
    if (verdict != SOUND)
        return verdict;
    rc = mp__sqlite_meta_text(db, "epoch", is, sizeof(is));
    if (rc)
        return rc == MP_EABSENT || rc == MP_ECORRUPT ? UNSOUND : UNKNOWN;
    return !epoch[0] || strcmp(is, epoch) == 0 ? SOUND : UNSOUND;
}

/* A read that failed is among what PRAGMA integrity_check finds; it is no finding. */
static enum verdict is_sound(const mp__sqlite *s, mp__sqlite_db *db, const char *epoch)
{
    uint64_t failed = mp__vfs_stats_read(s->vfs).failed;
    enum verdict verdict = judge(db, epoch);

    return mp__vfs_stats_read(s->vfs).failed == failed ? verdict : UNKNOWN;
}

/* Look at the file without regard to its pages' checksums, and seal them if it is sound. */
static bool seal_if_sound(mp__sqlite *s, const char *epoch)
{
    mp__sqlite_db look;
    uint64_t left = 0;
    bool sound;
    int rc;

    mp__vfs_open_unverified(true);
    rc = mp__sqlite_db_open(&look, s->env, s->vfs, s->path, s->options.timeout_ms, false, NULL);
    mp__vfs_open_unverified(false);
    if (rc)
        return false;
    sound =
        is_sound(s, &look, epoch) == SOUND && mp__vfs_scrub(look.db, true, &left) == 0 && left == 0;
    mp__sqlite_db_close(&look);
    s->recount_due |= sound;
    if (sound)
        mp__log(s->options.log, MP__LOG_WARN, "origin", "sealed",
                "pages of %s had no right checksum and it is sound: another program wrote it",
                s->path);
    return sound;
}

bool mp__sqlite_heal_closed(mp__sqlite *s, const char *epoch)
{
    return seal_if_sound(s, epoch);
}

/* A file was put back where a WAL still lies. If that is not its own (a backup was copied in), the
 * two together are neither: then the WAL is moved aside, and the file stands alone. It holds
 * acknowledged writes otherwise, so that doubt leaves it where it is. */
void mp__sqlite_heal_wal(mp__sqlite *s, const char *epoch)
{
    MP__CLEANUP_FREE char *wal = mp__malloc(strlen(s->path) + 5);
    enum verdict verdict;
    mp__sqlite_db look;
    mp__stat stat;
    int rc;

    if (!wal)
        return;
    (void)snprintf(wal, strlen(s->path) + 5, "%s-wal", s->path);
    if (mp__env_stat(s->env, wal, &stat) != 0 || stat.size == 0)
        return;
    mp__vfs_open_unverified(true);
    rc = mp__sqlite_db_open(&look, s->env, s->vfs, s->path, s->options.timeout_ms, false, NULL);
    mp__vfs_open_unverified(false);
    if (rc) {
        verdict = rc == MP_ECORRUPT ? UNSOUND : UNKNOWN;
    } else {
        verdict = is_sound(s, &look, epoch);
        (void)sqlite3_db_config(look.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, verdict != SOUND, NULL);
        mp__sqlite_db_close(&look);
    }
    if (verdict == UNSOUND && mp__sqlite_wal_aside(s) == 0)
        mp__log(s->options.log, MP__LOG_WARN, "origin", "wal-aside",
                "the WAL beside %s does not belong to the file that was put there", s->path);
}

void mp__sqlite_heal(mp__sqlite *s)
{
    mp__vfs_stats stats = mp__vfs_stats_read(s->vfs);
    uint64_t now = mp__env_now_ns(s->env), left = 0;

    if ((stats.mended == s->healed.mended && stats.damaged == s->healed.damaged) ||
        now < s->next_heal_ns)
        return;
    /* what was mended in the WAL comes into the database on the way */
    (void)sqlite3_wal_checkpoint_v2(s->write_db.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (mp__vfs_scrub(s->write_db.db, false, &left) != 0)
        return;
    if (left && !seal_if_sound(s, mp__origin_epoch(&s->base))) {
        s->next_heal_ns = now + HEAL_AGAIN_S * 1000000000ull;
        mp__log(s->options.log, MP__LOG_ERROR, "origin", "damaged",
                "%" PRIu64 " pages of %s are damaged; what is on them is unknown; restore it from"
                " a backup",
                left, s->path);
    } else if (stats.mended != s->healed.mended) {
        mp__log(s->options.log, MP__LOG_WARN, "origin", "mended",
                "flipped bits in %s were found and set right; look after this machine's memory"
                " and disk",
                s->path);
    }
    s->healed = mp__vfs_stats_read(s->vfs);
}

/* ---- an older file was put back ---- */

enum { RESTATE_COMMIT = 500 };

/* The next rows after *id, each under a new revision. */
static int restate_some(mp__sqlite_batch *batch, int64_t *id, size_t *ret_count)
{
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, MP__SQL_LIST_BY_ID);
    mp__sqlite_row *rows = mp__calloc(RESTATE_COMMIT, sizeof(*rows));
    size_t count = 0;
    int rc = rows && sqlite3_bind_int64(statement, 1, *id) == SQLITE_OK ? 0 : MP_ENOMEM;

    while (rc == 0 && count < RESTATE_COMMIT && (rc = mp__sqlite_step(batch->db, statement)) == 1) {
        rc = mp__sqlite_entry_read(statement, &rows[count]);
        *id = rows[count].id;
        if (rc == 0)
            rc = mp__sqlite_keep_record(batch, &rows[count++].record);
        else if (rc == MP_ECORRUPT)
            rc = 0; /* it stays the damaged row that it is */
    }
    (void)sqlite3_reset(statement);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rows[i].op = MP__OP_RESTORED;
        rows[i].actor = MP_STR("restore");
        rows[i].at_ms = batch->now_ms;
        rows[i].was_there = true;
        rows[i].record.revision = ++batch->revision;
        rc = mp__sqlite_change_store(batch, &rows[i]);
    }
    (void)mp__free(rows);
    *ret_count = count;
    return rc;
}

int mp__sqlite_restate(mp__sqlite *s)
{
    uint64_t above = s->acknowledged;
    size_t count = RESTATE_COMMIT;
    int64_t id = 0;
    int rc = 0;

    while (count == RESTATE_COMMIT && rc == 0) {
        mp__sqlite_batch batch;

        rc = mp__sqlite_batch_begin(&batch, s, true);
        if (rc == 0) {
            if (batch.revision < above)
                batch.revision = above;
            rc = restate_some(&batch, &id, &count);
            if (rc == 0)
                rc = mp__sqlite_batch_commit(&batch);
            else
                mp__sqlite_batch_rollback(&batch);
        }
        mp__sqlite_batch_done(&batch);
    }
    return rc;
}
