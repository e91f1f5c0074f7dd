/* SPDX-License-Identifier: Apache-2.0 */
/* The index of who waits for what: a table of the prefixes that are watched, and how many there are
 * of each length. A waiter for one address only watches the prefix that is this address and a zero
 * byte behind it, which no address holds and every one is taken to end with. */
#include "server/watch.h"

#include <assert.h>

#include "core/address.h"
#include "core/alloc.h"
#include "core/json.h"

/* A prefix that is longer than any address waits in vain. */
enum {
    LENGTH_MAX = MP__ADDRESS_MAX + 1,
    BUCKETS_FIRST = 64,
    MARKED_AHEAD = 8,
    PLACES_LEAST = 16, /* fewer are not worth giving back */
};

/* A point and its waiter, side by side with those of the others: of a list each would have to be
 * there before the next one is known, and a thousand waiters are in no cache. */
typedef struct place {
    mp__waiter *waiter;
    mp__watch_point *point;
} place;

typedef struct mp__watch_node {
    struct mp__watch_node *next;
    uint64_t hash;
    place *places;
    size_t count, capacity; /* of places; count is 0 only while it is made */
    size_t size;
    char text[];
} node;

struct mp__watch {
    mp__hash_key key;
    node **buckets;
    size_t bucket_count, node_count; /* a power of two */
    uint32_t lengths[LENGTH_MAX + 1];
    size_t longest;                         /* at least the longest that there is */
    mp__waiter *waiters, *told, *told_last; /* told_last: behind all of told */
    uint32_t waiter_count;
    uint64_t revision;
    bool stale;
};

int mp__watch_new(mp__hash_key key, mp__watch **ret_watch)
{
    mp__watch *watch = mp__calloc(1, sizeof(*watch));

    if (watch)
        watch->buckets = mp__calloc(BUCKETS_FIRST, sizeof(*watch->buckets));
    if (!watch || !watch->buckets) {
        (void)mp__free(watch);
        return MP_ENOMEM;
    }
    watch->key = key;
    watch->bucket_count = BUCKETS_FIRST;
    *ret_watch = watch;
    return 0;
}

mp__watch *mp__watch_free(mp__watch *watch)
{
    if (!watch)
        return NULL;
    assert(watch->node_count == 0);
    (void)mp__free(watch->buckets);
    return mp__free(watch);
}

void mp__watch_begin(mp__watch *watch, const mp__watch_start *start)
{
    watch->revision = start->revision;
    watch->stale = start->stale;
}

uint64_t mp__watch_revision(const mp__watch *watch)
{
    return watch->revision;
}

bool mp__watch_is_stale(const mp__watch *watch)
{
    return watch->stale;
}

uint32_t mp__watch_waiters(const mp__watch *watch)
{
    return watch->waiter_count;
}

void mp__watch_each(const mp__watch *watch, bool (*fn)(void *context, mp__waiter *waiter),
                    void *context)
{
    for (mp__waiter *w = watch->waiters; w; w = w->next)
        if (!fn(context, w))
            return;
}

void mp__watch_describe(mp__buf *json, const char *epoch, const char *state, bool is_known,
                        uint64_t revision)
{
    char position[MP__POSITION_MAX];

    mp__json_add_text(json, "state", state);
    if (!is_known)
        return;
    mp__json_add_string(json, "position", mp__position_text(epoch, revision, position));
    mp__json_add_u64(json, "revision", revision);
}

/* ---- the table ---- */

static node **find(mp__watch *watch, mp_str text, uint64_t hash)
{
    node **link = &watch->buckets[hash & (watch->bucket_count - 1)];

    while (*link &&
           ((*link)->hash != hash || !mp_str_equal(mp_str_new((*link)->text, (*link)->size), text)))
        link = &(*link)->next;
    return link;
}

/* Without memory the table stays as it is, and its chains grow. */
static void grow(mp__watch *watch)
{
    size_t count = watch->bucket_count * 2;
    node **buckets = mp__calloc(count, sizeof(node *));

    if (!buckets)
        return;
    for (size_t i = 0; i < watch->bucket_count; i++) {
        while (watch->buckets[i]) {
            node *n = watch->buckets[i];

            watch->buckets[i] = n->next;
            n->next = buckets[n->hash & (count - 1)];
            buckets[n->hash & (count - 1)] = n;
        }
    }
    (void)mp__free(watch->buckets);
    watch->buckets = buckets;
    watch->bucket_count = count;
}

