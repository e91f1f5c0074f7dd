/* SPDX-License-Identifier: Apache-2.0 */
/* Health: finding the database, noticing that it was moved, damaged or changed by others, and
 * coming back by itself. All of it on the writer's thread. */
#include "origin/sqlite.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static void move(mp__sqlite *s, enum mp__origin_state to, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void move(mp__sqlite *s, enum mp__origin_state to, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(s->cause, sizeof(s->cause), format, args);
    va_end(args);
    (void)mp__state_move_to(&s->base.state, (uint8_t)to, s->cause);
}

static void unseen(mp__sqlite *s, const char *cause)
{
    if (s->opened && s->options.on_unseen_change)
        s->options.on_unseen_change(s->options.context, cause);
}

static void wake_reader(mp__sqlite *s)
{
    atomic_fetch_add_explicit(&s->generation, 1, memory_order_release);
    if (s->reader && !atomic_exchange(&s->reader_waking, true))
        mp__worker_post(s->reader, &s->reader_wake);
}

void mp__sqlite_detach(mp__sqlite *s)
{
    s->pending.stored = 0;
    mp__sqlite_pending_clear(&s->known);
    mp__sqlite_db_close(&s->write_db);
}

/* ---- finding it ---- */

static bool same_file(const mp__stat *a, const mp__stat *b)
{
    return a->device == b->device && a->inode == b->inode;
}

static bool untouched(const mp__stat *a, const mp__stat *b)
{
    return same_file(a, b) && a->size == b->size && a->modified_ms == b->modified_ms;
}

/* How many keys a scope has, which nobody may have written to. */
static int take_stock_of(mp__sqlite *s, const char *scope, int64_t *ret_keys)
{
    sqlite3_stmt *statement = mp__sqlite_use(&s->write_db, MP__SQL_COUNT);
    int rc = MP_ENOMEM;

    if (mp__sqlite_bind_str(statement, 1, mp_str_of(scope)) == SQLITE_OK)
        rc = mp__sqlite_number(&s->write_db, MP__SQL_COUNT, ret_keys);
    return rc == MP_EABSENT ? 0 : rc;
}

/* What the database itself has; what is acknowledged and not in it yet is not of it. */
typedef struct stock {
    int64_t revision, keys, version, keys_of[MP__ORIGIN_COUNTED_MAX];
} stock;

/* 0 with s->stored as it is now, or an error; MP_ECORRUPT: it is damaged. */
static int look_at_stock(mp__sqlite *s, stock *ret_stock)
{
    stock found = {0};
    int rc = mp__sqlite_number(&s->write_db, MP__SQL_REVISION, &found.revision);

    if (rc == 0)
        rc = mp__sqlite_number(&s->write_db, MP__SQL_COUNT_ALL, &found.keys);
    if (rc == 0)
        rc = mp__sqlite_number(&s->write_db, MP__SQL_DATA_VERSION, &found.version);
    for (size_t i = 0; i < s->options.counted_count && rc == 0; i++)
        rc = take_stock_of(s, s->options.counted[i], &found.keys_of[i]);
    if (rc)
        return rc == MP_EABSENT ? MP_ECORRUPT : rc;
    s->stored = (uint64_t)found.revision;
    *ret_stock = found;
    return 0;
}

/* Count again what is kept beside the rows. */
static int take_stock(mp__sqlite *s)
{
    stock found;
    int rc = look_at_stock(s, &found);

    if (rc)
        return rc;
    mp__sqlite_set(&s->revision, (uint64_t)found.revision);
    mp__sqlite_set(&s->keys, (uint64_t)found.keys);
    for (size_t i = 0; i < s->options.counted_count; i++)
        mp__sqlite_set(&s->keys_of[i], (uint64_t)found.keys_of[i]);
    s->data_version = found.version;
    return 0;
}

