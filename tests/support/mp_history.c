/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_history.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define NEVER UINT64_MAX

enum outcome { PENDING, DONE, NOTHING };

typedef struct operation {
    unsigned key, session;
    bool is_write, is_deletion;
    bool saw_none; /* as of `revision`; `value` is found out by mp_history_holds() */
    enum mp_history_promise promise;
    enum outcome outcome;
    uint64_t value;
    uint64_t begin, end; /* in the order of all calls */
    uint64_t begin_ns, end_ns, claimed_ns;
    uint64_t revision;      /* of a write, once it is made; that a read was told; 0: not known */
    uint64_t made, made_ns; /* when the origin made the write, as begin */
    uint64_t newest;        /* of a read: the origin's revision at its end */
} operation;

/* The writes that the origin made, by key and revision: each holds until the next of its key. */
typedef struct row {
    unsigned key;
    uint64_t revision;
    operation *write;
} row;

struct mp_history {
    operation *operations;
    size_t count, capacity;
    uint64_t stamp;
    uint64_t newest; /* revision */
    row *rows;       /* while it is looked at */
    size_t row_count;
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

size_t mp_history_delete(mp_history *history, unsigned key, uint64_t value, uint64_t now_ns)
{
    size_t which = mp_history_write(history, key, value, now_ns);

    history->operations[which].is_deletion = true;
    return which;
}

size_t mp_history_read(mp_history *history, unsigned key, enum mp_history_promise promise,
                       uint64_t now_ns)
{
    return add(history, (operation){.key = key, .promise = promise, .begin_ns = now_ns});
}

void mp_history_by(mp_history *history, size_t which, unsigned session)
{
    assert(which < history->count);
    history->operations[which].session = session;
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
    o->newest = history->newest;
}

void mp_history_saw_none(mp_history *history, size_t read, uint64_t as_of_revision,
                         uint64_t claimed_ns, uint64_t now_ns)
{
    mp_history_saw(history, read, 0, claimed_ns, now_ns);
    history->operations[read].saw_none = true;
    history->operations[read].revision = as_of_revision;
}

void mp_history_told_revision(mp_history *history, size_t read, uint64_t revision)
{
    assert(read < history->count && !history->operations[read].is_write);
    history->operations[read].revision = revision;
}

void mp_history_failed(mp_history *history, size_t read)
{
    (void)ends(history, read, false, NOTHING);
}

void mp_history_committed(mp_history *history, size_t write, uint64_t revision, uint64_t now_ns)
{
    operation *o = &history->operations[write];

    assert(write < history->count && o->is_write && o->revision == 0);
    assert(revision > history->newest);
    o->revision = history->newest = revision;
    o->made = ++history->stamp;
    o->made_ns = now_ns;
}

size_t mp_history_count(const mp_history *history)
{
    return history->count;
}

/* ---- rows: what the origin made ---- */

static int compare_rows(const void *a, const void *b)
{
    const row *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->revision > y->revision) - (x->revision < y->revision);
}

static void make_rows(mp_history *history)
{
    history->rows = calloc(history->count + 1, sizeof(*history->rows));
    history->row_count = 0;
    assert(history->rows);
    for (size_t i = 0; i < history->count; i++) {
        operation *o = &history->operations[i];

        if (o->is_write && o->revision)
            history->rows[history->row_count++] = (row){o->key, o->revision, o};
    }
    qsort(history->rows, history->row_count, sizeof(row), compare_rows);
}

