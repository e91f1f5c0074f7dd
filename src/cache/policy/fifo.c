/* SPDX-License-Identifier: Apache-2.0 */
/* First in, first out. */
#include "cache/policy/policies.h"
#include "core/alloc.h"

typedef struct fifo {
    mp__policy base;
    mp__policy_queue queue;
} fifo;

static int fifo_make(size_t capacity, mp__policy **ret_policy)
{
    fifo *p = mp__calloc(1, sizeof(*p));

    (void)capacity;
    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_fifo;
    *ret_policy = &p->base;
    return 0;
}

static mp__policy *fifo_free(mp__policy *policy)
{
    return mp__free(policy);
}

static void fifo_insert(mp__policy *policy, mp__policy_node *node)
{
    mp__policy_queue_add(&((fifo *)policy)->queue, node);
}

static void fifo_hit(mp__policy *policy, mp__policy_node *node)
{
    (void)policy;
    (void)node;
}

static void fifo_remove(mp__policy *policy, mp__policy_node *node)
{
    mp__policy_queue_remove(&((fifo *)policy)->queue, node);
}

static mp__policy_node *fifo_evict(mp__policy *policy)
{
    mp__policy_node *node = ((fifo *)policy)->queue.oldest;

    if (node)
        fifo_remove(policy, node);
    return node;
}

static void fifo_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    mp__policy_queue_replace(&((fifo *)policy)->queue, node, next);
}

static int fifo_resize(mp__policy *policy, size_t capacity)
{
    (void)policy;
    (void)capacity;
    return 0;
}

static size_t fifo_bytes(const mp__policy *policy)
{
    (void)policy;
    return sizeof(fifo);
}

const mp__policy_ops mp__policy_fifo = {
    .name = "fifo",
    .text =
        "Evicts what came first, used or not. The simplest order there is (Belady, 1966); it is "
        "here to be compared with.",
    .make = fifo_make,
    .free = fifo_free,
    .insert = fifo_insert,
    .hit = fifo_hit,
    .remove = fifo_remove,
    .evict = fifo_evict,
    .replace = fifo_replace,
    .resize = fifo_resize,
    .bytes = fifo_bytes,
};
