/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/curve.h"

#include <math.h>
#include <string.h>

#include "cache/crowd.h"
#include "cache/panel.h"
#include "cache/predict.h"
#include "core/alloc.h"

enum {
    OTHERS = 4,
    SELF = 2,             /* the point of the capacity itself */
    AGE = 32,             /* so that the curve is that of 16 to 32 x the capacity */
    ENTRIES_FIXED = 512,  /* twice as many at four times the size, where the sample is smallest */
    ENTRIES_BESIDE = 192, /* of the others, beside the adaptive policy */
};

/* As the intervals are: errors to either side that hold nine of ten. */
static const double T_90 = 1.65;
static const double times[MP__CURVE_POINTS] = {0.25, 0.5, 1, 2, 4};
/* With its eight members a panel takes as much as twelve miniatures. */
static const size_t panel_entries[MP__CURVE_POINTS] = {128, 152, 0, 152, 168};
static const char *const others[OTHERS] = {"lru", "s3-fifo", "w-tinylfu", "lirs"};

/* The cache itself needs no model. Of a fixed policy it is a miniature; the adaptive one is where
 * the panel that it would have leads it. */
typedef struct point {
    size_t entries, panel_entries;
    mp__predict *predict; /* or */
    mp__panel *panel;     /* and what its leaders hit */
    uint32_t threshold;   /* of the panel's sample: most requests are of none, and go by quickly */
    mp__tally tally;
    mp__crowd crowd; /* of the leader */
} point;

struct mp__curve {
    const char *policy; /* one of others, or a name of its own in @own */
    size_t capacity;
    bool is_adaptive;
    point points[MP__CURVE_POINTS];
    mp__predict *beside[OTHERS]; /* at the capacity; NULL: it is the policy itself */
    double told[MP__STRATA];     /* misses and hits that the miniatures may see, aged as they are */
    double passed[MP__STRATA];   /* of the cache itself, likewise */
    double hit_weight;           /* of the last hit */
    char own[32];
};

mp__curve *mp__curve_free(mp__curve *c)
{
    if (c) {
        for (size_t p = 0; p < MP__CURVE_POINTS; p++) {
            c->points[p].predict = mp__predict_free(c->points[p].predict);
            c->points[p].panel = mp__panel_free(c->points[p].panel);
        }
        for (size_t i = 0; i < OTHERS; i++)
            c->beside[i] = mp__predict_free(c->beside[i]);
    }
    return mp__free(c);
}

/* LIRS has a hundredth of the entries for newcomers: five of a miniature's, and what comes between
 * two uses of a key is chance. At four times the size the miniature is larger, and a half of it
 * would take more memory than a curve may. */
static bool has_half(const mp__curve *c, const point *p)
{
    return strcmp(c->policy, "lirs") == 0 && p->entries <= 2 * c->capacity;
}

static int make_point(const mp__curve *c, point *p)
{
    int rc;

    if (!c->is_adaptive)
        return mp__predict_new_within(
            c->policy, p->entries, p->entries > 2 * c->capacity ? 2 * ENTRIES_FIXED : ENTRIES_FIXED,
            has_half(c, p), &p->predict);
    p->panel_entries = p->panel_entries < p->entries ? p->panel_entries : p->entries;
    p->tally.sample = (double)p->panel_entries / (double)p->entries;
    rc = mp__panel_new_within(p->entries, p->panel_entries, &p->panel);
    if (rc == 0)
        p->threshold = mp__panel_threshold(p->panel);
    return rc;
}

static int make_points(mp__curve *c)
{
    int rc = 0;

    for (size_t p = 0; p < MP__CURVE_POINTS && rc == 0; p++) {
        c->points[p].entries = (size_t)fmax(round((double)c->capacity * times[p]), 1);
        c->points[p].panel_entries = panel_entries[p];
        if (p != SELF)
            rc = make_point(c, &c->points[p]);
    }
    return rc;
}

