/* SPDX-License-Identifier: Apache-2.0 */
/* Changes that are durable in the journal and not in the database yet, in the order in which they
 * were made, found by address; and the way of all of them together into the database.
 *
 * To bring a change into SQLite costs some ten times what it costs to write it into the journal:
 * two tables, two indexes, pages of 4 KiB and their checksums. Many changes at once share the
 * pages, and of many changes of one address only the last one is an entry. All of it on the
 * writer's thread. */
#include "origin/sqlite.h"

#include <assert.h>
#include <errno.h>

#include "core/address.h"

enum { TABLE_FIRST = 256, COUNT_MOST = 1 << 24, KNOWN_MAX = 4096, AHEAD = 256 };
#define NONE UINT32_MAX

/* ---- the table ---- */

/* The link that holds the newest change of @address, or the one at the end of its chain. */
static uint32_t *link_of(mp__sqlite_pending *p, uint64_t hash, mp_str address)
{
    uint32_t *link = &p->table[hash & (p->table_size - 1)];

    while (*link != NONE) {
        mp__sqlite_staged *staged = &p->rows[*link];

        if (staged->hash == hash && mp_str_equal(staged->row.record.address, address))
            break;
        link = &staged->next;
    }
    return link;
}

static mp__sqlite_staged *find(mp__sqlite_pending *p, mp_str address)
{
    uint32_t at;

    if (p->count == 0)
        return NULL;
    at = *link_of(p, mp__hash_str(p->key, address), address);
    return at == NONE ? NULL : &p->rows[at];
}

const mp__sqlite_staged *mp__sqlite_pending_find(mp__sqlite_pending *p, mp_str address)
{
    return find(p, address);
}

/* Room for one more, and for so many in the table that its chains stay short. */
static int make_room(mp__sqlite_pending *p)
{
    size_t capacity = p->capacity ? 2 * p->capacity : TABLE_FIRST;
    mp__sqlite_staged *rows;
    uint32_t *table;

    if (p->count < p->capacity)
        return 0;
    if (capacity > COUNT_MOST)
        return MP_ELIMIT;
    rows = mp__realloc_array(p->rows, capacity, sizeof(*rows));
    if (!rows)
        return MP_ENOMEM;
    p->rows = rows;
    table = mp__realloc_array(p->table, capacity, sizeof(*table));
    if (!table)
        return MP_ENOMEM;
    p->table = table;
    p->capacity = p->table_size = capacity;
    memset(table, 0xff, capacity * sizeof(*table));
    for (size_t i = 0; i < p->count; i++) {
        uint32_t *link;

        if (rows[i].is_superseded)
            continue;
        link = &table[rows[i].hash & (capacity - 1)];
        rows[i].next = *link;
        *link = (uint32_t)i;
    }
    return 0;
}

int mp__sqlite_pending_add(mp__sqlite_pending *p, const mp__sqlite_row *row)
{
    bool is_there = mp__sqlite_op_has_value(row->op);
    mp__sqlite_staged *staged;
    uint32_t *link;
    int rc = make_room(p);

    if (rc)
        return rc;
    staged = &p->rows[p->count];
    *staged = (mp__sqlite_staged){.row = *row,
                                  .hash = mp__hash_str(p->key, row->record.address),
                                  .keys = (int8_t)((int)is_there - (int)row->was_there),
                                  .next = NONE,
                                  .older = NONE};
    link = link_of(p, staged->hash, row->record.address);
    if (*link != NONE) {
        staged->older = *link;
        staged->next = p->rows[*link].next;
        p->rows[*link].is_superseded = true;
    }
    *link = (uint32_t)p->count++;
    return 0;
}

void mp__sqlite_pending_cut(mp__sqlite_pending *p, size_t count)
{
    while (p->count > count) {
        mp__sqlite_staged *staged = &p->rows[p->count - 1];
        uint32_t *link = link_of(p, staged->hash, staged->row.record.address);

        assert(*link == p->count - 1);
        if (staged->older == NONE) {
            *link = staged->next;
        } else {
            p->rows[staged->older].next = staged->next;
            p->rows[staged->older].is_superseded = false;
            *link = staged->older;
        }
        p->count--;
    }
}

/* ---- the bytes that they point into ---- */

