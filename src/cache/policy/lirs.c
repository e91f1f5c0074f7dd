/* SPDX-License-Identifier: Apache-2.0 */
/* LIRS: Jiang and Zhang, "LIRS: An Efficient Low Inter-reference Recency Set Replacement Policy",
 * SIGMETRICS 2002. What comes back after few other keys is LIR and stays; everything else is HIR
 * and passes through a queue of a hundredth of the cache. The stack S orders LIR, HIR and lately
 * evicted keys by their last use; a HIR that is used again while it is in S becomes LIR.
 *
 * Places in S and Q live in a pool of the policy's own, found by hash for evicted keys and through
 * the node for those in the cache. S is bounded: the oldest evicted key goes when the pool is full.
 *
 * The shares are of what there is room for, which is known when an entry has to go, and may be less
 * than the capacity: bytes, pins and what is known to be absent take theirs. With more LIR than
 * there is room for nothing would ever be HIR, and it were LRU. */
#include "cache/policy/policies.h"
#include "core/alloc.h"

enum state { FREE, LIR, HIR, GONE };
enum { GONE_FACTOR = 1 }; /* evicted keys remembered, times the capacity */

typedef struct item {
    uint64_t hash;
    mp__policy_node *node;                              /* NULL: not in the cache */
    uint32_t s_newer, s_older, q_newer, q_older, chain; /* q: of GONE, the order they went */
    uint8_t state;
    bool in_stack;
} item;

typedef struct list {
    uint32_t newest, oldest, count;
} list;

typedef struct lirs {
    mp__policy base;
    item *items; /* from 1 */
    uint32_t *buckets;
    uint32_t pool, mask, free;
    list stack, queue, gone;
    size_t lir_count, lir_max, capacity, room;
} lirs;

/* ---- the pool ---- */

static size_t hir_of(size_t capacity)
{
    return capacity / 100 ? capacity / 100 : 1;
}

static void set_room(lirs *p, size_t room)
{
    p->room = room;
    p->lir_max = room > hir_of(room) ? room - hir_of(room) : 1;
}

static int pool_make(lirs *p, size_t capacity)
{
    size_t pool = capacity * (1 + GONE_FACTOR) + 2;
    uint32_t buckets = 4;
    item *items;
    uint32_t *heads;

    if (pool > UINT32_MAX / 2)
        return MP_ELIMIT;
    while (buckets < pool)
        buckets <<= 1;
    items = mp__calloc(pool + 1, sizeof(*items));
    heads = mp__calloc(buckets, sizeof(*heads));
    if (!items || !heads) {
        (void)mp__free(items);
        (void)mp__free(heads);
        return MP_ENOMEM;
    }
    p->items = items;
    p->buckets = heads;
    p->pool = (uint32_t)pool;
    p->mask = buckets - 1;
    p->free = 0;
    for (uint32_t i = p->pool; i >= 1; i--) {
        items[i].chain = p->free;
        p->free = i;
    }
    p->capacity = capacity;
    set_room(p, capacity);
    return 0;
}

static mp__policy *lirs_free(mp__policy *policy)
{
    lirs *p = (lirs *)policy;

    if (p) {
        (void)mp__free(p->items);
        (void)mp__free(p->buckets);
    }
    return mp__free(p);
}

static int lirs_make(size_t capacity, mp__policy **ret_policy)
{
    lirs *p = mp__calloc(1, sizeof(*p));
    int rc;

    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_lirs;
    rc = pool_make(p, capacity);
    if (rc) {
        (void)mp__free(p);
        return rc;
    }
    *ret_policy = &p->base;
    return 0;
}

static uint32_t *bucket_of(const lirs *p, uint64_t hash)
{
    return &p->buckets[(hash >> 20) & p->mask];
}

static uint32_t find_gone(const lirs *p, uint64_t hash)
{
    uint32_t i = *bucket_of(p, hash);

    while (i && p->items[i].hash != hash)
        i = p->items[i].chain;
    return i;
}

