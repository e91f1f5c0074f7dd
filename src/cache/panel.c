/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/panel.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"

enum { OWN = MP__PANEL_MEMBERS, ROWS }; /* the cache itself is a row beside its members */

/* How the panel decides, in entries of a member where not said otherwise. */
static const double TURN = 0.125; /* sampled requests between two looks */
static const double FAST = 5;     /* horizon that notices a change of phase */
static const double SLOW = 16;    /* horizon that tells close ones apart */
static const double Z_FAST = 4;   /* lead over its own error that is asked for */
static const double Z_SLOW = 2;
static const double GAIN = 0.05;    /* and hits that it must be worth, as a change costs some */
static const double DWELL = 2;      /* sampled requests to wait between two changes, at least */
static const double DWELL_MAX = 64; /* in the least */
static const double SETTLE = 4;     /* after a change the cache has this long to become as good */
static const double SHORT = 0.05; /* as its member but for this share; else the member is barred */
static const double BAR = 64;     /* for so many sampled requests, twice as many each time */
static const double BAR_MAX = 4096;
static const double START = 6; /* index below */

static const mp__mini_shape shapes[MP__PANEL_MEMBERS] = {
    {"lru", MP__MINI_LRU, 0},
    {"s3-fifo", MP__MINI_S3FIFO, 0},
    {"2q", MP__MINI_TWOQ, 0},
    {"arc", MP__MINI_ARC, 0},
    {"lirs", MP__MINI_LIRS, 0},
    {"w-tinylfu 1 %", MP__MINI_TINYLFU, 10},
    {"w-tinylfu 10 %", MP__MINI_TINYLFU, 100},
    {"w-tinylfu 40 %", MP__MINI_TINYLFU, 400},
};

struct mp__panel {
    mp__mini *members[MP__PANEL_MEMBERS];
    size_t leader, before; /* before the last change */
    uint32_t threshold;    /* of the sample */
    double sample;
    double weight;                    /* of a hit of the cache itself */
    size_t turn, turn_length;         /* sampled requests in this turn; of a turn */
    double since, dwell, dwell_least; /* sampled requests since the last change, and to wait */
    uint64_t switches;
    double seen, all_seen; /* requests, decayed: of the sample, of all */
    /* This turn, apart for requests that the cache itself missed [0] and had [1]. */
    uint64_t all_turn[2];
    uint32_t won[2][ROWS][ROWS]; /* hits of one that the other missed */
    uint32_t hits[2][ROWS], turn_seen[2];
    double won_sum[2][ROWS][ROWS], won_variance[2][ROWS][ROWS]; /* decayed, fast and slow */
    double hits_sum[MP__PANEL_MEMBERS];
    double entries, now; /* of a member; sampled requests in all */
    double barred_until[MP__PANEL_MEMBERS], bar_length[MP__PANEL_MEMBERS];
    double keep[2], z[2]; /* share kept a turn, and the lead over the error that is asked */
};

mp__panel *mp__panel_free(mp__panel *p)
{
    if (p)
        for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
            p->members[i] = mp__mini_free(p->members[i]);
    return mp__free(p);
}

const mp__mini_shape *mp__panel_shape(size_t member)
{
    return &shapes[member];
}

int mp__panel_new(size_t capacity, mp__panel **ret_panel)
{
    return mp__panel_new_within(capacity, MP__PANEL_ENTRIES, ret_panel);
}

