/* SPDX-License-Identifier: Apache-2.0 */
/* W-TinyLFU: Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM
 * Transactions on Storage 13(4), 2017. A window (an LRU) takes everything; what leaves it enters
 * the main part, a segmented LRU (Karedla, Love, Wherry, IEEE Computer 27(3), 1994), only if a
 * sketch of frequencies says that it is asked for more often than what would have to go. */
#include "cache/policy/wtinylfu.h"

#include <math.h>

#include "cache/policy/policies.h"
#include "core/alloc.h"

enum { WINDOW = 0, PROBATION = 1, PROTECTED = 2, ROWS = 4, COUNT_MAX = 15, SAMPLE = 10 };
enum { SCALE = 65536 };

/* Counters of four bits, two a byte, four rows: a count-min sketch (Cormode, Muthukrishnan, 2005)
 * that is halved each SAMPLE times the capacity, so that it forgets. */
typedef struct sketch {
    uint8_t *bytes;
    size_t mask;    /* counters of a row - 1 */
    uint64_t scale; /* of SCALE: so many of the counters are used, all but in a miniature */
    size_t additions_max;
    double additions;
    bool is_told; /* additions are what mp__wtinylfu_pass() says, not what is counted */
} sketch;

typedef struct wtinylfu {
    mp__policy base;
    mp__policy_queue queues[3];
    sketch sketch;
    size_t capacity, window_max, protected_max;
    unsigned percent;
    uint64_t random; /* for ties against attackers */
} wtinylfu;

/* ---- the sketch ---- */

static size_t counters_for(size_t capacity)
{
    size_t counters = 64;

    while (counters < capacity * 4 && counters < (size_t)1 << 32)
        counters <<= 1;
    return counters;
}

static size_t additions_for(size_t capacity)
{
    return capacity * SAMPLE > 1000 ? capacity * SAMPLE : 1000;
}

static int sketch_make(sketch *s, size_t capacity)
{
    size_t counters = counters_for(capacity);
    uint8_t *bytes = mp__calloc(ROWS, counters / 2);

    if (!bytes)
        return MP_ENOMEM;
    (void)mp__free(s->bytes);
    *s = (sketch){.bytes = bytes,
                  .mask = counters - 1,
                  .scale = SCALE,
                  .additions_max = additions_for(capacity),
                  .is_told = s->is_told};
    return 0;
}

static size_t sketch_bytes(const sketch *s)
{
    return (s->mask + 1) / 2 * ROWS;
}

/* Each row looks at the hash in its own way. */
static size_t counter_of(const sketch *s, uint64_t hash, unsigned row)
{
    static const uint64_t seeds[ROWS] = {0xc3a5c85c97cb3127u, 0xb492b66fbe98f273u,
                                         0x9ae16a3b2f90404fu, 0xcbf29ce484222325u};

    hash *= seeds[row];
    return (size_t)((hash >> 24 & s->mask) * s->scale / SCALE);
}

static unsigned read_counter(const sketch *s, size_t counter, unsigned row)
{
    uint8_t byte = s->bytes[row * ((s->mask + 1) / 2) + counter / 2];

    return counter & 1 ? byte >> 4 : byte & 15u;
}

static void raise_counter(sketch *s, size_t counter, unsigned row)
{
    uint8_t *byte = &s->bytes[row * ((s->mask + 1) / 2) + counter / 2];

    *byte = (uint8_t)(*byte + (counter & 1 ? 16 : 1));
}

static unsigned frequency(const sketch *s, uint64_t hash)
{
    unsigned least = COUNT_MAX;

    for (unsigned row = 0; row < ROWS; row++) {
        unsigned n = read_counter(s, counter_of(s, hash, row), row);

        least = n < least ? n : least;
    }
    return least;
}

static void halve(sketch *s)
{
    for (size_t i = 0; i < sketch_bytes(s); i++)
        s->bytes[i] = (s->bytes[i] >> 1) & 0x77;
    s->additions -= (double)s->additions_max / 2;
}

static void pass(sketch *s, double additions)
{
    s->additions += additions;
    if (s->additions >= (double)s->additions_max)
        halve(s);
}

