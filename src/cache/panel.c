/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/panel.h"

#include <math.h>
#include <string.h>

#include "core/alloc.h"

enum { OWN = MP__PANEL_MEMBERS, ROWS }; /* the cache itself is a row beside its members */
enum { TURN_MAX = 64 };                 /* bits of a word */

/* How the panel decides, in entries of a member where not said otherwise. */
static const double TURN = 0.125; /* sampled requests between two looks */
/* Horizons, short to long: one that sees at once that what led gives hardly anything more; one that
 * notices another phase; one that tells close ones apart. */
enum { SUDDEN, FAST, SLOW, HORIZONS };
static const double horizons[HORIZONS] = {2, 5, 16};
static const double leads[HORIZONS] = {8, 4, 2};         /* over its own error, asked for */
static const double gains[HORIZONS] = {0.2, 0.05, 0.05}; /* and hits, as a change costs some */
/* A change loses a hit for much of what the next one holds and the leader does not. The first one
 * comes while what is counted is young and the cache may just have become full. */
static const double LOST = 0.4;       /* of that, the least gain of a change */
static const double LOST_FIRST = 0.5; /* and of the first */
static const double DWELL = 1;        /* sampled requests to wait between two changes, at least */
static const double DWELL_MAX = 64;   /* in the least */
static const double BACK = 8;     /* in waits: twice as long a wait for who comes back in these */
static const double SETTLE = 4;   /* after a change the cache has this long to become as good */
static const double SHORT = 0.05; /* as its member but for this share; else the member is barred */
static const double BAR = 64;     /* for so many sampled requests, twice as many each time */
static const double BAR_MAX = 4096;
enum { RECENCY = MP__PANEL_RECENCY, START = 4 }; /* indices below */

static const mp__mini_shape shapes[MP__PANEL_MEMBERS] = {
    {"lru", MP__MINI_LRU, 0},
    {"s3-fifo", MP__MINI_S3FIFO, 0},
    {"2q", MP__MINI_TWOQ, 0},
    {"qd-lp-fifo", MP__MINI_QDLP, 0},
    {"lirs", MP__MINI_LIRS, 0},
    {"w-tinylfu 1 %", MP__MINI_TINYLFU, 10},
    {"w-tinylfu 10 %", MP__MINI_TINYLFU, 100},
    {"w-tinylfu 40 %", MP__MINI_TINYLFU, 400},
};

