/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what a reader of a scope gets: the lists of its layers, made one.
 *
 * In the order of keys, pages of all layers are merged as far as each of them reaches; of a key
 * that several have the nearest counts, and a masked one is left out. The layers are asked for the
 * same revision, so that a key that moves between them is seen once.
 *
 * In the order of a cursor (SCAN), which needs no memory between two calls, the layers are walked
 * one after the other, the farthest first, and a key is given where a read of it is answered from
 * the layer at work. The cursor names the layer in its lowest bits. */
#include "manager/internal.h"
#include "core/bytes.h"

enum { CURSOR_LAYERS = 8 }; /* as which the lowest bits of a cursor count */

typedef struct checking {
    mp__read read; /* first */
    struct merging *merging;
    size_t item;
} checking;

typedef struct merging {
    mp__query *whole;
    size_t count; /* layers */
    mp_str layers[MP__LAYERS_MAX];
    mp__query pages[MP__LAYERS_MAX];
    size_t at; /* of the layers: whose page is asked for */
    uint64_t revision;
    size_t capacity; /* of the whole's items */
    /* in the order of a cursor */
    checking *checks;
    char *addresses;
    size_t waiting;
    /* in the order of keys: go on behind this */
    size_t after_size;
    char after[MP__ADDRESS_MAX];
    char after_address[MP__ADDRESS_MAX];
} merging;

static mp_str rest_of(mp_str address)
{
    size_t scope = address.size ? mp__scope_size(address) : 0;

    return scope ? mp_str_new(address.data + scope, address.size - scope) : address;
}

static void pages_done(merging *m)
{
    for (size_t i = 0; i < m->count; i++)
        mp__query_done(&m->pages[i]);
}

static void finish(merging *m, int status)
{
    mp__query *whole = m->whole;

    pages_done(m);
    (void)mp__free(m->checks);
    (void)mp__free(m->addresses);
    (void)mp__free(m);
    mp__query_reply(whole, status);
}

/* The item as a reader of the scope calls it, and where it stands. */
static int give(merging *m, const mp__list_item *item, size_t layer)
{
    return mp__query_add_resolved(m->whole, &m->capacity, item, m->layers[layer]);
}

static bool is_masked(const mp__list_item *item)
{
    return mp_str_equal(item->media_type, MP_STR(MP__MEDIA_MASK));
}

/* Whether a key of a layer that is not the nearest counts at all. */
static bool falls_through(const merging *m, mp_str address)
{
    return mp__overlay_has(m->whole->manager, address);
}

static void ask(merging *m, mp__query *page, void (*done)(mp__query *query))
{
    const mp__query *whole = m->whole;

    *page = (mp__query){
        .kind = MP__QUERY_LIST,
        .loop = whole->loop,
        .identity = whole->identity,
        .environment = m->layers[m->at],
        .prefix = whole->prefix,
        .by_key = whole->by_key,
        .with_values = whole->with_values,
        .kept = whole->kept,
        .is_patient = whole->is_patient,
        .limit = whole->limit,
        .bytes_max = whole->bytes_max,
        .at_revision = m->revision,
        .done = done,
        .context = m,
    };
}

/* ---- in the order of keys ---- */

/* As far as all pages that do not end the list reach; "": they all end it. */
static mp_str reach_of(const merging *m)
{
    mp_str reach = mp_str_new("", 0);

    for (size_t i = 0; i < m->count; i++) {
        const mp__query *page = &m->pages[i];
        mp_str last;

        if (!page->next || !page->count)
            continue;
        last = rest_of(page->items[page->count - 1].address);
        if (!reach.size || mp__bytes_order(last, reach) < 0)
            reach = last;
    }
    return reach;
}

/* The next key of all pages; false: there is none. */
static bool least_of(const merging *m, const size_t *next, mp_str *ret_rest)
{
    bool found = false;

    for (size_t i = 0; i < m->count; i++) {
        mp_str rest;

        if (next[i] == m->pages[i].count)
            continue;
        rest = rest_of(m->pages[i].items[next[i]].address);
        if (!found || mp__bytes_order(rest, *ret_rest) < 0)
            *ret_rest = rest;
        found = true;
    }
    return found;
}

