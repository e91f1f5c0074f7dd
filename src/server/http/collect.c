/* SPDX-License-Identifier: Apache-2.0 */
/* Walks over the origin's lists, many reads at once, and work on the threads mp-http. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/bytes.h"
#include "server/http/collect.h"
#include "server/watch.h"

/* ---- walks ---- */

enum {
    PAGE_KEYS = 1000,
    PAGE_VALUES = 256,
    PAGE_BYTES = 1024 * 1024, /* of values, after which a page ends: it is held in memory */
};
#define WAIT_NS UINT64_C(5000000000) /* for room */

typedef struct mp__walk_page { /* what a query gave, kept while its items are looked at */
    struct mp__walk_page *next;
    mp__query query;
} mp__walk_page;

mp__walk *mp__walk_new(mp__exchange *x, mp_str scope, mp_str prefix)
{
    mp__walk *walk = prefix.size <= MP__WALK_NAME_MAX && scope.size <= MP__SCOPE_MAX
                         ? mp__calloc(1, sizeof(*walk))
                         : NULL;

    if (!walk)
        return NULL;
    walk->x = x;
    walk->worker = x->worker;
    memcpy(walk->scope, scope.data, scope.size);
    walk->scope_size = scope.size;
    if (prefix.size)
        memcpy(walk->prefix, prefix.data, prefix.size);
    walk->prefix_size = prefix.size;
    walk->items_max = MP__WALK_ITEMS_MAX;
    walk->bytes_max = MP__WALK_BYTES_MAX;
    return walk;
}

mp__walk *mp__walk_free(mp__walk *walk)
{
    if (!walk)
        return NULL;
    while (walk->pages) {
        mp__walk_page *next = walk->pages->next;

        mp__query_done(&walk->pages->query);
        (void)mp__free(walk->pages);
        walk->pages = next;
    }
    (void)mp__free(walk->items);
    if (walk->is_under_way) {
        walk->worker->walks.under_way--;
        mp__http_walks_go_on(walk->worker);
    }
    return mp__free(walk);
}

const mp__list_item *mp__walk_only(const mp__walk *walk)
{
    mp_str name = mp_str_new(walk->prefix, walk->prefix_size);

    /* of all that begin so it is the first */
    return walk->count && mp_str_equal(walk->items[0].name, name) ? walk->items[0].item : NULL;
}

bool mp__walk_after(mp__walk *walk, mp_str name, bool group)
{
    size_t size = walk->scope_size + 1 + name.size;

    if (name.size == 0 || name.size > MP__WALK_NAME_MAX)
        return false;
    memcpy(walk->after, walk->scope, walk->scope_size);
    walk->after[walk->scope_size] = '/';
    memcpy(walk->after + walk->scope_size + 1, name.data, name.size);
    if (group) { /* behind all that begin so: no address is longer, or has a greater byte */
        memset(walk->after + size, 0xff, sizeof(walk->after) - size);
        size = sizeof(walk->after);
    }
    walk->after_size = size;
    return true;
}

/* ---- what may be outdated ---- */

typedef struct doubting {
    mp__walk *walk;
    mp_str layer; /* that is asked about */
} doubting;

static int compare_name(const void *name, const void *item)
{
    mp_str a = *(const mp_str *)name, b = ((const mp__walk_item *)item)->name;

    return mp__bytes_order(a, b);
}

static int mark_doubt(void *context, mp_str address)
{
    const doubting *d = context;
    mp__walk *walk = d->walk;
    mp_str name = mp__http_name_of(address);
    mp__walk_item *item =
        bsearch(&name, walk->items, walk->count, sizeof(*walk->items), compare_name);

    if (item && !item->group && (!walk->effective || mp_str_equal(item->item->layer, d->layer)))
        item->in_doubt = walk->in_doubt = true;
    return 0;
}

