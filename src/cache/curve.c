/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/curve.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/alloc.h"

enum {
    OTHERS = 4,
    SELF = 2, /* the point of the capacity itself */
    AGE = 32,
    ENTRIES_FIXED = 512,
    ENTRIES_ADAPTIVE = 256 /* there are three times as many */
};

static const double FLOOR = 0.004;          /* of the error of what is set right; */
static const double FLOOR_ADAPTIVE = 0.015; /* it is not quite the best of those it follows */
static const double WIDER = 1.6; /* since how far it is off is not quite the same at each size */

static const double times[MP__CURVE_POINTS] = {0.25, 0.5, 1, 2, 4};
/* The first three give most of what the adaptive policy can choose from, at every point; LIRS is
 * followed at the capacity itself alone. */
static const char *const others[OTHERS] = {"lru", "s3-fifo", "w-tinylfu", "lirs"};
enum { BEST_OF = 3 };

struct mp__curve {
    const char *policy; /* one of others, or a name of its own in @own */
    size_t capacity;
    size_t entries[MP__CURVE_POINTS];
    bool is_adaptive;
    mp__predict *points[MP__CURVE_POINTS][BEST_OF]; /* of a fixed policy only [0] */
    mp__predict *beside[OTHERS];                    /* at the capacity; NULL: in points */
    double seen, hits; /* of the cache itself, aged as the miniatures */
    char own[32];
};

mp__curve *mp__curve_free(mp__curve *c)
{
    if (c) {
        for (size_t p = 0; p < MP__CURVE_POINTS; p++)
            for (size_t i = 0; i < BEST_OF; i++)
                c->points[p][i] = mp__predict_free(c->points[p][i]);
        for (size_t i = 0; i < OTHERS; i++)
            c->beside[i] = mp__predict_free(c->beside[i]);
    }
    return mp__free(c);
}

static int make_points(mp__curve *c)
{
    size_t each = c->is_adaptive ? BEST_OF : 1;
    int rc = 0;

    for (size_t p = 0; p < MP__CURVE_POINTS && rc == 0; p++) {
        c->entries[p] = (size_t)fmax(round((double)c->capacity * times[p]), 1);
        for (size_t i = 0; i < each && rc == 0; i++)
            rc = mp__predict_new_within(c->is_adaptive ? others[i] : c->policy, c->entries[p],
                                        c->is_adaptive ? ENTRIES_ADAPTIVE : ENTRIES_FIXED,
                                        &c->points[p][i]);
    }
    return rc;
}

static int make_beside(mp__curve *c)
{
    int rc = 0;

    for (size_t i = c->is_adaptive ? BEST_OF : 0; i < OTHERS && rc == 0; i++)
        if (strcmp(others[i], c->policy) != 0)
            rc = mp__predict_new_within(others[i], c->capacity,
                                        c->is_adaptive ? ENTRIES_ADAPTIVE : ENTRIES_FIXED,
                                        &c->beside[i]);
    return rc;
}

int mp__curve_new(const char *policy, size_t capacity, mp__curve **ret_curve)
{
    mp__curve *c = mp__calloc(1, sizeof(*c));
    int rc = strlen(policy) < sizeof(c->own) && capacity ? 0 : MP_EINVAL;

    if (!c)
        return MP_ENOMEM;
    if (rc == 0) {
        memcpy(c->own, policy, strlen(policy) + 1);
        c->policy = c->own;
        c->capacity = capacity;
        c->is_adaptive = strcmp(policy, "adaptive") == 0;
        rc = make_points(c);
    }
    if (rc == 0)
        rc = make_beside(c);
    if (rc) {
        (void)mp__curve_free(c);
        return rc;
    }
    *ret_curve = c;
    return 0;
}

static void age(mp__curve *c)
{
    c->seen /= 2;
    c->hits /= 2;
    for (size_t p = 0; p < MP__CURVE_POINTS; p++)
        for (size_t i = 0; i < BEST_OF; i++)
            if (c->points[p][i])
                mp__predict_age(c->points[p][i]);
    for (size_t i = 0; i < OTHERS; i++)
        if (c->beside[i])
            mp__predict_age(c->beside[i]);
}

void mp__curve_see(mp__curve *c, uint64_t hash, bool hit, double weight)
{
    for (size_t p = 0; p < MP__CURVE_POINTS; p++)
        for (size_t i = 0; i < BEST_OF; i++)
            if (c->points[p][i])
                mp__predict_see_many(c->points[p][i], hash, weight);
    for (size_t i = 0; i < OTHERS; i++)
        if (c->beside[i])
            mp__predict_see_many(c->beside[i], hash, weight);
    c->seen += weight;
    c->hits += hit ? weight : 0;
    if (c->seen >= AGE * (double)c->capacity) /* so the curve is that of 16 to 32 x the capacity */
        age(c);
}