/* An open database becomes ours: its epoch, its revision, and whether it is all there. */
static int adopt(mp__sqlite *s, const mp__sqlite_id *id)
{
    char epoch[33] = "";
    uint64_t mark;
    int rc = mp__sqlite_meta_text(&s->write_db, "epoch", epoch, sizeof(epoch));

    if (rc == 0 && strlen(epoch) != 32)
        rc = MP_ECORRUPT;
    if (rc == 0)
        rc = take_stock(s);
    if (rc == 0)
        rc = mp__env_stat(s->env, s->path, &s->file);
    if (rc)
        return rc == MP_EABSENT ? MP_ECORRUPT : rc;
    mp__origin_epoch_set(&s->base, epoch);
    if (!id || strcmp(id->epoch, epoch) != 0)
        s->id_due = mp__sqlite_id_write(s, epoch) != 0;
    mark = mp__sqlite_mark_read(s, epoch);
    if (s->acknowledged < mark)
        s->acknowledged = mark;
    return 0;
}

/* What a failure to open means for the state; an error of open() itself is returned. */
static int judge_failure(mp__sqlite *s, int error, bool known, mp__diag *diag)
{
    switch (error) {
    case MP_EINVAL:
        if (known || s->opened) { /* where ours was there is another program's */
            move(s, MP__ORIGIN_LOST, "%s", diag->text);
            return 0;
        }
        return error;
    case MP_EVERSION:
    case MP_ENOMEM:
        if (!s->opened)
            return error;
        move(s, MP__ORIGIN_DOWN, "%s", diag->text);
        return 0;
    case MP_EABSENT:
        move(s, MP__ORIGIN_LOST, "the database '%s' is empty, and it was not", s->path);
        return 0;
    case MP_ECORRUPT:
        if (s->journal_damaged) /* not the database: it is tried again, as nobody touches that */
            move(s, MP__ORIGIN_DOWN, "%s", diag->text);
        else
            move(s, MP__ORIGIN_LOST, "the database is damaged: %s", diag->text);
        return 0;
    default:
        atomic_store_explicit(&s->base.is_full, error == -ENOSPC, memory_order_relaxed);
        move(s, MP__ORIGIN_DOWN, "%s (%s)", diag->text, mp_strerror(error));
        return 0;
    }
}

static void go_live(mp__sqlite *s)
{
    uint64_t revision = mp__sqlite_get(&s->revision);
    int rc;

    if (revision < s->acknowledged && !s->opened) {
        s->behind = true;
        move(s, MP__ORIGIN_LOST,
             "its newest commits are missing: it is at revision %llu, %llu was acknowledged",
             (unsigned long long)revision, (unsigned long long)s->acknowledged);
        return;
    }
    if (revision < s->acknowledged) {
        rc = mp__sqlite_restate(s);
        if (rc) {
            mp__sqlite_detach(s);
            move(s, MP__ORIGIN_DOWN, "an older database was put back and cannot be taken over: %s",
                 mp_strerror(rc));
            return;
        }
        revision = mp__sqlite_get(&s->revision);
    }
    wake_reader(s);
    move(s, MP__ORIGIN_LIVE, "open at revision %llu", (unsigned long long)revision);
    unseen(s, "the database was opened again");
}

static int open_and_adopt(mp__sqlite *s, bool create, const mp__sqlite_id *id, mp__diag *why)
{
    int rc = mp__sqlite_db_open(&s->write_db, s->env, s->vfs, s->path, s->options.timeout_ms,
                                create, why);

    if (rc)
        return rc;
    rc = adopt(s, id);
    if (rc) {
        mp__sqlite_detach(s);
        (void)mp__diag_set(why, rc, "'%s' cannot be read: %s", s->path, mp_strerror(rc));
    }
    return rc;
}

/* What was acknowledged and had not come into the database. */
static int adopt_journal(mp__sqlite *s, mp__diag *why)
{
    int rc;

    mp__sqlite_pending_clear(&s->pending);
    atomic_store_explicit(&s->stuck, 0, memory_order_relaxed);
    atomic_store_explicit(&s->unflushed, false, memory_order_release);
    rc = s->options.is_shared
             ? mp__sqlite_share(s, why)
             : mp__sqlite_journal_open(s, s->journal_seen ? s->acknowledged : UINT64_MAX, why);
    if (rc == 0 && mp__sqlite_flush(s) == 0) {
        rc = take_stock(s);
    } else if (rc == 0) { /* it is told of when the state is */
        mp__sqlite_set(&s->revision, s->pending.revision);
        mp__sqlite_count_pending(s);
    }
    if (rc == 0 && s->acknowledged < mp__sqlite_get(&s->revision))
        s->acknowledged = mp__sqlite_get(&s->revision);
    s->journal_seen |= rc == 0;
    if (rc) {
        mp__sqlite_detach(s);
        if (!why->text[0])
            (void)mp__diag_set(why, rc, "'%s' cannot be used: %s", s->journal_path,
                               mp_strerror(rc));
    }
    return rc;
}