int mp__sqlite_pending_reserve(mp__sqlite_pending *p)
{
    size_t capacity = p->block_capacity ? 2 * p->block_capacity : 64;
    char **blocks;

    if (p->block_count < p->block_capacity)
        return 0;
    blocks = mp__realloc_array(p->blocks, capacity, sizeof(*blocks));
    if (!blocks)
        return MP_ENOMEM;
    p->blocks = blocks;
    p->block_capacity = capacity;
    return 0;
}

void mp__sqlite_pending_own(mp__sqlite_pending *p, char *block, size_t size)
{
    assert(p->block_count < p->block_capacity);
    p->blocks[p->block_count++] = block;
    p->bytes += size;
}

void mp__sqlite_pending_clear(mp__sqlite_pending *p)
{
    for (size_t i = 0; i < p->block_count; i++)
        (void)mp__free(p->blocks[i]);
    if (p->table_size)
        memset(p->table, 0xff, p->table_size * sizeof(*p->table));
    p->block_count = p->count = p->bytes = p->stored = 0;
}

void mp__sqlite_pending_done(mp__sqlite_pending *p)
{
    mp__sqlite_pending_clear(p);
    (void)mp__free(p->blocks);
    (void)mp__free(p->rows);
    (void)mp__free(p->table);
    *p = (mp__sqlite_pending){.key = p->key};
}

/* ---- into the database ---- */

static int remove_entry(mp__sqlite_db *db, int64_t id)
{
    sqlite3_stmt *statement = mp__sqlite_use(db, MP__SQL_DELETE);

    if (sqlite3_bind_int64(statement, 1, id) != SQLITE_OK)
        return MP_ENOMEM;
    return mp__sqlite_run(db, MP__SQL_DELETE);
}

/* Its row as it is known to be: only what changes is written. A damaged row is written whole, since
 * its address may be the damage. */
static int update_entry(mp__sqlite_db *db, const mp__sqlite_row *row)
{
    enum mp__sqlite_sql which = row->was_damaged ? MP__SQL_REPLACE : MP__SQL_UPDATE;
    sqlite3_stmt *statement = mp__sqlite_use(db, which);
    int rc = mp__sqlite_entry_bind(statement, 1, &row->record);

    if (rc == 0 && sqlite3_bind_int64(statement, 11, row->id) != SQLITE_OK)
        rc = MP_ENOMEM;
    return rc ? rc : mp__sqlite_run(db, which);
}

/* A new row; where there is one after all, because another program made it, that one. */
static int insert_entry(mp__sqlite_db *db, mp__sqlite_row *row)
{
    int rc = mp__sqlite_entry_bind(mp__sqlite_use(db, MP__SQL_UPSERT), 1, &row->record);

    sqlite3_set_last_insert_rowid(db->db, 0);
    if (rc == 0)
        rc = mp__sqlite_run(db, MP__SQL_UPSERT);
    row->id = sqlite3_last_insert_rowid(db->db);
    return rc;
}

static int write_entry(mp__sqlite_db *db, mp__sqlite_row *row)
{
    int rc = 0;

    if (!mp__sqlite_op_has_value(row->op))
        return row->id ? remove_entry(db, row->id) : 0;
    if (row->id) {
        rc = update_entry(db, row);
        if (rc || sqlite3_changes(db->db) > 0)
            return rc; /* else another program deleted it, after a transaction failed */
    }
    return insert_entry(db, row);
}

static int count_keys(mp__sqlite_db *db, mp_str address, int delta)
{
    sqlite3_stmt *statement = mp__sqlite_use(db, MP__SQL_COUNT_ADD);
    mp_str environment, namespace_, key;

    if (mp__address_split(address, &environment, &namespace_, &key) != 0)
        return MP_ECORRUPT;
    if (mp__sqlite_bind_str(statement, 1, environment) != SQLITE_OK ||
        sqlite3_bind_int64(statement, 2, delta) != SQLITE_OK)
        return MP_ENOMEM;
    return mp__sqlite_run(db, MP__SQL_COUNT_ADD);
}

static int set_revision(mp__sqlite_db *db, uint64_t revision)
{
    sqlite3_stmt *statement = mp__sqlite_use(db, MP__SQL_REVISION_SET);

    if (sqlite3_bind_int64(statement, 1, (int64_t)revision) != SQLITE_OK)
        return MP_ENOMEM;
    return mp__sqlite_run(db, MP__SQL_REVISION_SET);
}

