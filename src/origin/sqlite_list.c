/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, history, changes and counts, on the reader's thread. Their rows are copied while the
 * statements run, since a statement's memory moves with every step. */
#include "origin/sqlite.h"

#include <assert.h>

#include "core/address.h"

enum {
    ANSWER_MAX = 10000, /* records in one answer */
    /* Rows that one list by cursor looks at before it answers with what it has and where to go on,
     * and one of a revision before others have their turn: what matches little may not hold up the
     * fetches behind it. */
    SCAN_MAX = 20000,
};

/* ---- copies of rows ---- */

typedef struct copies {
    mp__record *records;
    mp_str *actors;                 /* history */
    size_t count, room, actor_room; /* in both: as many as there are, not as may be */
    char *memory; /* what their texts point into; it moves as it grows, so they are offsets until */
    size_t used, capacity; /* settle() */
    bool with_values, with_actors;
} copies;

static int copies_begin(copies *c, uint32_t limit, bool with_values, bool with_actors)
{
    if (limit == 0 || limit > ANSWER_MAX)
        return MP_EINVAL;
    c->with_values = with_values;
    c->with_actors = with_actors;
    return 0;
}

static void copies_done(copies *c)
{
    (void)mp__free(c->records);
    (void)mp__free(c->actors);
    (void)mp__free(c->memory);
}

static int make_room(copies *c, size_t size)
{
    size_t need, capacity = c->capacity ? c->capacity : 4096;
    char *bigger;

    if (__builtin_add_overflow(c->used, size, &need))
        return MP_ENOMEM;
    while (capacity < need)
        if (__builtin_mul_overflow(capacity, 2, &capacity))
            return MP_ENOMEM;
    if (capacity == c->capacity)
        return 0;
    bigger = mp__realloc(c->memory, capacity);
    if (!bigger)
        return MP_ENOMEM;
    c->memory = bigger;
    c->capacity = capacity;
    return 0;
}

static void put(copies *c, mp_str *text)
{
    size_t offset = c->used;

    assert(c->capacity >= offset + text->size);
    if (text->size && c->memory)
        memcpy(c->memory + offset, text->data, text->size);
    c->used += text->size;
    text->data = (const char *)(uintptr_t)offset;
}

static int copy_row(copies *c, const mp__sqlite_row *row)
{
    mp_str actor = c->with_actors ? row->actor : (mp_str){NULL, 0};
    mp__record *mine;
    int rc = mp__grow(&c->records, c->count, &c->room, sizeof(*c->records));

    if (rc == 0 && c->with_actors)
        rc = mp__grow(&c->actors, c->count, &c->actor_room, sizeof(*c->actors));
    if (rc)
        return rc;
    mine = &c->records[c->count];
    *mine = row->record;
    if (!c->with_values)
        mine->value = (mp_str){NULL, 0};
    rc = make_room(c, mine->address.size + mine->media_type.size + mine->value.size + actor.size);
    if (rc)
        return rc;
    put(c, &mine->address);
    put(c, &mine->media_type);
    put(c, &mine->value);
    put(c, &actor);
    if (c->actors)
        c->actors[c->count] = actor;
    c->count++;
    return 0;
}

static void settle_text(const copies *c, mp_str *text)
{
    text->data = c->memory ? c->memory + (uintptr_t)text->data : NULL;
}

static void settle(copies *c)
{
    for (size_t i = 0; i < c->count; i++) {
        settle_text(c, &c->records[i].address);
        settle_text(c, &c->records[i].media_type);
        settle_text(c, &c->records[i].value);
        if (c->actors)
            settle_text(c, &c->actors[i]);
    }
}

/* ---- list ---- */

typedef struct listing {
    mp__sqlite *s;
    mp__sqlite_db *db;
    mp__list *list;
    copies rows;
    char prefix[MP__ADDRESS_MAX + 2]; /* "environment/prefix" */
    size_t prefix_size;
    uint64_t next;
    bool damaged; /* a row was left out */
    /* of a revision: where it stands, the newest revision of that address up to the one that was
     * asked for, 0: none so far; and that it has had its turn, and is not at its end */
    char at[MP__ADDRESS_MAX + 2];
    size_t at_size;
    int64_t at_row, best;
    bool is_cut;
} listing;

