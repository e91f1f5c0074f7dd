/* SPDX-License-Identifier: Apache-2.0 */
/* Reads: a batch is one snapshot of the database, so that all its answers are as of one revision.
 */
#include "origin/sqlite.h"

#include <assert.h>

#include <errno.h>

#include "core/address.h"

/* Rows that one list by cursor looks at before it answers with what it has and where to go on: a
 * filter that matches little may not hold up the fetches behind it. */
enum { LIST_SCAN_MAX = 20000 };

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

void mp__sqlite_read_batch(void *context, mp__task *first)
{
    mp__sqlite *s = context;

    s->read_status = read_begin(s);
    if (s->read_status && s->read_status != MP_ENOMEM)
        atomic_store_explicit(&s->damage_seen, true, memory_order_relaxed);
    while (first) {
        mp__task *next = first->next; /* run() may free or post it again */

        first->run(first);
        first = next;
    }
    read_end(s);
}

static void count_status(mp__sqlite *s, int status)
{
    if (status == 0)
        return;
    mp__sqlite_count(&s->errors, 1);
    if (status == MP_ECORRUPT || status == -EIO)
        atomic_store_explicit(&s->damage_seen, true, memory_order_relaxed);
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
    if (rc != MP_ECORRUPT)
        return rc;
    mp__sqlite_count(&s->corrupt_rows, 1);
    atomic_store_explicit(&s->damage_seen, true, memory_order_relaxed);
    rc = mp__sqlite_from_history(&s->read_db, address, ret_row);
    if (rc == 0)
        mp__sqlite_count(&s->salvaged, 1);
    return rc;
}

static void answer(mp__sqlite *s, mp__fetch *fetch, mp__record *record)
{
    bool gone = record->kind == MP__RECORD_ABSENT || mp__sqlite_is_expired(record, s->read_now_ms);

    if (gone)
        *record = (mp__record){.kind = MP__RECORD_ABSENT, .revision = s->read_revision};
    record->address = fetch->address;
    record->fetched_ms = record->verified_ms = s->read_now_ms;
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
    count_status(s, rc);
    if (rc == 0)
        answer(s, fetch, &row.record);
    else
        fetch->done(fetch, rc, NULL);
    if (s->read_status == 0) {
        /* the slices were the statements' */
        (void)sqlite3_reset(s->read_db.statements[MP__SQL_FETCH]);
        (void)sqlite3_reset(s->read_db.statements[MP__SQL_HISTORY_OF]);
    }
}

/* ---- list ---- */

typedef struct gathering {
    mp__sqlite *s;
    mp__list *list;
    char prefix[MP__ADDRESS_MAX + 2]; /* "environment/prefix" */
    size_t prefix_size;
    mp__record *records;
    size_t count;
    char *memory; /* what the records point into, growing; offsets until the end */
    size_t used, capacity;
    uint64_t next;
    int damaged;
} gathering;

static int make_room(gathering *g, size_t size)
{
    size_t need, capacity = g->capacity ? g->capacity : 4096;
    char *bigger;

    if (__builtin_add_overflow(g->used, size, &need))
        return MP_ENOMEM;
    while (capacity < need)
        if (__builtin_mul_overflow(capacity, 2, &capacity))
            return MP_ENOMEM;
    if (capacity == g->capacity)
        return 0;
    bigger = mp__realloc(g->memory, capacity);
    if (!bigger)
        return MP_ENOMEM;
    g->memory = bigger;
    g->capacity = capacity;
    return 0;
}

/* Slices hold offsets while the memory may still move. */
static void put(gathering *g, mp_str *text)
{
    size_t offset = g->used;

    if (text->size) {
        assert(g->memory); /* make_room() came first */
        memcpy(g->memory + offset, text->data, text->size);
    }
    g->used += text->size;
    text->data = (const char *)(uintptr_t)offset;
}