/* Only evicted keys are found by hash. */
static void unhash(lirs *p, uint32_t i)
{
    uint32_t *link = bucket_of(p, p->items[i].hash);

    while (*link != i)
        link = &p->items[*link].chain;
    *link = p->items[i].chain;
}

static uint32_t of_node(const mp__policy_node *node)
{
    return (uint32_t)(uintptr_t)node->newer;
}

/* ---- the lists ---- */

static void stack_remove(lirs *p, uint32_t i)
{
    item *it = &p->items[i];

    if (!it->in_stack)
        return;
    *(it->s_newer ? &p->items[it->s_newer].s_older : &p->stack.newest) = it->s_older;
    *(it->s_older ? &p->items[it->s_older].s_newer : &p->stack.oldest) = it->s_newer;
    it->in_stack = false;
    p->stack.count--;
}

static void stack_push(lirs *p, uint32_t i)
{
    item *it = &p->items[i];

    stack_remove(p, i);
    it->s_newer = 0;
    it->s_older = p->stack.newest;
    *(it->s_older ? &p->items[it->s_older].s_newer : &p->stack.oldest) = i;
    p->stack.newest = i;
    it->in_stack = true;
    p->stack.count++;
}

static void list_remove(lirs *p, list *l, uint32_t i)
{
    item *it = &p->items[i];

    *(it->q_newer ? &p->items[it->q_newer].q_older : &l->newest) = it->q_older;
    *(it->q_older ? &p->items[it->q_older].q_newer : &l->oldest) = it->q_newer;
    l->count--;
}

static void list_add(lirs *p, list *l, uint32_t i)
{
    item *it = &p->items[i];

    it->q_newer = 0;
    it->q_older = l->newest;
    *(it->q_older ? &p->items[it->q_older].q_newer : &l->oldest) = i;
    l->newest = i;
    l->count++;
}

static void release(lirs *p, uint32_t i)
{
    stack_remove(p, i);
    p->items[i] = (item){.chain = p->free};
    p->free = i;
}

static void forget_gone(lirs *p, uint32_t i)
{
    list_remove(p, &p->gone, i);
    unhash(p, i);
    release(p, i);
}

/* The bottom of S is always LIR: what lies below the last of them says nothing any more. */
static void prune(lirs *p)
{
    uint32_t i;

    while ((i = p->stack.oldest) && p->items[i].state != LIR) {
        if (p->items[i].state == GONE)
            forget_gone(p, i);
        else
            stack_remove(p, i);
    }
}

/* The LIR that was not used for the longest time becomes a HIR. */
static void demote_one(lirs *p)
{
    uint32_t i = p->stack.oldest;

    if (!i)
        return;
    stack_remove(p, i);
    p->items[i].state = HIR;
    p->lir_count--;
    list_add(p, &p->queue, i);
    prune(p);
}

static void promote(lirs *p, uint32_t i)
{
    p->items[i].state = LIR;
    p->lir_count++;
    stack_push(p, i);
    while (p->lir_count > p->lir_max)
        demote_one(p);
}

/* ---- the policy ---- */

static uint32_t take_item(lirs *p, uint64_t hash)
{
    uint32_t i;

    if (!p->free && p->gone.oldest)
        forget_gone(p, p->gone.oldest);
    i = p->free;
    p->free = p->items[i].chain;
    p->items[i] = (item){.hash = hash};
    return i;
}

static size_t resident(const lirs *p)
{
    return p->lir_count + p->queue.count;
}

static void lirs_insert(mp__policy *policy, mp__policy_node *node)
{
    lirs *p = (lirs *)policy;
    uint32_t i = find_gone(p, node->hash);
    bool was_gone = i != 0;

    if (was_gone) {
        list_remove(p, &p->gone, i);
        unhash(p, i);
    } else {
        i = take_item(p, node->hash);
    }
    p->items[i].node = node;
    node->newer = (mp__policy_node *)(uintptr_t)i;
    if (resident(p) + 1 > p->room && p->room < p->capacity)
        set_room(p, resident(p) + 1);
    if (was_gone || p->lir_count < p->lir_max) {
        promote(p, i);
        return;
    }
    p->items[i].state = HIR;
    stack_push(p, i);
    list_add(p, &p->queue, i);
}