/* A row of the list: whole, salvaged from history, or left out with the list marked incomplete. */
static int take_row(listing *l, sqlite3_stmt *statement)
{
    mp__sqlite_row row;
    int rc = mp__sqlite_entry_read(statement, &row);

    if (rc == MP_ECORRUPT)
        rc = mp__sqlite_salvage_row(l->s, l->db, row.record.address, &row);
    if (rc == MP_ECORRUPT) {
        l->damaged = true;
        return 0;
    }
    if (rc || row.record.kind == MP__RECORD_ABSENT ||
        mp__sqlite_is_expired(&row.record, l->s->read_now_ms))
        return rc;
    row.record.fetched_ms = row.record.verified_ms = l->s->read_now_ms;
    return copy_row(&l->rows, &row);
}

static bool is_within(const listing *l, sqlite3_stmt *statement)
{
    size_t size = (size_t)sqlite3_column_bytes(statement, 1);

    return size >= l->prefix_size &&
           memcmp(sqlite3_column_blob(statement, 1), l->prefix, l->prefix_size) == 0;
}

static int list_by_id(listing *l)
{
    sqlite3_stmt *statement = mp__sqlite_use(l->db, MP__SQL_LIST_BY_ID);
    int rc = 0;

    if (sqlite3_bind_int64(statement, 1, (int64_t)l->list->after) != SQLITE_OK)
        return MP_ENOMEM;
    for (int seen = 0; rc == 0; seen++) {
        if (l->rows.count == l->list->limit || seen == SCAN_MAX)
            return 0; /* next stands on the last row that was looked at */
        rc = mp__sqlite_step(l->db, statement);
        if (rc != 1)
            break;
        l->next = (uint64_t)sqlite3_column_int64(statement, 0);
        rc = is_within(l, statement) ? take_row(l, statement) : 0;
    }
    if (rc == 0)
        l->next = 0;
    return rc;
}

static bool is_full(const listing *l)
{
    return l->rows.count == l->list->limit ||
           (l->list->bytes_max && l->rows.count && l->rows.used >= l->list->bytes_max);
}

/* Steps @statement, whose first row is the first of the list, to the list's limit. */
static int take_all(listing *l, sqlite3_stmt *statement,
                    int (*take)(listing *l, sqlite3_stmt *statement))
{
    int rc = 0;

    while (rc == 0) {
        rc = mp__sqlite_step(l->db, statement);
        if (rc != 1)
            return rc;
        if (is_full(l)) {
            l->next = 1; /* there is more */
            return 0;
        }
        rc = take(l, statement);
    }
    return rc;
}

/* The smallest text above all that begin with @prefix. */
static size_t after_prefix(char *prefix, size_t size)
{
    while (size && (unsigned char)prefix[size - 1] == 0xff)
        size--;
    if (size)
        prefix[size - 1]++;
    return size;
}

/* A row of history, which is how it was at the revision that was asked for. */
static int take_past(listing *l, sqlite3_stmt *statement)
{
    mp__sqlite_row row;
    int rc = mp__sqlite_history_read(statement, &row);

    if (rc == MP_ECORRUPT) {
        mp__sqlite_count(&l->s->corrupt_rows, 1);
        l->damaged = true;
        return 0;
    }
    if (rc || row.record.kind == MP__RECORD_ABSENT ||
        mp__sqlite_is_expired(&row.record, l->s->read_now_ms))
        return rc;
    row.record.fetched_ms = row.record.verified_ms = l->s->read_now_ms;
    return copy_row(&l->rows, &row);
}

/* The address where the list stands is over: what it was, unless it was not there yet. */
static int take_best(listing *l)
{
    sqlite3_stmt *statement = mp__sqlite_use(l->db, MP__SQL_HISTORY_AT);
    int rc;

    if (is_full(l)) {
        l->next = 1;
        return 0;
    }
    if (sqlite3_bind_int64(statement, 1, l->best) != SQLITE_OK)
        return MP_ENOMEM;
    l->best = 0;
    rc = mp__sqlite_step(l->db, statement);
    if (rc == 1)
        rc = take_past(l, statement);
    else if (rc == 0)
        l->damaged = true; /* its index says that it is there */
    (void)sqlite3_reset(statement);
    return rc;
}

