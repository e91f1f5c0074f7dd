/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit: whatever is queued becomes one transaction, synced once; nobody is told of it
 * before it is on disk. */
#include "origin/sqlite.h"

#include <errno.h>

/* Most of one commit; what is queued beyond goes into the next one. */
enum { COMMIT_WRITES_MAX = 4096, COMMIT_BYTES_MAX = 32 << 20, SWEEP_MAX = 500 };

static mp__write *write_of(mp__task *task)
{
    return (mp__write *)(void *)((char *)task - offsetof(mp__write, task));
}

/* ---- the batch and what its results point into ---- */

int mp__sqlite_batch_add(mp__sqlite_batch *batch, mp__write *write, const mp__record *record)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity ? 2 * batch->capacity : 64;
        mp__sqlite_outcome *more =
            mp__realloc_array(batch->outcomes, capacity, sizeof(*batch->outcomes));

        if (!more)
            return MP_ENOMEM;
        batch->outcomes = more;
        batch->capacity = capacity;
    }
    batch->outcomes[batch->count] = (mp__sqlite_outcome){.write = write};
    if (record)
        batch->outcomes[batch->count].record = *record;
    batch->count++;
    return 0;
}

int mp__sqlite_keep_str(mp__sqlite_batch *batch, mp_str *text)
{
    char *copy;

    if (batch->kept_count == batch->kept_capacity) {
        size_t capacity = batch->kept_capacity ? 2 * batch->kept_capacity : 64;
        void **more = mp__realloc_array(batch->kept, capacity, sizeof(*batch->kept));

        if (!more)
            return MP_ENOMEM;
        batch->kept = more;
        batch->kept_capacity = capacity;
    }
    copy = mp__str_dup(*text);
    if (!copy)
        return MP_ENOMEM;
    batch->kept[batch->kept_count++] = copy;
    text->data = copy;
    return 0;
}

int mp__sqlite_keep_record(mp__sqlite_batch *batch, mp__record *record)
{
    int rc = mp__sqlite_keep_str(batch, &record->address);

    if (rc == 0)
        rc = mp__sqlite_keep_str(batch, &record->media_type);
    return rc ? rc : mp__sqlite_keep_str(batch, &record->value);
}

static void forget_results(mp__sqlite_batch *batch)
{
    for (size_t i = 0; i < batch->kept_count; i++)
        (void)mp__free(batch->kept[i]);
    batch->kept_count = batch->count = 0;
}

void mp__sqlite_batch_done(mp__sqlite_batch *batch)
{
    forget_results(batch);
    (void)mp__free(batch->kept);
    (void)mp__free(batch->outcomes);
}

/* ---- the transaction ---- */

int mp__sqlite_batch_begin(mp__sqlite_batch *batch, mp__sqlite *s)
{
    int64_t revision = 0;
    int rc;

    *batch = (mp__sqlite_batch){.s = s, .db = &s->write_db, .now_ms = mp__env_wall_ms(s->env)};
    rc = mp__sqlite_run(batch->db, MP__SQL_BEGIN_WRITE);
    if (rc == 0) {
        /* asked each time: another program may have been here */
        rc = mp__sqlite_number(batch->db, MP__SQL_REVISION, &revision);
        if (rc == MP_EABSENT)
            rc = MP_ECORRUPT;
        if (rc)
            mp__sqlite_batch_rollback(batch);
    }
    batch->revision = batch->first_revision = (uint64_t)revision;
    return rc;
}

void mp__sqlite_batch_rollback(mp__sqlite_batch *batch)
{
    if (mp__sqlite_in_transaction(batch->db))
        (void)mp__sqlite_run(batch->db, MP__SQL_ROLLBACK);
}

static int set_revision(mp__sqlite_batch *batch)
{
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, MP__SQL_REVISION_SET);

    if (sqlite3_bind_int64(statement, 1, (int64_t)batch->revision) != SQLITE_OK)
        return MP_ENOMEM;
    return mp__sqlite_run(batch->db, MP__SQL_REVISION_SET);
}

int mp__sqlite_batch_commit(mp__sqlite_batch *batch)
{
    mp__sqlite *s = batch->s;
    uint64_t began = mp__env_now_ns(s->env);
    int rc;

    if (batch->revision == batch->first_revision) {
        mp__sqlite_batch_rollback(batch); /* nothing was changed: nothing to sync */
        return 0;
    }
    rc = set_revision(batch);
    if (rc == 0 && !mp__sqlite_in_transaction(batch->db))
        rc = -EIO; /* SQLite gave it up by itself after an error */
    if (rc == 0)
        rc = mp__sqlite_run(batch->db, MP__SQL_COMMIT);
    if (rc) {
        mp__sqlite_batch_rollback(batch);
        return rc;
    }
    if (s->acknowledged < batch->revision) /* else commits are being given back */
        s->acknowledged = batch->revision;
    mp__sqlite_mark_write(s, s->acknowledged);
    mp__sqlite_set(&s->revision, batch->revision);
    mp__sqlite_count(&s->keys, (uint64_t)batch->keys_delta);
    mp__sqlite_count(&s->commits, 1);
    mp__sqlite_set(&s->commit_ns, mp__env_now_ns(s->env) - began);
    return 0;
}