/* Only the least of the four are raised (conservative update). */
static void count_use(sketch *s, uint64_t hash)
{
    unsigned least = frequency(s, hash);

    if (least < COUNT_MAX)
        for (unsigned row = 0; row < ROWS; row++) {
            size_t counter = counter_of(s, hash, row);

            if (read_counter(s, counter, row) == least)
                raise_counter(s, counter, row);
        }
    if (!s->is_told)
        pass(s, 1);
}

/* ---- sizes ---- */

static void set_sizes(wtinylfu *p)
{
    size_t window = p->capacity * p->percent / 100;

    p->window_max = window ? window : 1;
    p->protected_max = (p->capacity - (window < p->capacity ? window : p->capacity)) * 8 / 10;
}

int mp__wtinylfu_stand_for(mp__policy *policy, size_t capacity)
{
    wtinylfu *p = (wtinylfu *)policy;
    double share = (double)p->capacity / (double)capacity;
    double counters = (double)counters_for(capacity) * share;
    int rc = sketch_make(&p->sketch, (size_t)ceil(counters / 4));

    if (rc)
        return rc;
    p->sketch.additions_max = (size_t)fmax((double)additions_for(capacity) * share, 1);
    p->sketch.scale = (uint64_t)(counters / (double)(p->sketch.mask + 1) * SCALE);
    p->sketch.is_told = true;
    return 0;
}

void mp__wtinylfu_pass(mp__policy *policy, double requests)
{
    sketch *s = &((wtinylfu *)policy)->sketch;

    s->is_told = true;
    pass(s, requests);
}

static mp__policy *wtinylfu_free(mp__policy *policy)
{
    if (policy)
        (void)mp__free(((wtinylfu *)policy)->sketch.bytes);
    return mp__free(policy);
}

int mp__wtinylfu_make(size_t capacity, unsigned percent, mp__policy **ret_policy)
{
    wtinylfu *p = mp__calloc(1, sizeof(*p));

    if (!p)
        return MP_ENOMEM;
    p->base.ops = &mp__policy_wtinylfu;
    p->capacity = capacity;
    p->percent = percent;
    p->random = 0x9E3779B97F4A7C15u;
    set_sizes(p);
    if (sketch_make(&p->sketch, capacity) != 0) {
        (void)mp__free(p);
        return MP_ENOMEM;
    }
    *ret_policy = &p->base;
    return 0;
}

static int wtinylfu_make(size_t capacity, mp__policy **ret_policy)
{
    return mp__wtinylfu_make(capacity, MP__WINDOW_STANDARD, ret_policy);
}

/* ---- moving ---- */

static void add(wtinylfu *p, uint8_t queue, mp__policy_node *node)
{
    node->queue = queue;
    mp__policy_queue_add(&p->queues[queue], node);
}

static void move_to(wtinylfu *p, mp__policy_node *node, uint8_t queue)
{
    mp__policy_queue_remove(&p->queues[node->queue], node);
    add(p, queue, node);
}

static void demote_protected(wtinylfu *p)
{
    while (p->queues[PROTECTED].count > p->protected_max)
        move_to(p, p->queues[PROTECTED].oldest, PROBATION);
}

void mp__wtinylfu_set_window(mp__policy *policy, unsigned percent)
{
    wtinylfu *p = (wtinylfu *)policy;

    p->percent = percent;
    set_sizes(p);
    /* a window that grew takes over what would leave next, one that shrank gives up its oldest */
    while (p->queues[WINDOW].count > p->window_max)
        move_to(p, p->queues[WINDOW].oldest, PROBATION);
    demote_protected(p);
    while (p->queues[WINDOW].count < p->window_max && p->queues[PROBATION].newest)
        move_to(p, p->queues[PROBATION].newest, WINDOW);
}

static void wtinylfu_insert(mp__policy *policy, mp__policy_node *node)
{
    wtinylfu *p = (wtinylfu *)policy;

    count_use(&p->sketch, node->hash);
    add(p, WINDOW, node);
}

static void used(wtinylfu *p, mp__policy_node *node)
{
    move_to(p, node, node->queue == WINDOW ? WINDOW : PROTECTED);
    demote_protected(p);
}

