/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: opening, the schema and its versions, the statements that are kept, and what
 * SQLite's errors mean. */
#include "origin/sqlite.h"

#include <errno.h>
#include <stdio.h>

/* ---- errors ---- */

/* One table: SQLite's extended or primary code, ours. The first match counts. */
static const struct {
    int code, error;
} errors[] = {
    {SQLITE_IOERR_DATA, MP_ECORRUPT},
    {SQLITE_IOERR_CORRUPTFS, MP_ECORRUPT},
    {SQLITE_IOERR_NOMEM, MP_ENOMEM},
    {SQLITE_CORRUPT, MP_ECORRUPT},
    {SQLITE_NOTADB, MP_ECORRUPT},
    {SQLITE_FORMAT, MP_ECORRUPT},
    {SQLITE_SCHEMA, MP_ECORRUPT},
    {SQLITE_FULL, -ENOSPC},
    {SQLITE_IOERR, -EIO},
    {SQLITE_NOMEM, MP_ENOMEM},
    {SQLITE_BUSY, MP_ETIMEOUT},
    {SQLITE_LOCKED, MP_ETIMEOUT},
    {SQLITE_PROTOCOL, MP_ETIMEOUT},
    {SQLITE_READONLY, -EROFS},
    {SQLITE_PERM, -EACCES},
    {SQLITE_AUTH, -EACCES},
    {SQLITE_TOOBIG, MP_ELIMIT},
    {SQLITE_INTERRUPT, MP_ECANCELED},
    {SQLITE_CANTOPEN, MP_EORIGIN},
    {SQLITE_CONSTRAINT, MP_ECORRUPT}, /* ours never collide in an undamaged file */
};

/* A full disk also shows as a failure to write or to grow the -shm file; a quota and a limit for
 * the size of files show only so. */
static bool is_want_of_room(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

int mp__sqlite_error(sqlite3 *db, int code)
{
    if (((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN) &&
        code != SQLITE_IOERR_DATA && db && is_want_of_room(sqlite3_system_errno(db)))
        return -ENOSPC;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].code == code)
            return errors[i].error;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (errors[i].code == (code & 0xff))
            return errors[i].error;
    return MP_EORIGIN;
}

/* ---- SQL ---- */