/* Files of ours beside the database, or whoever opens it, say that there was one. All of it comes
 * after the database is on the disk, so that a first start that was broken off begins again. */
static bool was_there(mp__sqlite *s)
{
    return s->options.was_there || mp__sqlite_left_beside(s);
}

int mp__sqlite_attach(mp__sqlite *s, mp__diag *diag)
{
    mp__sqlite_id id = {""};
    mp__diag why = {0};
    int known = mp__sqlite_id_read(s, &id);
    bool was = known != MP_EABSENT || was_there(s);
    int rc, flushed;

    if (known == MP_ENOMEM || known == MP_EVERSION)
        return mp__diag_set(diag, known, "'%s' cannot be used: %s", s->id_path, mp_strerror(known));
    s->journal_damaged = false; /* what fails now may be the database */
    s->file = (mp__stat){0};
    rc = mp__env_stat(s->env, s->path, &s->file);
    if (was && (rc == -ENOENT || (rc == 0 && s->file.size == 0))) {
        move(s, MP__ORIGIN_LOST, "the database '%s' is gone", s->path);
        return 0;
    }
    if (s->opened)
        mp__sqlite_heal_wal(s, id.epoch);
    rc = open_and_adopt(s, !was, known ? NULL : &id, &why);
    if (rc == MP_ECORRUPT && mp__sqlite_heal_closed(s, id.epoch)) {
        why = (mp__diag){0};
        rc = open_and_adopt(s, false, known ? NULL : &id, &why);
    }
    if (rc == 0)
        rc = adopt_journal(s, &why);
    if (rc) {
        if (diag)
            *diag = why;
        return judge_failure(s, rc, was, &why);
    }
    go_live(s);
    flushed = s->write_db.db ? mp__sqlite_flush(s) : 0;
    if (flushed)
        mp__sqlite_flush_failed(s, flushed);
    else if (s->write_db.db && !s->shared)
        (void)mp__sqlite_sync_commits(&s->write_db, false);
    return 0;
}

void mp__sqlite_salvage_ended(mp__sqlite *s)
{
    if (s->behind) {
        s->behind = false;
        move(s, MP__ORIGIN_LIVE, "what was lost was given back as far as it was kept");
    }
}

/* ---- losing it ---- */

static void lose(mp__sqlite *s, bool moved, const char *cause)
{
    /* What is pending or still in the WAL belongs to the file that was moved; left under the old
     * name it would be taken for that of whatever is put there. */
    if (moved)
        mp__sqlite_settle(s);
    if (moved && s->write_db.db)
        (void)sqlite3_wal_checkpoint_v2(s->write_db.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                        NULL);
    mp__sqlite_detach(s);
    s->behind = false;
    if (moved) /* what comes back is looked at, even if it is the same as it was */
        s->file = (mp__stat){0};
    move(s, MP__ORIGIN_LOST, "%s", cause);
    wake_reader(s);
}

/* Nothing that this connection believes about the disk is certain any more: a sync that failed once
 * says nothing when it is asked again. What failed is cut off the WAL, or a recovery would bring it
 * back; then the probe opens the database anew and writes what was committed to the disk once more,
 * before anything is acknowledged. */
static void give_up_connection(mp__sqlite *s)
{
    mp__sqlite_transaction_end(s);
    if (s->write_db.db && mp__sqlite_run(&s->write_db, MP__SQL_BEGIN_WRITE) == 0) {
        (void)mp__vfs_cut_wal(s->write_db.db);
        (void)mp__sqlite_run(&s->write_db, MP__SQL_ROLLBACK);
    }
    mp__sqlite_detach(s);
}

