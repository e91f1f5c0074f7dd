/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: a batch is one snapshot of the database, so that all its answers are as of one revision.
 *
 * What somebody waits for who reads a key is short, and comes before the lists, history and changes
 * that were asked for earlier: a page of those takes milliseconds, and many may have asked. Between
 * two of them the reader looks whether something has come; but one of them is made each time, so
 * that no stream of fetches keeps them out. */
#include "origin/sqlite.h"

#include <assert.h>

#include <errno.h>

static mp__sqlite *of(mp__origin *origin)
{
    return (mp__sqlite *)origin;
}

int mp__sqlite_read_refusal(const mp__sqlite *s)
{
    switch ((enum mp__origin_state)mp__state_now(&s->base.state)) {
    case MP__ORIGIN_LIVE:
    case MP__ORIGIN_DEGRADED:
        return 0;
    case MP__ORIGIN_LOST:
        return MP_EORIGINLOST;
    case MP__ORIGIN_OPENING:
    case MP__ORIGIN_DOWN:
        break;
    }
    return MP_EORIGIN;
}

/* ---- the batch ---- */

static void follow_the_writer(mp__sqlite *s)
{
    uint64_t generation = atomic_load_explicit(&s->generation, memory_order_acquire);

    if (s->read_db.db && (s->read_generation != generation || mp__sqlite_read_refusal(s)))
        mp__sqlite_db_close(&s->read_db);
    s->read_generation = generation;
}

static int read_begin(mp__sqlite *s)
{
    int64_t revision = 0;
    int rc;

    follow_the_writer(s);
    rc = mp__sqlite_read_refusal(s);
    if (rc)
        return rc;
    if (!s->read_db.db) {
        rc = mp__sqlite_db_open(&s->read_db, s->env, s->vfs, s->path, s->options.timeout_ms, false,
                                NULL);
        if (rc == 0)
            rc = mp__sqlite_exec(&s->read_db, "PRAGMA query_only = ON");
        if (rc)
            return rc == MP_EABSENT ? MP_EORIGINLOST : rc;
    }
    rc = mp__sqlite_run(&s->read_db, MP__SQL_BEGIN_READ);
    if (rc == 0)
        rc = mp__sqlite_number(&s->read_db, MP__SQL_REVISION, &revision);
    if (rc == MP_EABSENT)
        rc = MP_ECORRUPT;
    s->read_revision = (uint64_t)revision;
    s->read_now_ms = mp__env_wall_ms(s->env);
    return rc;
}

static void read_end(mp__sqlite *s)
{
    if (s->read_db.db && mp__sqlite_in_transaction(&s->read_db))
        (void)mp__sqlite_run(&s->read_db, MP__SQL_COMMIT);
}

/* Whether it looks over rows, rather than at one. */
static bool is_long(const mp__task *task)
{
    const mp__list *list =
        (const mp__list *)(const void *)((const char *)task - offsetof(mp__list, task));

    if (task->run == mp__sqlite_run_list)
        return list->limit > 1 || !list->by_key || list->at_revision;
    return task->run == mp__sqlite_run_history || task->run == mp__sqlite_run_changed;
}

static void add_long(mp__sqlite *s, mp__task *task)
{
    task->next = NULL;
    *(s->lists ? &s->lists_last->next : &s->lists) = task;
    s->lists_last = task;
}

void mp__sqlite_read_again(mp__sqlite *s, mp__task *task)
{
    add_long(s, task);
}

/* Those that are left come after what has come since, which calls for the next batch. */
static void run_long(mp__sqlite *s)
{
    do {
        mp__task *task = s->lists;

        if (!task)
            return;
        s->lists = task->next;
        task->run(task);
    } while (!s->reader || !mp__worker_queued(s->reader));
}

void mp__sqlite_read_batch(void *context, mp__task *first)
{
    mp__sqlite *s = context;

    s->read_status = read_begin(s);
    while (first) {
        mp__task *next = first->next; /* run() may free or post it again */

        if (is_long(first))
            add_long(s, first);
        else
            first->run(first);
        first = next;
    }
    run_long(s);
    read_end(s);
}

void mp__sqlite_read_note(mp__sqlite *s, int status)
{
    if (status == 0)
        return;
    mp__sqlite_count(&s->errors, 1);
    if (status == MP_ECORRUPT || status == -EIO)
        atomic_store_explicit(&s->damage_seen, true, memory_order_relaxed);
}