static void point_raw(const mp__curve *c, size_t point, size_t *ret_entries,
                      mp__prediction *ret_prediction)
{
    *ret_entries = c->entries[point];
    mp__predict_read(c->points[point][0], ret_prediction);
    for (size_t i = 1; i < BEST_OF && c->points[point][i]; i++) {
        mp__prediction other;

        mp__predict_read(c->points[point][i], &other);
        if (other.hit_ratio > ret_prediction->hit_ratio)
            *ret_prediction = other;
    }
}

/* How much of the variance of the smaller of two nested samples the larger one has, too. */
static double shared(double small, double large)
{
    return small >= 1 ? 1 : small * (1 - large) / (large * (1 - small));
}

/* The miniature of the cache as it is hit something else than the cache did. The samples lie one in
 * another, so that is how far a smaller sample is off on average, and a part of it a larger one
 * (regression on a known total: Cochran, "Sampling Techniques", chapter 7). */
static void set_right(const mp__curve *c, mp__prediction *is)
{
    mp__prediction self;
    size_t entries;
    double off, common, error = (is->high - is->low) / 2;

    point_raw(c, SELF, &entries, &self);
    if (c->seen <= 0 || self.requests == 0)
        return;
    off = c->hits / c->seen - self.hit_ratio;
    common = is->sample <= self.sample ? shared(is->sample, self.sample)
                                       : shared(self.sample, is->sample);
    is->hit_ratio += is->sample <= self.sample ? off : off * common;
    if (is->sample >= self.sample) /* of a smaller one too little is gained to count on it */
        error *= sqrt(fmax(1 - common, 0));
    error =
        is->sample < 1 || off != 0 ? WIDER * error + (c->is_adaptive ? FLOOR_ADAPTIVE : FLOOR) : 0;
    is->hit_ratio = fmin(fmax(is->hit_ratio, 0), 1);
    is->low = fmax(is->hit_ratio - error, 0);
    is->high = fmin(is->hit_ratio + error, 1);
}

void mp__curve_point(const mp__curve *c, size_t point, size_t *ret_entries,
                     mp__prediction *ret_prediction)
{
    point_raw(c, point, ret_entries, ret_prediction);
    set_right(c, ret_prediction);
}

/* The curve is smooth over the logarithm of the size, but for cliffs, which the wider of the two
 * intervals does not see either. */
static void between(const mp__prediction *a, const mp__prediction *b, double share,
                    mp__prediction *ret)
{
    *ret = a->entries < b->entries ? *a : *b;
    ret->hit_ratio = a->hit_ratio + (b->hit_ratio - a->hit_ratio) * share;
    ret->low = a->low + (b->low - a->low) * share;
    ret->high = a->high + (b->high - a->high) * share;
}

int mp__curve_at(const mp__curve *c, size_t entries, mp__prediction *ret_prediction)
{
    if (entries < c->entries[0] || entries > c->entries[MP__CURVE_POINTS - 1])
        return MP_EINVAL;
    for (size_t p = 0;; p++) {
        mp__prediction a, b;
        size_t from, to;

        mp__curve_point(c, p, &from, &a);
        if (entries == from) {
            *ret_prediction = a;
            return 0;
        }
        mp__curve_point(c, p + 1, &to, &b);
        if (entries <= to) {
            between(&a, &b, log((double)entries / (double)from) / log((double)to / (double)from),
                    ret_prediction);
            return 0;
        }
    }
}

const char *mp__curve_policy(const mp__curve *c, size_t i, mp__prediction *ret_prediction)
{
    size_t entries;

    if (i == 0) {
        mp__curve_point(c, SELF, &entries, ret_prediction);
        return c->policy;
    }
    for (size_t o = 0; o < OTHERS; o++) {
        const mp__predict *p = c->beside[o];

        if (!p && c->is_adaptive && o < BEST_OF)
            p = c->points[SELF][o];
        if (!p || --i)
            continue;
        mp__predict_read(p, ret_prediction);
        set_right(c, ret_prediction);
        return others[o];
    }
    return NULL;
}

size_t mp__curve_bytes(const mp__curve *c)
{
    size_t bytes = sizeof(*c);

    for (size_t p = 0; p < MP__CURVE_POINTS; p++)
        for (size_t i = 0; i < BEST_OF; i++)
            if (c->points[p][i])
                bytes += mp__predict_bytes(c->points[p][i]);
    for (size_t i = 0; i < OTHERS; i++)
        if (c->beside[i])
            bytes += mp__predict_bytes(c->beside[i]);
    return bytes;
}