static int stand_at(listing *l, mp_str address, int64_t row)
{
    if (address.size >= sizeof(l->at))
        return MP_ECORRUPT;
    if (address.size)
        memcpy(l->at, address.data, address.size);
    l->at_size = address.size;
    l->at_row = row;
    return 0;
}

/* A turn of a list of a revision; from where it stands. What it was cannot change meanwhile. */
static int list_past(listing *l)
{
    sqlite3_stmt *statement = mp__sqlite_use(l->db, MP__SQL_LIST_AT);
    char from[sizeof(l->at)], to[sizeof(l->prefix)]; /* the statement's as long as it steps */
    size_t to_size = after_prefix(memcpy(to, l->prefix, l->prefix_size), l->prefix_size);
    mp_str begin = mp_str_new(memcpy(from, l->at, l->at_size), l->at_size);
    int rc = 1;

    if (l->list->at_revision > l->s->read_revision)
        return MP_EINVAL;
    if (mp__sqlite_bind_str(statement, 1, begin) != SQLITE_OK ||
        sqlite3_bind_int64(statement, 2, l->at_row) != SQLITE_OK ||
        mp__sqlite_bind_str(statement, 3, mp_str_new(to, to_size)) != SQLITE_OK)
        return MP_ENOMEM;
    for (int seen = 0; rc == 1; seen++) {
        mp_str address;
        int64_t row;

        l->is_cut = seen == SCAN_MAX;
        if (l->is_cut)
            return 0;
        rc = mp__sqlite_step(l->db, statement);
        if (rc < 0)
            return rc;
        address = mp_str_new(sqlite3_column_blob(statement, 0),
                             (size_t)sqlite3_column_bytes(statement, 0));
        row = sqlite3_column_int64(statement, 1);
        if (l->best && (rc == 0 || !mp_str_equal(address, mp_str_new(l->at, l->at_size)))) {
            int taken = take_best(l);

            if (taken || l->next)
                return taken;
        }
        if (rc == 1 && stand_at(l, address, row) != 0)
            return MP_ECORRUPT;
        if (rc == 1 && row <= (int64_t)l->list->at_revision)
            l->best = row;
    }
    return rc;
}

static int list_by_key(listing *l)
{
    bool past = l->list->at_revision && l->list->at_revision != l->s->read_revision;
    sqlite3_stmt *statement;
    char from[sizeof(l->prefix)], to[sizeof(l->prefix)];
    size_t from_size = l->prefix_size, to_size;
    mp_str after = l->list->after_address;

    memcpy(from, l->prefix, l->prefix_size);
    memcpy(to, l->prefix, l->prefix_size);
    to_size = after_prefix(to, l->prefix_size);
    if (after.size >= l->prefix_size && after.size <= MP__ADDRESS_MAX &&
        memcmp(after.data, l->prefix, l->prefix_size) == 0) {
        /* no byte of a key is below 0x20, so that this is right behind @after */
        memcpy(from, after.data, after.size);
        from[after.size] = 1;
        from_size = after.size + 1;
    }
    if (past) {
        int rc = stand_at(l, mp_str_new(from, from_size), INT64_MIN);

        return rc ? rc : list_past(l);
    }
    statement = mp__sqlite_use(l->db, MP__SQL_LIST_BY_KEY);
    if (mp__sqlite_bind_str(statement, 1, mp_str_new(from, from_size)) != SQLITE_OK ||
        mp__sqlite_bind_str(statement, 2, mp_str_new(to, to_size)) != SQLITE_OK ||
        sqlite3_bind_int64(statement, 3, l->s->read_now_ms) != SQLITE_OK)
        return MP_ENOMEM;
    return take_all(l, statement, take_row);
}

static int take_environment(listing *l, sqlite3_stmt *statement)
{
    mp__sqlite_row row = {.record = {.kind = MP__RECORD_VALUE}};

    row.record.address =
        mp_str_new(sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));
    return copy_row(&l->rows, &row);
}

static int list_environments(listing *l)
{
    sqlite3_stmt *statement = mp__sqlite_use(l->db, MP__SQL_ENVIRONMENTS);

    if (mp__sqlite_bind_str(statement, 1, l->list->after_address) != SQLITE_OK)
        return MP_ENOMEM;
    return take_all(l, statement, take_environment);
}