void mp__walk_doubt(mp__walk *walk)
{
    mp__manager *manager = walk->x->worker->server->manager;
    mp_str layers[MP__LAYERS_MAX] = {mp_str_new(walk->scope, walk->scope_size)};
    size_t count = walk->effective ? mp__watch_layers(manager, layers[0], layers) : 1;
    char prefix[MP__SCOPE_MAX + 1 + MP__WALK_NAME_MAX];

    if (walk->is_past || walk->count == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        doubting d = {walk, layers[i]};
        size_t size = layers[i].size;

        memcpy(prefix, layers[i].data, size);
        prefix[size++] = '/';
        memcpy(prefix + size, walk->prefix, walk->prefix_size);
        mp__manager_doubts(manager, mp_str_new(prefix, size + walk->prefix_size), mark_doubt, &d);
    }
}

const char *mp__walk_reason(const mp__walk *walk)
{
    mp__summary now;

    if (!walk->stale)
        return walk->in_doubt ? mp__reason_name(MP__REASON_ORIGIN_DAMAGED) : NULL;
    mp__manager_summary(walk->x->worker->server->manager, &now);
    return mp__reason_name(now.origin == MP__ORIGIN_LOST ? MP__REASON_ORIGIN_LOST
                           : now.silent                  ? MP__REASON_ORIGIN_SLOW
                                                         : MP__REASON_ORIGIN_DOWN);
}

/* ---- pages ---- */

static void finish(mp__walk *walk, int status)
{
    if (status == 0 && walk->more && walk->whole)
        status = MP_ELIMIT;
    walk->status = status;
    walk->done(walk);
}

/* The group of @name: up to and with the delimiter behind the prefix; data NULL: it has none. */
static mp_str group_of(const mp__walk *walk, mp_str name)
{
    const char *found;

    if (!walk->delimiter.size || name.size < walk->prefix_size)
        return (mp_str){NULL, 0};
    found = memmem(name.data + walk->prefix_size, name.size - walk->prefix_size,
                   walk->delimiter.data, walk->delimiter.size);
    return found ? mp_str_new(name.data, (size_t)(found - name.data) + walk->delimiter.size)
                 : (mp_str){NULL, 0};
}

/* 1: taken or passed over; 0: there is no room; negative: an error. */
static int take(mp__walk *walk, const mp__list_item *item)
{
    mp_str name = mp__http_name_of(item->address), group = group_of(walk, name);
    const mp__walk_item *last = walk->count ? &walk->items[walk->count - 1] : NULL;

    if (group.data && last && last->group && mp_str_equal(last->name, group))
        return 1;
    if (walk->count == walk->items_max || walk->bytes >= walk->bytes_max)
        return 0;
    if (mp__grow(&walk->items, walk->count, &walk->capacity, sizeof(*walk->items)) != 0)
        return MP_ENOMEM;
    walk->items[walk->count++] =
        (mp__walk_item){.item = item, .name = group.data ? group : name, .group = group.data};
    walk->bytes += item->value.size;
    return 1;
}

static void ask(mp__walk *walk);

static void came(mp__query *query)
{
    mp__walk *walk = query->context;
    mp__walk_page *page = query->status ? NULL : mp__calloc(1, sizeof(*page));
    int rc = 1;

    if (!page) {
        mp__query_done(query);
        finish(walk, query->status ? query->status : MP_ENOMEM);
        return;
    }
    page->query = *query;
    page->next = walk->pages;
    walk->pages = page;
    walk->stale |= query->stale;
    if (!walk->at_revision)
        walk->at_revision = query->as_of;
    walk->as_of = walk->stale ? 0 : walk->at_revision;
    for (size_t i = 0; i < query->count && rc == 1; i++)
        rc = take(walk, &page->query.items[i]);
    if (rc == 0)
        walk->more = true;
    if (rc <= 0 || query->next == 0 || query->count == 0) {
        finish(walk, rc < 0 ? rc : 0);
        return;
    }
    query->limit = walk->with_values ? PAGE_VALUES : PAGE_KEYS;
    (void)mp__walk_after(walk, walk->items[walk->count - 1].name,
                         walk->items[walk->count - 1].group);
    ask(walk);
}

