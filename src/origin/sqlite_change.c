/* SPDX-License-Identifier: Apache-2.0 */
/* One change inside a commit: its condition is judged here, against what the changes before it in
 * the same transaction made. */
#include "origin/sqlite.h"

#include "core/address.h"

/* What holds for an address as a change finds it. */
typedef struct present {
    mp__sqlite_row row; /* copied into the batch's memory */
    bool there;
    bool damaged; /* there is a row, and what it held cannot be known */
} present;

static int count_keys(mp__sqlite_batch *batch, mp_str address, int64_t delta)
{
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, MP__SQL_COUNT_ADD);
    mp_str environment, namespace_, key;

    if (mp__address_split(address, &environment, &namespace_, &key) != 0)
        return MP_ECORRUPT;
    if (mp__sqlite_bind_str(statement, 1, environment) != SQLITE_OK ||
        sqlite3_bind_int64(statement, 2, delta) != SQLITE_OK)
        return MP_ENOMEM;
    batch->keys_delta += delta;
    return mp__sqlite_run(batch->db, MP__SQL_COUNT_ADD);
}

static int write_entry(mp__sqlite_batch *batch, const mp__sqlite_row *row)
{
    enum mp__sqlite_sql which = row->id ? MP__SQL_UPDATE : MP__SQL_INSERT;
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, which);
    int rc = mp__sqlite_entry_bind(statement, 1, &row->record);

    if (rc == 0 && row->id && sqlite3_bind_int64(statement, 11, row->id) != SQLITE_OK)
        rc = MP_ENOMEM;
    if (rc == 0)
        rc = mp__sqlite_run(batch->db, which);
    if (rc == 0 && !row->id)
        rc = count_keys(batch, row->record.address, 1);
    return rc;
}

static int remove_entry(mp__sqlite_batch *batch, const mp__sqlite_row *row)
{
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, MP__SQL_DELETE);

    if (sqlite3_bind_int64(statement, 1, row->id) != SQLITE_OK)
        return MP_ENOMEM;
    return mp__sqlite_run(batch->db, MP__SQL_DELETE);
}

int mp__sqlite_change_store(mp__sqlite_batch *batch, const mp__sqlite_row *row)
{
    int rc = mp__sqlite_history_bind(mp__sqlite_use(batch->db, MP__SQL_HISTORY_INSERT), row);

    if (rc == 0)
        rc = mp__sqlite_run(batch->db, MP__SQL_HISTORY_INSERT);
    if (rc == 0 && mp__sqlite_op_has_value(row->op))
        return write_entry(batch, row);
    if (rc == 0 && row->id)
        rc = remove_entry(batch, row);
    if (rc == 0 && row->id)
        rc = count_keys(batch, row->record.address, -1);
    return rc;
}

/* The history row and the record of a deletion. */
static mp__sqlite_row deletion(mp__sqlite_batch *batch, const mp__sqlite_row *of_row,
                               enum mp__sqlite_op op, mp_str actor)
{
    return (mp__sqlite_row){
        .id = of_row->id,
        .op = op,
        .at_ms = batch->now_ms,
        .actor = actor,
        .record =
            {
                .kind = MP__RECORD_ABSENT,
                .address = of_row->record.address,
                .revision = ++batch->revision,
                .modified_ms = batch->now_ms,
            },
    };
}

static void stamp(mp__sqlite_batch *batch, mp__record *record)
{
    record->fetched_ms = record->verified_ms = batch->now_ms;
}

int mp__sqlite_change_expire(mp__sqlite_batch *batch, const mp__sqlite_row *row)
{
    mp__sqlite_row gone = deletion(batch, row, MP__OP_EXPIRED, MP_STR(""));
    int rc = mp__sqlite_change_store(batch, &gone);

    stamp(batch, &gone.record);
    return rc ? rc : mp__sqlite_batch_add(batch, NULL, &gone.record);
}