void mp__sqlite_batch_deliver(mp__sqlite_batch *batch)
{
    const mp__origin_options *options = &batch->s->options;

    for (size_t i = 0; i < batch->count; i++) {
        mp__sqlite_outcome *outcome = &batch->outcomes[i];

        if (outcome->write)
            outcome->write->done(outcome->write, outcome->status);
        else if (options->on_change)
            options->on_change(options->context, &outcome->record);
    }
}

/* ---- one write in it ---- */

/* Whether a change's status is an error of the whole write. */
static bool is_failure(const mp__change *change)
{
    if (change->status == MP_EABSENT)
        return change->op == MP__CHANGE_PUT || change->op == MP__CHANGE_ROLLBACK ||
               change->op == MP__CHANGE_CHECK;
    return change->status != 0;
}

static void undo_results(mp__write *write, size_t applied)
{
    for (size_t i = 0; i < applied; i++) {
        write->changes[i].changed = false;
        write->changes[i].after = (mp__record){0};
    }
    for (size_t i = applied + 1; i < write->count; i++) {
        write->changes[i].status = MP_ECANCELED;
        write->changes[i].changed = write->changes[i].had_old = false;
        write->changes[i].after = write->changes[i].old = (mp__record){0};
    }
}

/* All changes of @write or none; @ret_status is what its owner is told. Negative: the transaction
 * is in doubt. */
static int apply_changes(mp__sqlite_batch *batch, mp__write *write, int *ret_status)
{
    *ret_status = 0;
    for (size_t i = 0; i < write->count; i++) {
        int rc = mp__sqlite_change_apply(batch, &write->changes[i], write->actor);

        if (rc)
            return rc;
        if (is_failure(&write->changes[i])) {
            *ret_status = write->changes[i].status;
            undo_results(write, i);
            return 0;
        }
    }
    return 0;
}

static int apply_write(mp__sqlite_batch *batch, mp__write *write)
{
    bool guarded = write->count > 1; /* a single change judges before it writes */
    uint64_t revision = batch->revision;
    int64_t keys = batch->keys_delta;
    size_t outcomes = batch->count;
    int status, rc = guarded ? mp__sqlite_run(batch->db, MP__SQL_SAVEPOINT) : 0;

    if (rc == 0)
        rc = apply_changes(batch, write, &status);
    if (rc == 0 && guarded && status) {
        rc = mp__sqlite_run(batch->db, MP__SQL_ROLLBACK_TO);
        batch->revision = revision;
        batch->keys_delta = keys;
        batch->count = outcomes;
    }
    if (rc == 0 && guarded)
        rc = mp__sqlite_run(batch->db, MP__SQL_RELEASE);
    if (rc == 0)
        rc = mp__sqlite_batch_add(batch, write, NULL);
    if (rc == 0)
        batch->outcomes[batch->count - 1].status = status;
    return rc;
}

/* ---- the queue ---- */

static void refuse(mp__write *write, int status)
{
    for (size_t i = 0; i < write->count; i++) {
        mp__change *change = &write->changes[i];

        change->status = status;
        change->changed = change->had_old = false;
        change->after = change->old = (mp__record){0};
    }
    write->done(write, status);
}

static int refusal(const mp__sqlite *s)
{
    int rc = mp__sqlite_read_refusal(s);

    if (rc == 0 && mp__state_now(&s->base.state) != MP__ORIGIN_LIVE)
        rc = MP_EDEGRADED;
    return rc;
}

/* Commit @count writes together, and tell them. An error: none of it happened, nobody was told. */
static int commit_together(mp__sqlite *s, mp__write **writes, size_t count)
{
    mp__sqlite_batch batch;
    int rc = mp__sqlite_batch_begin(&batch, s);

    for (size_t i = 0; i < count && rc == 0; i++)
        rc = apply_write(&batch, writes[i]);
    if (rc == 0)
        rc = mp__sqlite_batch_commit(&batch);
    else
        mp__sqlite_batch_rollback(&batch);
    if (rc == 0) {
        mp__sqlite_set(&s->batch, count);
        mp__sqlite_batch_deliver(&batch);
    }
    mp__sqlite_batch_done(&batch);
    return rc;
}

/* Whether the fault may be that of one write among them, and not the disk's. */
static bool may_be_one_of_them(int error)
{
    return error == MP_ECORRUPT || error == MP_ENOMEM || error == MP_ELIMIT;
}

static void commit_or_refuse(mp__sqlite *s, mp__write **writes, size_t count)
{
    int rc = refusal(s);

    if (rc == 0)
        rc = commit_together(s, writes, count);
    if (rc == 0)
        return;
    mp__sqlite_count(&s->errors, 1);
    if (count > 1 && may_be_one_of_them(rc)) {
        for (size_t i = 0; i < count; i++)
            commit_or_refuse(s, &writes[i], 1);
        return;
    }
    if (!refusal(s))
        mp__sqlite_disk_error(s, rc, "a commit failed");
    for (size_t i = 0; i < count; i++)
        refuse(writes[i], rc);
}

