/* SPDX-License-Identifier: Apache-2.0 */
/* Miniature simulation (Waldspurger et al., ATC 2017) with a correction for the requests that the
 * sample has too many or too few of.
 *
 * SHARDS-adj (Waldspurger et al., FAST 2015) counts every request that is missing as a hit, since
 * what makes a sample uneven are mostly a few hot keys. In a loop that is wrong. So how many hits
 * come with a request more is asked of the sample itself: it is the slope of hits over requests
 * between its parts, and what the line leaves unexplained is the error of the estimate (ratio and
 * regression estimators: Cochran, "Sampling Techniques", chapter 7). */
#include "cache/predict.h"

#include <math.h>
#include <stdbool.h>

#include "cache/policy/policy.h"
#include "cache/replay.h"
#include "core/alloc.h"

enum {
    PARTS = 32,
    ENTRIES_MAX = 2048, /* of a miniature */
    ENTRIES_WHOLE = 256 /* a cache so small is not made smaller */
};

static const double SAMPLE_MAX = 0.5; /* more would be a second full simulation */
static const double T_90 =
    1.3; /* errors to either side: from 684 predictions on public traces, and made ones */
static const double FLOOR = 0.0015; /* of the error: a miniature is never quite the same */

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
    double sample;
    double all; /* requests, sampled or not */
    double requests[PARTS], hits[PARTS];
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
    p->sample = sample_for(capacity, entries_max);
    p->threshold = (uint32_t)fmin(p->sample * 4294967296.0, 4294967295.0);
    p->capacity = (size_t)fmax(round((double)capacity * p->sample), 1);
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
    mp__predict_see_many(p, hash, 1);
}

void mp__predict_see_many(mp__predict *p, uint64_t hash, double weight)
{
    /* other multipliers than the panel of a miniature takes: else it would sample the sample */
    uint64_t h = (hash ^ hash >> 29) * 0xbf58476d1ce4e5b9ULL;
    size_t part = h & (PARTS - 1);
    uint32_t i;

    p->all += weight;
    if ((uint32_t)(h >> 32) > p->threshold)
        return;
    p->requests[part] += weight;
    i = find(p, hash);
    if (i) {
        p->hits[part] += weight;
        p->policy->ops->hit(p->policy, &p->keys[i].node);
    } else {
        miss(p, hash);
    }
}

void mp__predict_age(mp__predict *p)
{
    p->all /= 2;
    for (size_t i = 0; i < PARTS; i++) {
        p->requests[i] /= 2;
        p->hits[i] /= 2;
    }
}

size_t mp__predict_bytes(const mp__predict *p)
{
    return sizeof(*p) + (p->capacity + 1) * sizeof(*p->keys) +
           (p->bucket_mask + 1) * sizeof(*p->buckets) + p->policy->ops->bytes(p->policy);
}

typedef struct line {
    double requests, hits;  /* of all parts */
    double slope, residual; /* hits a request more, 0 to 1; variance of a part about the line */
} line;

static line fit(const mp__predict *p)
{
    line l = {0};
    double sxx = 0, sxy = 0, rest = 0;

    for (size_t i = 0; i < PARTS; i++) {
        l.requests += p->requests[i];
        l.hits += p->hits[i];
    }
    for (size_t i = 0; i < PARTS; i++) {
        double x = p->requests[i] - l.requests / PARTS;

        sxx += x * x;
        sxy += x * (p->hits[i] - l.hits / PARTS);
    }
    l.slope = sxx > 0 ? fmin(fmax(sxy / sxx, 0), 1) : 0;
    for (size_t i = 0; i < PARTS; i++) {
        double x = p->requests[i] - l.requests / PARTS;
        double y = p->hits[i] - l.hits / PARTS - l.slope * x;

        rest += y * y;
    }
    l.residual = rest / (PARTS - 2);
    return l;
}

void mp__predict_read(const mp__predict *p, mp__prediction *ret)
{
    line l = fit(p);
    double expected = p->all * p->sample, ratio, error;

    *ret = (mp__prediction){
        .high = 1, .sample = p->sample, .entries = p->capacity, .requests = (uint64_t)l.requests};
    if (expected <= 0 || l.requests <= 0)
        return;
    ratio = (l.hits + l.slope * (expected - l.requests)) / expected;
    error = sqrt(l.residual * PARTS * (1 - p->sample)) / expected;
    error = p->sample < 1 ? T_90 * error + FLOOR : 0;
    ret->hit_ratio = fmin(fmax(ratio, 0), 1);
    ret->low = fmax(ret->hit_ratio - error, 0);
    ret->high = fmin(ret->hit_ratio + error, 1);
}