/* The first row behind @revision of @key, perhaps another key's, or their number. */
static size_t row_behind(const mp_history *history, unsigned key, uint64_t revision)
{
    row wanted = {.key = key, .revision = revision};
    size_t low = 0, high = history->row_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (compare_rows(&history->rows[middle], &wanted) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The write of @key that @revision shows the origin in; NULL: none had been made yet. */
static const operation *made_by(const mp_history *history, unsigned key, uint64_t revision)
{
    size_t behind = row_behind(history, key, revision);

    return behind && history->rows[behind - 1].key == key ? history->rows[behind - 1].write : NULL;
}

/* What replaced the state of @key that @write (NULL: nothing) had made; NULL: nothing has. */
static const operation *successor(const mp_history *history, unsigned key, const operation *write)
{
    size_t next = row_behind(history, key, write ? write->revision : 0);

    return next < history->row_count && history->rows[next].key == key ? history->rows[next].write
                                                                       : NULL;
}

/* What was answered of writes is what became of them. */
static bool writes_hold(const mp_history *history, char *why, size_t capacity)
{
    for (size_t i = 0; i < history->count && history->newest; i++) {
        const operation *o = &history->operations[i];
        const char *lie = NULL;

        if (!o->is_write)
            continue;
        if (o->outcome == NOTHING && o->revision)
            lie = "was refused, and the origin made it";
        if (o->outcome == DONE && (o->revision == 0 || o->made > o->end))
            lie = "was acknowledged before the origin made it";
        if (lie) {
            (void)snprintf(why, capacity, "key %u: the write of %" PRIu64 " %s", o->key, o->value,
                           lie);
            return false;
        }
    }
    return true;
}

static bool is_unsaid(const operation *o)
{
    return o->saw_none && o->revision == MP_HISTORY_UNSAID;
}

/* Which deletion a read has seen that was told there is none. */
static bool find_deletions(const mp_history *history, char *why, size_t capacity)
{
    for (size_t i = 0; i < history->count; i++) {
        operation *o = &history->operations[i];
        const operation *write;

        if (!o->saw_none || o->outcome != DONE || is_unsaid(o))
            continue;
        if (o->revision > o->newest) {
            (void)snprintf(why, capacity,
                           "key %u: that there is none was read as of revision %" PRIu64
                           ", and the origin stood at %" PRIu64,
                           o->key, o->revision, o->newest);
            return false;
        }
        write = made_by(history, o->key, o->revision);
        o->value = write ? write->value : 0;
        if (write && !write->is_deletion) {
            (void)snprintf(why, capacity,
                           "key %u: that there is none was read as of revision %" PRIu64
                           ", but %" PRIu64 " was there since %" PRIu64,
                           o->key, o->revision, write->value, write->revision);
            return false;
        }
    }
    return true;
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

static cluster *cluster_of(const cluster *clusters, size_t count, unsigned key, uint64_t value)
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

/* Whether @read can have seen @write (NULL: what was at first), as far as the origin tells. */
static bool was_made(const mp_history *history, const operation *write, const operation *read)
{
    if (!write)
        return true;
    if (write->is_deletion && !read->saw_none)
        return false;
    return history->newest == 0 || (write->revision && write->made < read->end);
}

static bool add_reads(const mp_history *history, cluster *clusters, size_t count, char *why,
                      size_t capacity)
{
    for (size_t i = 0; i < history->count; i++) {
        const operation *o = &history->operations[i];
        cluster *c;

        if (o->is_write || o->outcome != DONE || is_unsaid(o))
            continue;
        c = cluster_of(clusters, count, o->key, o->value);
        if (!c || c->write_begin > o->end || !was_made(history, c->write, o)) {
            (void)snprintf(why, capacity,
                           "key %u: value %" PRIu64 " was read and nobody had written it", o->key,
                           o->value);
            return false;
        }
        if (o->revision && !o->saw_none && c->write && c->write->revision != o->revision) {
            (void)snprintf(why, capacity,
                           "key %u: value %" PRIu64 " was read with revision %" PRIu64
                           " and has %" PRIu64,
                           o->key, o->value, o->revision, c->write->revision);
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

static bool was_too_old(const operation *read, const operation *by, uint64_t at_ns, char *why,
                        size_t capacity)
{
    (void)snprintf(why, capacity,
                   "key %u: %s %" PRIu64 " was read at %" PRIu64 " ms as of %" PRIu64
                   " ms, but %" PRIu64 " had replaced it at %" PRIu64 " ms",
                   read->key, read->saw_none ? "the absence" : "value", read->value,
                   read->begin_ns / 1000000, read->claimed_ns / 1000000, by->value,
                   at_ns / 1000000);
    return false;
}

/* Whether @read must have seen @next, or what came after it. */
static bool is_over(const operation *read, const operation *next)
{
    return next->made_ns < read->claimed_ns ||
           (read->promise == MP_HISTORY_STRONG && next->made < read->begin);
}

/* By the moments at which the origin made them. Of a strong read that is all there is to say, of
 * one key or several, since there is one origin: what had been made when it began it must see. */
static bool claims_hold_exactly(const mp_history *history, const cluster *clusters, size_t count,
                                char *why, size_t capacity)
{
    for (size_t i = 0; i < history->count; i++) {
        const operation *r = &history->operations[i], *next;

        if (r->is_write || r->outcome != DONE || is_unsaid(r))
            continue;
        next = successor(history, r->key, cluster_of(clusters, count, r->key, r->value)->write);
        if (next && is_over(r, next))
            return was_too_old(r, next, next->made_ns, why, capacity);
    }
    return true;
}

/* Of each value the claims that were made for it, against the writes that surely came after. */
static bool claims_hold(const mp_history *history, const cluster *clusters, size_t count, char *why,
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
            return was_too_old(r, w, w->end_ns, why, capacity);
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

/* ---- sessions ---- */

/* Find the earliest absence that @read can have seen, not from before the revision @least; false:
 * there is none. What is told later may be as early as that again. */
static bool find_absence(const mp_history *history, const operation *read, uint64_t least,
                         uint64_t *ret_revision)
{
    size_t i = row_behind(history, read->key, least ? least - 1 : 0);
    const row *r = &history->rows[i], *end = history->rows + history->row_count;

    if (least == 0 && (r == end || r->key != read->key || !is_over(read, r->write))) {
        *ret_revision = 0;
        return true;
    }
    for (; r < end && r->key == read->key && r->write->made < read->end; r++) {
        bool is_last = r + 1 == end || r[1].key != read->key;

        if (r->write->is_deletion && (is_last || !is_over(read, r[1].write))) {
            *ret_revision = r->revision;
            return true;
        }
    }
    return false;
}

/* The revision of what @o saw or wrote; of an absence that nobody said more of, the first that it
 * can be. */
static bool revision_of(const mp_history *history, const cluster *clusters, size_t count,
                        const operation *o, uint64_t least, uint64_t *ret_revision)
{
    const operation *write = o;

    if (is_unsaid(o))
        return find_absence(history, o, o->session ? least : 0, ret_revision);
    if (!o->is_write)
        write = cluster_of(clusters, count, o->key, o->value)->write;
    *ret_revision = write ? write->revision : 0;
    return o->session == 0 || o->is_write || *ret_revision >= least;
}

static bool sessions_hold(const mp_history *history, const cluster *clusters, size_t count,
                          char *why, size_t capacity)
{
    unsigned keys = keys_of(history), sessions = 0;
    uint64_t *seen; /* revisions, by session and key */
    bool holds = true;

    for (size_t i = 0; i < history->count; i++)
        if (history->operations[i].session > sessions)
            sessions = history->operations[i].session;
    seen = calloc(((size_t)sessions + 1) * (keys + 1), sizeof(*seen));
    assert(seen);
    for (size_t i = 0; i < history->count && holds; i++) {
        const operation *o = &history->operations[i];
        uint64_t *before = &seen[(size_t)o->session * keys + o->key], revision = 0;

        if (o->outcome != DONE)
            continue;
        holds = revision_of(history, clusters, count, o, *before, &revision);
        if (!holds)
            (void)snprintf(why, capacity,
                           "key %u: session %u was told %s %" PRIu64 " of revision %" PRIu64
                           " at %" PRIu64 " ms as of %" PRIu64 " ms after revision %" PRIu64,
                           o->key, o->session, o->saw_none ? "the absence" : "value", o->value,
                           revision, o->end_ns / 1000000, o->claimed_ns / 1000000, *before);
        if (revision > *before)
            *before = revision;
    }
    free(seen);
    return holds;
}

bool mp_history_holds(mp_history *history, char *why, size_t capacity)
{
    cluster *clusters = NULL;
    size_t count;
    bool holds;

    make_rows(history);
    holds = writes_hold(history, why, capacity) && find_deletions(history, why, capacity);
    if (holds) {
        clusters = clusters_of(history, &count);
        holds = add_reads(history, clusters, count, why, capacity) &&
                sessions_hold(history, clusters, count, why, capacity) &&
                (history->newest ? claims_hold_exactly : claims_hold)(history, clusters, count, why,
                                                                      capacity) &&
                zones_fit(clusters, count, why, capacity);
    }
    free(clusters);
    free(history->rows);
    history->rows = NULL;
    return holds;
}