int mp__panel_new_within(size_t capacity, size_t entries_max, mp__panel **ret_panel)
{
    mp__panel *p = mp__calloc(1, sizeof(*p));
    size_t entries = entries_max;
    double n;

    if (!p)
        return MP_ENOMEM;
    entries = capacity < entries ? capacity : entries;
    p->entries = n = (double)entries;
    p->sample = n / (double)capacity;
    p->threshold = (uint32_t)fmin(p->sample * 4294967296.0, 4294967295.0);
    p->turn_length = (size_t)fmax(n * TURN, 16);
    p->keep[0] = fmax(1 - (double)p->turn_length / (n * FAST), 0.2);
    p->keep[1] = fmax(1 - (double)p->turn_length / (n * SLOW), 0.5);
    p->weight = 1;
    p->z[0] = Z_FAST;
    p->z[1] = Z_SLOW;
    p->dwell = p->dwell_least = n * DWELL;
    p->leader = p->before = (size_t)START;
    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
        if (mp__mini_new(&shapes[i], entries, false, false, &p->members[i]) != 0) {
            (void)mp__panel_free(p);
            return MP_ENOMEM;
        }
    *ret_panel = p;
    return 0;
}

static void lead(mp__panel *p, size_t next)
{
    if (next == p->before && p->since < 8 * p->dwell)
        p->dwell = fmin(2 * p->dwell, DWELL_MAX * p->dwell_least);
    else
        p->dwell = fmax(p->dwell / 2, p->dwell_least);
    p->before = p->leader;
    p->leader = next;
    p->since = 0;
    p->switches++;
}

static double gain_of(const mp__panel *p, size_t i, size_t j, unsigned h)
{
    return p->won_sum[h][i][j] - p->won_sum[h][j][i];
}

/* How many of its own errors member @i leads @j by, over horizon @h. */
static double lead_of(const mp__panel *p, size_t i, size_t j, unsigned h)
{
    return gain_of(p, i, j, h) / sqrt(p->won_variance[h][i][j] + p->won_variance[h][j][i] + 4);
}

static void decay_and_add(double *sum, double keep, double more)
{
    *sum = *sum * keep + more;
}

static void add_won(mp__panel *p, unsigned h)
{
    const double w = p->weight;

    for (size_t i = 0; i < ROWS; i++)
        for (size_t j = 0; j < ROWS; j++) {
            double missed = p->won[0][i][j], had = p->won[1][i][j];

            decay_and_add(&p->won_sum[h][i][j], p->keep[h], missed + w * had);
            decay_and_add(&p->won_variance[h][i][j], p->keep[h], missed + w * w * had);
        }
}

static void add_turn(mp__panel *p)
{
    const double w = p->weight;

    add_won(p, 0);
    add_won(p, 1);
    if (p->since < SETTLE * p->entries) /* it has not become yet what it follows */
        for (size_t i = 0; i < ROWS; i++)
            for (unsigned h = 0; h < 2; h++)
                p->won_sum[h][i][OWN] = p->won_sum[h][OWN][i] = 0;
    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
        decay_and_add(&p->hits_sum[i], p->keep[1], p->hits[0][i] + w * p->hits[1][i]);
    decay_and_add(&p->seen, p->keep[1], p->turn_seen[0] + w * p->turn_seen[1]);
    decay_and_add(&p->all_seen, p->keep[1], (double)p->all_turn[0] + w * (double)p->all_turn[1]);
    p->since += (double)p->turn;
    p->now += (double)p->turn;
    memset(p->won, 0, sizeof(p->won));
    memset(p->hits, 0, sizeof(p->hits));
    memset(p->turn_seen, 0, sizeof(p->turn_seen));
    memset(p->all_turn, 0, sizeof(p->all_turn));
    p->turn = 0;
}

/* Some policies have two states that hold themselves, as S3-FIFO with a main queue that is full or
 * empty, and the cache may be in the other one than the miniature. */
static bool falls_short(const mp__panel *p)
{
    return p->since >= SETTLE * p->entries &&
           gain_of(p, p->leader, OWN, 0) > SHORT * p->entries * FAST &&
           lead_of(p, p->leader, OWN, 0) > Z_FAST;
}

static void bar(mp__panel *p, size_t member)
{
    p->bar_length[member] =
        fmin(fmax(2 * p->bar_length[member], BAR * p->entries), BAR_MAX * p->entries);
    p->barred_until[member] = p->now + p->bar_length[member];
}

