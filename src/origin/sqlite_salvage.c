/* SPDX-License-Identifier: Apache-2.0 */
/* Giving records back to a database that lost its newest commits: from what the cache kept on disk.
 */
#include "origin/sqlite.h"

enum { SALVAGE_COMMIT = 1000 };

/* @record again, with its own revision, if what is there is older. */
static int give_back(mp__sqlite_batch *batch, const mp__record *record)
{
    mp__sqlite_row row = {.op = MP__OP_SALVAGED, .record = *record, .at_ms = batch->now_ms};
    uint64_t there;
    int rc;

    row.actor = MP_STR("salvage");
    rc = mp__sqlite_change_find(batch, &row, &there);
    if (rc)
        return rc;
    if (row.was_there && !row.was_damaged && there >= record->revision)
        return 0; /* anything whole is better than what is damaged */
    if (record->kind == MP__RECORD_ABSENT) {
        if (!row.was_there)
            return 0;
        row.op = MP__OP_DELETE;
    }
    mp__sqlite_count(&batch->s->salvaged, 1);
    if (batch->revision < record->revision)
        batch->revision = record->revision;
    return mp__sqlite_change_store(batch, &row);
}

/* Of @records those that are newer than @base, in one commit. */
static int give_back_some(mp__sqlite *s, uint64_t base, const mp__record *records, size_t count)
{
    mp__sqlite_batch batch;
    int rc = mp__sqlite_batch_begin(&batch, s, true);

    for (size_t i = 0; i < count && rc == 0; i++)
        if (records[i].revision > base) /* up to there it lost nothing */
            rc = give_back(&batch, &records[i]);
    if (rc == 0)
        rc = mp__sqlite_batch_commit(&batch);
    else
        mp__sqlite_batch_rollback(&batch);
    mp__sqlite_batch_done(&batch);
    return rc;
}

/* New changes get revisions above all that anybody was told of, lost or not. */
static int go_on_after(mp__sqlite *s, uint64_t revision)
{
    mp__sqlite_batch batch;
    int rc = mp__sqlite_batch_begin(&batch, s, true);

    if (rc == 0) {
        batch.revision = batch.revision > revision ? batch.revision : revision;
        rc = mp__sqlite_batch_commit(&batch);
    }
    mp__sqlite_batch_done(&batch);
    return rc;
}

static int salvage(mp__sqlite *s, const mp__record *records, size_t count)
{
    uint64_t base = mp__sqlite_get(&s->revision);
    int rc = 0;

    if (!s->write_db.db)
        return mp__sqlite_read_refusal(s);
    for (size_t i = 0; i < count && rc == 0; i += SALVAGE_COMMIT) {
        size_t n = count - i < SALVAGE_COMMIT ? count - i : SALVAGE_COMMIT;

        rc = give_back_some(s, base, records + i, n);
    }
    if (rc == 0)
        rc = go_on_after(s, s->acknowledged);
    if (rc == 0)
        mp__sqlite_salvage_ended(s);
    else
        mp__sqlite_disk_error(s, rc, "salvage failed");
    return rc;
}

int mp__sqlite_salvage(mp__origin *origin, const mp__record *records, size_t count)
{
    mp__sqlite *s = (mp__sqlite *)origin;
    int rc, restarted;

    /* The workers stand still meanwhile, so that this thread may use what is theirs. */
    mp__sqlite_stop_workers(s);
    rc = salvage(s, records, count);
    restarted = mp__sqlite_start_workers(s);
    return rc ? rc : restarted;
}