void mp__sqlite_disk_error(mp__sqlite *s, int error, const char *doing)
{
    switch (error) {
    case MP_ETIMEOUT:
    case MP_ENOMEM:
    case MP_ELIMIT:
    case MP_ECANCELED:
        return; /* not the disk */
    case MP_ECORRUPT:
        atomic_store_explicit(&s->damage_seen, true, memory_order_relaxed);
        return;
    default:
        break;
    }
    /* What was acknowledged stays readable: in the database if that still takes it, else from what
     * is pending. */
    if (s->write_db.db)
        (void)mp__sqlite_flush(s);
    give_up_connection(s);
    s->next_probe_ns = mp__env_now_ns(s->env) + s->probe_ns;
    move(s, MP__ORIGIN_DEGRADED, "%s: %s", doing, mp_strerror(error));
}

void mp__sqlite_flush_failed(mp__sqlite *s, int error)
{
    if (error != MP_ECORRUPT) {
        mp__sqlite_disk_error(s, error, "acknowledged writes cannot be brought into the database");
        return;
    }
    /* They are in the journal, and readers get them from there; but as long as the database has no
     * place for them it takes no more. */
    give_up_connection(s);
    s->next_probe_ns = mp__env_now_ns(s->env) + s->probe_ns;
    move(s, MP__ORIGIN_DEGRADED,
         "the database is damaged where acknowledged writes belong; they are kept in %s",
         s->journal_path);
}

/* ---- looking ---- */

static int write_probe(mp__sqlite *s)
{
    sqlite3_stmt *statement = mp__sqlite_use(&s->write_db, MP__SQL_PROBE_WRITE);

    if (sqlite3_bind_int64(statement, 1, mp__env_wall_ms(s->env)) != SQLITE_OK)
        return MP_ENOMEM;
    return mp__sqlite_run(&s->write_db, MP__SQL_PROBE_WRITE);
}

