/* SPDX-License-Identifier: Apache-2.0 */
/* Adaptive: the order of the policy that serves best just now, as a panel of miniature caches says.
 *
 * The order is a mini cache of the whole size (cache/mini.h) whose owners are the nodes. When the
 * leader changes, what the new order does not hold becomes an orphan: it stays cached and goes
 * before all others, oldest first, as room is needed. So a change costs nothing at once. */
#include "cache/duty.h"
#include "cache/mini.h"
#include "cache/panel.h"
#include "cache/policy/policies.h"
#include "core/alloc.h"

enum { ORDERED, ORPHAN };

typedef struct adaptive {
    mp__policy base;
    size_t capacity;
    mp__panel *panel;
    mp__mini *order;
    mp__policy_queue orphans;
    mp__duty *duty; /* when the panel sees; NULL: always */
    bool behind;    /* the last change of the leader is still to be followed */
    bool told;      /* of hits, ever: else the counters of uses are all that the panel learns of */
} adaptive;

static mp__policy *adaptive_free(mp__policy *policy)
{
    adaptive *a = (adaptive *)policy;

    if (a) {
        a->panel = mp__panel_free(a->panel);
        a->order = mp__mini_free(a->order);
    }
    return mp__free(a);
}

static int order_new(const adaptive *a, mp__mini **ret_order)
{
    return mp__mini_new(mp__panel_shape(mp__panel_leader(a->panel)), a->capacity, true, true,
                        ret_order);
}

static int adaptive_make(size_t capacity, mp__policy **ret_policy)
{
    adaptive *a = mp__calloc(1, sizeof(*a));
    int rc;

    if (!a)
        return MP_ENOMEM;
    a->base.ops = &mp__policy_adaptive;
    a->capacity = capacity ? capacity : 1;
    rc = mp__panel_new(a->capacity, &a->panel);
    if (rc == 0)
        rc = order_new(a, &a->order);
    if (rc) {
        (void)adaptive_free(&a->base);
        return rc;
    }
    *ret_policy = &a->base;
    return 0;
}

static void orphan(adaptive *a, mp__policy_node *node)
{
    node->queue = ORPHAN;
    mp__policy_queue_add(&a->orphans, node);
}

/* True: the leader has changed. */
static bool panel_see(adaptive *a, uint64_t hash, bool hit)
{
    bool has_changed = false;
    uint64_t began;

    if (!a->duty)
        return mp__panel_see(a->panel, hash, hit);
    if (a->duty->state == MP__DUTY_OFF)
        return false;
    began = mp__duty_begin(a->duty);
    if (a->duty->state == MP__DUTY_ON)
        has_changed = mp__panel_see(a->panel, hash, hit);
    else
        mp__panel_warm(a->panel, hash);
    mp__duty_end(a->duty, began);
    return has_changed;
}

/* An ordered node has its place in the order where an orphan has its neighbour. */
static mp__mini_place *place_of(const mp__policy_node *node)
{
    return (void *)node->newer;
}

static void has_place(mp__mini *order, mp__policy_node *node, mp__mini_place *place)
{
    mp__mini_owner_set_at(order, place, node);
    node->newer = (void *)place;
    node->queue = ORDERED;
}

/* Uses that readers noted and nobody reported: the order sees them now, in the wrong place. The
 * panel does not: it knows how many it missed (hits_share). */
static void catch_up(adaptive *a)
{
    size_t chances = mp__mini_count(a->order); /* readers may go on noting without end */

    while (chances-- > 0) {
        mp__policy_node *node = mp__mini_next_victim(a->order);
        unsigned uses = node ? mp__policy_uses_take(node) : 0;

        if (!uses)
            return;
        while (uses-- > 0) {
            mp__mini_touch_at(a->order, place_of(node));
            if (!a->told) /* and no change now: the order is being walked */
                a->behind |= panel_see(a, node->hash, true);
        }
    }
}

