/* SPDX-License-Identifier: Apache-2.0 */
/* One change inside a commit: its condition is judged here, against what the changes before it in
 * the same transaction made. */
#include "origin/sqlite.h"

#include "core/address.h"

/* What holds for an address as a change finds it. */
typedef struct present {
    mp__sqlite_row row; /* what it points into lives as long as the batch */
    bool there;
    bool damaged;     /* there is a row, and what it held cannot be known */
    bool row_damaged; /* the row in `entries` does not hold; its history may */
} present;

int mp__sqlite_change_store(mp__sqlite_batch *batch, const mp__sqlite_row *row)
{
    return mp__sqlite_pending_add(&batch->s->pending, row);
}

/* The history row and the record of a deletion. */
static mp__sqlite_row deletion(mp__sqlite_batch *batch, const mp__sqlite_row *of_row,
                               enum mp__sqlite_op op, mp_str actor)
{
    return (mp__sqlite_row){
        .id = of_row->id,
        .was_there = true,
        .was_damaged = of_row->was_damaged,
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

/* The newest of the changes that wait. What points into the memory of another write of this batch
 * is copied: that one may be answered first. */
static int find_staged(mp__sqlite_batch *batch, const mp__sqlite_staged *staged, present *ret)
{
    bool is_ours = (size_t)(staged - batch->s->pending.rows) >= batch->first;
    mp_str address = staged->row.record.address;
    int rc = 0;

    ret->row = staged->row;
    ret->there = mp__sqlite_op_has_value(staged->row.op);
    ret->row_damaged = staged->row.was_damaged;
    if (is_ours && ret->there)
        rc = mp__sqlite_keep_record(batch, &ret->row.record);
    ret->row.record.address = address;
    return rc;
}

/* What the database has. */
static int find_stored(mp__sqlite_batch *batch, mp_str address, present *ret)
{
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, MP__SQL_FETCH);
    int64_t id;
    int rc;

    if (mp__sqlite_bind_str(statement, 1, address) != SQLITE_OK)
        return MP_ENOMEM;
    rc = mp__sqlite_step(batch->db, statement);
    if (rc == 1) {
        rc = mp__sqlite_entry_read(statement, &ret->row);
        ret->there = true;
        id = ret->row.id;
        if (rc == MP_ECORRUPT) {
            rc = mp__sqlite_salvage_row(batch->s, batch->db, address, &ret->row);
            ret->row.id = id; /* what is stored next takes the damaged row's place */
            ret->row_damaged = true;
            ret->damaged = rc == MP_ECORRUPT || ret->row.record.kind == MP__RECORD_ABSENT;
            if (rc == MP_ECORRUPT)
                rc = 0;
        }
        if (rc == 0 && !ret->damaged)
            rc = mp__sqlite_keep_record(batch, &ret->row.record);
    }
    (void)sqlite3_reset(statement);
    (void)sqlite3_reset(batch->db->statements[MP__SQL_HISTORY_OF]);
    return rc;
}

/* The place in the index of history where a row of @address would be put: if that is damaged, the
 * write is refused instead of acknowledged and then not stored. */
static int touch_history(mp__sqlite_batch *batch, mp_str address)
{
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, MP__SQL_HISTORY_TOUCH);
    int64_t ignored;
    int rc;

    if (mp__sqlite_bind_str(statement, 1, address) != SQLITE_OK)
        return MP_ENOMEM;
    rc = mp__sqlite_number(batch->db, MP__SQL_HISTORY_TOUCH, &ignored);
    return rc == MP_EABSENT ? 0 : rc;
}

/* What holds for @address after all changes before this one; its value perhaps not, unless @whole.
 */
static int find_row(mp__sqlite_batch *batch, mp_str address, bool whole, present *ret)
{
    const mp__sqlite_staged *staged = mp__sqlite_pending_find(&batch->s->pending, address);
    const mp__sqlite_staged *known = staged || whole ? NULL : mp__sqlite_known(batch->s, address);
    int rc = 0;

    *ret = (present){0};
    if (known) {
        ret->row = known->row;
        ret->there = mp__sqlite_op_has_value(known->row.op);
    } else if (staged) {
        rc = find_staged(batch, staged, ret);
    } else {
        rc = find_stored(batch, address, ret);
        if (rc == 0)
            rc = touch_history(batch, address);
    }
    ret->row.record.address = address;
    ret->row.was_there = ret->there;
    ret->row.was_damaged = ret->row_damaged;
    return rc;
}

int mp__sqlite_change_find(mp__sqlite_batch *batch, mp__sqlite_row *row, uint64_t *ret_revision)
{
    present now;
    int rc = find_row(batch, row->record.address, true, &now);

    row->id = now.row.id;
    row->was_there = now.there;
    row->was_damaged = now.row_damaged;
    *ret_revision = now.there && !now.damaged ? now.row.record.revision : 0;
    return rc;
}

/* The same, with what has expired deleted first, so that it is as absent as readers were told. */
static int find_present(mp__sqlite_batch *batch, mp_str address, bool whole, present *ret)
{
    int rc = find_row(batch, address, whole, ret);

    if (rc == 0 && ret->there && !ret->damaged &&
        mp__sqlite_is_expired(&ret->row.record, batch->now_ms)) {
        rc = mp__sqlite_change_expire(batch, &ret->row);
        if (rc == 0)
            rc = find_row(batch, address, whole, ret); /* the deletion */
    }
    return rc;
}