/* What has not been brought in ahead. */
static int add_history(mp__sqlite_db *db, mp__sqlite_pending *p)
{
    int rc;

    if (p->stored == p->count)
        return 0;
    db->pending = p;
    db->pending_from = p->stored;
    rc = mp__sqlite_run(db, MP__SQL_HISTORY_INSERT);
    db->pending = NULL;
    if (rc == 0)
        p->stored = p->count;
    return rc;
}

static int apply(mp__sqlite_db *db, mp__sqlite_pending *p)
{
    int rc = add_history(db, p);

    for (size_t i = 0; i < p->count && rc == 0; i++) {
        mp__sqlite_staged *staged = &p->rows[i];

        if (!staged->is_superseded)
            rc = write_entry(db, &staged->row);
        if (rc == 0 && staged->keys)
            rc = count_keys(db, staged->row.record.address, staged->keys);
    }
    return rc ? rc : set_revision(db, p->revision);
}

/* ---- what is known of the database without a look ---- */

/* Where no other program wrote, a row is as the last change of it left it. */
static void keep_known(mp__sqlite *s, int64_t version)
{
    if (s->known_version != version)
        mp__sqlite_pending_clear(&s->known);
    s->known_version = version;
}

static void remember_one(mp__sqlite_pending *known, const mp__sqlite_row *row)
{
    mp__sqlite_staged *there = find(known, row->record.address);
    mp__sqlite_row is = *row;
    char *address;

    is.was_damaged = false;
    is.record.value = is.record.media_type = is.actor = (mp_str){NULL, 0};
    if (!mp__sqlite_op_has_value(row->op))
        is.id = 0;
    if (there) {
        is.record.address = there->row.record.address;
        there->row = is;
        return;
    }
    if (known->count >= KNOWN_MAX || mp__sqlite_pending_reserve(known) != 0)
        return;
    address = mp__str_dup(row->record.address);
    if (!address)
        return;
    mp__sqlite_pending_own(known, address, row->record.address.size);
    is.record.address.data = address;
    (void)mp__sqlite_pending_add(known, &is);
}

/* After a commit. Too many are forgotten all at once: what is in use comes back. */
static void remember(mp__sqlite *s)
{
    const mp__sqlite_pending *p = &s->pending;

    if (s->known.count >= KNOWN_MAX)
        mp__sqlite_pending_clear(&s->known);
    for (size_t i = 0; i < p->count; i++) {
        const mp__sqlite_row *row = &p->rows[i].row;

        if (!p->rows[i].is_superseded && (row->id || !mp__sqlite_op_has_value(row->op)))
            remember_one(&s->known, row);
    }
}

const mp__sqlite_staged *mp__sqlite_known(mp__sqlite *s, mp_str address)
{
    return mp__sqlite_pending_find(&s->known, address);
}

/* ---- the transaction ---- */

/* Whether SQLite has forgotten no page since it was opened, or since another program wrote. */
static bool has_forgotten_none(const mp__sqlite_db *db)
{
    int used = 0, most = 0;

    return sqlite3_db_status(db->db, SQLITE_DBSTATUS_CACHE_USED, &used, &most, 0) == SQLITE_OK &&
           used < MP__SQLITE_CACHE / 4 * 3;
}

/* The pages at whose ends new rows are put, and the counts: if one of them is damaged, the write is
 * refused instead of acknowledged and then not stored. Where they are in memory still, since the
 * last transaction here was committed and left them there, another look would not see the disk. Of
 * one that is not committed that is never said, for SQLite may roll back by itself after any error,
 * and what was written of them goes from memory then. */
static int touch_ends(mp__sqlite *s, bool is_as_we_left_it)
{
    mp__sqlite_db *db = &s->write_db;
    bool has_ends = is_as_we_left_it && db->has_ends && has_forgotten_none(db);
    int64_t ignored;
    int rc;

    db->has_ends = false;
    if (has_ends)
        return 0;
    rc = mp__sqlite_number(db, MP__SQL_TOUCH, &ignored);
    mp__sqlite_count(&s->ends_touched, 1);
    return rc == MP_EABSENT ? MP_ECORRUPT : rc;
}

