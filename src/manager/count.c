/* SPDX-License-Identifier: Apache-2.0 */
/* How many keys a reader of a scope gets: as many as SCAN lists.
 *
 *   pages of the effective list, without values, all of one revision -> as many as there are
 *       |
 *       +- the first page says that nothing is newer than when it was counted last -> the same
 *       |
 *       +- the origin is gone -> what L3 kept, looked through once a layer
 */
#include <stdlib.h>

#include "manager/internal.h"

enum { PAGE = 10000 };

typedef struct counting {
    mp__query *whole;
    mp__query page;
    mp__task task;
    uint64_t revision, keys;
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

static void remember(const counting *c)
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
    if (g->count == g->capacity) {
        size_t capacity = g->capacity ? g->capacity * 2 : 1024;
        seen *items = mp__realloc_array(g->items, capacity, sizeof(*items));

        if (!items)
            return MP_ENOMEM;
        g->items = items;
        g->capacity = capacity;
    }
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

/* ---- of the origin ---- */

static void ask(counting *c);

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
        ask(c);
        return;
    }
    if (c->after_size && c->revision)
        remember(c);
    finish(c, 0);
}

static void ask(counting *c)
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
        .limit = PAGE,
        .done = page_came,
        .context = c,
    };
    mp__query_start(whole->manager, &c->page);
}

int mp__count_start(mp__query *query)
{
    counting *c = mp__calloc(1, sizeof(*c));

    if (!c)
        return MP_ENOMEM;
    c->whole = query;
    ask(c);
    return 0;
}
