/* SPDX-License-Identifier: Apache-2.0 */
/* A regression estimator (Cochran, "Sampling Techniques", chapter 7) of the number of keys in use:
 * the keys that each part of the sample holds over its requests in each stratum. */
#include "cache/crowd.h"

#include <math.h>

enum {
    PARTS = MP__TALLY_PARTS,
    STRATA = MP__STRATA,
    LOOK_EACH = 64, /* requests of the sample */
};

static const double T_90 = 1.65; /* errors to either side, as of a normal distribution */
/* So many errors, which one sample in several hundred has, are no number of keys: the sample
 * lacks a hot one, or has one too many. */
static const double UNLIKELY = 3;
/* Where not even a quarter of what is missed had been evicted before, keys do not stay the same,
 * and hardly any wait for room. */
static const double BACK_LEAST = 0.25;
static const double TIMES_LEAST = 0.1; /* keys for an entry */
/* Of what the requests tell of the number of keys, for a slope that is known from a distance. */
static const double FAR_SHARE = 0.5;

static struct mp__crowd_gone *gone_of(mp__crowd *c, uint64_t hash)
{
    return &c->gone[(hash >> 8 ^ hash >> 40) & (MP__CROWD_GONE - 1)];
}

static uint16_t tag_of(uint64_t hash)
{
    return (uint16_t)(hash >> 24);
}

static void missed(mp__crowd *c, uint64_t hash, double weight)
{
    const struct mp__crowd_gone *g = gone_of(c, hash);

    c->misses += (float)weight;
    if (!g->at || g->tag != tag_of(hash))
        return;
    c->back += (float)weight;
    c->since += (float)(weight * ((uint16_t)(c->evictions - g->at) + 1));
}

bool mp__crowd_see(mp__crowd *c, uint64_t hash, bool hit, double weight)
{
    if (!hit)
        missed(c, hash, weight);
    c->turn = (uint16_t)((c->turn + 1) % LOOK_EACH);
    return c->turn == 0;
}

void mp__crowd_evicted(mp__crowd *c, uint64_t hash)
{
    c->evictions = (uint16_t)(c->evictions + (c->evictions == UINT16_MAX ? 2 : 1));
    *gone_of(c, hash) = (struct mp__crowd_gone){tag_of(hash), c->evictions};
}

void mp__crowd_age(mp__crowd *c)
{
    for (size_t i = 0; i < PARTS; i++)
        c->held[i] /= 2;
    c->misses /= 2;
    c->back /= 2;
    c->since /= 2;
}

/* How the parts differ from their mean: keys as a share of the keys of a part, requests as one of
 * its requests; and how many requests too few the sample has for each part. */
typedef struct differences {
    double held[PARTS], requests[STRATA][PARTS], lacking[STRATA];
} differences;

static bool find_differences(const mp__crowd *c, const mp__tally *t, differences *ret)
{
    double held = 0, requests[STRATA] = {0}, all = 0;

    for (size_t i = 0; i < PARTS; i++)
        held += c->held[i] / PARTS;
    for (size_t s = 0; s < STRATA; s++) {
        for (size_t i = 0; i < PARTS; i++)
            requests[s] += t->requests[s][i] / PARTS;
        all += requests[s];
    }
    if (held <= 0 || all <= 0)
        return false;
    for (size_t i = 0; i < PARTS; i++)
        ret->held[i] = c->held[i] / held - 1;
    for (size_t s = 0; s < STRATA; s++) {
        for (size_t i = 0; i < PARTS; i++)
            ret->requests[s][i] = (t->requests[s][i] - requests[s]) / all;
        ret->lacking[s] = (t->all[s] * t->sample / PARTS - requests[s]) / all;
    }
    return true;
}