/* Whether the condition of @change holds; fills its status and what it wants to know of the old. */
static int judge(const mp__sqlite_batch *batch, mp__change *change, const present *now)
{
    bool asks = (change->flags & (MP__IF_REVISION | MP__WANT_OLD | MP__KEEP_EXPIRY)) ||
                (change->op == MP__CHANGE_PUT && (change->flags & MP__IF_CHANGED));
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
    mp__sqlite_row row = {.op = op,
                          .actor = actor,
                          .at_ms = batch->now_ms,
                          .id = now->row.id,
                          .was_there = now->there,
                          .was_damaged = now->row_damaged};

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

/* Whether @change, which makes no revision of what is there already, would put @value there. One
 * that is to stay is another than one that ends. */
static bool is_there_already(const mp__change *change, const present *now, mp_str value,
                             mp_str media_type)
{
    const mp__record *r = &now->row.record;

    return (change->flags & MP__IF_CHANGED) && now->there && !now->damaged &&
           mp_str_equal(r->value, value) && mp_str_equal(r->media_type, media_type) &&
           ((change->flags & MP__KEEP_EXPIRY) || r->expires_ms == change->expires_ms);
}

static int do_put(mp__sqlite_batch *batch, mp__change *change, const present *now, mp_str actor)
{
    mp__sqlite_row row;

    if (is_there_already(change, now, change->value, change->media_type))
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

/* Whether @change, an EXPIRE, wants to take the place of an expiry at @now_ms, 0: none. */
static bool takes_expiry(const mp__change *change, int64_t now_ms)
{
    return !((change->flags & MP__IF_NO_EXPIRY && now_ms) ||
             (change->flags & MP__IF_EXPIRY && !now_ms) ||
             (change->flags & MP__IF_LATER && (!now_ms || change->expires_ms <= now_ms)) ||
             (change->flags & MP__IF_EARLIER && now_ms && change->expires_ms >= now_ms));
}

static int do_expire(mp__sqlite_batch *batch, mp__change *change, const present *now, mp_str actor)
{
    mp__sqlite_row row = now->row;

    if (!now->there) {
        change->status = MP_EABSENT;
        return 0;
    }
    if (row.record.expires_ms == change->expires_ms || !takes_expiry(change, row.record.expires_ms))
        return 0;
    /* the value is as old and of the version that it was: only how long it lives is new */
    row.op = MP__OP_EXPIRE;
    row.actor = actor;
    row.at_ms = batch->now_ms;
    row.record.revision = ++batch->revision;
    row.record.expires_ms = change->expires_ms;
    return store(batch, change, &row);
}

/* The row of history of revision @revision: among the changes that wait, or stored. 1, 0 none. */
static int find_revision(mp__sqlite_batch *batch, uint64_t revision, mp__sqlite_row *ret_row)
{
    const mp__sqlite_pending *p = &batch->s->pending;
    sqlite3_stmt *statement;
    int rc;

    for (size_t i = 0; i < p->count; i++) {
        *ret_row = p->rows[i].row;
        if (ret_row->record.revision == revision)
            return 1;
    }
    statement = mp__sqlite_use(batch->db, MP__SQL_HISTORY_AT);
    if (sqlite3_bind_int64(statement, 1, (int64_t)revision) != SQLITE_OK)
        return MP_ENOMEM;
    rc = mp__sqlite_step(batch->db, statement);
    if (rc == 1) {
        rc = mp__sqlite_history_read(statement, ret_row);
        return rc ? rc : 1;
    }
    return rc;
}

static int do_rollback(mp__sqlite_batch *batch, mp__change *change, const present *now,
                       mp_str actor)
{
    mp__sqlite_row then, row;
    int rc = find_revision(batch, change->to_revision, &then);

    if (rc == 0 || (rc == 1 && (!mp_str_equal(then.record.address, change->address) ||
                                then.record.kind != MP__RECORD_VALUE)))
        rc = MP_EABSENT;
    if (rc == MP_EABSENT || rc == MP_ECORRUPT) {
        change->status = rc;
        rc = 0;
    } else if (rc == 1 &&
               is_there_already(change, now, then.record.value, then.record.media_type)) {
        rc = 0;
    } else if (rc == 1) {
        row = successor(batch, change, now, MP__OP_ROLLBACK, actor);
        row.record.value = then.record.value;
        row.record.media_type = then.record.media_type;
        rc = mp__sqlite_keep_record(batch, &row.record);
        if (rc == 0)
            rc = store(batch, change, &row);
    }
    (void)sqlite3_reset(batch->db->statements[MP__SQL_HISTORY_AT]);
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

/* Whether what becomes of @change depends on the value before it, or tells of it. */
static bool needs_value(const mp__change *change)
{
    return (change->op != MP__CHANGE_PUT && change->op != MP__CHANGE_DELETE) ||
           (change->flags & ~(unsigned)MP__KEEP_EXPIRY) != 0;
}

int mp__sqlite_change_clear(mp__sqlite_batch *batch, const mp__change *change)
{
    present now;

    return check(change) ? 0 : find_present(batch, change->address, needs_value(change), &now);
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
    rc = find_present(batch, change->address, needs_value(change), &now);
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
