/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of `entries` and `history` to records and back. Each row carries XXH3-64 over all of itself
 * (its id excepted), made when it is bound and checked when it is read. */
#include "origin/sqlite.h"

#include <endian.h>

#include "core/hash.h"

static const char *const op_names[] = {
    [MP__OP_PUT] = "put",           [MP__OP_DELETE] = "delete",   [MP__OP_EXPIRE] = "expire",
    [MP__OP_ROLLBACK] = "rollback", [MP__OP_EXPIRED] = "expired", [MP__OP_SALVAGED] = "salvaged",
    [MP__OP_RESTORED] = "restored",
};
enum { OPS = sizeof(op_names) / sizeof(op_names[0]) };

bool mp__sqlite_op_has_value(enum mp__sqlite_op op)
{
    return op != MP__OP_DELETE && op != MP__OP_EXPIRED;
}

bool mp__sqlite_is_expired(const mp__record *record, int64_t now_ms)
{
    return record->expires_ms != 0 && record->expires_ms <= now_ms;
}

static uint64_t add_number(uint64_t sum, uint64_t number)
{
    number = htole64(number);
    return mp__checksum(sum, &number, sizeof(number));
}

static uint64_t add_text(uint64_t sum, mp_str text)
{
    return mp__checksum(add_number(sum, text.size), text.size ? text.data : "", text.size);
}

/* Of both tables, told apart by @tag, so that a row of one is none of the other. */
static uint64_t record_checksum(uint64_t tag, const mp__record *record)
{
    uint64_t numbers[] = {
        htole64(tag),
        htole64(record->revision),
        htole64(record->created_revision),
        htole64(record->version),
        htole64((uint64_t)record->created_ms),
        htole64((uint64_t)record->modified_ms),
        htole64((uint64_t)record->expires_ms),
    };
    uint64_t sum = mp__checksum(0, numbers, sizeof(numbers));

    sum = add_text(sum, record->address);
    sum = add_text(sum, record->media_type);
    return add_text(sum, record->value);
}

static uint64_t history_checksum(const mp__sqlite_row *row)
{
    uint64_t sum = record_checksum(100 + (uint64_t)row->op, &row->record);

    return add_text(add_number(sum, (uint64_t)row->at_ms), row->actor);
}

static mp_str column_str(sqlite3_stmt *statement, int column)
{
    const void *data = sqlite3_column_blob(statement, column);

    /* blob, not text: the same bytes, without SQLite looking at their encoding */
    return mp_str_new(data, data ? (size_t)sqlite3_column_bytes(statement, column) : 0);
}

static uint64_t column_u64(sqlite3_stmt *statement, int column)
{
    return (uint64_t)sqlite3_column_int64(statement, column);
}

static int checked(sqlite3_stmt *statement, uint64_t stored, uint64_t made)
{
    if (stored == made)
        return 0;
    /* a column that could not be had for want of memory is not damage */
    if (sqlite3_errcode(sqlite3_db_handle(statement)) == SQLITE_NOMEM)
        return MP_ENOMEM;
    return MP_ECORRUPT;
}

int mp__sqlite_entry_read(sqlite3_stmt *statement, mp__sqlite_row *ret_row)
{
    *ret_row = (mp__sqlite_row){
        .id = sqlite3_column_int64(statement, 0),
        .op = MP__OP_PUT,
        .record =
            {
                .kind = MP__RECORD_VALUE,
                .address = column_str(statement, 1),
                .revision = column_u64(statement, 2),
                .created_revision = column_u64(statement, 3),
                .version = column_u64(statement, 4),
                .created_ms = sqlite3_column_int64(statement, 5),
                .modified_ms = sqlite3_column_int64(statement, 6),
                .expires_ms = sqlite3_column_int64(statement, 7),
                .media_type = column_str(statement, 9),
                .value = column_str(statement, 10),
            },
    };
    return checked(statement, column_u64(statement, 8), record_checksum(1, &ret_row->record));
}

static enum mp__sqlite_op op_of(mp_str name)
{
    for (int i = MP__OP_PUT; i < OPS; i++)
        if (mp_str_equal(name, mp_str_of(op_names[i])))
            return (enum mp__sqlite_op)i;
    return 0;
}

