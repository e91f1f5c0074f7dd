/* SPDX-License-Identifier: Apache-2.0 */
/* Miniature simulation (Waldspurger et al., ATC 2017). */
#include "cache/predict.h"

#include <math.h>
#include <stdbool.h>

#include "cache/newcomer.h"
#include "cache/policy/policies.h"
#include "cache/policy/policy.h"
#include "cache/policy/wtinylfu.h"
#include "cache/replay.h"
#include "core/alloc.h"

enum {
    GONE_SHARE = 2,      /* buckets for each place among the gone: about as many as entries */
    ENTRIES_MAX = 2048,  /* of a miniature */
    ENTRIES_WHOLE = 256, /* a cache so small is not made smaller */
};

static const double SAMPLE_MAX = 0.5; /* more would be a second full simulation */
static const double T_90 = 1.65;      /* errors to either side, as of a normal distribution */
static const double CLIFF = 0.2;      /* of the hits, or misses, that hang on a few entries */

typedef uint16_t number; /* of a key; 0: none */

typedef struct key {
    mp__policy_node node;
    _Atomic uint8_t uses;
    bool is_spare;       /* of a cliff */
    number next;         /* of the bucket, or of the free ones */
    number newer, older; /* by last use */
} key;

/* What was evicted, by hash, and how many had been by then; one forgets another. */
typedef struct gone {
    uint16_t tag, at; /* at 1 and more; 0: none */
} gone;

/* A sample has some keys too many or too few, as if the miniature had some entries less or more.
 * Mostly that hardly matters; where a loop just fits, or just does not, it is everything, and the
 * parts of the sample, which share one miniature, do not tell. So the requests are counted whose
 * answer would be another: with less, hits, while there is still room, of what was not used for
 * longest; with more, misses of what had been evicted not long before. */
typedef struct cliff {
    double entries; /* less or more, as nine samples of ten have them */
    double less, more;
    double late; /* all hits of what was not used for longest, whether there was room or not */
    gone *gone;
    uint16_t evictions; /* of the last 65,535, which are more than are remembered */
    number newest, oldest, spare_newest; /* by last use */
    size_t spare; /* the oldest, for which there would be no room with some entries less */
} cliff;

struct mp__predict {
    mp__policy *policy;
    key *keys; /* from 1; 0 is none */
    number *buckets;
    size_t capacity, cached, bucket_mask;
    number free;
    uint32_t threshold;
    mp__tally tally;
    cliff cliff;
    mp__newcomer newcomer;
    mp__predict *half; /* of the same cache, half as many entries; NULL: none */
};