static int listing_begin(listing *l)
{
    const mp__list *list = l->list;

    if (list->at_revision > l->s->read_revision || (list->at_revision && !list->by_key))
        return MP_EINVAL;
    if (list->environment.size > MP__SCOPE_MAX ||
        list->environment.size + list->prefix.size + 1 > MP__ADDRESS_MAX)
        return MP_ELIMIT;
    if (list->environment.size) {
        memcpy(l->prefix, list->environment.data, list->environment.size);
        l->prefix[list->environment.size] = '/';
        l->prefix_size = list->environment.size + 1;
        if (list->prefix.size)
            memcpy(l->prefix + l->prefix_size, list->prefix.data, list->prefix.size);
        l->prefix_size += list->prefix.size;
    }
    return copies_begin(&l->rows, list->limit, list->with_values, false);
}

static int list_rows(listing *l)
{
    bool goes_on = l->is_cut;
    int rc = goes_on ? 0 : listing_begin(l);

    if (rc)
        return rc;
    if (goes_on)
        rc = list_past(l);
    else if (l->list->environment.size == 0)
        rc = list_environments(l);
    else
        rc = l->list->by_key ? list_by_key(l) : list_by_id(l);
    mp__sqlite_read_done(l->s);
    if (rc)
        l->next = 0; /* nobody can say where it would go on */
    l->is_cut = l->is_cut && rc == 0;
    return rc ? rc : l->damaged && !l->is_cut ? MP_ECORRUPT : 0;
}

/* Puts @l by until the others had their turn. MP_ENOMEM. */
static int put_by(listing *l)
{
    if (!l->list->rest) {
        listing *rest = mp__malloc(sizeof(*rest));

        if (!rest)
            return MP_ENOMEM;
        *rest = *l;
        l->list->rest = rest;
    }
    mp__sqlite_read_again(l->s, &l->list->task);
    return 0;
}

void mp__sqlite_run_list(mp__task *task)
{
    mp__list *list = (mp__list *)(void *)((char *)task - offsetof(mp__list, task));
    mp__sqlite *s = (mp__sqlite *)list->origin;
    listing fresh = {.s = s, .db = &s->read_db, .list = list};
    listing *rest = list->rest, *l = rest ? rest : &fresh;
    int rc = mp__sqlite_read_status(s);

    if (rc == 0)
        rc = list_rows(l);
    if (rc == 0 && l->is_cut) {
        rc = put_by(l);
        if (rc == 0)
            return;
    }
    list->rest = NULL;
    list->as_of = s->read_revision;
    settle(&l->rows);
    mp__sqlite_read_note(s, rc);
    list->done(list, rc, l->rows.records, l->rows.count, l->next);
    copies_done(&l->rows);
    (void)mp__free(rest);
}

/* ---- history ---- */

