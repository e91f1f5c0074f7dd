/* SPDX-License-Identifier: Apache-2.0 */
/* Eviction policies: a struct of functions in its own file, listed in policies.c.
 *
 * A policy orders nodes and names the next victim; it owns no entry, no lock and no clock, so that
 * the cache and a replay of a trace run the same code. Hits in the cache only raise the node's
 * frequency (2 bits, saturating, no lock); a policy looks at it when it evicts. A replay may call
 * hit() for exact order instead. */
#ifndef MP_CACHE_POLICY_POLICY_H
#define MP_CACHE_POLICY_POLICY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <marketprism/error.h>

/* Embedded in what is cached. frequency, hash and size are the owner's to set before insert(). */
typedef struct mp__policy_node {
    struct mp__policy_node *newer, *older;
    _Atomic uint8_t *frequency; /* 0 to 3 */
    uint64_t hash;
    uint32_t size; /* bytes */
    uint8_t queue; /* the policy's */
} mp__policy_node;

typedef struct mp__policy mp__policy;

typedef struct mp__policy_ops {
    const char *name;
    const char *text; /* two sentences: what it does, where it comes from */
    int (*make)(size_t capacity, mp__policy **ret_policy);
    mp__policy *(*free)(mp__policy *policy); /* the nodes stay the owner's */
    void (*insert)(mp__policy *policy, mp__policy_node *node);
    void (*hit)(mp__policy *policy, mp__policy_node *node);
    void (*remove)(mp__policy *policy, mp__policy_node *node); /* deleted, not evicted */
    /* Take the next victim out; NULL when nothing is cached. */
    mp__policy_node *(*evict)(mp__policy *policy);
    /* @next takes the place of @node, which leaves; its frequency is set already. */
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
