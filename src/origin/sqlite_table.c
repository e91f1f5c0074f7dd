/* SPDX-License-Identifier: Apache-2.0 */
/* The changes that wait to go into the database, as a table that SQL reads: so that all rows of
 * history are one statement, instead of a bind, a step and a reset each. See sqlite.org/vtab.html.
 */
#include "origin/sqlite.h"

typedef struct table {
    sqlite3_vtab base;
    const mp__sqlite_db *db;
} table;

typedef struct cursor {
    sqlite3_vtab_cursor base;
    size_t at;
} cursor;

static const mp__sqlite_pending *pending_of(sqlite3_vtab_cursor *c)
{
    return ((const table *)(void *)c->pVtab)->db->pending;
}

static int table_connect(sqlite3 *db, void *context, int argc, const char *const *argv,
                         sqlite3_vtab **ret_table, char **ret_error)
{
    table *t = sqlite3_malloc(sizeof(*t));
    int rc;

    (void)argc;
    (void)argv;
    (void)ret_error;
    if (!t)
        return SQLITE_NOMEM;
    *t = (table){.db = context};
    rc = sqlite3_declare_vtab(db, "CREATE TABLE pending(" MP__HISTORY_COLUMNS ")");
    if (rc == SQLITE_OK)
        *ret_table = &t->base;
    else
        sqlite3_free(t);
    return rc;
}

static int table_disconnect(sqlite3_vtab *t)
{
    sqlite3_free(t);
    return SQLITE_OK;
}

/* There is one way to read it: all of it, in order. */
static int table_best_index(sqlite3_vtab *t, sqlite3_index_info *info)
{
    (void)t;
    info->estimatedCost = 1000;
    return SQLITE_OK;
}

static int cursor_open(sqlite3_vtab *t, sqlite3_vtab_cursor **ret_cursor)
{
    cursor *c = sqlite3_malloc(sizeof(*c));

    (void)t;
    if (!c)
        return SQLITE_NOMEM;
    *c = (cursor){0};
    *ret_cursor = &c->base;
    return SQLITE_OK;
}

static int cursor_close(sqlite3_vtab_cursor *c)
{
    sqlite3_free(c);
    return SQLITE_OK;
}

static int cursor_filter(sqlite3_vtab_cursor *c, int number, const char *text, int argc,
                         sqlite3_value **argv)
{
    (void)number;
    (void)text;
    (void)argc;
    (void)argv;
    ((cursor *)(void *)c)->at = ((const table *)(void *)c->pVtab)->db->pending_from;
    return SQLITE_OK;
}

static int cursor_next(sqlite3_vtab_cursor *c)
{
    ((cursor *)(void *)c)->at++;
    return SQLITE_OK;
}

static int cursor_eof(sqlite3_vtab_cursor *c)
{
    return !pending_of(c) || ((cursor *)(void *)c)->at >= pending_of(c)->count;
}

static int cursor_column(sqlite3_vtab_cursor *c, sqlite3_context *result, int column)
{
    mp__sqlite_history_column(&pending_of(c)->rows[((cursor *)(void *)c)->at].row, column, result);
    return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *c, sqlite3_int64 *ret_rowid)
{
    *ret_rowid = (sqlite3_int64)((cursor *)(void *)c)->at;
    return SQLITE_OK;
}

/* Without xCreate: it is there by its name, and cannot be made. */
static const sqlite3_module module = {
    .xConnect = table_connect,
    .xBestIndex = table_best_index,
    .xDisconnect = table_disconnect,
    .xOpen = cursor_open,
    .xClose = cursor_close,
    .xFilter = cursor_filter,
    .xNext = cursor_next,
    .xEof = cursor_eof,
    .xColumn = cursor_column,
    .xRowid = cursor_rowid,
};

int mp__sqlite_table_make(mp__sqlite_db *db)
{
    int rc = sqlite3_create_module_v2(db->db, "pending", &module, db, NULL);

    return rc == SQLITE_OK ? 0 : mp__sqlite_error(db->db, rc);
}