static size_t bytes_of(const mp__write *write)
{
    size_t bytes = 0;

    for (size_t i = 0; i < write->count; i++)
        bytes += write->changes[i].value.size;
    return bytes;
}

/* Take writes from the list @first up to a commit's worth; the rest is returned. */
static mp__task *take(mp__task *first, mp__write **writes, size_t *ret_count)
{
    size_t bytes = 0;

    for (*ret_count = 0; first && *ret_count < COMMIT_WRITES_MAX; first = first->next) {
        mp__write *write = write_of(first);

        bytes += bytes_of(write);
        if (*ret_count && bytes > COMMIT_BYTES_MAX)
            break;
        writes[(*ret_count)++] = write;
    }
    return first;
}

/* After the answers, so that nobody waits for it. */
static void checkpoint_if_due(mp__sqlite *s)
{
    int code;

    if (!s->write_db.db || s->write_db.wal_pages < s->checkpoint_pages)
        return;
    s->write_db.wal_pages = 0;
    code = sqlite3_wal_checkpoint_v2(s->write_db.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY && (code & 0xff) != SQLITE_LOCKED)
        mp__sqlite_disk_error(s, mp__sqlite_error(s->write_db.db, code), "a checkpoint failed");
}

/* ---- expiry ---- */

static int sweep_some(mp__sqlite_batch *batch, size_t *ret_count)
{
    mp__sqlite_row *rows = mp__calloc(SWEEP_MAX, sizeof(*rows));
    sqlite3_stmt *statement = mp__sqlite_use(batch->db, MP__SQL_EXPIRED);
    size_t count = 0;
    int rc = rows ? 0 : MP_ENOMEM;

    if (rc == 0 && (sqlite3_bind_int64(statement, 1, batch->now_ms) != SQLITE_OK ||
                    sqlite3_bind_int64(statement, 2, SWEEP_MAX) != SQLITE_OK))
        rc = MP_ENOMEM;
    while (rc == 0 && (rc = mp__sqlite_step(batch->db, statement)) == 1) {
        rc = mp__sqlite_entry_read(statement, &rows[count]);
        rows[count].record.value = (mp_str){NULL, 0};
        if (rc == 0)
            rc = mp__sqlite_keep_record(batch, &rows[count++].record);
        else if (rc == MP_ECORRUPT)
            rc = 0; /* its expiry cannot be believed */
    }
    (void)sqlite3_reset(statement);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = mp__sqlite_change_expire(batch, &rows[i]);
    (void)mp__free(rows);
    *ret_count = count;
    return rc;
}

void mp__sqlite_sweep(mp__sqlite *s)
{
    size_t count = SWEEP_MAX;

    while (count == SWEEP_MAX && refusal(s) == 0) {
        mp__sqlite_batch batch;
        int64_t due = 0;
        sqlite3_stmt *statement = mp__sqlite_use(&s->write_db, MP__SQL_EXPIRED);
        int rc;

        /* a look without a transaction first: mostly there is nothing */
        if (sqlite3_bind_int64(statement, 1, mp__env_wall_ms(s->env)) != SQLITE_OK ||
            sqlite3_bind_int64(statement, 2, 1) != SQLITE_OK ||
            mp__sqlite_number(&s->write_db, MP__SQL_EXPIRED, &due) != 0)
            return;
        rc = mp__sqlite_batch_begin(&batch, s);
        if (rc == 0) {
            rc = sweep_some(&batch, &count);
            if (rc == 0)
                rc = mp__sqlite_batch_commit(&batch);
            else
                mp__sqlite_batch_rollback(&batch);
        }
        if (rc == 0)
            mp__sqlite_batch_deliver(&batch);
        mp__sqlite_batch_done(&batch);
        if (rc) {
            mp__sqlite_disk_error(s, rc, "deleting expired values failed");
            return;
        }
    }
}

/* ---- the worker's turn ---- */

static void look_around(mp__sqlite *s)
{
    uint64_t now = mp__env_now_ns(s->env);

    if (now >= s->next_probe_ns) {
        s->next_probe_ns = now + s->probe_ns;
        mp__sqlite_probe(s);
    }
    if (now >= s->next_sweep_ns) {
        s->next_sweep_ns = now + s->sweep_ns;
        mp__sqlite_sweep(s);
    }
}

void mp__sqlite_write_batch(void *context, mp__task *first)
{
    mp__sqlite *s = context;
    mp__write *few[1], **writes = mp__malloc(COMMIT_WRITES_MAX * sizeof(*writes));

    while (first) {
        size_t count = 1;
        mp__task *rest = first->next;

        few[0] = write_of(first);
        if (writes)
            rest = take(first, writes, &count); /* else one after the other */
        mp__sqlite_count(&s->writes, count);
        commit_or_refuse(s, writes ? writes : few, count);
        first = rest;
    }
    (void)mp__free(writes);
    checkpoint_if_due(s);
    look_around(s);
}
