/* SPDX-License-Identifier: Apache-2.0 */
/* 2Q, the full version: Johnson and Shasha, "2Q: A Low Overhead High Performance Buffer Management
 * Replacement Algorithm", VLDB 1994. Newcomers go through a queue of a quarter of the cache; who
 * comes back while remembered (half as many as the cache holds) goes to the main queue, an LRU. */
#include "cache/policy/ghosts.h"
#include "cache/policy/policies.h"
#include "core/alloc.h"

enum { IN = 0, MAIN = 1 };

typedef struct twoq {
    mp__policy base;
    mp__policy_queue queues[2];
    mp__ghosts out;
    size_t in_max;
} twoq;

static size_t in_max_of(size_t capacity)
{
    return capacity / 4 ? capacity / 4 : 1;
}

static int twoq_make(size_t capacity, mp__policy **ret_policy)
{
    twoq *p = mp__calloc(1, sizeof(*p));

    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_twoq;
    p->in_max = in_max_of(capacity);
    if (mp__ghosts_make(&p->out, capacity / 2 + 1) != 0) {
        (void)mp__free(p);
        return MP_ENOMEM;
    }
    *ret_policy = &p->base;
    return 0;
}

static mp__policy *twoq_free(mp__policy *policy)
{
    if (policy)
        mp__ghosts_done(&((twoq *)policy)->out);
    return mp__free(policy);
}

static void add(twoq *p, uint8_t queue, mp__policy_node *node)
{
    node->queue = queue;
    mp__policy_queue_add(&p->queues[queue], node);
}

static void twoq_insert(mp__policy *policy, mp__policy_node *node)
{
    twoq *p = (twoq *)policy;
    uint32_t ghost = mp__ghosts_find(&p->out, node->hash);

    if (ghost)
        mp__ghosts_remove(&p->out, ghost);
    add(p, ghost ? MAIN : IN, node);
}

static void twoq_remove(mp__policy *policy, mp__policy_node *node)
{
    mp__policy_queue_remove(&((twoq *)policy)->queues[node->queue], node);
}

static void twoq_hit(mp__policy *policy, mp__policy_node *node)
{
    if (node->queue == IN)
        return; /* correlated uses count as one */
    twoq_remove(policy, node);
    add((twoq *)policy, MAIN, node);
}

static mp__policy_node *twoq_evict(mp__policy *policy)
{
    twoq *p = (twoq *)policy;
    mp__policy_node *node;
    size_t chances = p->queues[MAIN].count;

    if (p->queues[IN].count >= p->in_max || !p->queues[MAIN].count) {
        node = p->queues[IN].oldest;
        if (node) {
            twoq_remove(policy, node);
            mp__ghosts_add(&p->out, 0, node->hash);
            return node;
        }
    }
    while ((node = p->queues[MAIN].oldest) && chances-- > 0 && mp__policy_uses_take(node))
        twoq_hit(policy, node);
    if (node)
        twoq_remove(policy, node);
    return node;
}

static void twoq_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    mp__policy_queue_replace(&((twoq *)policy)->queues[node->queue], node, next);
}

static int twoq_resize(mp__policy *policy, size_t capacity)
{
    twoq *p = (twoq *)policy;
    int rc = mp__ghosts_make(&p->out, capacity / 2 + 1);

    if (rc == 0)
        p->in_max = in_max_of(capacity);
    return rc;
}

static size_t twoq_bytes(const mp__policy *policy)
{
    return sizeof(twoq) + mp__ghosts_bytes(&((const twoq *)policy)->out);
}

const mp__policy_ops mp__policy_twoq = {
    .name = "2q",
    .text = "Newcomers pass through a queue, and only those who come back soon after it join the "
            "main LRU. Johnson and Shasha, VLDB 1994: shrugs off scans and bursts.",
    .make = twoq_make,
    .free = twoq_free,
    .insert = twoq_insert,
    .hit = twoq_hit,
    .remove = twoq_remove,
    .evict = twoq_evict,
    .replace = twoq_replace,
    .resize = twoq_resize,
    .bytes = twoq_bytes,
};
