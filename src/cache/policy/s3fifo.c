/* SPDX-License-Identifier: Apache-2.0 */
/* S3-FIFO: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction",
 * SOSP 2023. A small queue (10 %) for newcomers, a main queue, and a ghost queue of hashes of what
 * left the small one. What was used more than once in the small queue moves to the main queue; a
 * ghost that comes back enters the main queue at once; the main queue gives each use another round.
 */
#include "cache/policy/ghosts.h"
#include "cache/policy/policies.h"
#include "core/alloc.h"

enum { SMALL = 0, MAIN = 1 };

typedef struct s3fifo {
    mp__policy base;
    mp__policy_queue queues[2];
    size_t capacity;
    mp__ghosts ghosts;
    uint64_t coming; /* the key that is asked for, when it was a ghost */
    bool is_back;
} s3fifo;

static size_t small_target(const s3fifo *p)
{
    return p->capacity / 10 ? p->capacity / 10 : 1;
}

static int s3fifo_make(size_t capacity, mp__policy **ret_policy)
{
    s3fifo *p = mp__calloc(1, sizeof(*p));

    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_s3fifo;
    p->capacity = capacity;
    if (mp__ghosts_make(&p->ghosts, capacity - small_target(p)) != 0) {
        (void)mp__free(p);
        return MP_ENOMEM;
    }
    *ret_policy = &p->base;
    return 0;
}

static mp__policy *s3fifo_free(mp__policy *policy)
{
    if (policy)
        mp__ghosts_done(&((s3fifo *)policy)->ghosts);
    return mp__free(policy);
}

static void queue_add(s3fifo *p, uint8_t queue, mp__policy_node *node)
{
    node->queue = queue;
    mp__policy_queue_add(&p->queues[queue], node);
}

/* Before anything is evicted for it, or its ghost could just be pushed out. */
static void s3fifo_coming(mp__policy *policy, uint64_t hash)
{
    s3fifo *p = (s3fifo *)policy;
    uint32_t ghost = mp__ghosts_find(&p->ghosts, hash);

    p->is_back = ghost != 0;
    p->coming = hash;
    if (ghost)
        mp__ghosts_remove(&p->ghosts, ghost);
}

static void s3fifo_insert(mp__policy *policy, mp__policy_node *node)
{
    s3fifo *p = (s3fifo *)policy;

    if (p->coming != node->hash)
        s3fifo_coming(policy, node->hash);

    atomic_store_explicit(mp__policy_uses(node), 0, memory_order_relaxed);
    queue_add(p, p->is_back ? MAIN : SMALL, node);
    p->coming = 0;
    p->is_back = false;
}

static void s3fifo_hit(mp__policy *policy, mp__policy_node *node)
{
    uint8_t f = atomic_load_explicit(mp__policy_uses(node), memory_order_relaxed);

    (void)policy;
    if (f < 3)
        atomic_store_explicit(mp__policy_uses(node), (uint8_t)(f + 1), memory_order_relaxed);
}

static void s3fifo_remove(mp__policy *policy, mp__policy_node *node)
{
    mp__policy_queue_remove(&((s3fifo *)policy)->queues[node->queue], node);
}

static mp__policy_node *evict_small(s3fifo *p)
{
    mp__policy_node *node;

    while ((node = p->queues[SMALL].oldest)) {
        mp__policy_queue_remove(&p->queues[SMALL], node);
        if (atomic_load_explicit(mp__policy_uses(node), memory_order_relaxed) <= 1) {
            mp__ghosts_add(&p->ghosts, 0, node->hash);
            return node;
        }
        atomic_store_explicit(mp__policy_uses(node), 0, memory_order_relaxed);
        queue_add(p, MAIN, node);
    }
    return NULL;
}

static mp__policy_node *evict_main(s3fifo *p)
{
    mp__policy_node *node;
    size_t rounds = 3 * p->queues[MAIN].count; /* readers may raise what is lowered here, without
                                                * end; without them that is enough */

    while ((node = p->queues[MAIN].oldest)) {
        uint8_t f = atomic_load_explicit(mp__policy_uses(node), memory_order_relaxed);

        mp__policy_queue_remove(&p->queues[MAIN], node);
        if (f == 0 || rounds-- == 0)
            return node;
        atomic_store_explicit(mp__policy_uses(node), (uint8_t)(f - 1), memory_order_relaxed);
        queue_add(p, MAIN, node);
    }
    return NULL;
}

static mp__policy_node *s3fifo_evict(mp__policy *policy)
{
    s3fifo *p = (s3fifo *)policy;
    mp__policy_node *node = NULL;

    if (p->queues[SMALL].count >= small_target(p) || p->queues[MAIN].count == 0)
        node = evict_small(p);
    return node ? node : evict_main(p);
}

static void s3fifo_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    mp__policy_queue_replace(&((s3fifo *)policy)->queues[node->queue], node, next);
}

static size_t s3fifo_bytes(const mp__policy *policy)
{
    return sizeof(s3fifo) + mp__ghosts_bytes(&((const s3fifo *)policy)->ghosts);
}

static int s3fifo_resize(mp__policy *policy, size_t capacity)
{
    s3fifo *p = (s3fifo *)policy;
    int rc = mp__ghosts_make(&p->ghosts, capacity - (capacity / 10 ? capacity / 10 : 1));

    if (rc == 0)
        p->capacity = capacity;
    return rc;
}

const mp__policy_ops mp__policy_s3fifo = {
    .name = "s3-fifo",
    .text =
        "Newcomers prove themselves in a small queue before they may stay, and a hit only counts "
        "to three. Yang et al., SOSP 2023: resists scans without work on a hit.",
    .make = s3fifo_make,
    .free = s3fifo_free,
    .coming = s3fifo_coming,
    .insert = s3fifo_insert,
    .hit = s3fifo_hit,
    .remove = s3fifo_remove,
    .evict = s3fifo_evict,
    .replace = s3fifo_replace,
    .resize = s3fifo_resize,
    .bytes = s3fifo_bytes,
};