void mp__sqlite_read_done(mp__sqlite *s)
{
    static const enum mp__sqlite_sql used[] = {
        MP__SQL_FETCH,   MP__SQL_HISTORY_OF,   MP__SQL_LIST_BY_ID,    MP__SQL_LIST_BY_KEY,
        MP__SQL_LIST_AT, MP__SQL_ENVIRONMENTS, MP__SQL_HISTORY_AFTER,
    };

    for (size_t i = 0; i < sizeof(used) / sizeof(used[0]); i++)
        (void)sqlite3_reset(s->read_db.statements[used[i]]);
}

int mp__sqlite_salvage_row(mp__sqlite *s, mp__sqlite_db *db, mp_str address,
                           mp__sqlite_row *ret_row)
{
    int rc = mp__sqlite_from_history(db, address, ret_row);

    mp__sqlite_count(&s->corrupt_rows, 1);
    if (rc == 0)
        mp__sqlite_count(&s->salvaged, 1);
    mp__log(s->options.log, MP__LOG_WARN, "origin", "damaged-row", "%.*s %s", (int)address.size,
            address.data,
            rc ? "is damaged and not in its history: unknown until it is written again"
               : "is damaged and was read from its history");
    return rc;
}

/* ---- fetch ---- */

/* The row of @address, from entries or, if that is damaged, from history. 0 with row->record.kind
 * ABSENT when there is none. */
static int find(mp__sqlite *s, mp_str address, mp__sqlite_row *ret_row)
{
    sqlite3_stmt *statement = mp__sqlite_use(&s->read_db, MP__SQL_FETCH);
    int rc;

    *ret_row = (mp__sqlite_row){.record = {.kind = MP__RECORD_ABSENT}};
    if (mp__sqlite_bind_str(statement, 1, address) != SQLITE_OK)
        return MP_ENOMEM;
    rc = mp__sqlite_step(&s->read_db, statement);
    if (rc == 1)
        rc = mp__sqlite_entry_read(statement, ret_row);
    return rc == MP_ECORRUPT ? mp__sqlite_salvage_row(s, &s->read_db, address, ret_row) : rc;
}

static void answer(mp__fetch *fetch, mp__record *record, int64_t now_ms)
{
    bool gone = record->kind == MP__RECORD_ABSENT || mp__sqlite_is_expired(record, now_ms);

    if (gone)
        *record = (mp__record){.kind = MP__RECORD_ABSENT, .revision = fetch->as_of};
    record->address = fetch->address;
    record->fetched_ms = record->verified_ms = now_ms;
    fetch->unchanged = !gone && fetch->if_revision && fetch->if_revision == record->revision;
    if (fetch->unchanged)
        record->value = (mp_str){NULL, 0};
    fetch->done(fetch, 0, record);
}

void mp__sqlite_run_fetch(mp__task *task)
{
    mp__fetch *fetch = (mp__fetch *)(void *)((char *)task - offsetof(mp__fetch, task));
    mp__sqlite *s = of(fetch->origin);
    mp__sqlite_row row;
    int rc = s->read_status;

    fetch->unchanged = false;
    fetch->as_of = s->read_revision;
    mp__sqlite_count(&s->fetches, 1);
    if (rc == 0)
        rc = find(s, fetch->address, &row);
    mp__sqlite_read_note(s, rc);
    if (rc == 0)
        answer(fetch, &row.record, s->read_now_ms);
    else
        fetch->done(fetch, rc, NULL);
    if (s->read_status == 0)
        mp__sqlite_read_done(s);
}

/* ---- what cannot go into the database ---- */

bool mp__sqlite_read_pending(mp__sqlite *s, mp__task *task)
{
    mp__fetch *fetch = (mp__fetch *)(void *)((char *)task - offsetof(mp__fetch, task));
    const mp__sqlite_staged *staged = NULL;
    mp__record record;

    if (task->run == mp__sqlite_run_fetch && mp__sqlite_read_refusal(s) == 0)
        staged = mp__sqlite_pending_find(&s->pending, fetch->address);
    if (!staged)
        return false;
    mp__sqlite_count(&s->fetches, 1);
    record = staged->row.record;
    fetch->as_of = s->pending.revision;
    answer(fetch, &record, mp__env_wall_ms(s->env));
    return true;
}

int mp__sqlite_read_status(const mp__sqlite *s)
{
    int rc = s->read_status;

    return rc ? rc : atomic_load_explicit(&s->stuck, memory_order_relaxed);
}
