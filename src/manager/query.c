/* SPDX-License-Identifier: Apache-2.0 */
/* Lists, history, changes and counts: asked of the origin (asked.c); lists and counts, when it is
 * gone or silent, of what L3 kept, marked stale. History and changes live in the origin only. */
#include <errno.h>
#include <stdlib.h>

#include "manager/internal.h"

enum { UNDER_WAY_MAX = 8 };

typedef struct answer { /* query->memory: the items' bytes, in chunks */
    struct answer *next;
    char bytes[];
} answer;

void mp__query_done(mp__query *query)
{
    answer *a = query->memory;

    while (a) {
        answer *next = a->next;

        (void)mp__free(a);
        a = next;
    }
    (void)mp__free(query->items);
    query->items = NULL;
    query->memory = NULL;
    query->count = 0;
}

/* ---- places ---- */

static void begin_runs(mp__task *task)
{
    mp__query *query = (mp__query *)((char *)task - offsetof(mp__query, reply_task));

    if (query->gone && *query->gone)
        mp__query_reply(query, MP_ECANCELED);
    else
        mp__query_begin(query->manager, query);
}

/* False: it waits in line for a place. */
static bool take_place(mp__manager *manager, mp__query *query)
{
    bool is_free;

    query->manager = manager;
    query->has_place = true;
    query->next_waiting = NULL;
    (void)pthread_mutex_lock(&manager->queries_lock);
    is_free = manager->queries_under_way < UNDER_WAY_MAX;
    if (is_free) {
        manager->queries_under_way++;
    } else {
        *manager->queries_last = query;
        manager->queries_last = &query->next_waiting;
    }
    (void)pthread_mutex_unlock(&manager->queries_lock);
    return is_free;
}

/* Give the place to the next, on its own loop. */
static void leave_place(mp__query *query)
{
    mp__manager *manager = query->manager;
    mp__query *next;

    query->has_place = false;
    (void)pthread_mutex_lock(&manager->queries_lock);
    next = manager->queries_first;
    if (!next) {
        manager->queries_under_way--;
    } else {
        manager->queries_first = next->next_waiting;
        if (!manager->queries_first)
            manager->queries_last = &manager->queries_first;
    }
    (void)pthread_mutex_unlock(&manager->queries_lock);
    if (!next)
        return;
    next->reply_task.run = begin_runs;
    mp__loop_post(next->loop, &next->reply_task);
}

void mp__query_start(mp__manager *manager, mp__query *query)
{
    if (query->kept || query->is_patient || take_place(manager, query))
        mp__query_begin(manager, query);
}

static void run_done(mp__task *task)
{
    mp__query *query = (mp__query *)((char *)task - offsetof(mp__query, reply_task));

    if (query->has_place)
        leave_place(query);
    query->done(query);
}

void mp__query_reply(mp__query *query, int status)
{
    if (status)
        mp__query_done(query);
    query->status = status;
    query->reply_task.run = run_done;
    mp__loop_post(query->loop, &query->reply_task);
}

static char *put_bytes(char *to, mp_str from, mp_str *ret_at)
{
    if (from.size)
        memcpy(to, from.data, from.size);
    *ret_at = mp_str_new(to, from.size);
    return to + from.size;
}

int mp__query_add(mp__query *query, size_t *capacity, const mp__record *record, mp_str actor)
{
    mp_str value = query->with_values ? record->value : mp_str_new("", 0);
    answer *a = mp__malloc(sizeof(*a) + record->address.size + value.size +
                           record->media_type.size + actor.size);
    mp__list_item item = {.revision = record->revision,
                          .modified_ms = record->modified_ms,
                          .expires_ms = record->expires_ms,
                          .version = record->version,
                          .deleted = record->kind == MP__RECORD_ABSENT};
    char *p;

    if (!a)
        return MP_ENOMEM;
    a->next = query->memory;
    query->memory = a;
    if (query->count == *capacity) {
        mp__list_item *items;

        *capacity = *capacity ? *capacity * 2 : 64;
        items = mp__realloc_array(query->items, *capacity, sizeof(*items));
        if (!items)
            return MP_ENOMEM;
        query->items = items;
    }
    p = put_bytes(a->bytes, record->address, &item.address);
    p = put_bytes(p, value, &item.value);
    p = put_bytes(p, record->media_type, &item.media_type);
    (void)put_bytes(p, actor, &item.actor);
    query->items[query->count++] = item;
    return 0;
}