/* Read the row of @address as it is in this transaction. */
static int find_row(mp__sqlite_batch *batch, mp_str address, present *ret)
{
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, MP__SQL_FETCH);
    int64_t id;
    int rc;

    *ret = (present){0};
    if (mp__sqlite_bind_str(statement, 1, address) != SQLITE_OK)
        return MP_ENOMEM;
    rc = mp__sqlite_step(batch->db, statement);
    if (rc != 1)
        return rc;
    rc = mp__sqlite_entry_read(statement, &ret->row);
    ret->there = true;
    id = ret->row.id;
    if (rc == MP_ECORRUPT) {
        rc = mp__sqlite_salvage_row(batch->s, batch->db, address, &ret->row);
        ret->row.id = id; /* what is stored next takes the damaged row's place */
        ret->damaged = rc == MP_ECORRUPT || ret->row.record.kind == MP__RECORD_ABSENT;
        if (rc == MP_ECORRUPT)
            rc = 0;
    }
    ret->row.record.address = address;
    if (rc == 0 && !ret->damaged)
        rc = mp__sqlite_keep_record(batch, &ret->row.record);
    (void)sqlite3_reset(statement);
    (void)sqlite3_reset(batch->db->statements[MP__SQL_HISTORY_OF]);
    return rc;
}

/* The same, with what has expired deleted first, so that it is as absent as readers were told. */
static int find_present(mp__sqlite_batch *batch, mp_str address, present *ret)
{
    int rc = find_row(batch, address, ret);

    if (rc == 0 && ret->there && !ret->damaged &&
        mp__sqlite_is_expired(&ret->row.record, batch->now_ms)) {
        rc = mp__sqlite_change_expire(batch, &ret->row);
        *ret = (present){0};
    }
    return rc;
}

/* Whether the condition of @change holds; fills its status and what it wants to know of the old. */
static int judge(const mp__sqlite_batch *batch, mp__change *change, const present *now)
{
    bool asks = change->flags & (MP__IF_REVISION | MP__WANT_OLD | MP__IF_CHANGED | MP__KEEP_EXPIRY);
    uint64_t revision = now->there ? now->row.record.revision : 0;

    if (now->damaged && (asks || change->op == MP__CHANGE_EXPIRE))
        return MP_ECORRUPT; /* it depends on what cannot be known */
    if (now->there && !now->damaged) {
        change->after = now->row.record;
        if (change->flags & MP__WANT_OLD) {
            change->had_old = true;
            change->old = now->row.record;
        }
    } else if (!now->there) {
        change->after = (mp__record){.kind = MP__RECORD_ABSENT,
                                     .address = change->address,
                                     .revision = batch->revision,
                                     .fetched_ms = batch->now_ms,
                                     .verified_ms = batch->now_ms};
    }
    if ((change->flags & MP__IF_ABSENT) && now->there)
        return MP_EEXISTS;
    if ((change->flags & MP__IF_REVISION) && revision != change->if_revision)
        return MP_ECONFLICT;
    if ((change->flags & MP__IF_PRESENT) && !now->there)
        return MP_EABSENT;
    return 0;
}

/* ---- the four operations; @now is what they found, its condition holds ---- */

static int store(mp__sqlite_batch *batch, mp__change *change, mp__sqlite_row *row)
{
    int rc = mp__sqlite_change_store(batch, row);

    if (rc)
        return rc;
    change->changed = true;
    change->after = row->record;
    stamp(batch, &change->after);
    return 0;
}

static mp__sqlite_row successor(mp__sqlite_batch *batch, const mp__change *change,
                                const present *now, enum mp__sqlite_op op, mp_str actor)
{
    bool goes_on = now->there && !now->damaged;
    mp__sqlite_row row = {.op = op, .actor = actor, .at_ms = batch->now_ms, .id = now->row.id};

    row.record = (mp__record){.kind = MP__RECORD_VALUE,
                              .address = change->address,
                              .revision = ++batch->revision,
                              .modified_ms = batch->now_ms};
    row.record.created_revision = goes_on ? now->row.record.created_revision : row.record.revision;
    row.record.created_ms = goes_on ? now->row.record.created_ms : batch->now_ms;
    row.record.version = goes_on ? now->row.record.version + 1 : 1;
    if (goes_on && (change->flags & MP__KEEP_EXPIRY))
        row.record.expires_ms = now->row.record.expires_ms;
    else
        row.record.expires_ms = change->expires_ms;
    return row;
}