struct mp__panel {
    mp__mini *members[MP__PANEL_MEMBERS];
    size_t leader;
    uint32_t threshold; /* of the sample */
    double sample;
    double weight;                     /* of a hit of the cache itself */
    size_t turn, turn_length;          /* sampled requests in this turn; of a turn */
    double since, dwell, dwell_least;  /* sampled requests since the last change, and to wait */
    double left_at[MP__PANEL_MEMBERS]; /* in sampled requests, who has led; 0: never */
    uint64_t switches;
    double seen, all_seen; /* requests, decayed: of the sample, of all */
    /* This turn, apart for requests that the cache itself missed [0] and had [1]. */
    uint64_t all_turn[2];
    uint64_t served[2][ROWS]; /* a bit for each of the turn: who had it */
    uint32_t turn_seen[2];
    double won_sum[HORIZONS][ROWS][ROWS], won_variance[HORIZONS][ROWS][ROWS]; /* decayed */
    double hits_sum[MP__PANEL_MEMBERS];
    double entries, now; /* of a member; sampled requests in all */
    double barred_until[MP__PANEL_MEMBERS], bar_length[MP__PANEL_MEMBERS];
    double keep[HORIZONS]; /* share kept a turn */
    bool is_past_gone;     /* at the last change of the leader */
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

/* A share of a large cache takes at most a hundredth of what its entries do, 256 bytes and more. */
static size_t entries_for(size_t capacity)
{
    size_t share = capacity / MP__PANEL_SHARE;

    share = share > MP__PANEL_ENTRIES ? share : MP__PANEL_ENTRIES;
    return share < MP__PANEL_ENTRIES_MAX ? share : MP__PANEL_ENTRIES_MAX;
}

int mp__panel_new(size_t capacity, mp__panel **ret_panel)
{
    return mp__panel_new_within(capacity, entries_for(capacity), ret_panel);
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
    p->turn_length = p->sample < 1 ? TURN_MAX : (size_t)fmin(fmax(n * TURN, 16), TURN_MAX);
    for (unsigned h = 0; h < HORIZONS; h++)
        p->keep[h] = fmax(1 - (double)p->turn_length / (n * horizons[h]), h == SLOW ? 0.5 : 0.2);
    p->weight = 1;
    p->dwell = p->dwell_least = n * DWELL;
    p->leader = START;
    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
        if (mp__mini_new(&shapes[i], entries, false, false, &p->members[i]) != 0) {
            (void)mp__panel_free(p);
            return MP_ENOMEM;
        }
    *ret_panel = p;
    return 0;
}

/* Who led not long ago leads again: by turns with another, or with several. Then every change costs
 * and the next one is due before it has paid. */
static bool comes_back(const mp__panel *p, size_t member)
{
    return p->left_at[member] > 0 && p->now - p->left_at[member] < BACK * p->dwell;
}

static void lead(mp__panel *p, size_t next)
{
    if (comes_back(p, next))
        p->dwell = fmin(2 * p->dwell, DWELL_MAX * p->dwell_least);
    else
        p->dwell = fmax(p->dwell / 2, p->dwell_least);
    p->left_at[p->leader] = p->now;
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

/* Without the machine's instruction, which not every one has, the builtin is a slow call. */
static double bits(uint64_t of)
{
    of -= of >> 1 & 0x5555555555555555ULL;
    of = (of & 0x3333333333333333ULL) + (of >> 2 & 0x3333333333333333ULL);
    of = (of + (of >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
    return (double)(of * 0x0101010101010101ULL >> 56);
}

static void add_pair(mp__panel *p, size_t i, size_t j, double missed, double had)
{
    const double w = p->weight;

    for (unsigned h = 0; h < HORIZONS; h++) {
        decay_and_add(&p->won_sum[h][i][j], p->keep[h], missed + w * had);
        decay_and_add(&p->won_variance[h][i][j], p->keep[h], missed + w * w * had);
    }
}

/* Hits of one that the other missed. */
static void add_won(mp__panel *p)
{
    double hits[2][ROWS];

    for (size_t i = 0; i < ROWS; i++) {
        hits[0][i] = bits(p->served[0][i]);
        hits[1][i] = bits(p->served[1][i]);
        for (size_t j = 0; j < i; j++) {
            double missed = bits(p->served[0][i] & p->served[0][j]);
            double had = bits(p->served[1][i] & p->served[1][j]);

            add_pair(p, i, j, hits[0][i] - missed, hits[1][i] - had);
            add_pair(p, j, i, hits[0][j] - missed, hits[1][j] - had);
        }
    }
}

static void add_turn(mp__panel *p)
{
    const double w = p->weight;

    add_won(p);
    if (p->since < SETTLE * p->entries) /* it has not become yet what it follows */
        for (size_t i = 0; i < ROWS; i++)
            for (unsigned h = 0; h < HORIZONS; h++)
                p->won_sum[h][i][OWN] = p->won_sum[h][OWN][i] = 0;
    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
        decay_and_add(&p->hits_sum[i], p->keep[SLOW],
                      bits(p->served[0][i]) + w * bits(p->served[1][i]));
    decay_and_add(&p->seen, p->keep[SLOW], p->turn_seen[0] + w * p->turn_seen[1]);
    decay_and_add(&p->all_seen, p->keep[SLOW], (double)p->all_turn[0] + w * (double)p->all_turn[1]);
    p->since += (double)p->turn;
    p->now += (double)p->turn;
    memset(p->served, 0, sizeof(p->served));
    memset(p->turn_seen, 0, sizeof(p->turn_seen));
    memset(p->all_turn, 0, sizeof(p->all_turn));
    p->turn = 0;
}

/* Some policies have two states that hold themselves, as S3-FIFO with a main queue that is full or
 * empty, and the cache may be in the other one than the miniature. */
static bool falls_short(const mp__panel *p)
{
    return p->since >= SETTLE * p->entries &&
           gain_of(p, p->leader, OWN, FAST) > SHORT * p->entries * horizons[FAST] &&
           lead_of(p, p->leader, OWN, FAST) > leads[FAST];
}

static void bar(mp__panel *p, size_t member)
{
    p->bar_length[member] =
        fmin(fmax(2 * p->bar_length[member], BAR * p->entries), BAR_MAX * p->entries);
    p->barred_until[member] = p->now + p->bar_length[member];
}

/* What leads in the long run and not in a shorter one was best before. */
static bool is_ahead(const mp__panel *p, size_t i, size_t than, unsigned h)
{
    bool ahead = lead_of(p, i, than, h) > leads[h];

    for (unsigned shorter = FAST; ahead && shorter < h; shorter++)
        ahead = gain_of(p, i, than, shorter) > 0;
    return ahead;
}

/* Whether @gain is worth the hits that a change to @i costs. */
static bool pays(const mp__panel *p, size_t i, double gain)
{
    double lost = p->switches ? LOST : LOST_FIRST;

    return gain > lost * (double)mp__mini_lacks(p->members[p->leader], p->members[i]);
}

/* The member that serves better than row @than, by more than its error and than a change costs. */
static size_t better_than(const mp__panel *p, size_t than, size_t otherwise)
{
    size_t best = otherwise;

    for (unsigned h = 0; h < HORIZONS && best == otherwise; h++) {
        double best_gain = gains[h] * p->entries;

        for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
            if (i != p->leader && p->barred_until[i] <= p->now &&
                gain_of(p, i, than, h) > best_gain && is_ahead(p, i, than, h) &&
                pays(p, i, gain_of(p, i, than, h))) {
                best = i;
                best_gain = gain_of(p, i, than, h);
            }
    }
    return best;
}

static bool is_overtaken_at_once(const mp__panel *p, size_t i)
{
    return gain_of(p, RECENCY, i, SUDDEN) > gains[SUDDEN] * p->entries &&
           lead_of(p, RECENCY, i, SUDDEN) > leads[SUDDEN];
}

/* Member @i forgets what it knew. What it had won over who has nothing to forget it had won by
 * that; what it had lost may be lost again. */
static void begin_anew(mp__panel *p, size_t i)
{
    mp__mini_begin_anew(p->members[i], p->members[RECENCY]);
    for (unsigned h = 0; h < HORIZONS; h++)
        if (gain_of(p, i, RECENCY, h) > 0) {
            p->won_sum[h][i][RECENCY] = p->won_sum[h][RECENCY][i] = 0;
            p->won_variance[h][i][RECENCY] = p->won_variance[h][RECENCY][i] = 0;
        }
}

/* Who remembers nothing but the order of use has overtaken who led all at once: what the leader
 * remembers is of what nobody asks for any more. So is what the others remember that are as far
 * behind, and it would be in the way of what comes. */
static void drop_the_past(mp__panel *p, size_t left)
{
    p->is_past_gone = p->leader == RECENCY && is_overtaken_at_once(p, left);
    for (size_t i = 0; p->is_past_gone && i < MP__PANEL_MEMBERS; i++)
        if (is_overtaken_at_once(p, i))
            begin_anew(p, i);
}

static bool turn_end(mp__panel *p)
{
    size_t next, left = p->leader;

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
    drop_the_past(p, left);
    return true;
}

static bool is_sampled(const mp__panel *p, uint64_t hash)
{
    return mp__panel_mix(hash) <= p->threshold;
}

static unsigned ask_members(mp__panel *p, uint64_t hash)
{
    unsigned mask = 0;

    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++) /* all of them wait for memory at once */
        mp__mini_fetch_bucket(p->members[i], hash);
    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
        mp__mini_fetch_record(p->members[i], hash);
    for (size_t i = 0; i < MP__PANEL_MEMBERS; i++)
        mask |= (unsigned)mp__mini_access(p->members[i], hash) << i;
    return mask;
}

static bool note(mp__panel *p, unsigned mask, bool hit)
{
    p->turn_seen[hit]++;
    for (size_t i = 0; i < ROWS; i++)
        p->served[hit][i] |= (uint64_t)(mask >> i & 1U) << p->turn;
    return ++p->turn >= p->turn_length && turn_end(p);
}

bool mp__panel_see(mp__panel *p, uint64_t hash, bool hit)
{
    p->all_turn[hit]++;
    return is_sampled(p, hash) && note(p, ask_members(p, hash) | (unsigned)hit << OWN, hit);
}

uint32_t mp__panel_threshold(const mp__panel *p)
{
    return p->threshold;
}

void mp__panel_warm(mp__panel *p, uint64_t hash)
{
    if (is_sampled(p, hash))
        (void)ask_members(p, hash);
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

bool mp__panel_is_past_gone(const mp__panel *p)
{
    return p->is_past_gone;
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
                                 .seen = 1,
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