mp__predict *mp__predict_free(mp__predict *p)
{
    if (p) {
        if (p->policy)
            (void)p->policy->ops->free(p->policy);
        (void)mp__free(p->keys);
        (void)mp__free(p->buckets);
        (void)mp__free(p->cliff.gone);
        (void)mp__predict_free(p->half);
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

static int predict_fill(mp__predict *p, const char *policy, size_t capacity)
{
    size_t buckets = 16;
    int rc;

    while (buckets < 2 * p->capacity)
        buckets *= 2;
    p->bucket_mask = buckets - 1;
    p->keys = mp__calloc(p->capacity + 1, sizeof(*p->keys));
    p->buckets = mp__calloc(buckets, sizeof(*p->buckets));
    p->cliff.gone = mp__calloc(buckets / GONE_SHARE, sizeof(*p->cliff.gone));
    if (!p->keys || !p->buckets || !p->cliff.gone)
        return MP_ENOMEM;
    mp__newcomer_init(&p->newcomer, p->tally.sample);
    p->cliff.entries = T_90 * sqrt((double)p->capacity * (1 - p->tally.sample));
    for (size_t i = 1; i < p->capacity; i++)
        p->keys[i].next = (number)(i + 1);
    p->free = 1;
    rc = mp__replay_policy_make(policy, p->capacity, &p->policy);
    if (rc == 0 && p->policy->ops == &mp__policy_wtinylfu)
        rc = mp__wtinylfu_stand_for(p->policy, capacity);
    return rc;
}

static int predict_make(const char *policy, size_t capacity, size_t entries_max,
                        mp__predict **ret_predict)
{
    mp__predict *p;
    int rc;

    if (capacity == 0 || entries_max == 0 || entries_max >= UINT16_MAX)
        return MP_EINVAL;
    p = mp__calloc(1, sizeof(*p));
    if (!p)
        return MP_ENOMEM;
    p->tally.sample = sample_for(capacity, entries_max);
    p->threshold = (uint32_t)fmin(p->tally.sample * 4294967296.0, 4294967295.0);
    p->capacity = (size_t)fmax(round((double)capacity * p->tally.sample), 1);
    rc = predict_fill(p, policy, capacity);
    if (rc) {
        (void)mp__predict_free(p);
        return rc;
    }
    *ret_predict = p;
    return 0;
}

int mp__predict_new(const char *policy, size_t capacity, mp__predict **ret_predict)
{
    return mp__predict_new_within(policy, capacity, ENTRIES_MAX, true, ret_predict);
}

int mp__predict_new_within(const char *policy, size_t capacity, size_t entries_max, bool has_half,
                           mp__predict **ret_predict)
{
    mp__predict *p;
    int rc = predict_make(policy, capacity, entries_max, &p);

    if (rc)
        return rc;
    if (has_half && p->tally.sample < 1 && p->capacity > 1)
        rc = predict_make(policy, capacity, p->capacity / 2, &p->half);
    if (rc) {
        (void)mp__predict_free(p);
        return rc;
    }
    *ret_predict = p;
    return 0;
}

static number *bucket_of(const mp__predict *p, uint64_t hash)
{
    return &p->buckets[(hash ^ hash >> 32) & p->bucket_mask];
}

static number find(const mp__predict *p, uint64_t hash)
{
    number i = *bucket_of(p, hash);

    while (i && p->keys[i].node.hash != hash)
        i = p->keys[i].next;
    return i;
}

/* ---- cliffs ---- */

static void unlink_use(mp__predict *p, number i)
{
    cliff *c = &p->cliff;
    key *k = &p->keys[i];

    if (k->is_spare) {
        c->spare--;
        if (c->spare_newest == i)
            c->spare_newest = k->older;
        k->is_spare = false;
    }
    *(k->newer ? &p->keys[k->newer].older : &c->newest) = k->older;
    *(k->older ? &p->keys[k->older].newer : &c->oldest) = k->newer;
}

static void mark_spare(mp__predict *p)
{
    cliff *c = &p->cliff;
    const double room = (double)p->capacity - c->entries;

    while ((double)(p->cached - c->spare) > room) {
        number next = c->spare_newest ? p->keys[c->spare_newest].newer : c->oldest;

        if (!next)
            return;
        p->keys[next].is_spare = true;
        c->spare_newest = next;
        c->spare++;
    }
}

static void link_use(mp__predict *p, number i)
{
    cliff *c = &p->cliff;

    p->keys[i].older = c->newest;
    p->keys[i].newer = 0;
    *(c->newest ? &p->keys[c->newest].newer : &c->oldest) = i;
    c->newest = i;
    mark_spare(p);
}

static gone *gone_of(const mp__predict *p, uint64_t hash)
{
    return &p->cliff.gone[(hash ^ hash >> 32) & p->bucket_mask / GONE_SHARE];
}

static uint16_t tag_of(uint64_t hash)
{
    return (uint16_t)(hash >> 24);
}

static void remember_gone(mp__predict *p, uint64_t hash)
{
    cliff *c = &p->cliff;

    c->evictions = (uint16_t)(c->evictions + (c->evictions == UINT16_MAX ? 2 : 1));
    *gone_of(p, hash) = (gone){tag_of(hash), c->evictions};
}

/* With more entries so many of all that were evicted since this one were still there; and it stands
 * for those that others made forgotten. */
static double near_miss(const mp__predict *p, uint64_t hash)
{
    const gone *g = gone_of(p, hash);
    const size_t slots = p->bucket_mask / GONE_SHARE + 1;
    double since;

    if (!g->at || g->tag != tag_of(hash))
        return 0;
    since = (uint16_t)(p->cliff.evictions - g->at) + 1;
    return fmin(p->cliff.entries / since, 1) * exp(fmin(since / (double)slots, 2));
}

/* A hit of a key that would not be there with less, counted. */
static void note_near_hit(mp__predict *p, number i, double weight)
{
    if (!p->keys[i].is_spare)
        return;
    p->cliff.late += weight;
    if (p->cached < p->capacity)
        p->cliff.less += weight;
}

/* At a cliff the interval spans it. Elsewhere a few entries more or less are part of the scatter.
 */
static void span(const cliff *c, mp__prediction *is)
{
    double less, more;

    if (is->requests == 0)
        return;
    less = c->less / (double)is->requests;
    more = c->more / (double)is->requests;
    if (less > CLIFF * is->hit_ratio)
        is->low = fmax(is->low - less, 0);
    if (more > CLIFF * (1 - is->hit_ratio))
        is->high = fmin(is->high + more, 1);
}

/* ---- the miniature ---- */

static void evict(mp__predict *p)
{
    mp__policy_node *node = p->policy->ops->evict(p->policy);
    key *k = (key *)((char *)node - offsetof(key, node));
    number i = (number)(k - p->keys), *at = bucket_of(p, node->hash);

    mp__newcomer_evicted(&p->newcomer, p->policy);
    unlink_use(p, i);
    remember_gone(p, node->hash);
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
    number *bucket = bucket_of(p, hash), i;
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
    link_use(p, i);
    mp__newcomer_came(&p->newcomer, &k->node);
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

/* One request, sampled or not. */
static void pass(mp__predict *p)
{
    if (p->policy->ops == &mp__policy_wtinylfu)
        mp__wtinylfu_pass(p->policy, p->tally.sample);
}

static bool serve(mp__predict *p, uint64_t hash, double weight)
{
    number i = find(p, hash);

    if (!i) {
        p->cliff.more += weight * near_miss(p, hash);
        miss(p, hash);
        return false;
    }
    if (p->cached == p->capacity && !mp__newcomer_hit(&p->newcomer, p->policy, &p->keys[i].node))
        return false;
    note_near_hit(p, i, weight);
    p->policy->ops->hit(p->policy, &p->keys[i].node);
    unlink_use(p, i);
    link_use(p, i);
    return true;
}

void mp__predict_see_many(mp__predict *p, uint64_t hash, unsigned stratum, double weight)
{
    uint64_t h = mixed(hash);

    mp__tally_pass(&p->tally, stratum, weight);
    pass(p);
    if (is_sampled(p, h))
        mp__tally_add(&p->tally, h, stratum, serve(p, hash, weight), weight);
    else
        mp__newcomer_pass(&p->newcomer);
    if (p->half)
        mp__predict_see_many(p->half, hash, stratum, weight);
}

void mp__predict_warm(mp__predict *p, uint64_t hash)
{
    pass(p);
    if (is_sampled(p, mixed(hash)))
        (void)serve(p, hash, 0);
    else
        mp__newcomer_pass(&p->newcomer);
    if (p->half)
        mp__predict_warm(p->half, hash);
}

void mp__predict_age(mp__predict *p)
{
    mp__tally_age(&p->tally);
    p->cliff.less /= 2;
    p->cliff.more /= 2;
    p->cliff.late /= 2;
    if (p->half)
        mp__predict_age(p->half);
}

size_t mp__predict_bytes(const mp__predict *p)
{
    return sizeof(*p) + (p->capacity + 1) * sizeof(*p->keys) +
           (p->bucket_mask + 1) * sizeof(*p->buckets) +
           (p->bucket_mask + 1) / GONE_SHARE * sizeof(*p->cliff.gone) +
           p->policy->ops->bytes(p->policy) + (p->half ? mp__predict_bytes(p->half) : 0);
}

/* What the parts of the sample have in common they do not show: one miniature, and what becomes of
 * a policy that is made small (LIRS has a hundredth of the entries for newcomers). A miniature of
 * half as many entries has both errors larger by about as much as there is of them, so the
 * difference is one more. */
static void add_half(const mp__predict *half, const double passed[MP__STRATA], mp__prediction *is)
{
    mp__prediction of_half;
    double apart;

    mp__tally_read_as(&half->tally, passed, &of_half);
    apart = of_half.requests ? of_half.hit_ratio - is->hit_ratio : 0;
    is->low = fmax(is->hit_ratio - hypot(is->hit_ratio - is->low, apart), 0);
    is->high = fmin(is->hit_ratio + hypot(is->high - is->hit_ratio, apart), 1);
}

void mp__predict_read(const mp__predict *p, mp__prediction *ret)
{
    mp__predict_read_as(p, p->tally.all, ret);
}

void mp__predict_read_as(const mp__predict *p, const double passed[MP__STRATA], mp__prediction *ret)
{
    mp__tally_read_as(&p->tally, passed, ret);
    ret->entries = p->capacity;
    span(&p->cliff, ret);
    if (!p->half || ret->requests == 0)
        return;
    add_half(p->half, passed, ret);
    if (p->policy->ops == &mp__policy_adaptive)
        mp__tally_loosen(ret);
}

static double requests_of(const mp__tally *t)
{
    double requests = 0;

    for (size_t s = 0; s < MP__STRATA; s++)
        for (size_t i = 0; i < MP__TALLY_PARTS; i++)
            requests += t->requests[s][i];
    return requests;
}

/* A queue by use meets the slope twice, in hits just before they would be misses and in misses just
 * after they would have been hits, and only where both are it is one; else it is what the policy
 * does on purpose. W-TinyLFU turns newcomers away and meets it in misses alone. The shares, below 1
 * since the parts of the sample show some of it, are from 6 samples each of six traces and 3 of
 * cache2k-orm-busy (docs/cache.md). */
double mp__predict_size_error(const mp__predict *p)
{
    static const double BY_USE = 0.6, BY_FREQUENCY = 0.3;
    const mp__policy_ops *ops = p->policy->ops;
    double requests = requests_of(&p->tally);

    if (p->tally.sample >= 1 || requests <= 0)
        return 0;
    if (ops == &mp__policy_wtinylfu)
        return BY_FREQUENCY * p->cliff.more / requests;
    if (ops == &mp__policy_lru || ops == &mp__policy_arc || ops == &mp__policy_twoq)
        return BY_USE * fmin(p->cliff.late, p->cliff.more) / requests;
    return 0;
}