static int make_beside(mp__curve *c)
{
    int rc = 0;

    for (size_t i = 0; i < OTHERS && rc == 0; i++)
        if (strcmp(others[i], c->policy) != 0)
            rc = mp__predict_new_within(others[i], c->capacity,
                                        c->is_adaptive ? ENTRIES_BESIDE : ENTRIES_FIXED, false,
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
        c->hit_weight = 1;
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

static double seen_of(const mp__curve *c)
{
    return c->passed[false] + c->passed[true];
}

static void age_counted(mp__curve *c)
{
    for (size_t s = 0; s < MP__STRATA; s++)
        c->passed[s] /= 2;
}

static void point_age(point *p)
{
    mp__tally_age(&p->tally);
    mp__crowd_age(&p->crowd);
}

static void age_sampled(mp__curve *c)
{
    for (size_t s = 0; s < MP__STRATA; s++)
        c->told[s] /= 2;
    for (size_t p = 0; p < MP__CURVE_POINTS; p++)
        if (c->points[p].predict)
            mp__predict_age(c->points[p].predict);
        else
            point_age(&c->points[p]);
    for (size_t i = 0; i < OTHERS; i++)
        if (c->beside[i])
            mp__predict_age(c->beside[i]);
}

static const mp__mini *member_of(const point *p, size_t member)
{
    bool whole;

    return mp__panel_member(p->panel, member, &whole);
}

static void note_evicted(point *p, const mp__mini *leader)
{
    uint64_t gone = mp__mini_gone(leader);

    if (gone)
        mp__crowd_evicted(&p->crowd, gone);
}

static void panel_see(const mp__curve *c, point *p, uint64_t hash, bool hit, double weight)
{
    const mp__mini *leader = member_of(p, mp__panel_leader(p->panel));
    bool has;

    mp__panel_weigh(p->panel, c->hit_weight);
    if (!mp__panel_follow(p->panel, hash, hit, weight, &has))
        return;
    mp__tally_add(&p->tally, hash, hit, has, weight);
    if (mp__crowd_see(&p->crowd, hash, has, weight))
        mp__mini_spread(member_of(p, MP__PANEL_RECENCY), p->crowd.held, MP__TALLY_PARTS);
    note_evicted(p, leader);
}

static void panel_warm(point *p, uint64_t hash)
{
    mp__panel_warm(p->panel, hash);
    note_evicted(p, member_of(p, mp__panel_leader(p->panel)));
}

/* Whether the cache had it parts the requests into two strata. Nearly all that it had a larger one
 * has too, and hardly any that it missed a smaller one has: so where most of them are, there is
 * hardly an error. */
void mp__curve_sample(mp__curve *c, uint64_t hash, bool hit, double weight)
{
    const uint32_t mixed = mp__panel_mix(hash);

    c->hit_weight = hit ? weight : c->hit_weight;
    for (size_t p = 0; p < MP__CURVE_POINTS; p++) {
        if (c->points[p].panel && mixed <= c->points[p].threshold)
            panel_see(c, &c->points[p], hash, hit, weight);
        if (c->points[p].predict)
            mp__predict_see_many(c->points[p].predict, hash, hit, weight);
    }
    for (size_t i = 0; i < OTHERS; i++)
        if (c->beside[i])
            mp__predict_see_many(c->beside[i], hash, hit, weight);
    c->told[hit] += weight;
    if (c->told[false] + c->told[true] >= AGE * (double)c->capacity)
        age_sampled(c);
}

void mp__curve_count(mp__curve *c, double hits, double misses)
{
    c->passed[true] += hits;
    c->passed[false] += misses;
    while (seen_of(c) >= AGE * (double)c->capacity)
        age_counted(c);
}

void mp__curve_see(mp__curve *c, uint64_t hash, bool hit, double weight)
{
    mp__curve_sample(c, hash, hit, weight);
    mp__curve_count(c, hit ? weight : 0, hit ? 0 : weight);
}

void mp__curve_warm(mp__curve *c, uint64_t hash)
{
    const uint32_t mixed = mp__panel_mix(hash);

    for (size_t p = 0; p < MP__CURVE_POINTS; p++) {
        if (c->points[p].predict)
            mp__predict_warm(c->points[p].predict, hash);
        if (c->points[p].panel && mixed <= c->points[p].threshold)
            panel_warm(&c->points[p], hash);
    }
    for (size_t i = 0; i < OTHERS; i++)
        if (c->beside[i])
            mp__predict_warm(c->beside[i], hash);
}

/* What is known needs no model. */
static void read_self(const mp__curve *c, mp__prediction *ret)
{
    *ret = (mp__prediction){.high = 1, .sample = 1, .entries = c->capacity};
    if (seen_of(c) <= 0)
        return;
    ret->hit_ratio = ret->low = ret->high = fmin(c->passed[true] / seen_of(c), 1);
    ret->requests = (uint64_t)fmax(seen_of(c), 1);
}

/* It was not told how many there were that are not of the sample. */
static mp__tally panel_tally(const mp__curve *c, const point *p)
{
    mp__tally tally = p->tally;

    memcpy(tally.all, c->told, sizeof(tally.all));
    return tally;
}

static void read_panel(const mp__curve *c, const point *p, mp__prediction *ret)
{
    const mp__tally tally = panel_tally(c, p);

    mp__tally_read_as(&tally, c->passed, ret);
    ret->entries = p->panel_entries;
}

static void read_point(const mp__curve *c, size_t at, mp__prediction *ret)
{
    const point *p = &c->points[at];

    if (at == SELF)
        read_self(c, ret);
    else if (p->predict)
        mp__predict_read_as(p->predict, c->passed, ret);
    else
        read_panel(c, p, ret);
}

/* How much the hit ratio changes with the logarithm of the entries, to its steeper side. */
static double slope_at(const mp__curve *c, size_t at, double hit_ratio)
{
    double steepest = 0;

    for (size_t p = at ? at - 1 : 0; p <= at + 1 && p < MP__CURVE_POINTS; p++) {
        double apart = fabs(log((double)c->points[p].entries / (double)c->points[at].entries));
        mp__prediction other;

        read_point(c, p, &other);
        if (apart > 0 && other.requests)
            steepest = fmax(steepest, fabs(other.hit_ratio - hit_ratio) / apart);
    }
    return steepest;
}

/* Of the keys in use the sample has more or fewer than its share, by the root of as many as the
 * miniature holds; to those it is a cache that is so much smaller or larger, which the parts of the
 * sample, having one miniature in common, do not show. Under W-TinyLFU they show nothing of what
 * the slope between the points is worth: it moves the frequency that all keys must have. Of the
 * others what the miniature knows where it stands is enough. */
static void add_size_error(const mp__curve *c, size_t at, mp__prediction *is)
{
    double error = mp__predict_size_error(c->points[at].predict);

    if (strcmp(c->policy, "w-tinylfu") == 0)
        error = hypot(error, T_90 * slope_at(c, at, is->hit_ratio) *
                                 sqrt((1 - is->sample) / (double)is->entries));
    is->low = fmax(is->hit_ratio - hypot(is->hit_ratio - is->low, error), 0);
    is->high = fmin(is->hit_ratio + hypot(is->high - is->hit_ratio, error), 1);
}

/* What a panel hits changes with the size, and with it when its leader does. */
static void correct_panel(const mp__curve *c, size_t at, mp__prediction *is)
{
    /* Of the slope between the points; docs/cache.md has what other shares held. */
    static const double SLOPE_SHARE = 0.8;
    const point *p = &c->points[at];
    const mp__mini *leader = member_of(p, mp__panel_leader(p->panel));
    const mp__tally tally = panel_tally(c, p);
    const mp__crowd_at here = {.tally = &tally,
                               .held = mp__mini_count(leader),
                               .entries = mp__mini_capacity(leader),
                               .slope = SLOPE_SHARE * slope_at(c, at, is->hit_ratio)};

    mp__crowd_correct(&p->crowd, &here, is);
    mp__tally_loosen(is);
}

void mp__curve_point(const mp__curve *c, size_t at, size_t *ret_entries,
                     mp__prediction *ret_prediction)
{
    *ret_entries = c->points[at].entries;
    read_point(c, at, ret_prediction);
    if (at != SELF && ret_prediction->sample < 1 && ret_prediction->requests)
        (c->points[at].panel ? correct_panel : add_size_error)(c, at, ret_prediction);
    mp__tally_spread(ret_prediction, seen_of(c));
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
    if (entries < c->points[0].entries || entries > c->points[MP__CURVE_POINTS - 1].entries)
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
    if (i == 0) {
        size_t entries;

        mp__curve_point(c, SELF, &entries, ret_prediction);
        return c->policy;
    }
    for (size_t o = 0; o < OTHERS; o++)
        if (c->beside[o] && --i == 0) {
            mp__predict_read_as(c->beside[o], c->passed, ret_prediction);
            mp__tally_spread(ret_prediction, seen_of(c));
            return others[o];
        }
    return NULL;
}

size_t mp__curve_bytes(const mp__curve *c)
{
    size_t bytes = sizeof(*c);

    for (size_t p = 0; p < MP__CURVE_POINTS; p++)
        bytes += (c->points[p].predict ? mp__predict_bytes(c->points[p].predict) : 0) +
                 (c->points[p].panel ? mp__panel_bytes(c->points[p].panel) : 0);
    for (size_t i = 0; i < OTHERS; i++)
        if (c->beside[i])
            bytes += mp__predict_bytes(c->beside[i]);
    return bytes;
}