static const char schema[] =
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE environments(name TEXT PRIMARY KEY, keys INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE entries(id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE,"
    " revision INTEGER NOT NULL, created_revision INTEGER NOT NULL, version INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL, media_type TEXT NOT NULL, value BLOB NOT NULL);"
    "CREATE INDEX entries_expiry ON entries(expires_ms) WHERE expires_ms > 0;"
    "CREATE TABLE history(revision INTEGER PRIMARY KEY, address TEXT NOT NULL, op TEXT NOT NULL,"
    " created_revision INTEGER NOT NULL, version INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " modified_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL,"
    " checksum INTEGER NOT NULL, actor TEXT NOT NULL, media_type TEXT NOT NULL,"
    " value BLOB NOT NULL);"
    "CREATE INDEX history_address ON history(address, revision);"
    /* for people with the sqlite3 shell */
    "CREATE VIEW configuration AS SELECT"
    " substr(address, 1, instr(address, '/') - 1) AS environment,"
    " substr(address, instr(address, '/') + 1) AS name, CAST(value AS TEXT) AS value, media_type,"
    " revision, version, datetime(modified_ms / 1000, 'unixepoch') AS modified FROM entries;"
    "INSERT INTO meta VALUES('revision', 0);";

static const char *const sql[MP__SQL_STATEMENTS] = {
    [MP__SQL_BEGIN_READ] = "BEGIN",
    [MP__SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [MP__SQL_COMMIT] = "COMMIT",
    [MP__SQL_ROLLBACK] = "ROLLBACK",
    [MP__SQL_TOUCH] = "SELECT coalesce((SELECT max(revision) FROM history), 0)"
                      " + coalesce((SELECT max(id) FROM entries), 0)"
                      " + coalesce((SELECT sum(keys) FROM environments), 0)",
    [MP__SQL_REVISION] = "SELECT value FROM meta WHERE name = 'revision'",
    [MP__SQL_SHARED] = "SELECT count(*) FROM meta WHERE name = 'shared'",
    [MP__SQL_REVISION_SET] = "UPDATE meta SET value = ?1 WHERE name = 'revision'",
    [MP__SQL_FETCH] = "SELECT " MP__ENTRY_COLUMNS " FROM entries WHERE address = ?1",
    [MP__SQL_UPSERT] = "INSERT INTO entries(" MP__ENTRY_COLUMNS ")"
                       " VALUES(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
                       " ON CONFLICT(address) DO UPDATE SET (revision, created_revision, version,"
                       " created_ms, modified_ms, expires_ms, checksum, media_type, value)"
                       " = (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    /* not the address, or its index would be written, too; ?1 is bound for all of them alike */
    [MP__SQL_UPDATE] = "UPDATE entries SET (revision, created_revision, version,"
                       " created_ms, modified_ms, expires_ms, checksum, media_type, value)"
                       " = (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) WHERE id = ?11",
    [MP__SQL_REPLACE] = "UPDATE entries SET (address, revision, created_revision, version,"
                        " created_ms, modified_ms, expires_ms, checksum, media_type, value)"
                        " = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) WHERE id = ?11",
    [MP__SQL_DELETE] = "DELETE FROM entries WHERE id = ?1",
    [MP__SQL_LIST_BY_ID] = "SELECT " MP__ENTRY_COLUMNS " FROM entries WHERE id > ?1 ORDER BY id",
    [MP__SQL_LIST_BY_KEY] = "SELECT " MP__ENTRY_COLUMNS " FROM entries"
                            " WHERE address >= ?1 AND address < ?2"
                            " AND (expires_ms = 0 OR expires_ms > ?3) ORDER BY address",
    /* all of them, so that who lists can count what is looked at, and go on behind any */
    [MP__SQL_LIST_AT] = "SELECT address, revision FROM history"
                        " WHERE (address, revision) > (?1, ?2) AND address < ?3"
                        " ORDER BY address, revision",
    [MP__SQL_ENVIRONMENTS] = "SELECT name FROM environments WHERE name > ?1 ORDER BY name",
    [MP__SQL_COUNT] = "SELECT keys FROM environments WHERE name = ?1",
    [MP__SQL_COUNT_ALL] = "SELECT coalesce(sum(keys), 0) FROM environments",
    [MP__SQL_COUNT_ADD] = "INSERT INTO environments(name, keys) VALUES(?1, ?2)"
                          " ON CONFLICT(name) DO UPDATE SET keys = keys + ?2",
    /* OR ROLLBACK: else each page would be copied once more, to undo the statement alone */
    [MP__SQL_HISTORY_INSERT] = "INSERT OR ROLLBACK INTO history(" MP__HISTORY_COLUMNS ")"
                               " SELECT " MP__HISTORY_COLUMNS " FROM pending",
    [MP__SQL_HISTORY_TOUCH] = "SELECT revision FROM history WHERE address = ?1"
                              " ORDER BY revision DESC LIMIT 1",
    [MP__SQL_HISTORY_OF] = "SELECT " MP__HISTORY_COLUMNS " FROM history"
                           " WHERE address = ?1 AND revision < ?2 ORDER BY revision DESC LIMIT ?3",
    [MP__SQL_HISTORY_AT] = "SELECT " MP__HISTORY_COLUMNS " FROM history WHERE revision = ?1",
    [MP__SQL_HISTORY_AFTER] = "SELECT " MP__HISTORY_COLUMNS " FROM history WHERE revision > ?1"
                              " ORDER BY revision",
    [MP__SQL_EXPIRED] = "SELECT " MP__ENTRY_COLUMNS " FROM entries"
                        " WHERE expires_ms > 0 AND expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2",
    [MP__SQL_DATA_VERSION] = "PRAGMA data_version",
    [MP__SQL_PROBE_WRITE] = "INSERT OR REPLACE INTO meta VALUES('probe', ?1)",
    /* '0' is the byte after '/' */
    [MP__SQL_RECOUNT] = "UPDATE environments SET keys = (SELECT count(*) FROM entries"
                        " WHERE address >= name || '/' AND address < name || '0')",
    [MP__SQL_RECOUNT_NEW] = "INSERT OR IGNORE INTO environments SELECT"
                            " substr(address, 1, instr(address, '/') - 1), 0 FROM entries",
};

/* ---- statements ---- */

sqlite3_stmt *mp__sqlite_use(mp__sqlite_db *db, enum mp__sqlite_sql which)
{
    sqlite3_stmt *statement = db->statements[which];

    (void)sqlite3_reset(statement); /* says again what the last step said */
    (void)sqlite3_clear_bindings(statement);
    return statement;
}

int mp__sqlite_step(mp__sqlite_db *db, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);

    if (code == SQLITE_ROW)
        return 1;
    return code == SQLITE_DONE ? 0 : mp__sqlite_error(db->db, code);
}

int mp__sqlite_run(mp__sqlite_db *db, enum mp__sqlite_sql which)
{
    sqlite3_stmt *statement = db->statements[which];
    int rc = mp__sqlite_step(db, statement);

    (void)sqlite3_reset(statement);
    return rc > 0 ? 0 : rc;
}

int mp__sqlite_number(mp__sqlite_db *db, enum mp__sqlite_sql which, int64_t *ret_number)
{
    sqlite3_stmt *statement = db->statements[which];
    int rc = mp__sqlite_step(db, statement);

    if (rc == 1)
        *ret_number = sqlite3_column_int64(statement, 0);
    (void)sqlite3_reset(statement);
    return rc == 1 ? 0 : rc == 0 ? MP_EABSENT : rc;
}

int mp__sqlite_exec(mp__sqlite_db *db, const char *text)
{
    int code = sqlite3_exec(db->db, text, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : mp__sqlite_error(db->db, code);
}

/* The answer of SQL that is not kept, as a number and as a text. */
static int ask(mp__sqlite_db *db, const char *text, int64_t *ret_number, char *ret_text,
               size_t capacity)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db->db, text, -1, &statement, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const unsigned char *answer = sqlite3_column_text(statement, 0);

        if (ret_number)
            *ret_number = sqlite3_column_int64(statement, 0);
        if (ret_text)
            (void)snprintf(ret_text, capacity, "%s", answer ? (const char *)answer : "");
    }
    (void)sqlite3_finalize(statement);
    if (code == SQLITE_ROW)
        return 0;
    return code == SQLITE_DONE ? MP_EABSENT : mp__sqlite_error(db->db, code);
}

int mp__sqlite_meta_text(mp__sqlite_db *db, const char *name, char *text, size_t capacity)
{
    char question[96];

    (void)sqlite3_snprintf(sizeof(question), question, "SELECT value FROM meta WHERE name = %Q",
                           name);
    return ask(db, question, NULL, text, capacity);
}

bool mp__sqlite_in_transaction(const mp__sqlite_db *db)
{
    return db->db && !sqlite3_get_autocommit(db->db);
}

/* ---- opening ---- */

/* Another program holds a lock. Only in the real env is there one, and time that passes. */
static int when_busy(void *context, int tries)
{
    mp__sqlite_db *db = context;
    uint64_t now = mp__env_now_ns(db->env);

    if (db->env != mp__env_real())
        return 0;
    if (tries == 0)
        db->busy_until_ns = now + db->timeout_ms * 1000000u;
    if (now >= db->busy_until_ns)
        return 0;
    (void)sqlite3_sleep(tries < 10 ? 1 : 10);
    return 1;
}

int mp__sqlite_sync_commits(mp__sqlite_db *db, bool each)
{
    int rc = 0;

    if (db->syncs_each != each)
        rc =
            mp__sqlite_exec(db, each ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    if (rc == 0)
        db->syncs_each = each;
    return rc;
}

static int when_committed(void *context, sqlite3 *handle, const char *name, int pages)
{
    mp__sqlite_db *db = context;

    (void)handle;
    (void)name;
    db->wal_pages = pages;
    return SQLITE_OK;
}

static int configure(mp__sqlite_db *db)
{
    (void)sqlite3_busy_handler(db->db, when_busy, db);
    (void)sqlite3_wal_hook(db->db, when_committed, db); /* ends automatic checkpoints, too */
    (void)sqlite3_db_config(db->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    /* Without spilling nothing of a transaction reaches the WAL before its commit. */
    return mp__sqlite_exec(db, "PRAGMA synchronous = FULL; PRAGMA cache_spill = OFF;"
                               "PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;"
                               "PRAGMA temp_store = MEMORY; PRAGMA secure_delete = FAST;"
                               "PRAGMA cache_size = -8192; PRAGMA journal_size_limit = 67108864");
}

/* A new name for a new life of the data. */
static int create_epoch(mp__sqlite_db *db)
{
    unsigned char bytes[16];
    char text[128];
    size_t size = (size_t)snprintf(text, sizeof(text), "INSERT INTO meta VALUES('epoch', '");

    mp__env_random(db->env, bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%02x", bytes[i]);
    (void)snprintf(text + size, sizeof(text) - size, "')");
    return mp__sqlite_exec(db, text);
}

static int create(mp__sqlite_db *db)
{
    char text[160];
    int reserve = MP__VFS_RESERVED;
    int rc;

    (void)sqlite3_file_control(db->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
    (void)snprintf(text, sizeof(text),
                   "PRAGMA page_size = %d; PRAGMA auto_vacuum = NONE; PRAGMA journal_mode = WAL",
                   MP__VFS_PAGE);
    rc = mp__sqlite_exec(db, text);
    if (rc)
        return rc;
    rc = mp__sqlite_exec(db, "BEGIN IMMEDIATE");
    if (rc == 0)
        rc = mp__sqlite_exec(db, schema);
    if (rc == 0)
        rc = create_epoch(db);
    (void)snprintf(text, sizeof(text), "PRAGMA application_id = %d; PRAGMA user_version = %d",
                   MP__SQLITE_APPLICATION, MP__SQLITE_FORMAT);
    if (rc == 0)
        rc = mp__sqlite_exec(db, text);
    if (rc == 0)
        rc = mp__sqlite_exec(db, "COMMIT");
    if (rc && mp__sqlite_in_transaction(db))
        (void)mp__sqlite_exec(db, "ROLLBACK");
    return rc;
}

/* Bring a file of an older format up. The first format has nothing before it. */
static const mp__sqlite_migration migrations[] = {{0, NULL}};

int mp__sqlite_migrate(mp__sqlite_db *db, const char *path, int version, int target,
                       const mp__sqlite_migration *steps, size_t count, mp__diag *diag)
{
    char *text = sqlite3_mprintf("VACUUM INTO '%q.v%d'", path, version);
    int rc = text ? mp__sqlite_exec(db, text) : MP_ENOMEM;

    sqlite3_free(text);
    if (rc)
        return mp__diag_set(diag, rc,
                            "the copy '%s.v%d' before the change to format %d cannot be made (%s);"
                            " make room or move an older copy away",
                            path, version, target, sqlite3_errmsg(db->db));
    rc = mp__sqlite_exec(db, "BEGIN IMMEDIATE");
    for (size_t i = 0; i < count && rc == 0 && version < target; i++) {
        if (steps[i].from != version)
            continue;
        rc = mp__sqlite_exec(db, steps[i].sql);
        version++;
    }
    if (rc == 0 && version != target)
        rc = MP_EVERSION;
    if (rc == 0) {
        char set[64];

        (void)snprintf(set, sizeof(set), "PRAGMA user_version = %d; COMMIT", target);
        rc = mp__sqlite_exec(db, set);
    }
    if (rc) {
        if (mp__sqlite_in_transaction(db))
            (void)mp__sqlite_exec(db, "ROLLBACK");
        return mp__diag_set(diag, rc, "'%s' cannot be brought from format %d to %d: %s", path,
                            version, target, mp_strerror(rc));
    }
    return 0;
}

/* The file's format and whose it is, before anything is believed. */
static int check_format(mp__sqlite_db *db, const char *path, bool may_create, mp__diag *diag)
{
    int64_t version = 0, application = 0, tables = 0;
    int rc = ask(db, "PRAGMA user_version", &version, NULL, 0);

    if (rc == 0)
        rc = ask(db, "PRAGMA application_id", &application, NULL, 0);
    if (rc == 0)
        rc = ask(db, "SELECT count(*) FROM sqlite_master", &tables, NULL, 0);
    if (rc)
        return rc;
    if (tables == 0 && application == 0)
        return may_create ? create(db) : MP_EABSENT;
    if (application != MP__SQLITE_APPLICATION)
        return mp__diag_set(diag, MP_EINVAL,
                            "'%s' is a database of another program; choose another path", path);
    if (version > MP__SQLITE_FORMAT)
        return mp__diag_set(diag, MP_EVERSION,
                            "'%s' has format %d, this version knows up to %d; use the version that"
                            " wrote it, or newer",
                            path, (int)version, MP__SQLITE_FORMAT);
    if (version < MP__SQLITE_FORMAT)
        return mp__sqlite_migrate(db, path, (int)version, MP__SQLITE_FORMAT, migrations, 0, diag);
    return 0;
}

static int prepare_all(mp__sqlite_db *db)
{
    for (int i = 0; i < MP__SQL_STATEMENTS; i++) {
        int code = sqlite3_prepare_v3(db->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                      &db->statements[i], NULL);

        if (code == SQLITE_ERROR)
            return MP_ECORRUPT; /* a table or column of ours is not there */
        if (code != SQLITE_OK)
            return mp__sqlite_error(db->db, code);
    }
    return 0;
}

/* In WAL mode? Somebody may have put back a file that is not. */
static int ensure_wal(mp__sqlite_db *db)
{
    char mode[16] = "";
    int rc = ask(db, "PRAGMA journal_mode = WAL", NULL, mode, sizeof(mode));

    if (rc == 0 && strcmp(mode, "wal") != 0)
        rc = -EROFS;
    return rc;
}

int mp__sqlite_make_private(mp_env *env, const char *path)
{
    mp__file *file = NULL;
    mp__stat is;
    int rc = mp__env_stat(env, path, &is);

    if (rc != -ENOENT)
        return rc;
    rc = mp__file_open(env, path, MP__OPEN_WRITE | MP__OPEN_CREATE, &file);
    mp__file_close(file);
    return rc;
}

int mp__sqlite_db_open(mp__sqlite_db *db, mp_env *env, const mp__vfs *vfs, const char *path,
                       uint64_t timeout_ms, bool may_create, mp__diag *diag)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                SQLITE_OPEN_EXRESCODE;
    int code, rc;

    *db = (mp__sqlite_db){.env = env, .timeout_ms = timeout_ms, .syncs_each = true};
    rc = may_create ? mp__sqlite_make_private(env, path) : 0;
    if (rc)
        return diag ? mp__diag_set(diag, rc, "'%s' cannot be made: %s", path, mp_strerror(rc)) : rc;
    code = sqlite3_open_v2(path, &db->db, flags | (may_create ? SQLITE_OPEN_CREATE : 0),
                           mp__vfs_name(vfs));
    if (!db->db)
        return MP_ENOMEM;
    rc = code == SQLITE_OK ? configure(db) : mp__sqlite_error(db->db, code);
    if (rc == 0)
        rc = check_format(db, path, may_create, diag);
    if (rc == 0)
        rc = ensure_wal(db);
    if (rc == 0)
        rc = mp__sqlite_table_make(db);
    if (rc == 0)
        rc = prepare_all(db);
    if (rc) {
        if (diag && !diag->text[0])
            (void)mp__diag_set(diag, rc, "'%s' cannot be opened: %s", path, sqlite3_errmsg(db->db));
        mp__sqlite_db_close(db);
    }
    return rc;
}

void mp__sqlite_db_close(mp__sqlite_db *db)
{
    for (int i = 0; i < MP__SQL_STATEMENTS; i++) {
        (void)sqlite3_finalize(db->statements[i]);
        db->statements[i] = NULL;
    }
    (void)sqlite3_close_v2(db->db);
    db->db = NULL;
}