int mp__sqlite_history_read(sqlite3_stmt *statement, mp__sqlite_row *ret_row)
{
    enum mp__sqlite_op op = op_of(column_str(statement, 2));

    *ret_row = (mp__sqlite_row){
        .op = op,
        .at_ms = sqlite3_column_int64(statement, 8),
        .actor = column_str(statement, 10),
        .record =
            {
                .kind = mp__sqlite_op_has_value(op) ? MP__RECORD_VALUE : MP__RECORD_ABSENT,
                .revision = column_u64(statement, 0),
                .address = column_str(statement, 1),
                .created_revision = column_u64(statement, 3),
                .version = column_u64(statement, 4),
                .created_ms = sqlite3_column_int64(statement, 5),
                .modified_ms = sqlite3_column_int64(statement, 6),
                .expires_ms = sqlite3_column_int64(statement, 7),
                .media_type = column_str(statement, 11),
                .value = column_str(statement, 12),
            },
    };
    return checked(statement, column_u64(statement, 9), history_checksum(ret_row));
}

int mp__sqlite_bind_str(sqlite3_stmt *statement, int parameter, mp_str text)
{
    return sqlite3_bind_text64(statement, parameter, text.size ? text.data : "", text.size,
                               SQLITE_STATIC, SQLITE_UTF8);
}

static int bind_numbers(sqlite3_stmt *statement, int first, const int64_t *numbers, int count)
{
    int rc = SQLITE_OK;

    for (int i = 0; i < count && rc == SQLITE_OK; i++)
        rc = sqlite3_bind_int64(statement, first + i, numbers[i]);
    return rc;
}

static int bind_value(sqlite3_stmt *statement, int parameter, mp_str value)
{
    return sqlite3_bind_blob64(statement, parameter, value.size ? value.data : "", value.size,
                               SQLITE_STATIC);
}

/* Bound values are within SQLite's limits unless memory is short, so any failure is that or a value
 * above a gigabyte; mp__sqlite_error() tells. */
static int bound(sqlite3_stmt *statement, int code)
{
    return code == SQLITE_OK ? 0 : mp__sqlite_error(sqlite3_db_handle(statement), code);
}

int mp__sqlite_entry_bind(sqlite3_stmt *statement, int first, const mp__record *record)
{
    const int64_t numbers[] = {
        (int64_t)record->revision,
        (int64_t)record->created_revision,
        (int64_t)record->version,
        record->created_ms,
        record->modified_ms,
        record->expires_ms,
        (int64_t)record_checksum(1, record),
    };
    int rc = mp__sqlite_bind_str(statement, first, record->address);

    if (rc == SQLITE_OK)
        rc = bind_numbers(statement, first + 1, numbers, 7);
    if (rc == SQLITE_OK)
        rc = mp__sqlite_bind_str(statement, first + 8, record->media_type);
    if (rc == SQLITE_OK)
        rc = bind_value(statement, first + 9, record->value);
    return bound(statement, rc);
}

static void result_text(sqlite3_context *result, mp_str text)
{
    sqlite3_result_text64(result, text.size ? text.data : "", text.size, SQLITE_STATIC,
                          SQLITE_UTF8);
}

void mp__sqlite_history_column(const mp__sqlite_row *row, int column, sqlite3_context *result)
{
    const mp__record *r = &row->record;

    switch (column) {
    case 0:
        sqlite3_result_int64(result, (int64_t)r->revision);
        return;
    case 1:
        result_text(result, r->address);
        return;
    case 2:
        result_text(result, mp_str_of(op_names[row->op]));
        return;
    case 3:
        sqlite3_result_int64(result, (int64_t)r->created_revision);
        return;
    case 4:
        sqlite3_result_int64(result, (int64_t)r->version);
        return;
    case 5:
        sqlite3_result_int64(result, r->created_ms);
        return;
    case 6:
        sqlite3_result_int64(result, r->modified_ms);
        return;
    case 7:
        sqlite3_result_int64(result, r->expires_ms);
        return;
    case 8:
        sqlite3_result_int64(result, row->at_ms);
        return;
    case 9:
        sqlite3_result_int64(result, (int64_t)history_checksum(row));
        return;
    case 10:
        result_text(result, row->actor);
        return;
    case 11:
        result_text(result, r->media_type);
        return;
    default:
        sqlite3_result_blob64(result, r->value.size ? r->value.data : "", r->value.size,
                              SQLITE_STATIC);
        return;
    }
}

int mp__sqlite_from_history(mp__sqlite_db *db, mp_str address, mp__sqlite_row *ret_row)
{
    sqlite3_stmt *statement = mp__sqlite_use(db, MP__SQL_HISTORY_OF);
    int rc = mp__sqlite_bind_str(statement, 1, address);

    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(statement, 2, INT64_MAX);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(statement, 3, 1);
    if (rc != SQLITE_OK)
        return bound(statement, rc);
    rc = mp__sqlite_step(db, statement);
    /* Every key that is or was there has a history: without one nothing can be said. */
    if (rc == 0)
        return MP_ECORRUPT;
    return rc < 0 ? rc : mp__sqlite_history_read(statement, ret_row);
}