/* The member that serves better than row @than, by more than its error and than a change costs. */
static size_t better_than(const mp__panel *p, size_t than, size_t otherwise)
{
    size_t best = otherwise;

    for (unsigned h = 0; h < 2 && best == otherwise; h++) {
        double best_gain = GAIN * p->entries;

        for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
            if (i != p->leader && p->barred_until[i] <= p->now &&
                lead_of(p, i, than, h) > p->z[h] && gain_of(p, i, than, h) > best_gain &&
                (h == 0 || gain_of(p, i, than, 0) > 0)) { /* not what was best before */
                best = i;
                best_gain = gain_of(p, i, than, h);
            }
    }
    return best;
}

static bool turn_end(mp__panel *p)
{
    size_t next;

    add_turn(p);
    if (falls_short(p)) {
        bar(p, p->leader);
        next = better_than(p, OWN, p->leader);
    } else {
        next = p->since < p->dwell ? p->leader : better_than(p, p->leader, p->leader);
    }
    if (next == p->leader)
        return false;
    lead(p, next);
    return true;
}

static void count(mp__panel *p, unsigned mask, bool hit)
{
    for (size_t i = 0; i < ROWS; i++)
        if (mask >> i & 1U) {
            p->hits[hit][i]++;
            for (size_t j = 0; j < ROWS; j++)
                p->won[hit][i][j] += ~mask >> j & 1U;
        }
}

static bool is_sampled(const mp__panel *p, uint64_t hash)
{
    return (uint32_t)((hash * 0xff51afd7ed558ccdULL) >> 32) <= p->threshold;
}

static unsigned ask_members(mp__panel *p, uint64_t hash)
{
    unsigned mask = 0;

    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
        mask |= (unsigned)mp__mini_access(p->members[i], hash) << i;
    return mask;
}

static bool note(mp__panel *p, unsigned mask, bool hit)
{
    p->turn_seen[hit]++;
    if (mask)
        count(p, mask, hit);
    return ++p->turn >= p->turn_length && turn_end(p);
}

bool mp__panel_see(mp__panel *p, uint64_t hash, bool hit)
{
    p->all_turn[hit]++;
    return is_sampled(p, hash) && note(p, ask_members(p, hash) | (unsigned)hit << OWN, hit);
}

bool mp__panel_follow(mp__panel *p, uint64_t hash, bool hit, double weight, bool *ret_has)
{
    unsigned mask, has;

    if (hit)
        p->weight = weight;
    p->all_turn[hit]++;
    if (!is_sampled(p, hash))
        return false;
    mask = ask_members(p, hash);
    has = mask >> p->leader & 1U;
    *ret_has = has;
    (void)note(p, mask | has << OWN, hit);
    return true;
}

void mp__panel_weigh(mp__panel *p, double weight)
{
    p->weight = weight;
}

size_t mp__panel_leader(const mp__panel *p)
{
    return p->leader;
}

const mp__mini *mp__panel_member(const mp__panel *p, size_t member, bool *ret_whole)
{
    *ret_whole = p->sample >= 1;
    return p->members[member];
}

void mp__panel_forget(mp__panel *p, uint64_t hash)
{
    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
        mp__mini_forget(p->members[i], hash);
}

void mp__panel_look(const mp__panel *p, mp__panel_view *ret_view)
{
    double expected = p->all_seen * p->sample;

    *ret_view = (mp__panel_view){.requests = p->seen,
                                 .sample = p->sample,
                                 .switches = p->switches,
                                 .leader = p->leader,
                                 .entries = mp__mini_capacity(p->members[0])};
    for (size_t i = 0; i < MP__PANEL_MEMBERS && expected > 0; i++) {
        double ratio = (p->hits_sum[i] + expected - p->seen) / expected;

        ret_view->hit_ratio[i] = fmin(fmax(ratio, 0), 1);
    }
}

size_t mp__panel_bytes(const mp__panel *p)
{
    size_t bytes = sizeof(*p);

    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
        bytes += mp__mini_bytes(p->members[i]);
    return bytes;
}