static void lirs_hit(mp__policy *policy, mp__policy_node *node)
{
    lirs *p = (lirs *)policy;
    uint32_t i = of_node(node);
    item *it = &p->items[i];

    if (it->state == LIR) {
        stack_push(p, i);
        prune(p);
    } else if (it->in_stack) {
        list_remove(p, &p->queue, i);
        promote(p, i);
    } else {
        stack_push(p, i);
        list_remove(p, &p->queue, i);
        list_add(p, &p->queue, i);
    }
}

static void lirs_remove(mp__policy *policy, mp__policy_node *node)
{
    lirs *p = (lirs *)policy;
    uint32_t i = of_node(node);

    if (p->items[i].state == HIR)
        list_remove(p, &p->queue, i);
    else
        p->lir_count--;
    release(p, i);
    prune(p);
}

static uint32_t next_victim(lirs *p)
{
    if (!p->queue.oldest)
        demote_one(p);
    return p->queue.oldest;
}

static mp__policy_node *evict_next(lirs *p)
{
    size_t chances = resident(p);
    mp__policy_node *node;
    uint32_t i;

    while ((i = next_victim(p)) && chances-- > 0 && mp__policy_uses_take(p->items[i].node))
        lirs_hit(&p->base, p->items[i].node);
    if (!i)
        return NULL;
    node = p->items[i].node;
    list_remove(p, &p->queue, i);
    if (!p->items[i].in_stack) {
        release(p, i);
        return node;
    }
    p->items[i].state = GONE;
    p->items[i].node = NULL;
    p->items[i].chain = *bucket_of(p, p->items[i].hash);
    *bucket_of(p, p->items[i].hash) = i;
    list_add(p, &p->gone, i);
    if (p->gone.count > p->capacity * GONE_FACTOR)
        forget_gone(p, p->gone.oldest);
    return node;
}

static mp__policy_node *lirs_evict(mp__policy *policy)
{
    lirs *p = (lirs *)policy;

    if (resident(p) < p->room)
        set_room(p, resident(p));
    return evict_next(p);
}

static void lirs_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    lirs *p = (lirs *)policy;

    next->newer = node->newer;
    p->items[of_node(node)].node = next;
}

/* The pool is made anew and what is cached goes over in the order in which it would have left. */
static int lirs_resize(mp__policy *policy, size_t capacity)
{
    lirs *p = (lirs *)policy, fresh = {.base = p->base};
    mp__policy_node *node;
    size_t cached = resident(p);
    int rc = pool_make(&fresh, capacity > cached ? capacity : cached);

    if (rc)
        return rc;
    fresh.capacity = capacity;
    set_room(&fresh, capacity);
    while ((node = evict_next(p)))
        lirs_insert(&fresh.base, node);
    (void)mp__free(p->items);
    (void)mp__free(p->buckets);
    *p = fresh;
    return 0;
}

static size_t lirs_bytes(const mp__policy *policy)
{
    const lirs *p = (const lirs *)policy;

    return sizeof(*p) + ((size_t)p->pool + 1) * sizeof(item) +
           ((size_t)p->mask + 1) * sizeof(uint32_t);
}

const mp__policy_ops mp__policy_lirs = {
    .name = "lirs",
    .text = "Keeps what comes back after few other keys, whatever came last. Jiang and Zhang, "
            "SIGMETRICS 2002: best on loops and joins, poor where only recency counts.",
    .make = lirs_make,
    .free = lirs_free,
    .insert = lirs_insert,
    .hit = lirs_hit,
    .remove = lirs_remove,
    .evict = lirs_evict,
    .replace = lirs_replace,
    .resize = lirs_resize,
    .bytes = lirs_bytes,
};