/* Take the next victim with an owner out of the order; NULL: none is left. */
static mp__policy_node *order_evict(adaptive *a)
{
    void *owner = NULL;

    catch_up(a);
    while (mp__mini_evict(a->order, &owner))
        if (owner)
            return owner;
    return NULL;
}

/* ---- changing ---- */

typedef struct contents {
    uint64_t *hashes;
    void **owners;
    size_t count, max;
} contents;

static contents contents_free(contents *c)
{
    (void)mp__free(c->hashes);
    (void)mp__free(c->owners);
    return (contents){0};
}

static int contents_make(contents *c, size_t max)
{
    *c = (contents){.max = max};
    c->hashes = mp__calloc(max, sizeof(*c->hashes));
    c->owners = mp__calloc(max, sizeof(*c->owners));
    if (c->hashes && c->owners)
        return 0;
    *c = contents_free(c);
    return MP_ENOMEM;
}

/* Into @c what is cached, the first to go first. */
static void contents_take(adaptive *a, contents *c)
{
    mp__policy_node *node;

    while ((node = a->orphans.oldest)) {
        mp__policy_queue_remove(&a->orphans, node);
        c->hashes[c->count] = node->hash;
        c->owners[c->count++] = node;
    }
    while ((node = order_evict(a))) {
        c->hashes[c->count] = node->hash;
        c->owners[c->count++] = node;
    }
}

/* What @next holds is now ordered by it; the rest are orphans. */
static void contents_give(adaptive *a, const contents *c, mp__mini *next)
{
    for (size_t i = 0; i < c->count; i++) {
        mp__policy_node *node = c->owners[i];
        mp__mini_place *place = mp__mini_held(next, node->hash);
        const void *owner = place ? mp__mini_owner_at(next, place) : NULL;

        if (place && (!owner || owner == node))
            has_place(next, node, place);
        else
            orphan(a, node);
    }
}

static void seed(mp__mini *next, const mp__mini *member, const contents *c)
{
    mp__mini_learn(next, member);
    mp__mini_seed(next, c->hashes, c->owners, c->count);
}

static void change(adaptive *a)
{
    contents c;
    mp__mini *next = NULL;
    const mp__mini *member;
    bool whole;

    a->behind = contents_make(&c, mp__mini_count(a->order) + a->orphans.count + 1) != 0;
    if (a->behind)
        return;
    if (order_new(a, &next) != 0) {
        a->behind = true;
        c = contents_free(&c);
        return;
    }
    member = mp__panel_member(a->panel, mp__panel_leader(a->panel), &whole);
    contents_take(a, &c);
    if (!mp__panel_is_past_gone(a->panel))
        mp__mini_sketch_move(next, a->order);
    if (whole)
        mp__mini_copy(next, member);
    else
        seed(next, member, &c);
    contents_give(a, &c, next);
    a->order = mp__mini_free(a->order);
    a->order = next;
    c = contents_free(&c);
    mp__alloc_give_back();
}

static void see(adaptive *a, uint64_t hash, bool hit)
{
    if (panel_see(a, hash, hit) || a->behind)
        change(a);
}

/* ---- the policy ---- */

/* The order misses what @node stands for, and takes it up. */
static void take_up(adaptive *a, mp__policy_node *node)
{
    mp__mini_place *place = mp__mini_held(a->order, node->hash);

    if (place && mp__mini_owner_at(a->order, place)) { /* another of the same hash */
        orphan(a, node);
        return;
    }
    if (place) {
        mp__mini_touch_at(a->order, place);
        has_place(a->order, node, place);
        return;
    }
    while (mp__mini_count(a->order) >= a->capacity) {
        void *owner = NULL;

        (void)mp__mini_evict(a->order, &owner);
        if (owner)
            orphan(a, owner);
    }
    has_place(a->order, node, mp__mini_insert(a->order, node->hash, node));
}

static void adaptive_insert(mp__policy *policy, mp__policy_node *node)
{
    adaptive *a = (adaptive *)policy;

    atomic_store_explicit(mp__policy_uses(node), 0, memory_order_relaxed);
    take_up(a, node);
    see(a, node->hash, false);
}

