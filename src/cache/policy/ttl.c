/* SPDX-License-Identifier: Apache-2.0 */
/* Earliest expiry first: a binary heap by the time at which entries expire by themselves; those
 * that never do come last, in the order of their arrival. */
#include "cache/policy/policies.h"
#include "core/alloc.h"

typedef struct place {
    mp__policy_node *node;
    uint64_t order; /* expiry, then arrival */
} place;

typedef struct ttl {
    mp__policy base;
    place *heap;
    size_t count, capacity;
    uint64_t arrivals;
} ttl;

/* The place of a node in the heap is kept where the other policies have their links. */
static void put_at(ttl *p, size_t i, place what)
{
    p->heap[i] = what;
    what.node->newer = (mp__policy_node *)(uintptr_t)i;
}

static size_t index_of(const mp__policy_node *node)
{
    return (size_t)(uintptr_t)node->newer;
}

static void rise(ttl *p, size_t i)
{
    place what = p->heap[i];

    while (i > 0 && p->heap[(i - 1) / 2].order > what.order) {
        put_at(p, i, p->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put_at(p, i, what);
}

static void sink(ttl *p, size_t i)
{
    place what = p->heap[i];

    for (;;) {
        size_t child = 2 * i + 1;

        if (child + 1 < p->count && p->heap[child + 1].order < p->heap[child].order)
            child++;
        if (child >= p->count || p->heap[child].order >= what.order)
            break;
        put_at(p, i, p->heap[child]);
        i = child;
    }
    put_at(p, i, what);
}

static int grow(ttl *p, size_t capacity)
{
    place *heap = mp__realloc_array(p->heap, capacity, sizeof(*heap));

    if (!heap)
        return MP_ENOMEM;
    p->heap = heap;
    p->capacity = capacity;
    return 0;
}

static mp__policy *ttl_free(mp__policy *policy)
{
    if (policy)
        (void)mp__free(((ttl *)policy)->heap);
    return mp__free(policy);
}

static int ttl_make(size_t capacity, mp__policy **ret_policy)
{
    ttl *p = mp__calloc(1, sizeof(*p));

    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_ttl;
    if (grow(p, capacity + 1) != 0) {
        (void)ttl_free(&p->base);
        return MP_ENOMEM;
    }
    *ret_policy = &p->base;
    return 0;
}

static void ttl_insert(mp__policy *policy, mp__policy_node *node)
{
    ttl *p = (ttl *)policy;
    uint64_t expiry = node->expires_s ? node->expires_s : UINT32_MAX;

    if (p->count == p->capacity && grow(p, p->capacity * 2) != 0)
        node->mark = 1; /* without a place in the order it cannot be chosen, only removed */
    else {
        node->mark = 0;
        p->heap[p->count] = (place){node, expiry << 32 | (uint32_t)p->arrivals++};
        rise(p, p->count++);
    }
}

static void ttl_hit(mp__policy *policy, mp__policy_node *node)
{
    (void)policy;
    (void)node;
}

static void ttl_remove(mp__policy *policy, mp__policy_node *node)
{
    ttl *p = (ttl *)policy;
    size_t i = index_of(node);

    if (node->mark)
        return;
    p->count--;
    if (i == p->count)
        return;
    p->heap[i] = p->heap[p->count];
    put_at(p, i, p->heap[i]);
    rise(p, i);
    sink(p, index_of(p->heap[i].node));
}

static mp__policy_node *ttl_evict(mp__policy *policy)
{
    ttl *p = (ttl *)policy;
    mp__policy_node *node = p->count ? p->heap[0].node : NULL;

    if (node)
        ttl_remove(policy, node);
    return node;
}

static void ttl_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    ttl_remove(policy, node);
    ttl_insert(policy, next);
}

static int ttl_resize(mp__policy *policy, size_t capacity)
{
    ttl *p = (ttl *)policy;

    return capacity + 1 > p->capacity ? grow(p, capacity + 1) : 0;
}

static size_t ttl_bytes(const mp__policy *policy)
{
    return sizeof(ttl) + ((const ttl *)policy)->capacity * sizeof(place);
}

const mp__policy_ops mp__policy_ttl = {
    .name = "ttl",
    .text = "Evicts what expires first; what never expires goes last, in the order it came. For "
            "values that carry their own end (SET EX), as volatile-ttl of Redis.",
    .make = ttl_make,
    .free = ttl_free,
    .insert = ttl_insert,
    .hit = ttl_hit,
    .remove = ttl_remove,
    .evict = ttl_evict,
    .replace = ttl_replace,
    .resize = ttl_resize,
    .bytes = ttl_bytes,
};
