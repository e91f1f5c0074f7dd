/* SPDX-License-Identifier: Apache-2.0 */
/* Least recently used. Where hits are reported the order is exact; where they only raise the
 * frequency, an entry that was used since it was last looked at gets a second chance. */
#include "core/alloc.h"
#include "cache/policy/policies.h"

typedef struct lru {
    mp__policy base;
    mp__policy_queue queue;
} lru;

static int lru_make(size_t capacity, mp__policy **ret_policy)
{
    lru *p = mp__calloc(1, sizeof(*p));

    (void)capacity;
    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_lru;
    *ret_policy = &p->base;
    return 0;
}

static mp__policy *lru_free(mp__policy *policy)
{
    return mp__free(policy);
}

static void lru_insert(mp__policy *policy, mp__policy_node *node)
{
    mp__policy_queue_add(&((lru *)policy)->queue, node);
}

static void lru_remove(mp__policy *policy, mp__policy_node *node)
{
    mp__policy_queue_remove(&((lru *)policy)->queue, node);
}

static void lru_hit(mp__policy *policy, mp__policy_node *node)
{
    lru_remove(policy, node);
    lru_insert(policy, node);
}

static mp__policy_node *lru_evict(mp__policy *policy)
{
    lru *p = (lru *)policy;
    mp__policy_node *node;
    size_t chances = p->queue.count; /* readers may raise what is lowered here, without end */

    while ((node = p->queue.oldest) && chances-- > 0 &&
           atomic_load_explicit(mp__policy_uses(node), memory_order_relaxed) > 0) {
        atomic_store_explicit(mp__policy_uses(node), 0, memory_order_relaxed);
        lru_hit(policy, node);
    }
    if (node)
        mp__policy_queue_remove(&p->queue, node);
    return node;
}

static int lru_resize(mp__policy *policy, size_t capacity)
{
    (void)policy;
    (void)capacity;
    return 0;
}

static void lru_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    mp__policy_queue_replace(&((lru *)policy)->queue, node, next);
    lru_hit(policy, next);
}

static size_t lru_bytes(const mp__policy *policy)
{
    (void)policy;
    return sizeof(lru);
}

const mp__policy_ops mp__policy_lru = {
    .name = "lru",
    .text = "Evicts what was not used for the longest time; a single scan flushes it. As Mattson, "
            "Gecsei, Slutz and Traiger studied it, 1970.",
    .make = lru_make,
    .free = lru_free,
    .insert = lru_insert,
    .hit = lru_hit,
    .remove = lru_remove,
    .evict = lru_evict,
    .replace = lru_replace,
    .resize = lru_resize,
    .bytes = lru_bytes,
};
