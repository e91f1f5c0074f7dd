/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the origin `sqlite`: what its files share. Others see origin.h only.
 *
 *   sqlite.c          lifecycle, queues, the two workers' batches
 *   sqlite_db.c       one connection: opening, schema, statements, errors
 *   sqlite_row.c      rows of `entries` and `history` to records and back, checksums
 *   sqlite_read.c     the batch, fetch                               (reader's thread)
 *   sqlite_list.c     lists, history, changes, count                 (reader's thread)
 *   sqlite_write.c    group commit                                   (writer's thread)
 *   sqlite_change.c   one change inside a commit                     (writer's thread)
 *   sqlite_health.c   attach, probe, degrade, lose and find again    (writer's thread)
 *   sqlite_files.c    origin.id, origin.mark, moving remains aside
 *   sqlite_heal.c     setting right what is damaged           (writer's thread)
 *   sqlite_salvage.c  giving records back
 *   sqlite_vfs.c      page checksums, over sqlite_vfs_env.c where the disk is a test's
 *
 * Threads: the writer "mp-origin-w" owns write_db, the state and everything marked so; the reader
 * "mp-origin-r" owns read_db. Until the workers run and after they ended, the caller of open,
 * salvage and close stands in for both. */
#ifndef MP_ORIGIN_SQLITE_H
#define MP_ORIGIN_SQLITE_H

#include <sqlite3.h>
#include <stdatomic.h>

#include "core/alloc.h"
#include "origin/origin.h"
#include "origin/sqlite_vfs.h"

enum {
    MP__SQLITE_FORMAT = 1,               /* user_version */
    MP__SQLITE_APPLICATION = 0x4d505253, /* "MPRS" */
};

/* ---- connection (sqlite_db.c) ---- */

enum mp__sqlite_sql {
    MP__SQL_BEGIN_READ,
    MP__SQL_BEGIN_WRITE,
    MP__SQL_COMMIT,
    MP__SQL_ROLLBACK,
    MP__SQL_SAVEPOINT,
    MP__SQL_ROLLBACK_TO,
    MP__SQL_RELEASE,
    MP__SQL_REVISION,
    MP__SQL_REVISION_SET,
    MP__SQL_FETCH,
    MP__SQL_INSERT,
    MP__SQL_UPDATE,
    MP__SQL_DELETE,
    MP__SQL_LIST_BY_ID,
    MP__SQL_LIST_BY_KEY,
    MP__SQL_LIST_AT,
    MP__SQL_ENVIRONMENTS,
    MP__SQL_COUNT,
    MP__SQL_COUNT_ALL,
    MP__SQL_COUNT_ADD,
    MP__SQL_HISTORY_INSERT,
    MP__SQL_HISTORY_OF,
    MP__SQL_HISTORY_AT,
    MP__SQL_HISTORY_AFTER,
    MP__SQL_EXPIRED,
    MP__SQL_DATA_VERSION,
    MP__SQL_PROBE_WRITE,
    MP__SQL_RECOUNT,
    MP__SQL_RECOUNT_NEW,
    MP__SQL_STATEMENTS,
};

typedef struct mp__sqlite_db {
    sqlite3 *db; /* NULL: closed */
    sqlite3_stmt *statements[MP__SQL_STATEMENTS];
    mp_env *env;
    uint64_t busy_until_ns; /* 0: wait timeout_ms from the first try */
    uint64_t timeout_ms;
    int wal_pages; /* frames in the WAL after the last commit */
} mp__sqlite_db;

/* Open the file at @path and prepare all statements. With @create an empty file gets the schema.
 * Errors: MP_EVERSION with a text; MP_ECORRUPT; MP_EABSENT when it has no schema and @create is
 * false; those of mp__sqlite_error(). On an error @db is closed. */
/* Make the empty file if nothing is there, readable by us alone: SQLite would let everybody read
 * it. What is there keeps its mode; SQLite gives -wal and -shm the mode of their database. */
MP_MUST_USE int mp__sqlite_make_private(mp_env *env, const char *path);
MP_MUST_USE int mp__sqlite_db_open(mp__sqlite_db *db, mp_env *env, const mp__vfs *vfs,
                                   const char *path, uint64_t timeout_ms, bool create,
                                   mp__diag *diag);
void mp__sqlite_db_close(mp__sqlite_db *db);

/* The statement, reset and ready to bind. */
sqlite3_stmt *mp__sqlite_use(mp__sqlite_db *db, enum mp__sqlite_sql which);
/* Step one that gives no rows; resets it. 0 or an error of ours. */
int mp__sqlite_run(mp__sqlite_db *db, enum mp__sqlite_sql which);
/* Step: 1 a row, 0 the end, or an error of ours. After the last use reset it. */
int mp__sqlite_step(mp__sqlite_db *db, sqlite3_stmt *statement);
/* A statement whose answer is one number. MP_EABSENT: no row. */
int mp__sqlite_number(mp__sqlite_db *db, enum mp__sqlite_sql which, int64_t *ret_number);
/* SQL that is not kept; for opening and repairs. */
int mp__sqlite_exec(mp__sqlite_db *db, const char *sql);
/* What SQLite's (extended) code means in our terms; never 0. */
int mp__sqlite_error(sqlite3 *db, int code);
bool mp__sqlite_in_transaction(const mp__sqlite_db *db);
/* A text of meta into @text, terminated. MP_EABSENT. */
int mp__sqlite_meta_text(mp__sqlite_db *db, const char *name, char *text, size_t capacity);

typedef struct mp__sqlite_migration {
    int from; /* user_version that it starts from; gives from + 1 */
    const char *sql;
} mp__sqlite_migration;
/* Bring a file of an older format up, after a copy named "<path>.v<from>". Pure but for the disk.
 */
int mp__sqlite_migrate(mp__sqlite_db *db, const char *path, int version, int target,
                       const mp__sqlite_migration *steps, size_t count, mp__diag *diag);

/* ---- rows (sqlite_row.c) ---- */

enum mp__sqlite_op {
    MP__OP_PUT = 1,
    MP__OP_DELETE,
    MP__OP_EXPIRE,
    MP__OP_ROLLBACK,
    MP__OP_EXPIRED,
    MP__OP_SALVAGED,
    MP__OP_RESTORED,
};

typedef struct mp__sqlite_row {
    mp__record record; /* slices as long as the statement stands */
    int64_t id;        /* entries */
    enum mp__sqlite_op op;
    int64_t at_ms; /* history: when it was done */
    mp_str actor;  /* history */
} mp__sqlite_row;

/* The columns, in the order in which mp__sqlite_entry_read and _history_read take them. */
#define MP__ENTRY_COLUMNS                                                                          \
    "id, address, revision, created_revision, version, created_ms, modified_ms, expires_ms, "      \
    "checksum, media_type, value"
#define MP__HISTORY_COLUMNS                                                                        \
    "revision, address, op, created_revision, version, created_ms, modified_ms, expires_ms, "      \
    "at_ms, checksum, actor, media_type, value"

/* The row that @statement stands on. 0; MP_ECORRUPT when its checksum does not hold (the row is
 * filled in as far as it goes, id and address included); MP_ENOMEM. */
int mp__sqlite_entry_read(sqlite3_stmt *statement, mp__sqlite_row *ret_row);
int mp__sqlite_history_read(sqlite3_stmt *statement, mp__sqlite_row *ret_row);
/* Bind all columns but id, in order, from parameter @first on. SQLite keeps the pointers. */
int mp__sqlite_entry_bind(sqlite3_stmt *statement, int first, const mp__record *record);
int mp__sqlite_history_bind(sqlite3_stmt *statement, const mp__sqlite_row *row);
int mp__sqlite_bind_str(sqlite3_stmt *statement, int parameter, mp_str text);
bool mp__sqlite_op_has_value(enum mp__sqlite_op op);
bool mp__sqlite_is_expired(const mp__record *record, int64_t now_ms);

/* What holds for @address by the newest row of its history: for rows of `entries` that are damaged.
 * 0 (a VALUE or ABSENT record; slices until the next use of @db), or MP_ECORRUPT. */
int mp__sqlite_from_history(mp__sqlite_db *db, mp_str address, mp__sqlite_row *ret_row);

/* ---- the origin ---- */

typedef struct mp__sqlite_id {
    char epoch[33];
} mp__sqlite_id;

typedef struct mp__sqlite {
    mp__origin base;
    mp__origin_options options; /* its strings are ours */
    mp_env *env;
    char *path, *folder, *id_path, *mark_path;
    mp__vfs *vfs;
    uint64_t probe_ns, sweep_ns;
    mp__worker *writer, *reader;
    /* the writer's */
    mp__sqlite_db write_db;
    mp__file *mark;
    mp__stat file; /* of the database that is open */
    int64_t data_version;
    uint64_t next_probe_ns, next_sweep_ns, next_heal_ns;
    _Atomic int
        checkpoint_pages;  /* frames in the WAL from which on it is copied into the database */
    bool id_due;           /* origin.id could not be written yet */
    bool recount_due;      /* another program may have added or deleted rows */
    mp__vfs_stats healed;  /* as of the last look */
    uint64_t acknowledged; /* newest revision that anybody was told of */
    bool opened;           /* mp__origin_open() is through */
    char cause[256];
    /* the reader's */
    mp__sqlite_db read_db;
    uint64_t read_generation;
    int read_status; /* of the batch */
    uint64_t read_revision;
    int64_t read_now_ms;
    /* shared */
    mp__task reader_wake;
    _Atomic bool reader_waking;
    _Atomic uint64_t generation; /* of the open file; the reader follows */
    _Atomic bool damage_seen;    /* by the reader */
    _Atomic bool behind;         /* LOST because its newest commits are missing */
    _Atomic uint64_t revision, keys, fetches, writes, commits, errors, corrupt_rows, salvaged,
        size_bytes, commit_ns, batch;
} mp__sqlite;

extern const mp__origin_ops mp__sqlite_ops;

MP_MUST_USE int mp__sqlite_start_workers(mp__sqlite *s);
void mp__sqlite_stop_workers(mp__sqlite *s); /* after what is queued */

static inline void mp__sqlite_count(_Atomic uint64_t *counter, uint64_t n)
{
    (void)atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}
static inline void mp__sqlite_set(_Atomic uint64_t *gauge, uint64_t value)
{
    atomic_store_explicit(gauge, value, memory_order_relaxed);
}
static inline uint64_t mp__sqlite_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* ---- reads (sqlite_read.c): the reader's batch ---- */
void mp__sqlite_read_batch(void *context, mp__task *first);
void mp__sqlite_run_fetch(mp__task *task);
void mp__sqlite_run_list(mp__task *task);
void mp__sqlite_run_history(mp__task *task);
void mp__sqlite_run_count(mp__task *task);
void mp__sqlite_run_changed(mp__task *task);
/* After a request: its statements are free again; its status is counted. */
void mp__sqlite_read_done(mp__sqlite *s);
void mp__sqlite_read_note(mp__sqlite *s, int status);
/* The row of @address in entries is damaged: count and log it, and give what history has instead.
 * 0 or MP_ECORRUPT. Either thread, with its own @db. */
int mp__sqlite_salvage_row(mp__sqlite *s, mp__sqlite_db *db, mp_str address,
                           mp__sqlite_row *ret_row);
/* 0, or what every request is answered in the present state. */
int mp__sqlite_read_refusal(const mp__sqlite *s);

/* ---- writes (sqlite_write.c) ---- */

/* One outcome of a commit, in commit order: a write's, or a change that nobody asked for. */
typedef struct mp__sqlite_outcome {
    mp__write *write;  /* or NULL */
    mp__record record; /* then this */
    int status;        /* of the write */
} mp__sqlite_outcome;

typedef struct mp__sqlite_batch {
    mp__sqlite *s;
    mp__sqlite_db *db;
    int64_t now_ms;
    uint64_t first_revision, revision;
    int64_t keys_delta;
    mp__sqlite_outcome *outcomes;
    size_t count, capacity;
    void **kept; /* memory that results point into */
    size_t kept_count, kept_capacity;
} mp__sqlite_batch;

void mp__sqlite_write_batch(void *context, mp__task *first);
/* Begin, commit or give up a transaction of changes. A failed commit leaves nothing behind and
 * degrades the origin where the disk is at fault. */
int mp__sqlite_batch_begin(mp__sqlite_batch *batch, mp__sqlite *s);
int mp__sqlite_batch_commit(mp__sqlite_batch *batch);
void mp__sqlite_batch_rollback(mp__sqlite_batch *batch);
void mp__sqlite_batch_deliver(mp__sqlite_batch *batch); /* the callbacks, in commit order */
void mp__sqlite_batch_done(mp__sqlite_batch *batch);    /* frees */
int mp__sqlite_batch_add(mp__sqlite_batch *batch, mp__write *write, const mp__record *record);
/* Copies that live until the batch is done. */
int mp__sqlite_keep_str(mp__sqlite_batch *batch, mp_str *text);
int mp__sqlite_keep_record(mp__sqlite_batch *batch, mp__record *record);
/* Delete what expired; each its own revision. */
void mp__sqlite_sweep(mp__sqlite *s);

/* ---- one change (sqlite_change.c) ---- */

/* Apply @change inside the open transaction. 0: change->status says what became of it. Negative:
 * the transaction is in doubt and must be rolled back. */
int mp__sqlite_change_apply(mp__sqlite_batch *batch, mp__change *change, mp_str actor);
/* Delete @row, which expired, as a change that nobody asked for. */
int mp__sqlite_change_expire(mp__sqlite_batch *batch, const mp__sqlite_row *row);
/* Write @row to history and entries as the newest of its address. @id 0: insert. */
int mp__sqlite_change_store(mp__sqlite_batch *batch, const mp__sqlite_row *row);

/* ---- health (sqlite_health.c) ---- */

/* Look for the database and open it; moves the state. MP_EVERSION, MP_ENOMEM with a text: not to be
 * lived with. Everything else is a state. */
int mp__sqlite_attach(mp__sqlite *s, mp__diag *diag);
/* The writer's turn to look: moved, changed by others, better again. */
void mp__sqlite_probe(mp__sqlite *s);
/* An error came from the disk in @doing; degrade or lose as it deserves. */
void mp__sqlite_disk_error(mp__sqlite *s, int error, const char *doing);
void mp__sqlite_detach(mp__sqlite *s);
/* What could be given back was: live again, if only commits were missing. */
void mp__sqlite_salvage_ended(mp__sqlite *s);

/* ---- damage (sqlite_heal.c) ---- */

/* Set right what was met damaged since the last call, as far as it is certain. */
void mp__sqlite_heal(mp__sqlite *s);
/* The same for a file that cannot be opened; true when it is worth another try. @epoch "": any. */
bool mp__sqlite_heal_closed(mp__sqlite *s, const char *epoch);
void mp__sqlite_heal_wal(mp__sqlite *s, const char *epoch);
/* An older file was put back while others know newer revisions: say all of it again, as changes
 * made now, so that no revision ever goes back. */
int mp__sqlite_restate(mp__sqlite *s);

/* ---- files beside the database (sqlite_files.c) ---- */

/* MP_EABSENT: there was none; MP_ECORRUPT: there was one, unreadable; MP_EVERSION. */
int mp__sqlite_id_read(mp__sqlite *s, mp__sqlite_id *ret_id);
int mp__sqlite_id_write(mp__sqlite *s, const char *epoch);
/* The newest acknowledged revision of @epoch as last noted; 0 when nobody knows. */
uint64_t mp__sqlite_mark_read(mp__sqlite *s, const char *epoch);
void mp__sqlite_mark_write(mp__sqlite *s, uint64_t revision);
int mp__sqlite_move_aside(mp__sqlite *s);
int mp__sqlite_wal_aside(mp__sqlite *s); /* and its index */

/* ---- salvage (sqlite_salvage.c) ---- */
int mp__sqlite_salvage(mp__origin *origin, const mp__record *records, size_t count);

#endif
