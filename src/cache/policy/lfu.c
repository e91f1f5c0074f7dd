/* SPDX-License-Identifier: Apache-2.0 */
/* Least frequently used, with constant work: Matani, Shah, Mitra, "An O(1) algorithm for
 * implementing the LFU cache eviction scheme", 2010. A queue for each count; among equals the one
 * that reached the count first goes. Counts end at COUNT_MAX, far above what is ever evicted. */
#include "cache/policy/lfu.h"

#include "cache/policy/policies.h"
#include "core/alloc.h"

enum { COUNT_MAX = 1024 };

typedef struct lfu {
    mp__policy base;
    mp__policy_queue *queues; /* by count, from 1 */
    unsigned least;           /* no queue below it holds anything */
    size_t count;
} lfu;

static int lfu_make(size_t capacity, mp__policy **ret_policy)
{
    lfu *p = mp__calloc(1, sizeof(*p));

    (void)capacity;
    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_lfu;
    p->queues = mp__calloc(COUNT_MAX + 1, sizeof(*p->queues));
    if (!p->queues) {
        (void)mp__free(p);
        return MP_ENOMEM;
    }
    *ret_policy = &p->base;
    return 0;
}

static mp__policy *lfu_free(mp__policy *policy)
{
    if (policy)
        (void)mp__free(((lfu *)policy)->queues);
    return mp__free(policy);
}

static void lfu_insert(mp__policy *policy, mp__policy_node *node)
{
    lfu *p = (lfu *)policy;

    node->mark = 1;
    p->least = 1;
    p->count++;
    mp__policy_queue_add(&p->queues[1], node);
}

static void use(lfu *p, mp__policy_node *node, unsigned times)
{
    unsigned next = node->mark + times > COUNT_MAX ? COUNT_MAX : node->mark + times;

    mp__policy_queue_remove(&p->queues[node->mark], node);
    node->mark = (uint16_t)next;
    mp__policy_queue_add(&p->queues[next], node);
}

static void lfu_hit(mp__policy *policy, mp__policy_node *node)
{
    use((lfu *)policy, node, 1);
}

static void lfu_remove(mp__policy *policy, mp__policy_node *node)
{
    lfu *p = (lfu *)policy;

    mp__policy_queue_remove(&p->queues[node->mark], node);
    p->count--;
}

static mp__policy_node *least_of(lfu *p)
{
    while (!p->queues[p->least].oldest && p->least < COUNT_MAX)
        p->least++;
    return p->queues[p->least].oldest;
}

static mp__policy_node *lfu_evict(mp__policy *policy)
{
    lfu *p = (lfu *)policy;
    mp__policy_node *node;
    size_t chances = p->count; /* readers may raise what is lowered here, without end */
    unsigned uses;

    if (p->count == 0)
        return NULL;
    while ((node = least_of(p)) && chances-- > 0 && (uses = mp__policy_uses_take(node)) > 0)
        use(p, node, uses);
    if (node)
        lfu_remove(policy, node);
    return node;
}

bool mp__lfu_is_next_newcomer(const mp__policy *policy, const mp__policy_node *node)
{
    const mp__policy_queue *newcomers = &((const lfu *)policy)->queues[1];

    return newcomers->count == 1 && newcomers->newest == node;
}

static void lfu_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    next->mark = node->mark;
    mp__policy_queue_replace(&((lfu *)policy)->queues[node->mark], node, next);
}

static int lfu_resize(mp__policy *policy, size_t capacity)
{
    (void)policy;
    (void)capacity;
    return 0;
}

static size_t lfu_bytes(const mp__policy *policy)
{
    (void)policy;
    return sizeof(lfu) + (COUNT_MAX + 1) * sizeof(mp__policy_queue);
}

const mp__policy_ops mp__policy_lfu = {
    .name = "lfu",
    .text = "Evicts what was used least often, ever. Matani, Shah and Mitra, 2010: right where "
            "popularity stands still, and stuck with yesterday's where it does not.",
    .make = lfu_make,
    .free = lfu_free,
    .insert = lfu_insert,
    .hit = lfu_hit,
    .remove = lfu_remove,
    .evict = lfu_evict,
    .replace = lfu_replace,
    .resize = lfu_resize,
    .bytes = lfu_bytes,
};