/* What is in the WAL is on the disk for certain, and in the database. */
static int write_wal_again(mp__sqlite *s)
{
    int code, rc = mp__sqlite_run(&s->write_db, MP__SQL_BEGIN_WRITE);

    if (rc == 0) {
        rc = mp__vfs_rewrite_wal(s->write_db.db);
        (void)mp__sqlite_run(&s->write_db, MP__SQL_ROLLBACK);
    }
    if (rc)
        return rc;
    code = sqlite3_wal_checkpoint_v2(s->write_db.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return code == SQLITE_OK ? 0 : mp__sqlite_error(s->write_db.db, code);
}

/* What the journal has and the database has not, now that it takes writes again; then a journal
 * begun anew. What is pending in memory is a part of it, and stays if it cannot be read. */
static int take_up_journal(mp__sqlite *s)
{
    mp__sqlite_pending before = s->pending;
    mp__diag diag = {0};
    int rc;

    s->pending = (mp__sqlite_pending){.key = before.key};
    rc = s->options.is_shared ? mp__sqlite_share(s, &diag)
                              : mp__sqlite_journal_open(s, s->acknowledged, &diag);
    if (rc) {
        mp__sqlite_transaction_end(s);
        mp__sqlite_pending_done(&s->pending);
        s->pending = before;
        return rc;
    }
    mp__sqlite_pending_done(&before);
    rc = mp__sqlite_flush(s);
    if (rc == 0) {
        atomic_store_explicit(&s->stuck, 0, memory_order_relaxed);
        atomic_store_explicit(&s->unflushed, false, memory_order_release);
        rc = mp__sqlite_journal_renew(s);
    }
    return rc;
}

/* Out of DEGRADED: only by a commit that was synced, on a WAL begun anew. */
static void recover(mp__sqlite *s)
{
    stock found;
    bool damaged;
    int rc = 0;

    if (!s->write_db.db)
        rc = mp__sqlite_db_open(&s->write_db, s->env, s->vfs, s->path, s->options.timeout_ms, false,
                                NULL);
    if (rc == 0)
        rc = write_wal_again(s);
    if (rc == 0)
        rc = write_probe(s);
    if (rc == 0) /* what is counted goes on holding until all of it is in the database */
        rc = look_at_stock(s, &found);
    damaged = rc == MP_ECORRUPT;
    if (rc == 0)
        rc = take_up_journal(s);
    if (rc == 0)
        rc = take_stock(s);
    if (rc == 0 && !s->shared)
        rc = mp__sqlite_sync_commits(&s->write_db, false);
    if (rc == 0) {
        move(s, MP__ORIGIN_LIVE, "the disk takes writes again");
        return;
    }
    mp__sqlite_detach(s);
    if (damaged)
        lose(s, false, "the database is damaged");
}

/* Another program may have added or deleted rows: what is counted beside them is counted anew. */
static int recount(mp__sqlite *s)
{
    int rc = mp__sqlite_run(&s->write_db, MP__SQL_BEGIN_WRITE);

    if (rc == 0)
        rc = mp__sqlite_run(&s->write_db, MP__SQL_RECOUNT_NEW);
    if (rc == 0)
        rc = mp__sqlite_run(&s->write_db, MP__SQL_RECOUNT);
    if (rc == 0)
        rc = mp__sqlite_run(&s->write_db, MP__SQL_COMMIT);
    if (rc)
        s->write_db.has_ends = false;
    if (rc && mp__sqlite_in_transaction(&s->write_db))
        (void)mp__sqlite_run(&s->write_db, MP__SQL_ROLLBACK);
    return rc;
}

static void look_for_changes(mp__sqlite *s)
{
    int64_t version = s->data_version;

    if (!s->write_db.db || mp__state_now(&s->base.state) != MP__ORIGIN_LIVE)
        return;
    if (s->id_due)
        s->id_due = mp__sqlite_id_write(s, mp__origin_epoch(&s->base)) != 0;
    if (s->recount_due && recount(s) == 0) {
        s->recount_due = false;
        (void)take_stock(s);
    }
    if (mp__sqlite_number(&s->write_db, MP__SQL_DATA_VERSION, &version) != 0 ||
        version == s->data_version)
        return;
    s->recount_due = recount(s) != 0; /* a lock may prevent it: then at the next look */
    (void)take_stock(s);
    unseen(s, "another program wrote to the database");
}

/* Somebody met damage: is it a row, a page, or all of it? */
static void look_for_damage(mp__sqlite *s)
{
    bool seen = atomic_exchange(&s->damage_seen, false);

    if (!s->write_db.db)
        return;
    if (seen && take_stock(s) == MP_ECORRUPT)
        lose(s, false, "the database is damaged");
    else
        mp__sqlite_heal(s);
}

static void probe_open(mp__sqlite *s)
{
    mp__stat now;
    int rc = mp__env_stat(s->env, s->path, &now);

    if (rc == -ENOENT || (rc == 0 && !same_file(&now, &s->file))) {
        lose(s, true,
             rc ? "the database was moved away or deleted"
                : "another file was put in the database's place");
        return;
    }
    if (rc == 0)
        mp__sqlite_set(&s->size_bytes, now.size);
    if (mp__state_now(&s->base.state) == MP__ORIGIN_DEGRADED)
        recover(s);
    look_for_changes(s);
    look_for_damage(s);
}

/* Is there something to open that was not there before? */
static void probe_closed(mp__sqlite *s)
{
    mp__stat now;
    mp__diag diag = {0};

    if (s->behind || mp__env_stat(s->env, s->path, &now) != 0 || now.size == 0)
        return;
    if (mp__state_now(&s->base.state) == MP__ORIGIN_LOST && untouched(&now, &s->file))
        return;
    (void)mp__sqlite_attach(s, &diag);
}

void mp__sqlite_probe(mp__sqlite *s)
{
    switch ((enum mp__origin_state)mp__state_now(&s->base.state)) {
    case MP__ORIGIN_LIVE:
    case MP__ORIGIN_DEGRADED:
        probe_open(s);
        return;
    case MP__ORIGIN_OPENING:
    case MP__ORIGIN_DOWN:
    case MP__ORIGIN_LOST:
        probe_closed(s);
        return;
    }
}