static int gather(gathering *g, const mp__record *record)
{
    mp__record *mine = &g->records[g->count];
    int rc;

    *mine = *record;
    if (!g->list->with_values)
        mine->value = (mp_str){NULL, 0};
    rc = make_room(g, mine->address.size + mine->media_type.size + mine->value.size);
    if (rc)
        return rc;
    put(g, &mine->address);
    put(g, &mine->media_type);
    put(g, &mine->value);
    mine->fetched_ms = mine->verified_ms = g->s->read_now_ms;
    g->count++;
    return 0;
}

static void settle(gathering *g)
{
    for (size_t i = 0; i < g->count; i++) {
        mp_str *texts[] = {&g->records[i].address, &g->records[i].media_type, &g->records[i].value};

        for (size_t k = 0; k < 3; k++)
            texts[k]->data = g->memory ? g->memory + (uintptr_t)texts[k]->data : NULL;
    }
}

/* A row of the list: whole, salvaged from history, or left out with the list marked incomplete. */
static int take_row(gathering *g, sqlite3_stmt *statement, mp__sqlite_row *row)
{
    int rc = mp__sqlite_entry_read(statement, row);

    if (rc == MP_ECORRUPT) {
        mp__sqlite_count(&g->s->corrupt_rows, 1);
        rc = mp__sqlite_from_history(&g->s->read_db, row->record.address, row);
        if (rc == 0)
            mp__sqlite_count(&g->s->salvaged, 1);
    }
    if (rc == MP_ECORRUPT) {
        g->damaged = rc;
        return 0;
    }
    if (rc)
        return rc;
    if (row->record.kind == MP__RECORD_ABSENT ||
        mp__sqlite_is_expired(&row->record, g->s->read_now_ms))
        return 0;
    return gather(g, &row->record);
}

static bool begins_with(mp_str text, const char *prefix, size_t size)
{
    return text.size >= size && memcmp(text.data, prefix, size) == 0;
}

static int list_by_id(gathering *g)
{
    sqlite3_stmt *statement = mp__sqlite_use(&g->s->read_db, MP__SQL_LIST_BY_ID);
    int rc = 0;

    if (sqlite3_bind_int64(statement, 1, (int64_t)g->list->after) != SQLITE_OK)
        return MP_ENOMEM;
    for (int seen = 0; rc == 0; seen++) {
        mp__sqlite_row row;
        mp_str address;

        if (g->count == g->list->limit || seen == LIST_SCAN_MAX)
            return 0; /* g->next stands on the last row that was looked at */
        rc = mp__sqlite_step(&g->s->read_db, statement);
        if (rc != 1)
            break;
        g->next = (uint64_t)sqlite3_column_int64(statement, 0);
        address = mp_str_new(sqlite3_column_blob(statement, 1),
                             (size_t)sqlite3_column_bytes(statement, 1));
        rc = begins_with(address, g->prefix, g->prefix_size) ? take_row(g, statement, &row) : 0;
    }
    if (rc == 0)
        g->next = 0;
    return rc;
}

/* The smallest text above all that begin with @prefix. */
static void after_prefix(char *prefix, size_t *size)
{
    while (*size && (unsigned char)prefix[*size - 1] == 0xff)
        --*size;
    if (*size)
        prefix[*size - 1]++;
}

static int list_by_key(gathering *g)
{
    sqlite3_stmt *statement = mp__sqlite_use(&g->s->read_db, MP__SQL_LIST_BY_KEY);
    char from[sizeof(g->prefix)], to[sizeof(g->prefix)];
    size_t from_size = g->prefix_size, to_size = g->prefix_size;
    mp_str after = g->list->after_address;
    int rc;

    memcpy(from, g->prefix, g->prefix_size);
    memcpy(to, g->prefix, g->prefix_size);
    after_prefix(to, &to_size);
    if (after.size && after.size <= MP__ADDRESS_MAX) {
        /* no byte of a key is below 0x20, so that this is right behind @after */
        memcpy(from, after.data, after.size);
        from[after.size] = 1;
        from_size = after.size + 1;
    }
    if (mp__sqlite_bind_str(statement, 1, mp_str_new(from, from_size)) != SQLITE_OK ||
        mp__sqlite_bind_str(statement, 2, mp_str_new(to, to_size)) != SQLITE_OK ||
        sqlite3_bind_int64(statement, 3, g->s->read_now_ms) != SQLITE_OK)
        return MP_ENOMEM;
    do {
        mp__sqlite_row row;

        rc = mp__sqlite_step(&g->s->read_db, statement);
        if (rc != 1)
            return rc;
        if (g->count == g->list->limit) {
            g->next = 1; /* there is more */
            return 0;
        }
        rc = take_row(g, statement, &row);
    } while (rc == 0);
    return rc;
}