/* Step over the key @rest in all pages; the nearest that has it, or the number of layers. */
static size_t step_over(const merging *m, size_t *next, mp_str rest)
{
    size_t nearest = m->count;

    for (size_t i = m->count; i-- > 0;) {
        const mp__list_item *item;

        if (next[i] == m->pages[i].count)
            continue; /* of an empty page there are no items */
        item = &m->pages[i].items[next[i]];
        if (mp__bytes_order(rest_of(item->address), rest) != 0)
            continue;
        next[i]++;
        if (i == 0 || falls_through(m, item->address))
            nearest = i;
    }
    return nearest;
}

/* Make one page of those of the layers. 0, or what went wrong. */
static int merge(merging *m)
{
    mp__query *whole = m->whole;
    size_t next[MP__LAYERS_MAX] = {0};
    mp_str reach = reach_of(m), rest = reach;
    int rc = 0;

    whole->next = reach.size != 0;
    while (rc == 0 && least_of(m, next, &rest) &&
           !(reach.size && mp__bytes_order(rest, reach) > 0)) {
        size_t nearest;

        if (whole->count == whole->limit) {
            whole->next = 1;
            break;
        }
        nearest = step_over(m, next, rest);
        if (nearest < m->count && !is_masked(&m->pages[nearest].items[next[nearest] - 1]))
            rc = give(m, &m->pages[nearest].items[next[nearest] - 1], nearest);
    }
    if (reach.size) { /* in case nothing of it counts */
        memcpy(m->after, reach.data, reach.size);
        m->after_size = reach.size;
    }
    return rc;
}

static void ask_by_key(merging *m);

static void begin_anew(merging *m)
{
    pages_done(m);
    m->at = 0;
    ask_by_key(m);
}

static void page_came(mp__query *page)
{
    merging *m = page->context;
    mp__query *whole = m->whole;
    int rc = page->status;

    if (rc == 0) {
        whole->stale |= page->stale;
        if (!m->revision && page->as_of && !page->stale) {
            m->revision = page->as_of;
            if (m->at) { /* the nearer ones were of another moment: of an origin without a change */
                begin_anew(m);
                return;
            }
        }
        if (++m->at < m->count) {
            ask_by_key(m);
            return;
        }
        whole->as_of = whole->stale ? 0 : m->revision;
        rc = merge(m);
        if (rc == 0 && whole->count == 0 && whole->next) { /* all of it masked: go on */
            begin_anew(m);
            return;
        }
    }
    finish(m, rc);
}

static void ask_by_key(merging *m)
{
    mp__query *page;
    mp_str layer;

    page = &m->pages[m->at];
    layer = m->layers[m->at];
    ask(m, page, page_came);
    if (m->after_size) {
        memcpy(m->after_address, layer.data, layer.size);
        memcpy(m->after_address + layer.size, m->after, m->after_size);
        page->after_address = mp_str_new(m->after_address, layer.size + m->after_size);
    }
    mp__query_begin(m->whole->manager, page);
}

/* ---- in the order of a cursor ---- */

static void ask_by_cursor(merging *m, uint64_t after);

/* The page at work has been looked through: on with it, or with the next layer, or enough. */
static void cursor_goes_on(merging *m)
{
    mp__query *whole = m->whole, *page = &m->pages[0];
    uint64_t after = page->next;

    mp__query_done(page);
    while (!after && m->at > 1 && mp__overlay_is_empty(whole->manager, m->layers[m->at - 1]))
        m->at--;
    if (!after && m->at-- == 0) {
        whole->next = 0;
        finish(m, 0);
    } else if (whole->count < whole->limit) {
        ask_by_cursor(m, after);
    } else {
        whole->next = after * CURSOR_LAYERS + m->at + 1;
        finish(m, 0);
    }
}