static void wtinylfu_hit(mp__policy *policy, mp__policy_node *node)
{
    wtinylfu *p = (wtinylfu *)policy;

    count_use(&p->sketch, node->hash);
    used(p, node);
}

static void wtinylfu_remove(mp__policy *policy, mp__policy_node *node)
{
    mp__policy_queue_remove(&((wtinylfu *)policy)->queues[node->queue], node);
}

/* The oldest of @queue that was not used since it was looked at; those that were are moved. */
static mp__policy_node *oldest_unused(wtinylfu *p, uint8_t queue)
{
    mp__policy_node *node;
    size_t chances = p->queues[queue].count;

    while ((node = p->queues[queue].oldest) && chances-- > 0) {
        unsigned uses = mp__policy_uses_take(node);

        if (!uses)
            return node;
        while (uses--)
            count_use(&p->sketch, node->hash);
        used(p, node);
    }
    return p->queues[queue].oldest;
}

static mp__policy_node *main_victim(wtinylfu *p)
{
    mp__policy_node *node = oldest_unused(p, PROBATION);

    return node ? node : oldest_unused(p, PROTECTED);
}

/* The newcomer must be asked for more often. A tie goes to what is there, but for one time of 128,
 * so that nobody can pin what he made look popular. */
static bool admits(wtinylfu *p, const mp__policy_node *candidate, const mp__policy_node *victim)
{
    unsigned theirs = frequency(&p->sketch, victim->hash);
    unsigned ours = frequency(&p->sketch, candidate->hash);

    if (ours > theirs)
        return true;
    if (ours < 6 || ours < theirs)
        return false;
    p->random = p->random * 6364136223846793005u + 1442695040888963407u;
    return p->random >> 57 == 0;
}

static mp__policy_node *wtinylfu_evict(mp__policy *policy)
{
    wtinylfu *p = (wtinylfu *)policy;
    mp__policy_node *candidate = NULL, *victim;

    if (p->queues[WINDOW].count >= p->window_max || !p->queues[PROBATION].count)
        candidate = oldest_unused(p, WINDOW);
    victim = main_victim(p);
    /* while the main part has room what leaves the window just goes over */
    while (candidate && p->queues[WINDOW].count > p->window_max &&
           p->queues[PROBATION].count + p->queues[PROTECTED].count < p->capacity - p->window_max) {
        move_to(p, candidate, PROBATION);
        candidate = oldest_unused(p, WINDOW);
        victim = main_victim(p);
    }
    if (candidate && victim) {
        if (admits(p, candidate, victim))
            move_to(p, candidate, PROBATION);
        else
            victim = candidate;
    } else if (!victim) {
        victim = candidate;
    }
    if (victim)
        wtinylfu_remove(policy, victim);
    return victim;
}

static void wtinylfu_replace(mp__policy *policy, mp__policy_node *node, mp__policy_node *next)
{
    mp__policy_queue_replace(&((wtinylfu *)policy)->queues[node->queue], node, next);
}

static int wtinylfu_resize(mp__policy *policy, size_t capacity)
{
    wtinylfu *p = (wtinylfu *)policy;
    int rc = sketch_make(&p->sketch, capacity);

    if (rc == 0) {
        p->capacity = capacity;
        set_sizes(p);
        demote_protected(p);
    }
    return rc;
}

static size_t wtinylfu_bytes(const mp__policy *policy)
{
    return sizeof(wtinylfu) + sketch_bytes(&((const wtinylfu *)policy)->sketch);
}

const mp__policy_ops mp__policy_wtinylfu = {
    .name = "w-tinylfu",
    .text =
        "A window takes everything, and what leaves it stays only if it is asked for more often "
        "than what would have to go. Einziger, Friedman and Manes, 2017: the best of the fixed "
        "ones over many traces.",
    .make = wtinylfu_make,
    .free = wtinylfu_free,
    .insert = wtinylfu_insert,
    .hit = wtinylfu_hit,
    .remove = wtinylfu_remove,
    .evict = wtinylfu_evict,
    .replace = wtinylfu_replace,
    .resize = wtinylfu_resize,
    .bytes = wtinylfu_bytes,
};
