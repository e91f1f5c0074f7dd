/* SPDX-License-Identifier: Apache-2.0 */
/* The curve of an L1: kept while it takes at most a hundredth of the memory, and begun anew when
 * the size or the policy changes. */
#include "cache/curve.h"
#include "cache/l1_internal.h"

enum {
    LOOK_EACH = 4, /* fills without a known miss between two looks at how many there were */
    DUE_MAX =
        256, /* misses that wait for their value: most of the others are of keys that are not */
};

static void curve_drop(mp__l1 *l1)
{
    l1->curve = mp__curve_free(l1->curve);
    l1->curve_bytes = 0;
}

/* Without memory for it there is none, and L1 goes on. */
void mp__l1_curve_renew(mp__l1 *l1)
{
    size_t slab_bytes;

    curve_drop(l1);
    l1->curve_counted = mp__l1_counts_read(l1);
    mp__duty_renew(&l1->duty, l1->entries_max);
    if (mp__curve_new(l1->ops->name, l1->entries_max, &l1->curve) == 0)
        l1->curve_bytes = mp__curve_bytes(l1->curve);
    if (l1->curve_bytes > l1->bytes_max / 100)
        curve_drop(l1);
    if (mp__l1_slab_bytes(l1->bytes_max, mp__l1_table_of(l1)->bytes,
                          mp__l1_beside(l1, mp__l1_policies_bytes(l1)), &slab_bytes) != 0) {
        curve_drop(l1);
        return;
    }
    mp__l1_shrink(l1, slab_bytes);
}

void mp__l1_curve_done(mp__l1 *l1)
{
    curve_drop(l1);
}

/* Where its time pays for it. What is not judged is remembered all the same. */
static void learn(mp__l1 *l1, uint64_t hash, bool hit, double weight, bool is_judged)
{
    uint64_t began;

    mp__duty_pass(&l1->duty);
    if (!l1->curve || l1->duty.state == MP__DUTY_OFF)
        return;
    began = mp__duty_begin(&l1->duty);
    if (is_judged && l1->duty.state == MP__DUTY_ON)
        mp__curve_sample(l1->curve, hash, hit, weight);
    else
        mp__curve_warm(l1->curve, hash);
    mp__duty_end(&l1->duty, began);
}

void mp__l1_curve_see(mp__l1 *l1, uint64_t hash, bool hit, double weight)
{
    learn(l1, hash, hit, weight, true);
}

/* A value comes. Was it asked for, or is it only written? As many as were missed are taken for what
 * was, in the order in which they come. */
void mp__l1_curve_fill(mp__l1 *l1, uint64_t hash)
{
    mp__l1_counts now;

    if (l1->misses_due == 0 && l1->inserts - l1->misses_looked >= LOOK_EACH) {
        now = mp__l1_counts_read(l1);
        l1->misses_looked = l1->inserts;
        l1->misses_due = now.misses - l1->misses_seen;
        l1->misses_due = l1->misses_due < DUE_MAX ? l1->misses_due : DUE_MAX;
        l1->misses_seen = now.misses;
    }
    learn(l1, hash, false, 1, l1->misses_due != 0);
    l1->misses_due -= l1->misses_due != 0;
}

void mp__l1_curve_count(mp__l1 *l1, const mp__l1_counts *now)
{
    if (l1->curve)
        mp__curve_count(l1->curve, (double)(now->hits - l1->curve_counted.hits),
                        (double)(now->misses - l1->curve_counted.misses));
    l1->curve_counted = *now;
}

static void forecast(mp__cache_forecast *f, const char *policy, size_t entries,
                     const mp__prediction *is)
{
    const mp__policy_ops *ops = mp__policy_find(policy);

    *f = (mp__cache_forecast){.policy = ops->name, /* lives as long as the program */
                              .entries = entries,
                              .hit_ratio = is->hit_ratio,
                              .low = is->low,
                              .high = is->high,
                              .sampled_entries = is->entries,
                              .sampled_requests = is->requests};
}

size_t mp__l1_forecasts(mp__l1 *l1, mp__cache_forecast *ret_forecasts)
{
    size_t n = 0, entries;
    const char *policy;
    mp__prediction is;

    mp__l1_lock(l1);
    mp__l1_uses_catch_up(l1);
    if (l1->curve) {
        for (size_t p = 0; p < MP__CURVE_POINTS; p++) {
            mp__curve_point(l1->curve, p, &entries, &is);
            forecast(&ret_forecasts[n++], l1->ops->name, entries, &is);
        }
        for (size_t i = 1;
             n < MP__CACHE_FORECASTS && (policy = mp__curve_policy(l1->curve, i, &is)) != NULL; i++)
            forecast(&ret_forecasts[n++], policy, l1->entries_max, &is);
    }
    mp__l1_unlock(l1);
    return n;
}

/* Of another policy at the size of now. */
static int predict_policy(const mp__l1 *l1, const char *policy, mp__prediction *ret_is)
{
    const char *name;
    mp__prediction is;

    for (size_t i = 0; (name = mp__curve_policy(l1->curve, i, &is)) != NULL; i++)
        if (strcmp(name, policy) == 0) {
            *ret_is = is;
            return 0;
        }
    return MP_EUNKNOWN;
}

int mp__l1_predict(mp__l1 *l1, const char *policy, size_t entries, mp__cache_forecast *ret_forecast)
{
    mp__prediction is;
    int rc = MP_EUNKNOWN;

    mp__l1_lock(l1);
    mp__l1_uses_catch_up(l1);
    policy = policy ? policy : l1->ops->name;
    entries = entries ? entries : l1->entries_max;
    if (l1->curve && entries == l1->entries_max)
        rc = predict_policy(l1, policy, &is);
    else if (l1->curve && strcmp(policy, l1->ops->name) == 0)
        rc = mp__curve_at(l1->curve, entries, &is);
    if (rc == 0 && is.requests == 0)
        rc = MP_EUNKNOWN;
    if (rc == 0)
        forecast(ret_forecast, policy, entries, &is);
    mp__l1_unlock(l1);
    return rc;
}
