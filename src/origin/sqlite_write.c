/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit: whatever is queued becomes one group, synced once; nobody is told of it before it
 * is on disk. When it goes into the database, and what is deleted for its age. */
#include "origin/sqlite.h"

#include <errno.h>

/* Most of one commit; what is queued beyond goes into the next one. */
enum { COMMIT_WRITES_MAX = 4096, COMMIT_BYTES_MAX = 32 << 20, SWEEP_MAX = 500 };
/* A larger group is committed to the database itself: writing it twice would cost more than the
 * pages that it shares with others. */
enum { JOURNAL_GROUP_MAX = 1 << 20 };
/* When what is pending goes into the database: so many changes or bytes, so long after the first of
 * them, or when nothing came for a moment. */
enum { FLUSH_CHANGES = 8192, FLUSH_BYTES = 8 << 20, FLUSH_MS = 500, FLUSH_IDLE_MS = 5 };
/* While nothing can go into the database, writes are refused beyond so much. */
enum { PENDING_MAX = 8 * FLUSH_CHANGES, PENDING_BYTES_MAX = 8 * FLUSH_BYTES };
enum { JOURNAL_BYTES = 16 << 20 }; /* before it is begun anew */

static mp__write *write_of(mp__task *task)
{
    return (mp__write *)(void *)((char *)task - offsetof(mp__write, task));
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

/* Where a batch stood before a write. */
typedef struct before {
    uint64_t revision;
    size_t changes, outcomes;
} before;

static before before_of(const mp__sqlite_batch *batch)
{
    return (before){batch->revision, batch->s->pending.count, batch->count};
}

static void back_to(mp__sqlite_batch *batch, const before *b)
{
    mp__sqlite_pending_cut(&batch->s->pending, b->changes);
    batch->revision = b->revision;
    batch->count = b->outcomes;
}

/* A write is told as one, so what it found expired is told before it, and has to be older than all
 * of its changes: watchers take an older revision behind a newer one for what they know. */
static int apply_anew(mp__sqlite_batch *batch, mp__write *write, const before *b, int *ret_status)
{
    int rc = 0;

    back_to(batch, b);
    for (size_t i = 0; i < write->count && rc == 0; i++)
        rc = mp__sqlite_change_clear(batch, &write->changes[i]);
    return rc ? rc : apply_changes(batch, write, ret_status);
}

static int apply_write(mp__sqlite_batch *batch, mp__write *write)
{
    bool guarded = write->count > 1; /* a single change judges before it is made */
    before b = before_of(batch);
    int status, rc = apply_changes(batch, write, &status);

    if (rc == 0 && guarded && status == 0 && batch->count > b.outcomes)
        rc = apply_anew(batch, write, &b, &status);
    if (rc == 0 && guarded && status)
        back_to(batch, &b);
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
    if (rc == MP_EORIGIN && atomic_load_explicit(&s->base.is_full, memory_order_relaxed))
        rc = -ENOSPC;
    return rc;
}

/* Commit @count writes together, and tell them. An error: none of it happened, nobody was told. */
static int commit_once(mp__sqlite *s, mp__write **writes, size_t count, bool direct)
{
    mp__sqlite_batch batch;
    int rc = mp__sqlite_batch_begin(&batch, s, direct);

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

static size_t bytes_of(const mp__write *write)
{
    size_t bytes = 0;

    for (size_t i = 0; i < write->count; i++)
        bytes += write->changes[i].value.size + write->changes[i].address.size;
    return bytes;
}

static int commit_together(mp__sqlite *s, mp__write **writes, size_t count)
{
    size_t bytes = 0;
    bool is_full = s->pending.count >= PENDING_MAX || s->pending.bytes >= PENDING_BYTES_MAX;
    int rc = is_full ? mp__sqlite_flush(s) : 0;

    for (size_t i = 0; i < count; i++)
        bytes += bytes_of(writes[i]);
    if (rc == 0)
        rc = commit_once(s, writes, count, bytes > JOURNAL_GROUP_MAX);
    if (rc == MP_ELIMIT &&
        bytes <= JOURNAL_GROUP_MAX) /* old values that it brings back are large */
        rc = commit_once(s, writes, count, true);
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

/* Take writes from the list @first up to a commit's worth, or a read; the rest is returned. */
static mp__task *take(mp__task *first, mp__write **writes, size_t *ret_count)
{
    size_t bytes = 0;

    for (*ret_count = 0; first && !first->run && *ret_count < COMMIT_WRITES_MAX;
         first = first->next) {
        mp__write *write = write_of(first);

        bytes += bytes_of(write);
        if (*ret_count && bytes > COMMIT_BYTES_MAX)
            break;
        writes[(*ret_count)++] = write;
    }
    return first;
}

/* ---- into the database ---- */

/* The journal's past is in the database: once that is on the disk, too, it can go. While writes
 * come the file itself stays, since to write over it costs less than to write a new one. */
static int begin_journal_anew(mp__sqlite *s, int (*begin)(mp__sqlite *s))
{
    int rc = mp__vfs_sync_wal(s->write_db.db);

    return rc ? rc : begin(s);
}

static int checkpoint(mp__sqlite *s)
{
    int code;

    s->write_db.wal_pages = 0;
    code = sqlite3_wal_checkpoint_v2(s->write_db.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED)
        return 0;
    return mp__sqlite_error(s->write_db.db, code);
}

static bool journal_is_long(const mp__sqlite *s)
{
    return s->journal && !mp__journal_is_broken(s->journal) &&
           mp__journal_bytes(s->journal) > JOURNAL_BYTES;
}

/* After the answers, so that nobody waits for it. */
static void tidy_if_due(mp__sqlite *s)
{
    int rc = 0;

    if (!s->write_db.db || s->pending.count)
        return;
    if (s->write_db.wal_pages >= s->checkpoint_pages)
        rc = checkpoint(s);
    if (rc)
        mp__sqlite_disk_error(s, rc, "a checkpoint failed");
    else if (journal_is_long(s) && (rc = begin_journal_anew(s, mp__sqlite_journal_restart)))
        mp__sqlite_disk_error(s, rc, "the journal cannot be begun anew");
}

static void flush_now(mp__sqlite *s)
{
    int rc = s->write_db.db ? mp__sqlite_flush(s) : 0;

    if (rc)
        mp__sqlite_flush_failed(s, rc);
    tidy_if_due(s);
}

static bool flush_is_due(const mp__sqlite *s)
{
    const mp__sqlite_pending *p = &s->pending;

    return p->count >= FLUSH_CHANGES || p->bytes >= FLUSH_BYTES ||
           mp__env_now_ns(s->env) - p->since_ns >= FLUSH_MS * 1000000ull;
}

void mp__sqlite_settle(mp__sqlite *s)
{
    if (!s->write_db.db)
        return;
    flush_now(s);
    if (s->write_db.db && s->pending.count == 0 && s->journal &&
        !mp__journal_is_broken(s->journal) && mp__journal_bytes(s->journal) > MP__JOURNAL_HEAD)
        /* else the next start finds that all of it is done */
        (void)begin_journal_anew(s, mp__sqlite_journal_renew);
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

    /* what was swept is to be seen by the next look */
    while (count == SWEEP_MAX && refusal(s) == 0 && mp__sqlite_flush(s) == 0) {
        mp__sqlite_batch batch;
        int64_t due = 0;
        sqlite3_stmt *statement = mp__sqlite_use(&s->write_db, MP__SQL_EXPIRED);
        int rc;

        /* a look without a transaction first: mostly there is nothing */
        if (sqlite3_bind_int64(statement, 1, mp__env_wall_ms(s->env)) != SQLITE_OK ||
            sqlite3_bind_int64(statement, 2, 1) != SQLITE_OK ||
            mp__sqlite_number(&s->write_db, MP__SQL_EXPIRED, &due) != 0)
            return;
        rc = mp__sqlite_batch_begin(&batch, s, false);
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
    bool probes = now >= s->next_probe_ns, sweeps = now >= s->next_sweep_ns;

    if (!probes && !sweeps)
        return;
    flush_now(s); /* both look at the database as it is */
    if (probes) {
        s->next_probe_ns = now + s->probe_ns;
        mp__sqlite_probe(s);
    }
    if (sweeps) {
        s->next_sweep_ns = now + s->sweep_ns;
        mp__sqlite_sweep(s);
    }
}

/* Commit the writes of the list; what are reads is returned, in order. */
static mp__task *commit_all(mp__sqlite *s, mp__task *first)
{
    mp__write *few[1], **writes = mp__malloc(COMMIT_WRITES_MAX * sizeof(*writes));
    mp__task *reads = NULL, **last_read = &reads;

    while (first) {
        size_t count = 1;
        mp__task *rest = first->next;

        if (first->run) {
            *last_read = first;
            last_read = &first->next;
            *last_read = NULL;
            first = rest;
            continue;
        }
        few[0] = write_of(first);
        if (writes)
            rest = take(first, writes, &count); /* else one after the other */
        mp__sqlite_count(&s->writes, count);
        commit_or_refuse(s, writes ? writes : few, count);
        first = rest;
    }
    (void)mp__free(writes);
    return reads;
}

/* Reads that came while changes waited go on to the reader, who finds them in the database now. */
static void forward(mp__sqlite *s, mp__task *first)
{
    flush_now(s);
    while (first) {
        mp__task *next = first->next;

        if (s->pending.count == 0 || !mp__sqlite_read_pending(s, first))
            mp__worker_post(s->reader, first);
        first = next;
    }
}

void mp__sqlite_write_batch(void *context, mp__task *first)
{
    mp__sqlite *s = context;
    bool is_idle = !first;
    mp__task *reads = commit_all(s, first);

    if (reads)
        forward(s, reads);
    else if (s->pending.count && (is_idle || flush_is_due(s)))
        flush_now(s);
    else if (s->pending.count)
        mp__sqlite_flush_ahead(s); /* so that the flush itself holds nobody up for long */
    else
        tidy_if_due(s);
    look_around(s);
    if (s->writer)
        mp__worker_set_idle(s->writer, s->pending.count ? FLUSH_IDLE_MS : s->idle_ms);
    else
        flush_now(s); /* the caller stands in for both workers: the next read is not asked of us */
}