static double product(const double *a, const double *b)
{
    double sum = 0;

    for (size_t i = 0; i < PARTS; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Keys a request more of each stratum, by least squares; where one stratum says nothing beside the
 * other, by that alone. */
static void fit(const differences *d, double ret_slopes[STRATA])
{
    const double *x = d->requests[0], *y = d->requests[1];
    const double xx = product(x, x), yy = product(y, y), xy = product(x, y);
    const double xk = product(x, d->held), yk = product(y, d->held);
    const double apart = xx * yy - xy * xy;

    ret_slopes[0] = xx > 0 && xx >= yy ? xk / xx : 0;
    ret_slopes[1] = yy > xx ? yk / yy : 0;
    if (apart > 1e-6 * xx * yy) {
        ret_slopes[0] = (xk * yy - yk * xy) / apart;
        ret_slopes[1] = (yk * xx - xk * xy) / apart;
    }
}

typedef struct crowding {
    double more; /* keys that the sample should have, as a share of those that it has */
    double told; /* how much of the scatter of keys that explains, 0 to 1 */
    double even; /* as many keys, asked for alike, would scatter as the requests do */
} crowding;

static crowding read_crowding(const mp__crowd *c, const mp__tally *t)
{
    double slopes[STRATA], scatter, rest = 0, uneven = 0;
    crowding is = {0};
    differences d;

    if (!find_differences(c, t, &d))
        return is;
    fit(&d, slopes);
    for (size_t i = 0; i < PARTS; i++) {
        double all = 0, left = d.held[i];

        for (size_t s = 0; s < STRATA; s++) {
            all += d.requests[s][i];
            left -= slopes[s] * d.requests[s][i];
        }
        uneven += all * all;
        rest += left * left;
    }
    is.even = uneven > 0 ? PARTS * PARTS / uneven : 0;
    scatter = product(d.held, d.held);
    for (size_t s = 0; s < STRATA; s++)
        is.more += slopes[s] * d.lacking[s];
    if (scatter > 0 &&
        fabs(is.more) <= UNLIKELY * sqrt(scatter / (PARTS - 1) / PARTS * (1 - t->sample)))
        is.told = fmax(1 - rest / (PARTS - 3) / (scatter / (PARTS - 1)), 0);
    is.more *= is.told;
    return is;
}

/* What the keys that wait for room would hit, which come back after as many others were evicted as
 * there are of them: each of them so much, and an entry more serves one of them. Where nothing was
 * evicted an entry less costs what the one that is used least does. */
static double slope_here(const mp__crowd *c, const mp__crowd_at *at, const crowding *is,
                         double hits)
{
    double back = c->misses > 0 ? c->back / c->misses : 0, slope;

    if (at->held < at->entries)
        slope = hits * fmin(is->even / (double)at->held, 1);
    else if (c->since > 0)
        slope = (1 - hits) * back * (double)at->entries * c->back / c->since *
                fmin(back / BACK_LEAST, 1);
    else
        slope = 0;
    return fmin(slope, hits); /* the last entry serves no more than the mean one */
}

/* What is lost where there are @times as many keys as entries: to them it is a cache of so many
 * times fewer. Nothing while there is room for all. */
static double loss(const mp__crowd_at *at, double slope, double times)
{
    double fewer = 1 - 1 / times;

    return slope * (at->held < at->entries ? fmax(fewer, 0) : fewer);
}

void mp__crowd_correct(const mp__crowd *c, const mp__crowd_at *at, mp__prediction *is)
{
    const double n = (double)at->entries, was = is->hit_ratio;
    double error, far, times, slope, lost, below, above, spare;
    crowding by;

    if (at->tally->sample >= 1 || is->requests == 0 || at->held == 0)
        return;
    by = read_crowding(c, at->tally);
    slope = slope_here(c, at, &by, was);
    error = T_90 * sqrt((1 - at->tally->sample) / n);
    far = at->slope * error * sqrt(1 - FAR_SHARE * by.told);
    error *= sqrt(1 - by.told);
    times = fmax((double)at->held / n * (1 + by.more), TIMES_LEAST);
    lost = loss(at, slope, times);
    below = fmax(loss(at, slope, times * (1 + error)) - lost, far);
    above = fmax(lost - loss(at, slope, times / (1 + error)), far);
    spare = c->misses > 0 ? (1 - was) * c->back / c->misses : 0;
    is->hit_ratio = fmin(fmax(was - fmax(lost, -spare), 0), 1);
    is->low = fmax(is->hit_ratio - hypot(was - is->low, below), 0);
    is->high = fmin(is->hit_ratio + hypot(is->high - was, above), 1);
}