int mp__query_add_resolved(mp__query *query, size_t *capacity, const mp__list_item *item,
                           mp_str layer)
{
    size_t scope = mp__scope_size(item->address);
    mp_str rest = mp_str_new(item->address.data + scope, item->address.size - scope);
    char address[MP__ADDRESS_MAX];
    mp__record record = {.address = mp_str_new(address, query->environment.size + rest.size),
                         .value = item->value,
                         .media_type = item->media_type,
                         .kind = MP__RECORD_VALUE,
                         .revision = item->revision,
                         .version = item->version,
                         .modified_ms = item->modified_ms,
                         .expires_ms = item->expires_ms};
    int rc;

    if (record.address.size > sizeof(address))
        return MP_ELIMIT;
    memcpy(address, query->environment.data, query->environment.size);
    memcpy(address + query->environment.size, rest.data, rest.size);
    rc = mp__query_add(query, capacity, &record, layer);
    if (rc == 0) {
        mp__list_item *added = &query->items[query->count - 1];

        added->layer = added->actor;
        added->actor = mp_str_new("", 0);
    }
    return rc;
}

/* ---- of what L3 kept ---- */

/* The place of an address in the order of hashes: a cursor that needs no memory between two calls.
 * Small enough that an effective list can put the layer behind it. */
static uint64_t cursor_of(mp_str address)
{
    return mp__checksum(0, address.data, address.size) >> 4 | 1;
}

/* A list holds a few pages of what is kept, not all of it: when so much has gathered that there
 * must be more than a page, it is cut to one, and what is behind that is not taken any more. */
typedef struct gathering {
    mp__query *query;
    size_t capacity;
    int64_t now_ms;
    size_t bytes;                /* of the items */
    size_t bytes_cut, count_cut; /* of those that were left when it was last cut */
    bool is_cut;                 /* there is more behind the last one of those */
} gathering;

static int compare_addresses(const void *a, const void *b)
{
    mp_str x = ((const mp__list_item *)a)->address, y = ((const mp__list_item *)b)->address;
    int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);

    return order ? order : (x.size > y.size) - (x.size < y.size);
}

static int compare_cursors(const void *a, const void *b)
{
    uint64_t x = cursor_of(((const mp__list_item *)a)->address);
    uint64_t y = cursor_of(((const mp__list_item *)b)->address);

    return (x > y) - (x < y);
}

static int (*order_of(const mp__query *query))(const void *a, const void *b)
{
    return query->by_key ? compare_addresses : compare_cursors;
}

static size_t bytes_of(const mp__list_item *item)
{
    return item->address.size + item->value.size + item->media_type.size;
}

static answer *memory_of(const mp__list_item *item)
{
    return (answer *)(uintptr_t)(item->address.data - offsetof(answer, bytes));
}

/* Sort what was gathered and cut it to the page that was asked for. */
static void cut_page(gathering *g)
{
    mp__query *query = g->query;
    size_t n = 0;

    if (query->count)
        qsort(query->items, query->count, sizeof(*query->items), order_of(query));
    query->memory = NULL;
    g->bytes = 0;
    for (size_t i = 0; i < query->count; i++) {
        answer *a = memory_of(&query->items[i]); /* each has its own */

        if (i == n && n < query->limit &&
            !(n && query->bytes_max && g->bytes >= query->bytes_max)) {
            g->bytes += bytes_of(&query->items[n++]);
            a->next = query->memory;
            query->memory = a;
        } else {
            (void)mp__free(a);
        }
    }
    g->is_cut |= n < query->count;
    g->bytes_cut = g->bytes;
    query->count = g->count_cut = n;
}

static bool is_enough(const gathering *g)
{
    const mp__query *query = g->query;

    return query->count >= 2 * (size_t)query->limit ||
           (query->bytes_max && g->bytes >= 2 * (g->bytes_cut + query->bytes_max));
}