static int list_environments(gathering *g)
{
    sqlite3_stmt *statement = mp__sqlite_use(&g->s->read_db, MP__SQL_ENVIRONMENTS);
    int rc = mp__sqlite_bind_str(statement, 1, g->list->after_address);

    while (rc == 0) {
        mp__record record = {.kind = MP__RECORD_VALUE};

        rc = mp__sqlite_step(&g->s->read_db, statement);
        if (rc != 1)
            return rc;
        if (g->count == g->list->limit) {
            g->next = 1;
            return 0;
        }
        record.address = mp_str_new(sqlite3_column_blob(statement, 0),
                                    (size_t)sqlite3_column_bytes(statement, 0));
        rc = gather(g, &record);
    }
    return rc < 0 ? rc : MP_ENOMEM;
}

static int gather_begin(gathering *g)
{
    mp__list *list = g->list;

    if (list->limit == 0 || list->limit > 10000)
        return MP_EINVAL;
    if (list->environment.size > MP__ENVIRONMENT_MAX ||
        list->environment.size + list->prefix.size + 1 > MP__ADDRESS_MAX)
        return MP_ELIMIT;
    if (list->environment.size) {
        memcpy(g->prefix, list->environment.data, list->environment.size);
        g->prefix[list->environment.size] = '/';
        g->prefix_size = list->environment.size + 1;
        if (list->prefix.size)
            memcpy(g->prefix + g->prefix_size, list->prefix.data, list->prefix.size);
        g->prefix_size += list->prefix.size;
    }
    g->records = mp__calloc(list->limit, sizeof(*g->records));
    return g->records ? 0 : MP_ENOMEM;
}

void mp__sqlite_run_list(mp__task *task)
{
    mp__list *list = (mp__list *)(void *)((char *)task - offsetof(mp__list, task));
    mp__sqlite *s = of(list->origin);
    gathering g = {.s = s, .list = list};
    int rc = s->read_status;

    if (rc == 0)
        rc = gather_begin(&g);
    if (rc == 0)
        rc = list->environment.size == 0 ? list_environments(&g)
             : list->by_key              ? list_by_key(&g)
                                         : list_by_id(&g);
    if (s->read_status == 0) {
        (void)sqlite3_reset(s->read_db.statements[MP__SQL_LIST_BY_ID]);
        (void)sqlite3_reset(s->read_db.statements[MP__SQL_LIST_BY_KEY]);
        (void)sqlite3_reset(s->read_db.statements[MP__SQL_ENVIRONMENTS]);
        (void)sqlite3_reset(s->read_db.statements[MP__SQL_HISTORY_OF]);
    }
    settle(&g);
    if (rc == 0)
        rc = g.damaged;
    count_status(s, rc);
    list->done(list, rc, g.records, g.count, rc && rc != g.damaged ? 0 : g.next);
    (void)mp__free(g.records);
    (void)mp__free(g.memory);
}

/* ---- history ---- */

typedef struct pages {
    mp__record *records;
    mp_str *actors;
    char *memory;
    size_t count, used, capacity;
} pages;

static int page_text(pages *p, mp_str *text)
{
    gathering g = {.memory = p->memory, .used = p->used, .capacity = p->capacity};
    int rc = make_room(&g, text->size);

    if (rc == 0)
        put(&g, text);
    p->memory = g.memory;
    p->used = g.used;
    p->capacity = g.capacity;
    return rc;
}