static void adaptive_hit(mp__policy *policy, mp__policy_node *node)
{
    adaptive *a = (adaptive *)policy;

    a->told = true;
    if (node->queue == ORDERED) {
        mp__mini_touch_at(a->order, place_of(node));
    } else {
        mp__policy_queue_remove(&a->orphans, node);
        take_up(a, node);
    }
    see(a, node->hash, true);
}

static void adaptive_hit_gone(mp__policy *policy, uint64_t hash)
{
    see((adaptive *)policy, hash, true);
}

static void adaptive_hits_share(mp__policy *policy, double share)
{
    mp__panel_weigh(((adaptive *)policy)->panel, 1 / share);
}

static void adaptive_learns_by(mp__policy *policy, mp__duty *duty)
{
    ((adaptive *)policy)->duty = duty;
}

static void adaptive_remove(mp__policy *policy, mp__policy_node *node)
{
    adaptive *a = (adaptive *)policy;

    if (node->queue == ORPHAN)
        mp__policy_queue_remove(&a->orphans, node);
    else
        mp__mini_forget(a->order, node->hash);
}

static mp__policy_node *adaptive_evict(mp__policy *policy)
{
    adaptive *a = (adaptive *)policy;
    mp__policy_node *node = a->orphans.oldest;

    mp__mini_fit(a->order, mp__mini_count(a->order) + a->orphans.count);
    if (!node)
        return order_evict(a);
    mp__policy_queue_remove(&a->orphans, node);
    return node;
}

static void adaptive_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    adaptive *a = (adaptive *)policy;

    next->queue = node->queue;
    if (node->queue == ORPHAN)
        mp__policy_queue_replace(&a->orphans, node, next);
    else
        has_place(a->order, next, place_of(node));
}

/* Of the largest order: a change of the leader must not break the owner's limit. */
static size_t adaptive_bytes(const mp__policy *policy)
{
    const adaptive *a = (const adaptive *)policy;
    size_t most = 0;

    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++) {
        size_t bytes = mp__mini_bytes_for(mp__panel_shape(i), a->capacity, true, true);

        most = bytes > most ? bytes : most;
    }
    return sizeof(*a) + mp__panel_bytes(a->panel) + most;
}

static int adaptive_resize(mp__policy *policy, size_t capacity)
{
    adaptive *a = (adaptive *)policy, *next;
    mp__policy *made;
    mp__policy_node *node;
    int rc = adaptive_make(capacity, &made);

    if (rc)
        return rc;
    next = (adaptive *)made;
    next->duty = a->duty;
    while ((node = adaptive_evict(policy)))
        take_up(next, node);
    (void)mp__panel_free(a->panel);
    (void)mp__mini_free(a->order);
    *a = *next;
    (void)mp__free(next);
    return 0;
}

bool mp__adaptive_look(const mp__policy *policy, mp__panel_view *ret_view)
{
    if (policy->ops != &mp__policy_adaptive)
        return false;
    mp__panel_look(((const adaptive *)policy)->panel, ret_view);
    if (((const adaptive *)policy)->duty)
        ret_view->seen = mp__duty_seen(((const adaptive *)policy)->duty);
    return true;
}

const mp__policy_ops mp__policy_adaptive = {
    .name = "adaptive",
    .text = "Follows whichever of eight policies and windows serves the requests best just now, as "
            "miniature caches of sampled keys say, and keeps the contents when it changes. After "
            "Waldspurger et al., ATC 2017.",
    .make = adaptive_make,
    .free = adaptive_free,
    .insert = adaptive_insert,
    .hit = adaptive_hit,
    .hit_gone = adaptive_hit_gone,
    .hits_share = adaptive_hits_share,
    .learns_by = adaptive_learns_by,
    .remove = adaptive_remove,
    .evict = adaptive_evict,
    .replace = adaptive_replace,
    .resize = adaptive_resize,
    .bytes = adaptive_bytes,
};