static int gather(void *context, const mp__record *record)
{
    gathering *g = context;
    mp__query *query = g->query;
    mp__list_item item = {.address = record->address}, after = {.address = query->after_address};
    int rc;

    if (record->expires_ms && record->expires_ms <= g->now_ms)
        return 0;
    if (query->kind == MP__QUERY_COUNT) {
        query->count++;
        return 0;
    }
    if (query->by_key ? after.address.size && compare_addresses(&item, &after) <= 0
                      : cursor_of(record->address) <= query->after)
        return 0;
    if (g->is_cut && order_of(query)(&item, &query->items[g->count_cut - 1]) > 0)
        return 0;
    rc = mp__query_add(query, &g->capacity, record, mp_str_new("", 0));
    if (rc)
        return rc;
    g->bytes += bytes_of(&query->items[query->count - 1]);
    if (is_enough(g))
        cut_page(g);
    return 0;
}

static void end_page(gathering *g)
{
    mp__query *query = g->query;

    cut_page(g);
    query->next = 0;
    if (g->is_cut)
        query->next = query->by_key ? 1 : cursor_of(query->items[query->count - 1].address);
}

static void list_kept(mp__task *task)
{
    mp__query *query = (mp__query *)((char *)task - offsetof(mp__query, task));
    mp__manager *manager = query->manager;
    gathering g = {.query = query, .now_ms = mp__env_wall_ms(manager->env)};
    char prefix[MP__ADDRESS_MAX + 2];
    size_t size = query->environment.size + 1 + query->prefix.size;
    int rc = size <= sizeof(prefix) ? 0 : MP_ELIMIT;

    if (rc == 0) {
        memcpy(prefix, query->environment.data, query->environment.size);
        prefix[query->environment.size] = '/';
        if (query->prefix.size)
            memcpy(prefix + query->environment.size + 1, query->prefix.data, query->prefix.size);
        rc = mp__cache_each_kept(manager->cache, mp_str_new(prefix, size), gather, &g);
    }
    if (rc == 0 && query->kind == MP__QUERY_LIST)
        end_page(&g);
    query->stale = true;
    query->as_of = 0;
    mp__query_reply(query, rc);
}

static void start_kept(mp__query *query)
{
    query->task.run = list_kept;
    mp__worker_post(query->manager->slow, &query->task);
}

void mp__query_fall_back(mp__query *query, int status)
{
    bool gone = status == MP_EORIGIN || status == MP_EORIGINLOST || status == MP_ECORRUPT ||
                status == MP_ETIMEOUT || status == -EIO;

    mp__query_done(query);
    if (!gone || query->at_revision ||
        (query->kind != MP__QUERY_LIST && query->kind != MP__QUERY_COUNT)) {
        mp__query_reply(query, status);
        return;
    }
    start_kept(query);
}

static int may_ask(const mp__manager *manager, const mp__query *query)
{
    mp_str about = query->kind == MP__QUERY_HISTORY ? query->address : query->prefix;
    int rc = 0;

    if (query->kind != MP__QUERY_CHANGED)
        return mp__access_check(manager->access, query->identity, MP__RIGHT_LIST, about, NULL);
    for (size_t i = 0; i < query->prefix_count && rc == 0; i++)
        rc = mp__access_check(manager->access, query->identity, MP__RIGHT_LIST, query->prefixes[i],
                              NULL);
    return rc;
}

void mp__query_begin(mp__manager *manager, mp__query *query)
{
    int rc = may_ask(manager, query);

    query->manager = manager;
    query->items = NULL;
    query->memory = NULL;
    query->count = 0;
    query->next = 0;
    query->as_of = 0;
    query->stale = query->damaged = false;
    if (rc) {
        mp__query_reply(query, rc);
        return;
    }
    query->limit = query->limit < 1 ? 1 : query->limit > 10000 ? 10000 : query->limit;
    if (query->kind == MP__QUERY_LIST && query->effective) {
        rc = mp__effective_start(query);
        if (rc)
            mp__query_reply(query, rc);
    } else if (query->kind == MP__QUERY_COUNT && query->effective) {
        rc = mp__count_start(query);
        if (rc)
            mp__query_reply(query, rc);
    } else if (query->kind == MP__QUERY_LIST && query->kept) {
        start_kept(query);
    } else {
        mp__ask(query);
    }
}