static int page_add(pages *p, const mp__sqlite_row *row, bool with_values)
{
    mp__record *mine = &p->records[p->count];
    int rc;

    *mine = row->record;
    mine->modified_ms = row->at_ms;
    p->actors[p->count] = row->actor;
    if (!with_values)
        mine->value = (mp_str){NULL, 0};
    rc = page_text(p, &mine->address);
    if (rc == 0)
        rc = page_text(p, &mine->media_type);
    if (rc == 0)
        rc = page_text(p, &mine->value);
    if (rc == 0)
        rc = page_text(p, &p->actors[p->count]);
    if (rc == 0)
        p->count++;
    return rc;
}

static void pages_settle(pages *p)
{
    for (size_t i = 0; i < p->count; i++) {
        mp_str *texts[] = {&p->records[i].address, &p->records[i].media_type, &p->records[i].value,
                           &p->actors[i]};

        for (size_t k = 0; k < 4; k++)
            texts[k]->data = p->memory ? p->memory + (uintptr_t)texts[k]->data : NULL;
    }
}

static int history_read(mp__sqlite *s, mp__history *history, pages *p)
{
    sqlite3_stmt *statement = mp__sqlite_use(&s->read_db, MP__SQL_HISTORY_OF);
    uint64_t before = history->before ? history->before : INT64_MAX;
    bool damaged = false;
    int rc = 0;

    if (history->limit == 0 || history->limit > 10000)
        return MP_EINVAL;
    p->records = mp__calloc(history->limit, sizeof(*p->records));
    p->actors = mp__calloc(history->limit, sizeof(*p->actors));
    if (!p->records || !p->actors ||
        mp__sqlite_bind_str(statement, 1, history->address) != SQLITE_OK ||
        sqlite3_bind_int64(statement, 2, (int64_t)before) != SQLITE_OK ||
        sqlite3_bind_int64(statement, 3, history->limit) != SQLITE_OK)
        return MP_ENOMEM;
    while (rc == 0 && (rc = mp__sqlite_step(&s->read_db, statement)) == 1) {
        mp__sqlite_row row;

        rc = mp__sqlite_history_read(statement, &row);
        if (rc == 0) {
            rc = page_add(p, &row, history->with_values);
        } else if (rc == MP_ECORRUPT) {
            mp__sqlite_count(&s->corrupt_rows, 1);
            damaged = true;
            rc = 0;
        }
    }
    return rc ? rc : damaged ? MP_ECORRUPT : 0;
}

void mp__sqlite_run_history(mp__task *task)
{
    mp__history *history = (mp__history *)(void *)((char *)task - offsetof(mp__history, task));
    mp__sqlite *s = of(history->origin);
    pages p = {0};
    int rc = s->read_status;

    if (rc == 0) {
        rc = history_read(s, history, &p);
        (void)sqlite3_reset(s->read_db.statements[MP__SQL_HISTORY_OF]);
    }
    pages_settle(&p);
    count_status(s, rc);
    history->done(history, rc, p.records, p.actors, p.count);
    (void)mp__free(p.records);
    (void)mp__free(p.actors);
    (void)mp__free(p.memory);
}

/* ---- count ---- */

void mp__sqlite_run_count(mp__task *task)
{
    mp__count *count = (mp__count *)(void *)((char *)task - offsetof(mp__count, task));
    mp__sqlite *s = of(count->origin);
    int64_t keys = 0;
    int rc = s->read_status;

    if (rc == 0) {
        sqlite3_stmt *statement = mp__sqlite_use(&s->read_db, MP__SQL_COUNT);

        if (mp__sqlite_bind_str(statement, 1, count->environment) != SQLITE_OK)
            rc = MP_ENOMEM;
        if (rc == 0)
            rc = mp__sqlite_number(&s->read_db, MP__SQL_COUNT, &keys);
        if (rc == MP_EABSENT)
            rc = 0; /* an environment that nobody wrote to */
    }
    count_status(s, rc);
    count->done(count, rc, (uint64_t)keys);
}
