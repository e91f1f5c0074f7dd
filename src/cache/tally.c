/* SPDX-License-Identifier: Apache-2.0 */
/* A correction for the requests that the sample has too many or too few of.
 *
 * SHARDS-adj (Waldspurger et al., FAST 2015) counts every request that is missing as a hit, since
 * what makes a sample uneven are mostly a few hot keys. In a loop that is wrong. So how many hits
 * come with a request more is asked of the sample itself: it is the slope of hits over requests
 * between its parts, in each stratum, and what the lines leave unexplained is the error of the
 * estimate (post-stratification and regression estimators: Cochran, "Sampling Techniques",
 * chapters 5A and 7). */
#include "cache/tally.h"

#include <math.h>

enum {
    PARTS = MP__TALLY_PARTS,
    PARTS_LEAST = PARTS / 4, /* with a request, for a scatter that means anything */
};

static const double T_90 = 1.65;    /* errors to either side, as of a normal distribution; */
static const double FLOOR = 0.0002; /* and a miniature is never quite the same */

void mp__tally_add(mp__tally *t, uint64_t hash, unsigned stratum, bool hit, double weight)
{
    size_t part = hash & (PARTS - 1);

    t->requests[stratum][part] += weight;
    t->hits[stratum][part] += hit ? weight : 0;
}

void mp__tally_age(mp__tally *t)
{
    for (size_t s = 0; s < MP__STRATA; s++) {
        t->all[s] /= 2;
        for (size_t i = 0; i < PARTS; i++) {
            t->requests[s][i] /= 2;
            t->hits[s][i] /= 2;
        }
    }
}

typedef struct line {
    double requests, hits; /* of all parts */
    double slope;          /* hits a request more, 0 to 1 */
} line;

static line fit(const mp__tally *t, size_t stratum)
{
    const double *requests = t->requests[stratum], *hits = t->hits[stratum];
    line l = {0};
    double sxx = 0, sxy = 0;

    for (size_t i = 0; i < PARTS; i++) {
        l.requests += requests[i];
        l.hits += hits[i];
    }
    for (size_t i = 0; i < PARTS; i++) {
        double x = requests[i] - l.requests / PARTS;

        sxx += x * x;
        sxy += x * (hits[i] - l.hits / PARTS);
    }
    l.slope = sxx > 0 ? fmin(fmax(sxy / sxx, 0), 1) : 0;
    return l;
}

static void widen(mp__prediction *is, double error)
{
    is->low = fmax(is->hit_ratio - error, 0);
    is->high = fmin(is->hit_ratio + error, 1);
}

/* A sample of a few keys looks as if it were certain: hardly a part has anything to scatter. */
static bool is_scant(const mp__tally *t)
{
    unsigned seen = 0;

    for (size_t i = 0; i < PARTS; i++)
        seen += t->requests[0][i] + t->requests[1][i] > 0;
    return seen < PARTS_LEAST;
}

void mp__tally_read(const mp__tally *t, mp__prediction *ret)
{
    double rests[PARTS] = {0}, all = 0, hits = 0, requests = 0, rest = 0;

    *ret = (mp__prediction){.high = 1, .sample = t->sample};
    for (size_t s = 0; s < MP__STRATA; s++) {
        line l = fit(t, s);
        double expected = t->all[s] * t->sample;

        all += expected;
        requests += l.requests;
        if (expected > 0)
            hits += fmin(fmax(l.hits + l.slope * (expected - l.requests), 0), expected);
        for (size_t i = 0; i < PARTS; i++)
            rests[i] +=
                t->hits[s][i] - l.hits / PARTS - l.slope * (t->requests[s][i] - l.requests / PARTS);
    }
    ret->requests = (uint64_t)requests;
    if (all <= 0 || requests <= 0)
        return;
    for (size_t i = 0; i < PARTS; i++)
        rest += rests[i] * rests[i];
    ret->hit_ratio = hits / all;
    rest *= PARTS / (PARTS - 2.0) * (1 - t->sample) / (all * all);
    if (t->sample < 1)
        widen(ret, is_scant(t) ? 1 : T_90 * sqrt(rest) + FLOOR);
    else
        widen(ret, 0);
}

/* Let the requests of @stratum count @times as much. */
static void weigh(mp__tally *t, size_t stratum, double times)
{
    t->all[stratum] *= times;
    for (size_t i = 0; i < PARTS; i++) {
        t->requests[stratum][i] *= times;
        t->hits[stratum][i] *= times;
    }
}

void mp__tally_read_as(const mp__tally *t, const double passed[MP__STRATA], mp__prediction *ret)
{
    mp__tally as = *t;
    double all = 0, told = 0, of_told = 0, untold;
    mp__prediction raw;

    for (size_t s = 0; s < MP__STRATA; s++) {
        all += passed[s];
        told += t->all[s];
        of_told += t->all[s] > 0 ? passed[s] : 0;
    }
    mp__tally_read(t, ret);
    if (of_told <= 0 || ret->requests == 0)
        return;
    raw = *ret;
    for (size_t s = 0; s < MP__STRATA; s++)
        if (t->all[s] > 0)
            weigh(&as, s, passed[s] / of_told * told / t->all[s]);
    mp__tally_read(&as, ret);
    ret->requests = raw.requests;
    untold = 1 - of_told / all;
    ret->hit_ratio = ret->hit_ratio * (1 - untold) + (t->all[true] > 0 ? 0 : untold);
    ret->low *= 1 - untold;
    ret->high = ret->high * (1 - untold) + untold;
}

/* docs/cache.md has what holds with and without. */
void mp__tally_loosen(mp__prediction *is)
{
    static const double WIDER = 1.2;

    widen(is, WIDER * fmax(is->high - is->hit_ratio, is->hit_ratio - is->low) + 10 * FLOOR);
}

void mp__tally_spread(mp__prediction *is, double requests)
{
    static const double UNSEEN =
        0.4; /* of the chance: the parts of the sample show the rest of it */
    double p = is->hit_ratio, chance = UNSEEN * T_90 * T_90 * p * (1 - p);
    double below = p - is->low, above = is->high - p;

    if (requests <= 0)
        return;
    is->low = fmax(p - sqrt(below * below + chance / requests), 0);
    is->high = fmin(p + sqrt(above * above + chance / requests), 1);
}
