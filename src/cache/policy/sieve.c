/* SPDX-License-Identifier: Apache-2.0 */
/* SIEVE: Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is Simpler than LRU: an Efficient Turn-Key
 * Eviction Algorithm for Web Caches", NSDI 2024. One queue in the order of arrival, and a hand that
 * goes from old to new: it spares, once, what was used since it came by. */
#include "cache/policy/sieve.h"

#include "cache/policy/policies.h"
#include "core/alloc.h"

typedef struct sieve {
    mp__policy base;
    mp__policy_queue queue;
    mp__policy_node *hand; /* the next to be looked at; NULL: the oldest */
    bool was_newest;       /* what was evicted last */
    bool waits;            /* the hand is where the next key will come */
} sieve;

static int sieve_make(size_t capacity, mp__policy **ret_policy)
{
    sieve *p = mp__calloc(1, sizeof(*p));

    (void)capacity;
    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_sieve;
    *ret_policy = &p->base;
    return 0;
}

static mp__policy *sieve_free(mp__policy *policy)
{
    return mp__free(policy);
}

static void sieve_insert(mp__policy *policy, mp__policy_node *node)
{
    sieve *p = (sieve *)policy;

    atomic_store_explicit(mp__policy_uses(node), 0, memory_order_relaxed);
    mp__policy_queue_add(&p->queue, node);
    if (p->waits)
        p->hand = node;
    p->waits = false;
}

static void sieve_hit(mp__policy *policy, mp__policy_node *node)
{
    (void)policy;
    atomic_store_explicit(mp__policy_uses(node), 1, memory_order_relaxed);
}

static void sieve_remove(mp__policy *policy, mp__policy_node *node)
{
    sieve *p = (sieve *)policy;

    if (p->hand == node)
        p->hand = node->newer;
    mp__policy_queue_remove(&p->queue, node);
}

static mp__policy_node *sieve_evict(mp__policy *policy)
{
    sieve *p = (sieve *)policy;
    mp__policy_node *node = p->hand ? p->hand : p->queue.oldest;
    size_t chances = p->queue.count; /* readers may raise what is lowered here, without end */

    while (node && chances-- > 0 && mp__policy_uses_take(node))
        node = node->newer ? node->newer : p->queue.oldest;
    if (!node)
        return NULL;
    p->hand = node->newer;
    p->was_newest = !node->newer;
    p->waits = false;
    mp__policy_queue_remove(&p->queue, node);
    return node;
}

bool mp__sieve_is_next_newcomer(const mp__policy *policy, const mp__policy_node *node)
{
    const sieve *p = (const sieve *)policy;

    return p->hand == node && p->queue.newest == node;
}

bool mp__sieve_evicted_newest(const mp__policy *policy)
{
    return ((const sieve *)policy)->was_newest;
}

void mp__sieve_wait(mp__policy *policy)
{
    ((sieve *)policy)->waits = true;
}

static void sieve_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    sieve *p = (sieve *)policy;

    if (p->hand == node)
        p->hand = next;
    mp__policy_queue_replace(&p->queue, node, next);
}

static int sieve_resize(mp__policy *policy, size_t capacity)
{
    (void)policy;
    (void)capacity;
    return 0;
}

static size_t sieve_bytes(const mp__policy *policy)
{
    (void)policy;
    return sizeof(sieve);
}

const mp__policy_ops mp__policy_sieve = {
    .name = "sieve",
    .text = "One queue and a hand that spares, once, what was used since it last came by. Zhang et "
            "al., NSDI 2024: simpler than LRU and better on web traffic, but a scan flushes it.",
    .make = sieve_make,
    .free = sieve_free,
    .insert = sieve_insert,
    .hit = sieve_hit,
    .remove = sieve_remove,
    .evict = sieve_evict,
    .replace = sieve_replace,
    .resize = sieve_resize,
    .bytes = sieve_bytes,
};
