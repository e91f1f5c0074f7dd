/* SPDX-License-Identifier: Apache-2.0 */
/* Eviction policies: a struct of functions in its own file, listed in policies.c.
 *
 * A policy orders nodes and names the next victim; it owns no entry, no lock and no clock, so that
 * the cache and a replay of a trace run the same code. The cache reports hits when the next key
 * comes (cache/l1_uses.h), a replay at once. Hits that the cache could not gather only raise the
 * node's count of uses (2 bits, saturating, no lock); a policy looks at it when it evicts, and does
 * then what it would have done at the hit. */
#ifndef MP_CACHE_POLICY_POLICY_H
#define MP_CACHE_POLICY_POLICY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <marketprism/error.h>

/* Embedded in what is cached. uses_at, hash, size and expires_s are the owner's to set before
 * insert(). newer and older are the policy's, whatever it uses them for. */
typedef struct mp__policy_node {
    struct mp__policy_node *newer, *older;
    int32_t uses_at; /* bytes from the node to its use counter, 0 to 3: mp__policy_uses() */
    uint16_t mark;   /* the policy's */
    uint8_t queue;   /* the policy's */
    uint8_t kind;    /* the owner's */
    uint64_t hash;
    uint32_t size;      /* bytes */
    uint32_t expires_s; /* Unix seconds when it expires by itself; 0: never */
} mp__policy_node;

/* Counts of uses that readers raise without a lock. */
static inline _Atomic uint8_t *mp__policy_uses(mp__policy_node *node)
{
    return (_Atomic uint8_t *)((char *)node + node->uses_at);
}
/* The counter must lie within 2 GiB of the node, best in the same object. */
static inline void mp__policy_uses_are(mp__policy_node *node, _Atomic uint8_t *uses)
{
    node->uses_at = (int32_t)((intptr_t)uses - (intptr_t)node);
}
/* How often it was used since this was last asked, at most 3. */
static inline unsigned mp__policy_uses_take(mp__policy_node *node)
{
    unsigned uses = atomic_load_explicit(mp__policy_uses(node), memory_order_relaxed);

    if (uses)
        atomic_store_explicit(mp__policy_uses(node), 0, memory_order_relaxed);
    return uses;
}

typedef struct mp__policy mp__policy;
struct mp__duty;

typedef struct mp__policy_ops {
    const char *name;
    const char *text; /* two sentences: what it does, where it comes from */
    int (*make)(size_t capacity, mp__policy **ret_policy);
    mp__policy *(*free)(mp__policy *policy); /* the nodes stay the owner's */
    /* A key that is not cached was asked for: it will be inserted, after an eviction where there is
     * no room. May be NULL, and may be left out: insert() then does what it has to. */
    void (*coming)(mp__policy *policy, uint64_t hash);
    void (*insert)(mp__policy *policy, mp__policy_node *node);
    void (*hit)(mp__policy *policy, mp__policy_node *node);
    /* There was a hit of what has been evicted since. May be NULL. */
    void (*hit_gone)(mp__policy *policy, uint64_t hash);
    /* From here on each hit told stands for 1 / @share, the others being lost. May be NULL. */
    void (*hits_share)(mp__policy *policy, double share);
    /* What it learns beside its order it learns when @duty says so, which the owner keeps and tells
     * of each request first; until then always. May be NULL. */
    void (*learns_by)(mp__policy *policy, struct mp__duty *duty);
    void (*remove)(mp__policy *policy, mp__policy_node *node); /* deleted, not evicted */
    /* Take the next victim out; NULL when nothing is cached. */
    mp__policy_node *(*evict)(mp__policy *policy);
    /* @next takes the place of @node, which leaves; its uses are set already. */
    void (*replace)(mp__policy *policy, mp__policy_node *node, mp__policy_node *next);
    int (*resize)(mp__policy *policy, size_t capacity); /* 0, or MP_ENOMEM and as before */
    size_t (*bytes)(const mp__policy *policy);          /* memory of its own */
} mp__policy_ops;

struct mp__policy { /* first member of each policy's own struct */
    const mp__policy_ops *ops;
};

extern const mp__policy_ops *const mp__policies[];       /* NULL-ended */
const mp__policy_ops *mp__policy_find(const char *name); /* or NULL */

/* A queue of nodes, for the policies. */
typedef struct mp__policy_queue {
    mp__policy_node *newest, *oldest;
    size_t count;
} mp__policy_queue;

static inline void mp__policy_queue_add(mp__policy_queue *queue, mp__policy_node *node)
{
    node->newer = NULL;
    node->older = queue->newest;
    if (queue->newest)
        queue->newest->newer = node;
    else
        queue->oldest = node;
    queue->newest = node;
    queue->count++;
}

static inline void mp__policy_queue_remove(mp__policy_queue *queue, mp__policy_node *node)
{
    if (node->newer)
        node->newer->older = node->older;
    else
        queue->newest = node->older;
    if (node->older)
        node->older->newer = node->newer;
    else
        queue->oldest = node->newer;
    queue->count--;
}

static inline void mp__policy_queue_replace(mp__policy_queue *queue, mp__policy_node *node,
                                            mp__policy_node *next)
{
    next->newer = node->newer;
    next->older = node->older;
    next->queue = node->queue;
    *(node->newer ? &node->newer->older : &queue->newest) = next;
    *(node->older ? &node->older->newer : &queue->oldest) = next;
}

#endif
