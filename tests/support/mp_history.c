/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_history.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NEVER UINT64_MAX

enum outcome { PENDING, DONE, NOTHING };

typedef struct operation {
    unsigned key;
    bool is_write;
    enum mp_history_promise promise;
    enum outcome outcome;
    uint64_t value;
    uint64_t begin, end; /* in the order of all calls */
    uint64_t begin_ns, end_ns, claimed_ns;
} operation;

struct mp_history {
    operation *operations;
    size_t count, capacity;
    uint64_t stamp;
};

mp_history *mp_history_new(void)
{
    mp_history *history = calloc(1, sizeof(*history));

    assert(history);
    return history;
}

mp_history *mp_history_free(mp_history *history)
{
    if (history)
        free(history->operations);
    free(history);
    return NULL;
}

/* ---- taking down ---- */

static size_t add(mp_history *history, operation o)
{
    if (history->count == history->capacity) {
        history->capacity = history->capacity ? history->capacity * 2 : 1024;
        history->operations = realloc(history->operations, history->capacity * sizeof(operation));
        assert(history->operations);
    }
    o.begin = ++history->stamp;
    o.end = o.end_ns = NEVER;
    history->operations[history->count] = o;
    return history->count++;
}

size_t mp_history_write(mp_history *history, unsigned key, uint64_t value, uint64_t now_ns)
{
    assert(value != 0);
    return add(history,
               (operation){.key = key, .is_write = true, .value = value, .begin_ns = now_ns});
}

size_t mp_history_read(mp_history *history, unsigned key, enum mp_history_promise promise,
                       uint64_t now_ns)
{
    return add(history, (operation){.key = key, .promise = promise, .begin_ns = now_ns});
}

static operation *ends(mp_history *history, size_t which, bool is_write, enum outcome outcome)
{
    operation *o = &history->operations[which];

    assert(which < history->count && o->is_write == is_write && o->outcome == PENDING);
    o->outcome = outcome;
    o->end = ++history->stamp;
    return o;
}

void mp_history_written(mp_history *history, size_t write, uint64_t now_ns)
{
    ends(history, write, true, DONE)->end_ns = now_ns;
}

void mp_history_refused(mp_history *history, size_t write)
{
    (void)ends(history, write, true, NOTHING);
}

void mp_history_saw(mp_history *history, size_t read, uint64_t value, uint64_t claimed_ns,
                    uint64_t now_ns)
{
    operation *o = ends(history, read, false, DONE);

    o->value = value;
    o->claimed_ns = claimed_ns;
    o->end_ns = now_ns;
}

void mp_history_failed(mp_history *history, size_t read)
{
    (void)ends(history, read, false, NOTHING);
}

size_t mp_history_count(const mp_history *history)
{
    return history->count;
}

/* ---- clusters: a write and the reads that saw it ---- */

typedef struct cluster {
    unsigned key;
    uint64_t value;
    const operation *write;          /* NULL: the value at first */
    uint64_t first_end, last_begin;  /* of strong reads and the write: the zone */
    uint64_t write_begin, write_end; /* in stamps */
} cluster;

static int compare_clusters(const void *a, const void *b)
{
    const cluster *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->value > y->value) - (x->value < y->value);
}

static cluster *cluster_of(cluster *clusters, size_t count, unsigned key, uint64_t value)
{
    cluster wanted = {.key = key, .value = value};

    return bsearch(&wanted, clusters, count, sizeof(*clusters), compare_clusters);
}

static unsigned keys_of(const mp_history *history)
{
    unsigned keys = 0;

    for (size_t i = 0; i < history->count; i++)
        if (history->operations[i].key >= keys)
            keys = history->operations[i].key + 1;
    return keys;
}

/* One for each value that may have been there, ordered by key and value. */
static cluster *clusters_of(const mp_history *history, size_t *ret_count)
{
    unsigned keys = keys_of(history);
    cluster *clusters = calloc(keys + history->count + 1, sizeof(*clusters));
    size_t count = 0;

    assert(clusters);
    for (unsigned key = 0; key < keys; key++)
        clusters[count++] = (cluster){.key = key};
    for (size_t i = 0; i < history->count; i++) {
        const operation *o = &history->operations[i];

        if (!o->is_write || o->outcome == NOTHING)
            continue;
        clusters[count++] = (cluster){.key = o->key,
                                      .value = o->value,
                                      .write = o,
                                      .write_begin = o->begin,
                                      .write_end = o->end,
                                      .first_end = o->end,
                                      .last_begin = o->begin};
    }
    qsort(clusters, count, sizeof(*clusters), compare_clusters);
    *ret_count = count;
    return clusters;
}

