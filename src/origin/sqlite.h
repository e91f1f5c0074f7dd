/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the origin `sqlite`: what its files share. Others see origin.h only.
 *
 *   sqlite.c          lifecycle, queues, the two workers' batches
 *   sqlite_db.c       one connection: opening, schema, statements, errors
 *   sqlite_row.c      rows of `entries` and `history` to records and back, checksums
 *   sqlite_read.c     the batch, fetch                               (reader's thread)
 *   sqlite_list.c     lists, history, changes, count                 (reader's thread)
 *   sqlite_write.c    the queue, group commit, expiry                (writer's thread)
 *   sqlite_batch.c    a group: its results, its commit               (writer's thread)
 *   sqlite_pending.c  what waits to go into the database             (writer's thread)
 *   sqlite_table.c    that as a table for SQL
 *   sqlite_journal.c  what makes it durable meanwhile; a group as a record: sqlite_group.c
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
#include "core/hash.h"
#include "core/journal.h"
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
    MP__SQL_TOUCH,
    MP__SQL_REVISION,
    MP__SQL_REVISION_SET,
    MP__SQL_SHARED,
    MP__SQL_FETCH,
    MP__SQL_UPSERT,
    MP__SQL_UPDATE,
    MP__SQL_REPLACE,
    MP__SQL_DELETE,
    MP__SQL_LIST_BY_ID,
    MP__SQL_LIST_BY_KEY,
    MP__SQL_LIST_AT,
    MP__SQL_ENVIRONMENTS,
    MP__SQL_COUNT,
    MP__SQL_COUNT_ALL,
    MP__SQL_COUNT_ADD,
    MP__SQL_HISTORY_INSERT,
    MP__SQL_HISTORY_TOUCH,
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

enum { MP__SQLITE_CACHE = 8192 * 1024 }; /* bytes; as PRAGMA cache_size says in KiB */

typedef struct mp__sqlite_db {
    sqlite3 *db; /* NULL: closed */
    sqlite3_stmt *statements[MP__SQL_STATEMENTS];
    mp_env *env;
    uint64_t busy_until_ns; /* 0: wait timeout_ms from the first try */
    uint64_t timeout_ms;
    bool syncs_each; /* commit */
    int wal_pages;   /* frames in the WAL after the last commit */
    bool has_ends; /* what a transaction looks at first is in its memory: the last was committed */
    /* what the table "pending" shows; NULL: nothing */
    const struct mp__sqlite_pending *pending;
    size_t pending_from;
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
/* Whether each commit is synced (as opened), or only the WAL before a checkpoint. Outside of a
 * transaction. */
int mp__sqlite_sync_commits(mp__sqlite_db *db, bool each);
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
    /* of what the row takes the place of */
    bool was_there;   /* it had a value */
    bool was_damaged; /* its row in `entries` does not hold */
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
/* One of MP__HISTORY_COLUMNS as the result of a table's function. */
void mp__sqlite_history_column(const mp__sqlite_row *row, int column, sqlite3_context *result);
/* The table "pending", before statements that read it are prepared. */
int mp__sqlite_table_make(mp__sqlite_db *db);
int mp__sqlite_bind_str(sqlite3_stmt *statement, int parameter, mp_str text);
bool mp__sqlite_op_has_value(enum mp__sqlite_op op);
bool mp__sqlite_is_expired(const mp__record *record, int64_t now_ms);

/* What holds for @address by the newest row of its history: for rows of `entries` that are damaged.
 * 0 (a VALUE or ABSENT record; slices until the next use of @db), or MP_ECORRUPT. */
int mp__sqlite_from_history(mp__sqlite_db *db, mp_str address, mp__sqlite_row *ret_row);

/* ---- changes on their way into the database (sqlite_pending.c) ---- */

struct mp__sqlite;

typedef struct mp__sqlite_staged {
    mp__sqlite_row row; /* id: of its address in `entries`, 0 none */
    uint64_t hash;
    uint32_t next, older; /* in the table: of another address; the one before of the same */
    int8_t keys;          /* how many keys more there are by it */
    bool is_superseded;   /* there is a newer one of its address */
} mp__sqlite_staged;

typedef struct mp__sqlite_pending {
    mp__sqlite_staged *rows; /* in the order of the commits */
    size_t count, capacity;
    uint32_t *table; /* by the hash of the address, the newest of each */
    size_t table_size;
    mp__hash_key key;
    char **blocks; /* what the rows' texts point into */
    size_t block_count, block_capacity, bytes;
    uint64_t revision; /* the newest, in the database or here */
    uint64_t since_ns; /* when the transaction was begun */
    size_t stored;     /* so many of the first are in the history of the open transaction */
} mp__sqlite_pending;

/* The newest change of @address, or NULL. Until the next one is added. */
const mp__sqlite_staged *mp__sqlite_pending_find(mp__sqlite_pending *p, mp_str address);
/* The row of @address in the database, without its value, if that is known for certain: inside the
 * transaction. Or NULL. */
const mp__sqlite_staged *mp__sqlite_known(struct mp__sqlite *s, mp_str address);
/* Add one; its texts stay the caller's until mp__sqlite_journal_write() has copied them. */
int mp__sqlite_pending_add(mp__sqlite_pending *p, const mp__sqlite_row *row);
void mp__sqlite_pending_cut(mp__sqlite_pending *p, size_t count); /* back to @count of them */
/* Room for one more block, and that block, which belongs to @p from then on. */
int mp__sqlite_pending_reserve(mp__sqlite_pending *p);
void mp__sqlite_pending_own(mp__sqlite_pending *p, char *block, size_t size);
void mp__sqlite_pending_clear(mp__sqlite_pending *p);
void mp__sqlite_pending_done(mp__sqlite_pending *p); /* frees */

/* ---- the origin ---- */

typedef struct mp__sqlite_id {
    char epoch[33];
} mp__sqlite_id;

typedef struct mp__sqlite {
    mp__origin base;
    mp__origin_options options; /* its strings are ours */
    mp_env *env;
    char *path, *folder, *id_path, *mark_path, *journal_path;
    mp__vfs *vfs;
    uint64_t probe_ns, sweep_ns, idle_ms;
    mp__worker *writer, *reader;
    /* the writer's */
    mp__sqlite_db write_db;
    mp__sqlite_pending pending;
    mp__sqlite_pending known; /* rows of `entries` as they are in the database, without values */
    int64_t known_version;    /* the data_version that they are of */
    mp__journal *journal;     /* NULL: none could be begun, each commit is one of the database */
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
    uint64_t stored;       /* newest in the database itself, as of the last look */
    struct {
        size_t changes;
        uint64_t revision;
    } replayed;           /* what was last told of the journal */
    bool shared;          /* with other daemons: each group is a commit that they see */
    bool opened;          /* mp__origin_open() is through */
    bool journal_seen;    /* what it had is among what is acknowledged */
    bool journal_damaged; /* it cannot be read, and the database beside it is shared */
    char cause[256];
    /* the reader's */
    mp__sqlite_db read_db;
    mp__task *lists, *lists_last; /* that it has taken and not begun yet, in their order */
    uint64_t read_generation;
    int read_status; /* of the batch */
    uint64_t read_revision;
    int64_t read_now_ms;
    /* shared */
    mp__task reader_wake;
    _Atomic bool reader_waking;
    _Atomic uint64_t generation;   /* of the open file; the reader follows */
    _Atomic uint64_t ends_touched; /* times that a transaction looked at the ends of the tables */
    _Atomic bool unflushed;        /* changes wait: reads go by way of the writer */
    _Atomic int stuck;             /* why they cannot go into the database, or 0 */
    _Atomic bool damage_seen;      /* by the reader */
    _Atomic bool behind;           /* LOST because its newest commits are missing */
    _Atomic uint64_t keys_of[MP__ORIGIN_COUNTED_MAX];
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
/* @task, a list that has had its turn, is run again when what came meanwhile has had its. On the
 * reader. */
void mp__sqlite_read_again(mp__sqlite *s, mp__task *task);
/* After a request: its statements are free again; its status is counted. */
void mp__sqlite_read_done(mp__sqlite *s);
void mp__sqlite_read_note(mp__sqlite *s, int status);
/* The row of @address in entries is damaged: count and log it, and give what history has instead.
 * 0 or MP_ECORRUPT. Either thread, with its own @db. */
int mp__sqlite_salvage_row(mp__sqlite *s, mp__sqlite_db *db, mp_str address,
                           mp__sqlite_row *ret_row);
/* 0, or what every request is answered in the present state. */
int mp__sqlite_read_refusal(const mp__sqlite *s);
/* A read that came while changes wait that cannot go into the database: it is answered from them
 * if it is a fetch of one of them (true). On the writer's thread. */
bool mp__sqlite_read_pending(mp__sqlite *s, mp__task *task);
/* 0, or why a request that looks over many rows cannot be answered now. The reader's. */
int mp__sqlite_read_status(const mp__sqlite *s);

/* ---- writes (sqlite_write.c, sqlite_batch.c) ---- */

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
    size_t first;   /* of its changes among the pending */
    bool is_direct; /* it is committed to the database itself, synced there */
    mp__sqlite_outcome *outcomes;
    size_t count, capacity;
    void **kept; /* memory that results point into */
    size_t kept_count, kept_capacity;
} mp__sqlite_batch;

void mp__sqlite_write_batch(void *context, mp__task *first);
/* Begin, commit or give up a group of changes: all of them are durable, or none happened. @direct:
 * not by way of the journal; for what is large, or has not one revision after the other. */
int mp__sqlite_batch_begin(mp__sqlite_batch *batch, mp__sqlite *s, bool direct);
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

/* Bring what is pending into the database and end the transaction. On an error all of it is still
 * pending, and `stuck` says why. Nothing of a batch that goes on may be among it. */
int mp__sqlite_flush(mp__sqlite *s);
/* At the end: flush, and leave a journal with nothing in it, as far as the disk lets one. */
void mp__sqlite_settle(mp__sqlite *s);
/* Bring their rows of history into the open transaction, a part of the work of the next flush. */
void mp__sqlite_flush_ahead(mp__sqlite *s);
/* The same without a look at whether there is anything. */
int mp__sqlite_apply(mp__sqlite *s);
/* A transaction that writes, held open over many groups until they are flushed: no other program
 * writes between what a group found and what it makes of it. */
int mp__sqlite_transaction_begin(mp__sqlite *s);
void mp__sqlite_transaction_end(mp__sqlite *s);

/* ---- the journal (sqlite_journal.c) ---- */

/* Open it, or begin it: what it has that the database has not is pending afterwards. What is above
 * @most was refused. One that does not belong to this database is moved aside. MP_EVERSION, and
 * errors of the disk, with a text. */
MP_MUST_USE int mp__sqlite_journal_open(mp__sqlite *s, uint64_t most, mp__diag *diag);
/* Instead: the database is one that other daemons may have open, too. Nobody keeps a journal of it
 * from now on; what an earlier one has is pending afterwards. */
MP_MUST_USE int mp__sqlite_share(mp__sqlite *s, mp__diag *diag);
/* The same for a copy of the database, without touching the journal. */
MP_MUST_USE int mp__sqlite_journal_merge(mp__sqlite *s, mp__diag *diag);
/* Make the pending changes from @first on durable. MP_ELIMIT: they are too many bytes for it. An
 * error: none of them counts. */
MP_MUST_USE int mp__sqlite_journal_write(mp__sqlite *s, size_t first, uint64_t base,
                                         uint64_t revision);
/* Begin it anew: all that it has is in the database and on the disk. The one makes a new file, also
 * after a failure; the other writes over the file that there is. */
MP_MUST_USE int mp__sqlite_journal_renew(mp__sqlite *s);
MP_MUST_USE int mp__sqlite_journal_restart(mp__sqlite *s);

/* ---- one change (sqlite_change.c) ---- */

/* Apply @change inside the open transaction. 0: change->status says what became of it. Negative:
 * the transaction is in doubt and must be rolled back. */
int mp__sqlite_change_apply(mp__sqlite_batch *batch, mp__change *change, mp_str actor);
/* Delete what has expired of the address of @change, as mp__sqlite_change_apply() would before it
 * applies it. Negative as there. */
int mp__sqlite_change_clear(mp__sqlite_batch *batch, const mp__change *change);
/* Delete @row, which expired, as a change that nobody asked for. */
int mp__sqlite_change_expire(mp__sqlite_batch *batch, const mp__sqlite_row *row);
/* @row becomes the newest of its address, and a row of history. */
int mp__sqlite_change_store(mp__sqlite_batch *batch, const mp__sqlite_row *row);
/* Fill in what @row takes the place of: id, was_there, was_damaged, and that one's revision. */
int mp__sqlite_change_find(mp__sqlite_batch *batch, mp__sqlite_row *row, uint64_t *ret_revision);

/* ---- health (sqlite_health.c) ---- */

/* Look for the database and open it; moves the state. MP_EVERSION, MP_ENOMEM with a text: not to be
 * lived with. Everything else is a state. */
int mp__sqlite_attach(mp__sqlite *s, mp__diag *diag);
/* The writer's turn to look: moved, changed by others, better again. */
void mp__sqlite_probe(mp__sqlite *s);
/* An error came from the disk in @doing; degrade or lose as it deserves. */
void mp__sqlite_disk_error(mp__sqlite *s, int error, const char *doing);
/* Count the keys of all that is pending as if the database had it: once, after a look at it. */
void mp__sqlite_count_pending(mp__sqlite *s);
/* What was acknowledged cannot be brought into the database: a flush says why. */
void mp__sqlite_flush_failed(mp__sqlite *s, int error);
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

/* "folder/origin.db" and ".id": "folder/origin.id", so that two databases in a folder have their
 * own. The caller's to free; NULL without memory. */
char *mp__sqlite_beside(const char *path, const char *ending);

/* ---- files beside the database (sqlite_files.c) ---- */

/* MP_EABSENT: there was none; MP_ECORRUPT: there was one, unreadable; MP_EVERSION. */
int mp__sqlite_id_read(mp__sqlite *s, mp__sqlite_id *ret_id);
int mp__sqlite_id_write(mp__sqlite *s, const char *epoch);
/* The newest acknowledged revision of @epoch as last noted; 0 when nobody knows. */
/* Whether the mark or the journal is there, which no database is without for long. */
bool mp__sqlite_left_beside(mp__sqlite *s);
uint64_t mp__sqlite_mark_read(mp__sqlite *s, const char *epoch);
void mp__sqlite_mark_write(mp__sqlite *s, uint64_t revision);
int mp__sqlite_move_aside(mp__sqlite *s);
int mp__sqlite_wal_aside(mp__sqlite *s); /* and its index */
int mp__sqlite_journal_aside(mp__sqlite *s);
/* Whether the journal at @path is none that could be gone on with. Changes nothing. Blocks. */
bool mp__sqlite_journal_is_damaged(mp_env *env, const char *path);

/* ---- salvage (sqlite_salvage.c) ---- */
int mp__sqlite_salvage(mp__origin *origin, const mp__record *records, size_t count);

#endif