static void ask(mp__walk *walk)
{
    mp__query *q = &walk->query;
    uint32_t limit = q->limit;

    *q = (mp__query){
        .kind = MP__QUERY_LIST,
        .loop = walk->x->worker->loop,
        .identity = &walk->x->identity,
        .environment = mp_str_new(walk->scope, walk->scope_size),
        .prefix = mp_str_new(walk->prefix, walk->prefix_size),
        .after_address = mp_str_new(walk->after, walk->after_size),
        .at_revision = walk->at_revision,
        .by_key = true,
        .with_values = walk->with_values,
        .effective = walk->effective,
        .limit = limit,
        .bytes_max = walk->with_values ? PAGE_BYTES : 0,
        .gone = &walk->x->gone,
        .done = came,
        .context = walk,
    };
    mp__query_start(walk->x->worker->server->manager, q);
}

static void begin(mp__walk *walk)
{
    size_t page = walk->with_values ? PAGE_VALUES : PAGE_KEYS;

    /* one more than is wanted tells whether there is more */
    walk->query.limit = (uint32_t)(walk->items_max < page ? walk->items_max + 1 : page);
    ask(walk);
}

void mp__http_walks_go_on(mp__worker_loop *worker)
{
    mp__walk_line *line = &worker->walks;

    while (line->first && line->under_way < MP__WALKS_AT_ONCE && mp__worker_has_room(worker)) {
        mp__walk *walk = line->first, *beside = walk->beside;

        line->first = walk->next;
        line->under_way += beside ? 2 : 1;
        walk->is_under_way = true;
        if (beside)
            beside->is_under_way = true;
        begin(walk);
        if (beside)
            begin(beside);
    }
}

/* Those who have stood in the line for too long, and find no room, are told. */
static void give_up(mp__worker_loop *worker)
{
    mp__walk_line *line = &worker->walks;

    while (line->first && worker->tick_ns - line->first->since_ns > WAIT_NS &&
           !mp__worker_has_room(worker)) {
        mp__walk *walk = line->first, *beside = walk->beside;

        line->first = walk->next;
        if (beside)
            finish(beside, MP_EAGAIN);
        finish(walk, MP_EAGAIN);
    }
}

void mp__http_walks_scan(mp__worker_loop *worker)
{
    mp__http_walks_go_on(worker);
    give_up(worker);
}

void mp__walk_start_both(mp__walk *a, mp__walk *b)
{
    mp__walk_line *line = &a->worker->walks;

    a->beside = b;
    a->since_ns = a->worker->tick_ns;
    if (line->first)
        line->last->next = a;
    else
        line->first = a;
    line->last = a;
    mp__http_walks_go_on(a->worker);
}

void mp__walk_start(mp__walk *walk)
{
    if (walk->items_max == 1 || !walk->with_values)
        begin(walk); /* it is small */
    else
        mp__walk_start_both(walk, NULL);
}

void mp__http_answer_not_yet(mp__exchange *x)
{
    char detail[96];
    mp__summary now;

    mp__manager_summary(x->worker->server->manager, &now);
    (void)snprintf(detail, sizeof(detail), "that revision is not there yet: the newest is %" PRIu64,
                   now.revision);
    mp__answer_problem(x, &(mp__problem){.status = 400,
                                         .type = "invalid",
                                         .detail = detail,
                                         .remedy = "name a revision that an answer has told, or "
                                                   "leave it out for what is there now",
                                         .last_known_revision = now.revision});
}

void mp__http_answer_no_room(mp__exchange *x)
{
    mp__answer_problem(x, &(mp__problem){.status = 503,
                                         .type = "busy",
                                         .detail = "too many large answers wait for their clients "
                                                   "to take them",
                                         .remedy = "ask again in a second, or for less",
                                         .retry_after_ms = 1000});
}

