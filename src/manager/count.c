/* SPDX-License-Identifier: Apache-2.0 */
/* How many keys a reader of a scope gets: as many as SCAN lists.
 *
 *   pages of the effective list, without values, all of one revision -> as many as there are
 *       |
 *       +- the first page says that nothing is newer than when it was counted last -> the same
 *       |
 *       +- the origin is gone -> what L3 kept, looked through once a layer
 *
 * Where no other layer has keys and none is masked, which is so nearly everywhere, they are as many
 * as the origin's rows of the scope, which it counts faster. That there are no masks is known once
 * both counts were the same, as long as nobody puts one. */
#include <stdlib.h>

#include "manager/internal.h"

enum { PAGE = 10000, PAGE_FIRST = 100 /* where it may be enough */ };

typedef struct counting {
    mp__query *whole;
    mp__query page;
    mp__task task;
    uint64_t revision, keys;
    uint64_t masks; /* when it began, as is: */
    uint32_t generation;
    size_t after_size;
    char after[MP__ADDRESS_MAX];
} counting;

static void finish(counting *c, int status)
{
    mp__query *whole = c->whole;

    whole->count = c->keys;
    (void)mp__free(c);
    mp__query_reply(whole, status);
}

/* ---- what was counted last ---- */

static mp__counted *find(mp__manager *manager, mp_str scope)
{
    for (size_t i = 0; i < MP__COUNTED_MAX; i++) {
        mp__counted *c = &manager->counted[i];

        if (c->revision && mp_str_equal(mp_str_new(c->scope, c->scope_size), scope))
            return c;
    }
    return NULL;
}

/* Whether no layer but the nearest has keys, as far as is known. */
static bool is_alone(mp__manager *manager, mp_str scope)
{
    mp_str layers[MP__LAYERS_MAX];
    size_t count = mp__overlay_scopes(manager, scope, layers);

    for (size_t i = 1; i < count; i++)
        if (!mp__overlay_is_empty(manager, layers[i]))
            return false;
    return true;
}

/* Whether rows are keys, and nothing came since that could make a difference. */
static bool rows_are_keys(const counting *c)
{
    mp__manager *manager = c->whole->manager;
    const mp__counted *known;
    bool plain;

    if (!c->generation || !is_alone(manager, c->whole->environment))
        return false;
    (void)pthread_mutex_lock(&manager->counted_lock);
    known = find(manager, c->whole->environment);
    plain = known && known->is_plain && known->masks == atomic_load(&manager->masks) &&
            known->generation == atomic_load(&manager->generation);
    (void)pthread_mutex_unlock(&manager->counted_lock);
    return plain;
}

static bool is_known(const counting *c)
{
    mp__manager *manager = c->whole->manager;
    bool known;

    (void)pthread_mutex_lock(&manager->counted_lock);
    known = find(manager, c->whole->environment) != NULL;
    (void)pthread_mutex_unlock(&manager->counted_lock);
    return known;
}

static bool recall(counting *c)
{
    mp__manager *manager = c->whole->manager;
    const mp__counted *known;
    bool same;

    (void)pthread_mutex_lock(&manager->counted_lock);
    known = find(manager, c->whole->environment);
    same = known && c->revision && known->revision == c->revision;
    if (same)
        c->keys = known->keys;
    (void)pthread_mutex_unlock(&manager->counted_lock);
    return same;
}

static void remember(const counting *c, bool is_plain)
{
    mp__manager *manager = c->whole->manager;
    mp_str scope = c->whole->environment;
    mp__counted *slot;

    (void)pthread_mutex_lock(&manager->counted_lock);
    slot = find(manager, scope);
    if (!slot)
        slot = &manager->counted[manager->counted_next++ % MP__COUNTED_MAX];
    slot->revision = c->revision;
    slot->keys = c->keys;
    slot->is_plain = is_plain;
    slot->masks = c->masks;
    slot->generation = c->generation;
    slot->scope_size = scope.size;
    memcpy(slot->scope, scope.data, scope.size);
    (void)pthread_mutex_unlock(&manager->counted_lock);
}

/* ---- of what L3 kept ---- */

/* A key of some layer. Two that are not one are taken for one with a chance of n^2 / 2^65. */
typedef struct seen {
    uint64_t hash; /* of its name without the layer */
    uint32_t layer;
    bool masks;
} seen;

typedef struct gathering {
    const mp__manager *manager;
    seen *items;
    size_t count, capacity;
    uint32_t layer;
    int64_t now_ms;
} gathering;

static int gather(void *context, const mp__record *record)
{
    gathering *g = context;
    size_t scope = mp__scope_size(record->address);

    if ((record->expires_ms && record->expires_ms <= g->now_ms) ||
        (g->layer && !mp__overlay_has(g->manager, record->address)))
        return 0;
    if (mp__grow(&g->items, g->count, &g->capacity, sizeof(*g->items)) != 0)
        return MP_ENOMEM;
    g->items[g->count++] = (seen){
        .hash = mp__checksum(0, record->address.data + scope, record->address.size - scope),
        .layer = g->layer,
        .masks = mp_str_equal(record->media_type, MP_STR(MP__MEDIA_MASK)),
    };
    return 0;
}

static int by_key_then_layer(const void *a, const void *b)
{
    const seen *x = a, *y = b;

    if (x->hash != y->hash)
        return x->hash > y->hash ? 1 : -1;
    return (x->layer > y->layer) - (x->layer < y->layer);
}