static int do_put(mp__sqlite_batch *batch, mp__change *change, const present *now, mp_str actor)
{
    mp__sqlite_row row;

    if ((change->flags & MP__IF_CHANGED) && now->there &&
        mp_str_equal(now->row.record.value, change->value) &&
        mp_str_equal(now->row.record.media_type, change->media_type))
        return 0;
    row = successor(batch, change, now, MP__OP_PUT, actor);
    row.record.value = change->value;
    row.record.media_type = change->media_type;
    return store(batch, change, &row);
}

static int do_delete(mp__sqlite_batch *batch, mp__change *change, const present *now, mp_str actor)
{
    mp__sqlite_row row;

    if (!now->there) {
        change->status = MP_EABSENT;
        return 0;
    }
    row = deletion(batch, &now->row, MP__OP_DELETE, actor);
    row.record.address = change->address;
    return store(batch, change, &row);
}

static int do_expire(mp__sqlite_batch *batch, mp__change *change, const present *now, mp_str actor)
{
    mp__sqlite_row row = now->row;

    if (!now->there) {
        change->status = MP_EABSENT;
        return 0;
    }
    if (row.record.expires_ms == change->expires_ms)
        return 0;
    /* the value is as old and of the version that it was: only how long it lives is new */
    row.op = MP__OP_EXPIRE;
    row.actor = actor;
    row.at_ms = batch->now_ms;
    row.record.revision = ++batch->revision;
    row.record.expires_ms = change->expires_ms;
    return store(batch, change, &row);
}

static int do_rollback(mp__sqlite_batch *batch, mp__change *change, const present *now,
                       mp_str actor)
{
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, MP__SQL_HISTORY_AT);
    mp__sqlite_row then, row;
    int rc;

    if (sqlite3_bind_int64(statement, 1, (int64_t)change->to_revision) != SQLITE_OK)
        return MP_ENOMEM;
    rc = mp__sqlite_step(batch->db, statement);
    if (rc == 1) {
        rc = mp__sqlite_history_read(statement, &then);
        if (rc == 0 && (!mp_str_equal(then.record.address, change->address) ||
                        then.record.kind != MP__RECORD_VALUE))
            rc = MP_EABSENT;
    } else if (rc == 0) {
        rc = MP_EABSENT;
    }
    if (rc == MP_EABSENT || rc == MP_ECORRUPT) {
        change->status = rc;
        rc = 0;
    } else if (rc == 0) {
        row = successor(batch, change, now, MP__OP_ROLLBACK, actor);
        row.record.value = then.record.value;
        row.record.media_type = then.record.media_type;
        rc = mp__sqlite_keep_record(batch, &row.record);
        (void)sqlite3_reset(statement);
        if (rc == 0)
            rc = store(batch, change, &row);
    }
    (void)sqlite3_reset(statement);
    return rc;
}

/* What no origin can keep is refused before it can harm. */
static int check(const mp__change *change)
{
    mp_str environment, namespace_, key;

    if (mp__address_split(change->address, &environment, &namespace_, &key) != 0 ||
        mp__scope_check(environment, NULL) != 0)
        return MP_EINVAL;
    if (change->address.size > MP__ADDRESS_MAX || change->media_type.size > MP__MEDIA_TYPE_MAX)
        return MP_ELIMIT;
    return change->expires_ms < 0 ? MP_EINVAL : 0;
}

int mp__sqlite_change_apply(mp__sqlite_batch *batch, mp__change *change, mp_str actor)
{
    present now;
    int rc;

    change->changed = change->had_old = false;
    change->after = change->old = (mp__record){0};
    change->status = check(change);
    if (change->status)
        return 0;
    rc = find_present(batch, change->address, &now);
    if (rc)
        return rc;
    change->status = judge(batch, change, &now);
    if (change->status)
        return 0;
    switch (change->op) {
    case MP__CHANGE_PUT:
        return do_put(batch, change, &now, actor);
    case MP__CHANGE_DELETE:
        return do_delete(batch, change, &now, actor);
    case MP__CHANGE_EXPIRE:
        return do_expire(batch, change, &now, actor);
    case MP__CHANGE_ROLLBACK:
        return do_rollback(batch, change, &now, actor);
    case MP__CHANGE_CHECK:
        return 0;
    }
    change->status = MP_EINVAL;
    return 0;
}