static int history_rows(mp__sqlite *s, mp__history *history, copies *rows)
{
    sqlite3_stmt *statement = mp__sqlite_use(&s->read_db, MP__SQL_HISTORY_OF);
    uint64_t before = history->before ? history->before : INT64_MAX;
    bool damaged = false;
    int rc = copies_begin(rows, history->limit, history->with_values, true);

    if (rc == 0 && history->at_revision > s->read_revision)
        rc = MP_EINVAL;
    if (history->at_revision)
        before = history->at_revision + 1;
    if (rc == 0 && (mp__sqlite_bind_str(statement, 1, history->address) != SQLITE_OK ||
                    sqlite3_bind_int64(statement, 2, (int64_t)before) != SQLITE_OK ||
                    sqlite3_bind_int64(statement, 3, history->limit) != SQLITE_OK))
        rc = MP_ENOMEM;
    while (rc == 0 && !history->cut && (rc = mp__sqlite_step(&s->read_db, statement)) == 1) {
        mp__sqlite_row row;

        rc = mp__sqlite_history_read(statement, &row);
        row.record.modified_ms = row.at_ms;
        if (rc == 0) {
            rc = copy_row(rows, &row);
            history->cut = history->bytes_max && rows->used >= history->bytes_max;
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
    mp__sqlite *s = (mp__sqlite *)history->origin;
    copies rows = {0};
    int rc = mp__sqlite_read_status(s);

    history->cut = false;
    if (rc == 0) {
        rc = history_rows(s, history, &rows);
        mp__sqlite_read_done(s);
    }
    settle(&rows);
    mp__sqlite_read_note(s, rc);
    history->done(history, rc, rows.records, rows.actors, rows.count);
    copies_done(&rows);
}

/* ---- changes ---- */

static bool is_wanted(const mp__changed *changed, mp_str address)
{
    for (size_t i = 0; i < changed->prefix_count; i++) {
        mp_str prefix = changed->prefixes[i];

        if (address.size >= prefix.size && memcmp(address.data, prefix.data, prefix.size) == 0)
            return true;
    }
    return false;
}

/* A revision of history, which follows the one before it without a gap: else commits were lost and
 * only some of them came back. */
static int take_change(const mp__changed *changed, sqlite3_stmt *statement, uint64_t expected,
                       copies *rows)
{
    mp_str address =
        mp_str_new(sqlite3_column_blob(statement, 1), (size_t)sqlite3_column_bytes(statement, 1));
    mp__sqlite_row row;
    int rc;

    if ((uint64_t)sqlite3_column_int64(statement, 0) != expected)
        return MP_EUNKNOWN;
    if (!is_wanted(changed, address)) /* its sum is not looked at: nobody is told of it */
        return 0;
    rc = mp__sqlite_history_read(statement, &row);
    return rc ? rc : copy_row(rows, &row);
}

static int changed_rows(mp__sqlite *s, const mp__changed *changed, copies *rows,
                        uint64_t *ret_through)
{
    sqlite3_stmt *statement = mp__sqlite_use(&s->read_db, MP__SQL_HISTORY_AFTER);
    uint64_t through = changed->after;
    int rc = changed->after > s->read_revision ? MP_EINVAL : 0;

    if (rc == 0)
        rc = copies_begin(rows, changed->limit, true, false);
    if (rc == 0 && sqlite3_bind_int64(statement, 1, (int64_t)changed->after) != SQLITE_OK)
        rc = MP_ENOMEM;
    for (int seen = 0; rc == 0 && seen < SCAN_MAX && rows->count < changed->limit; seen++) {
        if (changed->bytes_max && rows->used >= changed->bytes_max)
            break;
        rc = mp__sqlite_step(&s->read_db, statement);
        if (rc != 1)
            break;
        rc = take_change(changed, statement, through + 1, rows);
        through += rc == 0;
    }
    if (rc == 0 && through < s->read_revision && !sqlite3_stmt_busy(statement))
        rc = MP_EUNKNOWN; /* the end came before the newest revision */
    *ret_through = through;
    return rc;
}

void mp__sqlite_run_changed(mp__task *task)
{
    mp__changed *changed = (mp__changed *)(void *)((char *)task - offsetof(mp__changed, task));
    mp__sqlite *s = (mp__sqlite *)changed->origin;
    uint64_t through = 0;
    copies rows = {0};
    int rc = mp__sqlite_read_status(s);

    changed->as_of = s->read_revision;
    if (rc == 0) {
        rc = changed_rows(s, changed, &rows, &through);
        mp__sqlite_read_done(s);
    }
    settle(&rows);
    if (rc != MP_EINVAL && rc != MP_EUNKNOWN)
        mp__sqlite_read_note(s, rc);
    changed->done(changed, rc, rows.records, rc ? 0 : rows.count, through);
    copies_done(&rows);
}

/* ---- count ---- */

void mp__sqlite_run_count(mp__task *task)
{
    mp__count *count = (mp__count *)(void *)((char *)task - offsetof(mp__count, task));
    mp__sqlite *s = (mp__sqlite *)count->origin;
    int64_t keys = 0;
    int rc = mp__sqlite_read_status(s);

    if (rc == 0) {
        sqlite3_stmt *statement = mp__sqlite_use(&s->read_db, MP__SQL_COUNT);

        if (mp__sqlite_bind_str(statement, 1, count->environment) != SQLITE_OK)
            rc = MP_ENOMEM;
        if (rc == 0)
            rc = mp__sqlite_number(&s->read_db, MP__SQL_COUNT, &keys);
        if (rc == MP_EABSENT)
            rc = 0; /* an environment that nobody wrote to */
    }
    mp__sqlite_read_note(s, rc);
    count->done(count, rc, (uint64_t)keys);
}