static bool add_reads(const mp_history *history, cluster *clusters, size_t count, char *why,
                      size_t capacity)
{
    for (size_t i = 0; i < history->count; i++) {
        const operation *o = &history->operations[i];
        cluster *c;

        if (o->is_write || o->outcome != DONE)
            continue;
        c = cluster_of(clusters, count, o->key, o->value);
        if (!c || c->write_begin > o->end) {
            (void)snprintf(why, capacity,
                           "key %u: value %" PRIu64 " was read and nobody had written it", o->key,
                           o->value);
            return false;
        }
        if (o->promise != MP_HISTORY_STRONG)
            continue;
        if (o->end < c->first_end)
            c->first_end = o->end;
        if (o->begin > c->last_begin)
            c->last_begin = o->begin;
    }
    return true;
}

/* ---- bounded ---- */

/* Of each value the claims that were made for it, against the writes that surely came after. */
static bool claims_hold(const mp_history *history, cluster *clusters, size_t count, char *why,
                        size_t capacity)
{
    for (size_t i = 0; i < history->count; i++) {
        const operation *r = &history->operations[i];
        const cluster *own;

        if (r->is_write || r->outcome != DONE)
            continue;
        own = cluster_of(clusters, count, r->key, r->value);
        for (const cluster *c = cluster_of(clusters, count, r->key, 0);
             c < clusters + count && c->key == r->key; c++) {
            const operation *w = c->write;

            if (!w || w->outcome != DONE || w->begin <= own->write_end ||
                w->end_ns >= r->claimed_ns)
                continue;
            (void)snprintf(why, capacity,
                           "key %u: value %" PRIu64 " was read at %" PRIu64 " ms as of %" PRIu64
                           " ms, but %" PRIu64 " had replaced it at %" PRIu64 " ms",
                           r->key, r->value, r->begin_ns / 1000000, r->claimed_ns / 1000000,
                           w->value, w->end_ns / 1000000);
            return false;
        }
    }
    return true;
}

/* ---- linearizable ---- */

static int compare_zones(const void *a, const void *b)
{
    const cluster *x = a, *y = b;
    uint64_t from_x = x->first_end < x->last_begin ? x->first_end : x->last_begin;
    uint64_t from_y = y->first_end < y->last_begin ? y->first_end : y->last_begin;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (from_x > from_y) - (from_x < from_y);
}

static bool clash(const cluster *a, const cluster *b, char *why, size_t capacity)
{
    (void)snprintf(why, capacity,
                   "key %u: strong reads saw %" PRIu64 " and %" PRIu64
                   " in an order in which they cannot have been written",
                   a->key, a->value, b->value);
    return false;
}

/* A zone is forward when its value must have been there from first_end to last_begin: no two of
 * those may overlap. A backward zone (all its operations overlap each other) needs one moment
 * between last_begin and first_end that is in no forward zone. */
static bool zones_fit(cluster *clusters, size_t count, char *why, size_t capacity)
{
    const cluster *forward = NULL; /* the one that reaches furthest */

    qsort(clusters, count, sizeof(*clusters), compare_zones);
    for (size_t i = 0; i < count; i++) {
        const cluster *c = &clusters[i];

        if (forward && forward->key != c->key)
            forward = NULL;
        if (c->first_end < c->last_begin) {
            if (forward && c->first_end < forward->last_begin)
                return clash(forward, c, why, capacity);
            forward = c;
        } else if (forward && c->first_end < forward->last_begin) {
            return clash(forward, c, why, capacity);
        }
    }
    return true;
}

bool mp_history_holds(mp_history *history, char *why, size_t capacity)
{
    size_t count;
    cluster *clusters = clusters_of(history, &count);
    bool holds = add_reads(history, clusters, count, why, capacity) &&
                 claims_hold(history, clusters, count, why, capacity) &&
                 zones_fit(clusters, count, why, capacity);

    free(clusters);
    return holds;
}