static void count_length(mp__watch *watch, size_t size, int by)
{
    if (size > LENGTH_MAX)
        return;
    watch->lengths[size] += (uint32_t)by;
    if (size > watch->longest)
        watch->longest = size;
    while (watch->longest && watch->lengths[watch->longest] == 0)
        watch->longest--;
}

static node *node_of(mp__watch *watch, mp_str text)
{
    uint64_t hash = mp__hash_str(watch->key, text);
    node *n = *find(watch, text, hash);

    if (n)
        return n;
    n = mp__malloc(sizeof(*n) + text.size);
    if (!n)
        return NULL;
    if (watch->node_count == watch->bucket_count)
        grow(watch);
    *n = (node){.hash = hash, .size = text.size};
    if (text.size)
        memcpy(n->text, text.data, text.size);
    n->next = watch->buckets[hash & (watch->bucket_count - 1)];
    watch->buckets[hash & (watch->bucket_count - 1)] = n;
    watch->node_count++;
    count_length(watch, text.size, 1);
    return n;
}

static void node_free(mp__watch *watch, node *gone)
{
    node **link = find(watch, mp_str_new(gone->text, gone->size), gone->hash);

    *link = gone->next;
    watch->node_count--;
    count_length(watch, gone->size, -1);
    (void)mp__free(gone->places);
    (void)mp__free(gone);
}

/* ---- joining and leaving ---- */

static node *node_of_point(mp__watch *watch, mp_str prefix, bool exact)
{
    char text[LENGTH_MAX];

    if (!exact)
        return node_of(watch, prefix);
    assert(prefix.size < sizeof(text));
    memcpy(text, prefix.data, prefix.size);
    text[prefix.size] = '\0';
    return node_of(watch, mp_str_new(text, prefix.size + 1));
}

/* A place more. Most prefixes have one waiter. */
static int reserve(node *n)
{
    if (n->capacity)
        return mp__grow(&n->places, n->count, &n->capacity, sizeof(*n->places));
    n->places = mp__malloc(sizeof(*n->places));
    n->capacity = n->places ? 1 : 0;
    return n->places ? 0 : MP_ENOMEM;
}

/* Half as many places where a quarter is taken: before it grows or shrinks again as many must come
 * or leave as are moved here. Without memory it stays. */
static void shrink(node *n)
{
    place *places;

    if (n->capacity < PLACES_LEAST || n->count > n->capacity / 4)
        return;
    places = mp__realloc_array(n->places, n->capacity / 2, sizeof(*places));
    if (!places)
        return;
    n->places = places;
    n->capacity /= 2;
}

int mp__watch_join(mp__watch *watch, mp__watch_point *point, mp__waiter *waiter, mp_str prefix,
                   bool exact)
{
    node *n = node_of_point(watch, prefix, exact);

    if (!n)
        return MP_ENOMEM;
    if (reserve(n) != 0) {
        if (n->count == 0)
            node_free(watch, n);
        return MP_ENOMEM;
    }
    *point = (mp__watch_point){.waiter = waiter, .node = n, .at = n->count};
    n->places[n->count++] = (place){waiter, point};
    if (waiter->points++ == 0) {
        waiter->next = watch->waiters;
        waiter->link = &watch->waiters;
        if (waiter->next)
            waiter->next->link = &waiter->next;
        watch->waiters = waiter;
        watch->waiter_count++;
        waiter->which = 0;
        waiter->told_link = NULL;
    }
    return 0;
}

static void untell(mp__waiter *waiter)
{
    if (!waiter->told_link)
        return;
    *waiter->told_link = waiter->next_told;
    if (waiter->next_told)
        waiter->next_told->told_link = waiter->told_link;
    waiter->told_link = NULL;
    waiter->which = 0;
}