/* Of each key the nearest layer counts. */
static uint64_t count_seen(const gathering *g)
{
    uint64_t keys = 0;

    if (g->count)
        qsort(g->items, g->count, sizeof(*g->items), by_key_then_layer);
    for (size_t i = 0; i < g->count; i++)
        keys += (i == 0 || g->items[i - 1].hash != g->items[i].hash) && !g->items[i].masks;
    return keys;
}

static void count_kept(mp__task *task)
{
    counting *c = (counting *)((char *)task - offsetof(counting, task));
    mp__manager *manager = c->whole->manager;
    gathering g = {.manager = manager, .now_ms = mp__env_wall_ms(manager->env)};
    mp_str layers[MP__LAYERS_MAX];
    size_t count = mp__overlay_scopes(manager, c->whole->environment, layers);
    char prefix[MP__SCOPE_MAX + 1];
    int rc = 0;

    for (; g.layer < count && rc == 0; g.layer++) {
        mp_str layer = layers[g.layer];

        memcpy(prefix, layer.data, layer.size);
        prefix[layer.size] = '/';
        rc = mp__cache_each_kept(manager->cache, mp_str_new(prefix, layer.size + 1), gather, &g);
    }
    c->keys = count_seen(&g);
    (void)mp__free(g.items);
    c->whole->stale = true;
    finish(c, rc);
}

/* ---- masks ---- */

void mp__count_sees(mp__manager *manager, const mp__change *change)
{
    /* what a rollback brings back is not known yet */
    if (change->op == MP__CHANGE_ROLLBACK ||
        mp_str_equal(change->media_type, MP_STR(MP__MEDIA_MASK)))
        (void)atomic_fetch_add(&manager->masks, 1);
}

void mp__count_saw(mp__manager *manager, const mp__record *after)
{
    if (mp_str_equal(after->media_type, MP_STR(MP__MEDIA_MASK)))
        (void)atomic_fetch_add(&manager->masks, 1);
}

/* ---- of the origin ---- */

static void ask(counting *c, uint32_t limit);

/* The origin's rows of the scope. */
static void ask_rows(counting *c, void (*done)(mp__query *query))
{
    const mp__query *whole = c->whole;

    c->page = (mp__query){.kind = MP__QUERY_COUNT,
                          .loop = whole->loop,
                          .identity = whole->identity,
                          .environment = whole->environment,
                          .done = done,
                          .context = c};
    mp__query_begin(whole->manager, &c->page);
}

/* They were keys when they were asked for: still? */
static void rows_came(mp__query *page)
{
    counting *c = page->context;
    bool good = page->status == 0 && !page->stale && rows_are_keys(c);

    c->keys = page->count;
    mp__query_done(page);
    if (good) {
        finish(c, 0);
        return;
    }
    c->keys = 0;
    ask(c, PAGE_FIRST);
}

/* The walk has counted the keys: are there as many rows? */
static void compare_rows(mp__query *page)
{
    counting *c = page->context;
    mp__manager *manager = c->whole->manager;
    bool same = page->status == 0 && !page->stale && page->count == c->keys &&
                c->masks == atomic_load(&manager->masks);

    mp__query_done(page);
    remember(c, same);
    finish(c, 0);
}

static void page_came(mp__query *page)
{
    counting *c = page->context;
    mp__manager *manager = c->whole->manager;
    bool more = page->next && page->count;

    if (page->stale || (page->status && page->status != MP_EDENIED && page->status != MP_ENOMEM)) {
        mp__query_done(page);
        c->task.run = count_kept;
        mp__worker_post(manager->slow, &c->task);
        return;
    }
    if (page->status) {
        finish(c, page->status);
        return;
    }
    if (!c->revision)
        c->revision = page->as_of;
    c->keys += page->count;
    if (more) {
        mp_str last = page->items[page->count - 1].address;

        memcpy(c->after, last.data, last.size);
        c->after_size = last.size;
    }
    mp__query_done(page);
    if (more && !recall(c)) {
        ask(c, PAGE);
        return;
    }
    if (more || !c->after_size || !c->revision) /* as it was, or a single page */
        finish(c, 0);
    else if (c->generation && is_alone(manager, c->whole->environment))
        ask_rows(c, compare_rows);
    else {
        remember(c, false);
        finish(c, 0);
    }
}

static void ask(counting *c, uint32_t limit)
{
    const mp__query *whole = c->whole;

    c->page = (mp__query){
        .kind = MP__QUERY_LIST,
        .loop = whole->loop,
        .identity = whole->identity,
        .environment = whole->environment,
        .prefix = mp_str_new("", 0),
        .after_address = mp_str_new(c->after, c->after_size),
        .at_revision = c->revision,
        .by_key = true,
        .effective = true,
        .limit = limit,
        .done = page_came,
        .context = c,
    };
    mp__query_begin(whole->manager, &c->page);
}

int mp__count_start(mp__query *query)
{
    counting *c = mp__calloc(1, sizeof(*c));

    if (!c)
        return MP_ENOMEM;
    c->whole = query;
    c->masks = atomic_load(&query->manager->masks);
    c->generation = atomic_load(&query->manager->generation);
    if (rows_are_keys(c))
        ask_rows(c, rows_came);
    else
        ask(c, is_known(c) ? PAGE_FIRST : PAGE);
    return 0;
}
