/* SPDX-License-Identifier: Apache-2.0 */
/* Miniature simulation (Waldspurger et al., ATC 2017). */
#include "cache/predict.h"

#include <math.h>
#include <stdbool.h>

#include "cache/policy/policy.h"
#include "cache/replay.h"
#include "core/alloc.h"

enum {
    ENTRIES_MAX = 2048, /* of a miniature */
    ENTRIES_WHOLE = 256 /* a cache so small is not made smaller */
};

static const double SAMPLE_MAX = 0.5; /* more would be a second full simulation */
typedef struct key {
    mp__policy_node node;
    _Atomic uint8_t uses;
    uint32_t next; /* of the bucket, or of the free ones */
} key;

struct mp__predict {
    mp__policy *policy;
    key *keys; /* from 1; 0 is none */
    uint32_t *buckets;
    size_t capacity, cached, bucket_mask;
    uint32_t free, threshold;
    mp__tally tally;
};

mp__predict *mp__predict_free(mp__predict *p)
{
    if (p) {
        if (p->policy)
            (void)p->policy->ops->free(p->policy);
        (void)mp__free(p->keys);
        (void)mp__free(p->buckets);
    }
    return mp__free(p);
}

static double sample_for(size_t capacity, size_t entries_max)
{
    double n = (double)capacity;

    return capacity <= ENTRIES_WHOLE && capacity <= entries_max
               ? 1
               : fmin(SAMPLE_MAX, (double)entries_max / n);
}

static int predict_fill(mp__predict *p, const char *policy)
{
    size_t buckets = 16;

    while (buckets < 2 * p->capacity)
        buckets *= 2;
    p->bucket_mask = buckets - 1;
    p->keys = mp__calloc(p->capacity + 1, sizeof(*p->keys));
    p->buckets = mp__calloc(buckets, sizeof(*p->buckets));
    if (!p->keys || !p->buckets)
        return MP_ENOMEM;
    for (size_t i = 1; i < p->capacity; i++)
        p->keys[i].next = (uint32_t)i + 1;
    p->free = 1;
    return mp__replay_policy_make(policy, p->capacity, &p->policy);
}

int mp__predict_new(const char *policy, size_t capacity, mp__predict **ret_predict)
{
    return mp__predict_new_within(policy, capacity, ENTRIES_MAX, ret_predict);
}

int mp__predict_new_within(const char *policy, size_t capacity, size_t entries_max,
                           mp__predict **ret_predict)
{
    mp__predict *p;
    int rc;

    if (capacity == 0 || entries_max == 0)
        return MP_EINVAL;
    p = mp__calloc(1, sizeof(*p));
    if (!p)
        return MP_ENOMEM;
    p->tally.sample = sample_for(capacity, entries_max);
    p->threshold = (uint32_t)fmin(p->tally.sample * 4294967296.0, 4294967295.0);
    p->capacity = (size_t)fmax(round((double)capacity * p->tally.sample), 1);
    rc = predict_fill(p, policy);
    if (rc) {
        (void)mp__predict_free(p);
        return rc;
    }
    *ret_predict = p;
    return 0;
}

static uint32_t *bucket_of(const mp__predict *p, uint64_t hash)
{
    return &p->buckets[(hash ^ hash >> 32) & p->bucket_mask];
}

static uint32_t find(const mp__predict *p, uint64_t hash)
{
    uint32_t i = *bucket_of(p, hash);

    while (i && p->keys[i].node.hash != hash)
        i = p->keys[i].next;
    return i;
}

static void evict(mp__predict *p)
{
    mp__policy_node *node = p->policy->ops->evict(p->policy);
    key *k = (key *)((char *)node - offsetof(key, node));
    uint32_t i = (uint32_t)(k - p->keys), *at = bucket_of(p, node->hash);

    while (*at != i)
        at = &p->keys[*at].next;
    *at = k->next;
    k->next = p->free;
    p->free = i;
    p->cached--;
}

static void miss(mp__predict *p, uint64_t hash)
{
    const mp__policy_ops *ops = p->policy->ops;
    uint32_t *bucket = bucket_of(p, hash), i;
    key *k;

    if (ops->coming)
        ops->coming(p->policy, hash);
    if (p->cached == p->capacity)
        evict(p);
    i = p->free;
    k = &p->keys[i];
    p->free = k->next;
    k->next = *bucket;
    *bucket = i;
    k->node.hash = hash;
    k->node.size = 1;
    mp__policy_uses_are(&k->node, &k->uses);
    ops->insert(p->policy, &k->node);
    p->cached++;
}

void mp__predict_see(mp__predict *p, uint64_t hash)
{
    mp__predict_see_many(p, hash, 0, 1);
}

/* With other multipliers than the panel of a miniature takes: else it would sample the sample. */
static uint64_t mixed(uint64_t hash)
{
    return (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9ULL;
}

static bool is_sampled(const mp__predict *p, uint64_t mixed_hash)
{
    return (uint32_t)(mixed_hash >> 32) <= p->threshold;
}

static bool serve(mp__predict *p, uint64_t hash)
{
    uint32_t i = find(p, hash);

    if (i)
        p->policy->ops->hit(p->policy, &p->keys[i].node);
    else
        miss(p, hash);
    return i != 0;
}

void mp__predict_see_many(mp__predict *p, uint64_t hash, unsigned stratum, double weight)
{
    uint64_t h = mixed(hash);

    mp__tally_pass(&p->tally, stratum, weight);
    if (is_sampled(p, h))
        mp__tally_add(&p->tally, h, stratum, serve(p, hash), weight);
}

void mp__predict_warm(mp__predict *p, uint64_t hash)
{
    if (is_sampled(p, mixed(hash)))
        (void)serve(p, hash);
}

void mp__predict_age(mp__predict *p)
{
    mp__tally_age(&p->tally);
}

size_t mp__predict_bytes(const mp__predict *p)
{
    return sizeof(*p) + (p->capacity + 1) * sizeof(*p->keys) +
           (p->bucket_mask + 1) * sizeof(*p->buckets) + p->policy->ops->bytes(p->policy);
}

void mp__predict_read(const mp__predict *p, mp__prediction *ret)
{
    mp__tally_read(&p->tally, ret);
    ret->entries = p->capacity;
}