void mp__watch_leave(mp__watch *watch, mp__watch_point *point)
{
    mp__waiter *waiter = point->waiter;
    node *n = point->node;

    if (!waiter)
        return;
    n->places[point->at] = n->places[--n->count];
    n->places[point->at].point->at = point->at;
    if (n->count == 0)
        node_free(watch, n);
    else
        shrink(n);
    point->waiter = NULL;
    if (--waiter->points)
        return;
    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
    watch->waiter_count--;
    untell(waiter);
}

/* ---- telling ---- */

/* The waiters that are told, in the order in which they were found, which is by the length of what
 * they wait for. */
typedef struct found {
    mp__waiter **ends[2]; /* of told and of told_last */
} found;

static void mark(mp__waiter *waiter, size_t event, found *f)
{
    mp__waiter ***end = &f->ends[waiter->is_last];

    waiter->which |= (uint8_t)(1u << event);
    if (waiter->told_link)
        return;
    waiter->next_told = NULL;
    waiter->told_link = *end;
    **end = waiter;
    *end = &waiter->next_told;
}

/* Those who came last first. */
static void mark_all_of(const node *n, size_t event, found *f)
{
    for (size_t i = n->count; i-- > 0;) {
        if (i >= MARKED_AHEAD) {
            const mp__waiter *later = n->places[i - MARKED_AHEAD].waiter;

            __builtin_prefetch(&later->is_last, 1);
            __builtin_prefetch(&later->told_link, 1);
        }
        mark(n->places[i].waiter, event, f);
    }
}

static void mark_those_of(mp__watch *watch, mp_str address, size_t event, found *f)
{
    char text[LENGTH_MAX];
    size_t longest = watch->longest <= address.size + 1 ? watch->longest : address.size + 1;

    if (address.size >= sizeof(text))
        return;
    memcpy(text, address.data, address.size);
    text[address.size] = '\0';
    for (size_t size = 0; size <= longest; size++) {
        mp_str prefix = mp_str_new(text, size);
        node *n =
            watch->lengths[size] ? *find(watch, prefix, mp__hash_str(watch->key, prefix)) : NULL;

        if (n)
            mark_all_of(n, event, f);
    }
}

/* Those who wait for something that begins with @prefix. Seldom, so it looks at all of them. */
static void mark_those_within(const mp__watch *watch, mp_str prefix, size_t event, found *f)
{
    for (size_t i = 0; i < watch->bucket_count; i++)
        for (node *n = watch->buckets[i]; n; n = n->next)
            if (n->size >= prefix.size && memcmp(n->text, prefix.data, prefix.size) == 0)
                mark_all_of(n, event, f);
}

static void mark_all(mp__watch *watch, size_t event, found *f)
{
    for (mp__waiter *w = watch->waiters; w; w = w->next)
        mark(w, event, f);
}

static void note(mp__watch *watch, const mp__event *event)
{
    if (event->revision > watch->revision)
        watch->revision = event->revision;
    if ((event->kind == MP__EVENT_STALE || event->kind == MP__EVENT_FRESH) &&
        event->address.size == 0 && !event->is_prefix)
        watch->stale = event->kind == MP__EVENT_STALE;
}

/* Who is told may let others leave. */
static void tell_all(mp__waiter **told, mp__watch_group *group)
{
    while (*told) {
        mp__waiter *waiter = *told;
        unsigned which = waiter->which;

        untell(waiter);
        waiter->tell(waiter, group, which);
    }
}

void mp__watch_tell(mp__watch *watch, const mp__event *events, size_t count)
{
    mp__watch_group group = {.events = events, .count = count};
    found f = {{&watch->told, &watch->told_last}};

    assert(count <= MP__EVENTS_TOGETHER && !watch->told && !watch->told_last);
    for (size_t i = 0; i < count; i++) {
        note(watch, &events[i]);
        if (events[i].address.size)
            mark_those_of(watch, events[i].address, i, &f);
        if (events[i].address.size && events[i].is_prefix)
            mark_those_within(watch, events[i].address, i, &f);
        if (!events[i].address.size)
            mark_all(watch, i, &f);
    }
    tell_all(&watch->told, &group);
    tell_all(&watch->told_last, &group);
    for (size_t i = 0; i < count; i++)
        for (int kind = 0; kind < MP__FRAME_COUNT; kind++)
            mp__buf_done(&group.frames[i][kind]);
}
