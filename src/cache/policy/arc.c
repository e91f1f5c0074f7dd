/* SPDX-License-Identifier: Apache-2.0 */
/* ARC: Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003. T1 holds
 * what was used once lately, T2 what was used more often; B1 and B2 remember what left them, and a
 * return from one of them moves the target size of T1. */
#include "cache/policy/ghosts.h"
#include "cache/policy/policies.h"
#include "core/alloc.h"

enum { T1 = 0, T2 = 1, B1 = 0, B2 = 1, NOT_A_GHOST = 2 };

typedef struct arc {
    mp__policy base;
    mp__policy_queue queues[2];
    mp__ghosts ghosts;
    size_t capacity, target; /* of T1 */
    uint64_t coming;         /* the key that is asked for; its ghost is gone already */
    unsigned came_from;
    bool is_coming, forget; /* forget: what leaves T1 now is not remembered (case IV) */
} arc;

static mp__policy *arc_free(mp__policy *policy)
{
    if (policy)
        mp__ghosts_done(&((arc *)policy)->ghosts);
    return mp__free(policy);
}

static int arc_make(size_t capacity, mp__policy **ret_policy)
{
    arc *p = mp__calloc(1, sizeof(*p));

    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_arc;
    p->capacity = capacity;
    if (mp__ghosts_make(&p->ghosts, capacity + 1) != 0) {
        (void)mp__free(p);
        return MP_ENOMEM;
    }
    *ret_policy = &p->base;
    return 0;
}

static void learn(arc *p, unsigned from)
{
    size_t b1 = p->ghosts.lists[B1].count, b2 = p->ghosts.lists[B2].count, step;

    if (from == B1) {
        step = b1 && b2 / b1 > 1 ? b2 / b1 : 1;
        p->target = p->target + step < p->capacity ? p->target + step : p->capacity;
    } else {
        step = b2 && b1 / b2 > 1 ? b1 / b2 : 1;
        p->target = p->target > step ? p->target - step : 0;
    }
}

/* Case IV of the paper: neither cached nor remembered; there must be room in the directory. */
static void make_room_in_directory(arc *p)
{
    size_t l1 = p->queues[T1].count + p->ghosts.lists[B1].count;
    size_t all = l1 + p->queues[T2].count + p->ghosts.lists[B2].count;

    p->forget = false;
    if (l1 >= p->capacity) {
        if (p->queues[T1].count < p->capacity)
            mp__ghosts_drop_oldest(&p->ghosts, B1);
        else
            p->forget = true;
    } else if (all >= 2 * p->capacity) {
        mp__ghosts_drop_oldest(&p->ghosts, B2);
    }
}

static void arc_coming(mp__policy *policy, uint64_t hash)
{
    arc *p = (arc *)policy;
    uint32_t ghost = mp__ghosts_find(&p->ghosts, hash);

    p->coming = hash;
    p->is_coming = true;
    p->forget = false;
    p->came_from = ghost ? mp__ghosts_list(&p->ghosts, ghost) : NOT_A_GHOST;
    if (ghost) {
        learn(p, p->came_from);
        mp__ghosts_remove(&p->ghosts, ghost);
    } else {
        make_room_in_directory(p);
    }
}

static void add(arc *p, uint8_t queue, mp__policy_node *node)
{
    node->queue = queue;
    mp__policy_queue_add(&p->queues[queue], node);
}

static void arc_insert(mp__policy *policy, mp__policy_node *node)
{
    arc *p = (arc *)policy;

    if (!p->is_coming || p->coming != node->hash)
        arc_coming(policy, node->hash);
    p->is_coming = false;
    add(p, p->came_from == NOT_A_GHOST ? T1 : T2, node);
}

static void arc_remove(mp__policy *policy, mp__policy_node *node)
{
    mp__policy_queue_remove(&((arc *)policy)->queues[node->queue], node);
}

static void arc_hit(mp__policy *policy, mp__policy_node *node)
{
    arc_remove(policy, node);
    add((arc *)policy, T2, node);
}

/* REPLACE of the paper says which queue. */
static mp__policy_node *choose(const arc *p)
{
    size_t t1 = p->queues[T1].count;
    bool from_b2 = p->is_coming && p->came_from == B2;

    if (t1 && (p->forget || t1 > p->target || (from_b2 && t1 == p->target) || !p->queues[T2].count))
        return p->queues[T1].oldest;
    return p->queues[T2].oldest ? p->queues[T2].oldest : p->queues[T1].oldest;
}

static mp__policy_node *arc_evict(mp__policy *policy)
{
    arc *p = (arc *)policy;
    mp__policy_node *node;
    size_t chances = p->queues[T1].count + p->queues[T2].count;

    while ((node = choose(p)) && chances-- > 0 && mp__policy_uses_take(node))
        arc_hit(policy, node);
    if (!node)
        return NULL;
    arc_remove(policy, node);
    if (node->queue == T2 || !p->forget)
        mp__ghosts_add(&p->ghosts, node->queue == T1 ? B1 : B2, node->hash);
    p->forget = false;
    return node;
}

static void arc_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    mp__policy_queue_replace(&((arc *)policy)->queues[node->queue], node, next);
}

static int arc_resize(mp__policy *policy, size_t capacity)
{
    arc *p = (arc *)policy;
    int rc = mp__ghosts_make(&p->ghosts, capacity + 1);

    if (rc == 0) {
        p->capacity = capacity;
        p->target = p->target < capacity ? p->target : capacity;
    }
    return rc;
}

static size_t arc_bytes(const mp__policy *policy)
{
    return sizeof(arc) + mp__ghosts_bytes(&((const arc *)policy)->ghosts);
}

const mp__policy_ops mp__policy_arc = {
    .name = "arc",
    .text = "Balances recency and frequency by what it regrets having evicted. Megiddo and Modha, "
            "FAST 2003: tunes itself, but loops larger than the cache defeat it.",
    .make = arc_make,
    .free = arc_free,
    .coming = arc_coming,
    .insert = arc_insert,
    .hit = arc_hit,
    .remove = arc_remove,
    .evict = arc_evict,
    .replace = arc_replace,
    .resize = arc_resize,
    .bytes = arc_bytes,
};