void mp__http_answer_walk_error(mp__exchange *x, const mp__walk *walk)
{
    if (walk->status == MP_ELIMIT)
        mp__answer_problem(x, &(mp__problem){.status = 413,
                                             .type = "limit",
                                             .detail = "there are more keys or bytes here than one "
                                                       "answer may hold",
                                             .remedy = "narrow it with prefix, or read the list "
                                                       "page by page"});
    else if (walk->status == MP_EINVAL)
        mp__http_answer_not_yet(x);
    else if (walk->status == MP_EAGAIN)
        mp__http_answer_no_room(x);
    else
        mp__answer_error(x, walk->status, NULL);
}

/* ---- many reads ---- */

mp__gather *mp__gather_new(mp__exchange *x, size_t count)
{
    mp__gather *gather = mp__exchange_memory(x, sizeof(*gather));

    if (!gather)
        return NULL;
    gather->x = x;
    gather->count = count;
    gather->reads = mp__exchange_memory(x, (count ? count : 1) * sizeof(*gather->reads));
    if (!gather->reads)
        return NULL;
    for (size_t i = 0; i < count; i++)
        gather->reads[i].age_max_ms = -1;
    return gather;
}

static void go_on_reading(mp__gather *gather);

static void note_bytes(mp__gather *gather, const mp__read *read)
{
    if (read->entry)
        gather->bytes += mp_blob_str(&read->entry->blob.pub).size;
}

static void read_done(mp__read *read)
{
    mp__gather *gather = read->context;

    gather->waiting--;
    note_bytes(gather, read);
    go_on_reading(gather);
}

/* Start the next reads, as many as may be under way. */
static void go_on_reading(mp__gather *gather)
{
    mp__worker_loop *worker = gather->x->worker;

    while (gather->started < gather->count && gather->waiting < MP__READS_AT_ONCE) {
        mp__read *read = &gather->reads[gather->started++];

        if (gather->x->gone || (gather->bytes_max && gather->bytes > gather->bytes_max)) {
            read->status = MP_ECANCELED;
            continue;
        }
        read->loop = worker->loop;
        read->identity = &gather->x->identity;
        read->hash = mp__cache_hash(worker->hasher, read->address);
        read->done = read_done;
        read->context = gather;
        if (mp__read_start(worker->server->manager, read))
            note_bytes(gather, read);
        else
            gather->waiting++;
    }
    if (gather->waiting == 0)
        gather->done(gather);
}

void mp__gather_start(mp__gather *gather)
{
    gather->started = gather->waiting = gather->bytes = 0;
    go_on_reading(gather);
}

void mp__gather_release(mp__gather *gather)
{
    for (size_t i = 0; i < gather->count; i++)
        gather->reads[i].entry = mp__entry_unref(gather->reads[i].entry);
}

/* ---- jobs ---- */

enum {
    JOB_HERE = 32 * 1024 /* bytes that are worked on in the loop: a fraction of a millisecond */
};

static void job_done(mp__task *task)
{
    mp__job *job = (mp__job *)((char *)task - offsetof(mp__job, task));

    job->done(job);
}

static void job_run(mp__task *task)
{
    mp__job *job = (mp__job *)((char *)task - offsetof(mp__job, task));
    mp__loop *loop = job->x->worker->loop;

    if (!job->prints || !atomic_load_explicit(&job->x->is_gone, memory_order_relaxed))
        job->run(job);
    job->task.run = job_done;
    mp__loop_post(loop, &job->task);
}

void mp__job_start(mp__job *job, size_t size)
{
    mp__server *server = job->x->worker->server;

    if (size <= JOB_HERE) {
        job->run(job);
        job->done(job);
        return;
    }
    job->task.run = job_run;
    mp__worker_post(size <= MP__JOB_BRIEF ? server->http_brief : server->http_worker, &job->task);
}
