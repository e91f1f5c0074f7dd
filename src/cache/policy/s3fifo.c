/* SPDX-License-Identifier: Apache-2.0 */
/* S3-FIFO: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction",
 * SOSP 2023. A small queue (10 %) for newcomers, a main queue, and a ghost queue of hashes of what
 * left the small one. What was used more than once in the small queue moves to the main queue; a
 * ghost that comes back enters the main queue at once; the main queue gives each use another round.
 */
#include "core/alloc.h"
#include "cache/policy/policies.h"

enum { SMALL = 0, MAIN = 1, GHOST_WAYS = 4 };

/* The ghost queue as a set-associative table of fingerprints with the time they entered, counted in
 * insertions: nothing is ever deleted, what is too old no longer counts. A quarter more places than
 * ghosts, since sets do not fill evenly. */
typedef struct ghost {
    uint32_t *slots; /* pairs: fingerprint, time */
    size_t sets;
    uint32_t now;
    size_t age_max;
} ghost;

typedef struct s3fifo {
    mp__policy base;
    mp__policy_queue queues[2];
    size_t capacity;
    ghost ghost;
} s3fifo;

static int ghost_make(ghost *g, size_t entries)
{
    size_t sets = (entries + entries / 4) / GHOST_WAYS + 1;
    uint32_t *slots;

    slots = mp__calloc(sets * GHOST_WAYS, 2 * sizeof(*slots));
    if (!slots)
        return MP_ENOMEM;
    (void)mp__free(g->slots);
    *g = (ghost){slots, sets, 1, entries};
    return 0;
}

static uint32_t fingerprint(uint64_t hash)
{
    uint32_t f = (uint32_t)(hash >> 32);

    return f ? f : 1;
}

static size_t ghost_bytes(const ghost *g)
{
    return g->sets * GHOST_WAYS * 2 * sizeof(*g->slots);
}

/* The low half of the hash spread over the sets (Lemire, "Fast random integer generation in an
 * interval", 2019); the fingerprint is of the high half. */
static uint32_t *ghost_set(const ghost *g, uint64_t hash)
{
    size_t set = (size_t)(((hash & UINT32_MAX) * (g->sets & UINT32_MAX)) >> 32);

    return g->slots + set * GHOST_WAYS * 2;
}

static void ghost_add(ghost *g, uint64_t hash)
{
    uint32_t *set = ghost_set(g, hash), *oldest = set;

    for (size_t i = 0; i < GHOST_WAYS * 2; i += 2) {
        if (!set[i] || set[i] == fingerprint(hash)) {
            oldest = set + i;
            break;
        }
        if (g->now - set[i + 1] > g->now - oldest[1])
            oldest = set + i;
    }
    oldest[0] = fingerprint(hash);
    oldest[1] = g->now++;
}

/* Whether @hash is a ghost; it is none any more afterwards. */
static bool ghost_take(ghost *g, uint64_t hash)
{
    uint32_t *set = ghost_set(g, hash);

    for (size_t i = 0; i < GHOST_WAYS * 2; i += 2)
        if (set[i] == fingerprint(hash)) {
            set[i] = 0;
            return g->now - set[i + 1] <= g->age_max;
        }
    return false;
}

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
    if (ghost_make(&p->ghost, capacity - small_target(p)) != 0) {
        (void)mp__free(p);
        return MP_ENOMEM;
    }
    *ret_policy = &p->base;
    return 0;
}

static mp__policy *s3fifo_free(mp__policy *policy)
{
    if (policy)
        (void)mp__free(((s3fifo *)policy)->ghost.slots);
    return mp__free(policy);
}

static void queue_add(s3fifo *p, uint8_t queue, mp__policy_node *node)
{
    node->queue = queue;
    mp__policy_queue_add(&p->queues[queue], node);
}

static void s3fifo_insert(mp__policy *policy, mp__policy_node *node)
{
    s3fifo *p = (s3fifo *)policy;

    atomic_store_explicit(mp__policy_uses(node), 0, memory_order_relaxed);
    queue_add(p, ghost_take(&p->ghost, node->hash) ? MAIN : SMALL, node);
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
            ghost_add(&p->ghost, node->hash);
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
    return sizeof(s3fifo) + ghost_bytes(&((const s3fifo *)policy)->ghost);
}

static int s3fifo_resize(mp__policy *policy, size_t capacity)
{
    s3fifo *p = (s3fifo *)policy;
    int rc = ghost_make(&p->ghost, capacity - (capacity / 10 ? capacity / 10 : 1));

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
    .insert = s3fifo_insert,
    .hit = s3fifo_hit,
    .remove = s3fifo_remove,
    .evict = s3fifo_evict,
    .replace = s3fifo_replace,
    .resize = s3fifo_resize,
    .bytes = s3fifo_bytes,
};