static void checks_end(merging *m)
{
    int rc = 0;

    for (size_t i = 0; i < m->pages[0].count; i++) {
        mp__read *read = &m->checks[i].read;

        if (read->status != 0 && read->status != MP_EABSENT && rc == 0)
            rc = read->status; /* what is not known is neither there nor not */
        if (rc == 0 && read->status == 0 && mp_str_equal(read->layer, m->layers[m->at]))
            rc = give(m, &m->pages[0].items[i], m->at);
        read->entry = mp__entry_unref(read->entry);
    }
    m->checks = mp__free(m->checks);
    m->addresses = mp__free(m->addresses);
    if (rc)
        finish(m, rc);
    else
        cursor_goes_on(m);
}

static void check_done(mp__read *read)
{
    merging *m = ((checking *)read)->merging;

    if (--m->waiting == 0)
        checks_end(m);
}

/* Read each key of the page in the scope. */
static int check_all(merging *m)
{
    const mp__query *page = &m->pages[0];
    mp__query *whole = m->whole;
    size_t bytes = 0;
    char *p;

    for (size_t i = 0; i < page->count; i++)
        bytes += m->layers[0].size + rest_of(page->items[i].address).size;
    m->checks = mp__calloc(page->count + 1, sizeof(*m->checks));
    m->addresses = p = mp__malloc(bytes + 1);
    if (!m->checks || !p)
        return MP_ENOMEM;
    m->waiting = page->count + 1;
    for (size_t i = 0; i < page->count; i++) {
        mp_str rest = rest_of(page->items[i].address);
        checking *c = &m->checks[i];

        memcpy(p, m->layers[0].data, m->layers[0].size);
        memcpy(p + m->layers[0].size, rest.data, rest.size);
        c->merging = m;
        c->read = (mp__read){.loop = whole->loop,
                             .address = mp_str_new(p, m->layers[0].size + rest.size),
                             .identity = whole->identity,
                             .age_max_ms = -1,
                             .done = check_done};
        c->read.hash = mp__cache_hash(whole->manager->hasher, c->read.address);
        p += c->read.address.size;
        if (mp__read_start(whole->manager, &c->read))
            m->waiting--;
    }
    if (--m->waiting == 0)
        checks_end(m);
    return 0;
}

static void cursor_page_came(mp__query *page)
{
    merging *m = page->context;
    int rc = page->status;

    m->whole->stale |= page->stale;
    if (rc == 0 && m->at == 0) { /* the nearest: what it has counts */
        for (size_t i = 0; i < page->count && rc == 0; i++)
            if (!is_masked(&page->items[i]))
                rc = give(m, &page->items[i], 0);
        if (rc == 0) {
            cursor_goes_on(m);
            return;
        }
    }
    if (rc == 0)
        rc = check_all(m);
    if (rc)
        finish(m, rc);
}

static void ask_by_cursor(merging *m, uint64_t after)
{
    ask(m, &m->pages[0], cursor_page_came);
    m->pages[0].after = after;
    m->pages[0].limit = m->whole->limit - (uint32_t)m->whole->count;
    mp__query_begin(m->whole->manager, &m->pages[0]);
}

/* ---- both ---- */

int mp__effective_start(mp__query *query)
{
    merging *m = mp__calloc(1, sizeof(*m));
    mp_str after = rest_of(query->after_address);
    uint64_t layer = query->after % CURSOR_LAYERS;

    if (!m)
        return MP_ENOMEM;
    m->whole = query;
    m->count = mp__overlay_scopes(query->manager, query->environment, m->layers);
    m->revision = query->at_revision;
    if (query->by_key) {
        if (after.size)
            memcpy(m->after, after.data, after.size);
        m->after_size = after.size;
        ask_by_key(m);
        return 0;
    }
    if (query->after == 0)
        layer = m->count;
    if (layer == 0 || layer > m->count) {
        (void)mp__free(m);
        return MP_EINVAL;
    }
    m->at = layer - 1;
    ask_by_cursor(m, query->after / CURSOR_LAYERS);
    return 0;
}