static int find_revision(mp__sqlite_db *db, int64_t *ret_revision)
{
    int rc = mp__sqlite_number(db, MP__SQL_REVISION, ret_revision);

    return rc == MP_EABSENT ? MP_ECORRUPT : rc;
}

/* Changes from before a transaction that failed: another program may have been at their rows. */
static int find_ids(mp__sqlite_db *db, mp__sqlite_pending *p)
{
    int rc = 0;

    for (size_t i = 0; i < p->count && rc >= 0; i++) {
        sqlite3_stmt *statement = mp__sqlite_use(db, MP__SQL_FETCH);

        if (p->rows[i].is_superseded)
            continue;
        if (mp__sqlite_bind_str(statement, 1, p->rows[i].row.record.address) != SQLITE_OK)
            return MP_ENOMEM;
        rc = mp__sqlite_step(db, statement);
        if (rc >= 0)
            p->rows[i].row.id = rc == 1 ? sqlite3_column_int64(statement, 0) : 0;
        (void)sqlite3_reset(statement);
    }
    return rc < 0 ? rc : 0;
}

int mp__sqlite_transaction_begin(mp__sqlite *s)
{
    mp__sqlite_pending *p = &s->pending;
    int64_t revision = 0, version = 0, shared = 0;
    int rc;

    if (mp__sqlite_in_transaction(&s->write_db))
        return 0;
    p->stored = 0;
    rc = mp__sqlite_run(&s->write_db, MP__SQL_BEGIN_WRITE);
    if (rc == 0)
        rc = mp__sqlite_number(&s->write_db, MP__SQL_DATA_VERSION, &version);
    if (rc == 0)
        rc = touch_ends(s, version == s->known_version);
    if (rc == 0)
        rc = find_revision(&s->write_db, &revision);
    if (rc == 0)
        rc = mp__sqlite_number(&s->write_db, MP__SQL_SHARED, &shared);
    if (rc == 0 && p->count)
        rc = find_ids(&s->write_db, p);
    if (rc) {
        mp__sqlite_transaction_end(s);
        return rc;
    }
    /* asked each time: another program may have been here */
    if (p->count == 0 || p->revision < (uint64_t)revision)
        p->revision = (uint64_t)revision;
    p->since_ns = mp__env_now_ns(s->env);
    s->shared = shared != 0;
    keep_known(s, version);
    return 0;
}

void mp__sqlite_transaction_end(mp__sqlite *s)
{
    s->pending.stored = 0;
    if (mp__sqlite_in_transaction(&s->write_db))
        (void)mp__sqlite_run(&s->write_db, MP__SQL_ROLLBACK);
}

int mp__sqlite_apply(mp__sqlite *s)
{
    int rc = mp__sqlite_transaction_begin(s);

    if (rc == 0)
        rc = apply(&s->write_db, &s->pending);
    if (rc == 0 && !mp__sqlite_in_transaction(&s->write_db))
        rc = -EIO; /* SQLite gave it up by itself after an error */
    if (rc == 0)
        rc = mp__sqlite_run(&s->write_db, MP__SQL_COMMIT);
    if (rc == 0) {
        s->write_db.has_ends = true;
        remember(s);
        mp__sqlite_pending_clear(&s->pending);
    } else {
        mp__sqlite_pending_clear(&s->known);
        mp__sqlite_transaction_end(s);
    }
    return rc;
}

void mp__sqlite_flush_ahead(mp__sqlite *s)
{
    mp__sqlite_pending *p = &s->pending;

    if (p->count - p->stored < AHEAD || !mp__sqlite_in_transaction(&s->write_db))
        return;
    if (add_history(&s->write_db, p) != 0)
        mp__sqlite_transaction_end(s); /* the flush tries it again, and says what is wrong */
}

int mp__sqlite_flush(mp__sqlite *s)
{
    int rc = 0;

    if (s->pending.count == 0) {
        mp__sqlite_transaction_end(s); /* nothing was written in it */
        return 0;
    }
    rc = s->write_db.db ? mp__sqlite_apply(s) : MP_EDEGRADED;
    atomic_store_explicit(&s->stuck, rc, memory_order_relaxed);
    if (rc == 0)
        atomic_store_explicit(&s->unflushed, false, memory_order_release);
    return rc;
}
