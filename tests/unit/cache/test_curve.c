/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of another size or policy comes true. */
#include "mp_test.h"
#include "mp_dice.h"

#include <math.h>
#include <stdio.h>

#include "cache/cache.h"
#include "cache/curve.h"
#include "cache/mini.h"
#include "core/knob.h"
#include "mp_sim.h"

#include "mp_fail.h"

static const size_t MEMORY = (size_t)128 << 20;

static uint64_t random_state;

static uint64_t dice(uint64_t below)
{
    return mp_dice(&random_state, below);
}

/* A few keys very often, a long tail, and a different skew in each family; with scans in some. */
static unsigned request(unsigned family, unsigned i, unsigned keys)
{
    double u = ((double)dice(1u << 30) + 1) / (1u << 30);

    if (family >= 3 && i % 10 < 2)
        return 1000000 + i;
    return (unsigned)(keys * pow(u, 1.5 + family % 3));
}

/* Which keys are sampled hangs on the hash of the cache, which hangs on the machine. */
typedef struct live {
    mp_sim *sim;
    mp_cache *cache;
    uint64_t hits, requests;
} live;

static void live_open(live *l, const char *policy, size_t entries, size_t bytes)
{
    mp__cache_options options = {.l1_entries = entries, .l1_bytes = bytes, .policy = policy};
    mp__diag diag;

    *l = (live){.sim = mp_sim_new(random_state)};
    assert_non_null(l->sim);
    options.env = mp_sim_env(l->sim);
    assert_int_equal(mp__cache_open(&options, &l->cache, &diag), 0);
}

static void live_close(live *l)
{
    l->cache = mp_cache_free(l->cache);
    l->sim = mp_sim_free(l->sim);
}

static void ask(live *l, unsigned k)
{
    char text[32];
    mp_str key = mp_str_new(text, (size_t)snprintf(text, sizeof(text), "e/n/%u", k));
    const mp_blob *value;
    int rc;

    assert_int_equal(mp_read_begin(), 0);
    rc = mp_cache_get(l->cache, key, &value);
    mp_read_end();
    l->requests++;
    l->hits += rc == 0;
    if (rc)
        assert_int_equal(mp_cache_put(l->cache, key, key, 0), 0);
}

static void run(live *l, unsigned family, unsigned keys, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ask(l, request(family, i, keys));
}

/* What a cache of @entries hits of the same requests, when it is warm. */
static double truth(const char *policy, size_t entries, unsigned family, unsigned keys,
                    unsigned warm, unsigned count)
{
    live l;
    double ratio;

    live_open(&l, policy, entries, (size_t)16 << 20); /* and no curve of its own */
    run(&l, family, keys, warm);
    l.hits = l.requests = 0;
    run(&l, family, keys, count);
    ratio = (double)l.hits / (double)l.requests;
    live_close(&l);
    return ratio;
}

/* What is the same for all is not a forecast: that of the size as it is. */
static void sizes_from_a_quarter_to_four_times_are_foretold_within_a_point(void **state)
{
    static const char *const policies[] = {"adaptive", "lru", "s3-fifo", "w-tinylfu"};
    enum { ENTRIES = 1000, KEYS = 14000, COUNT = 140000 };
    unsigned count = 0, held = 0;
    double errors[5] = {0}, error = 0;

    (void)state;
    for (unsigned p = 0; p < 4; p++)
        for (unsigned draw = 3; draw < 9; draw++) { /* two of each family */
            unsigned family = 1 + draw % 3;
            mp__cache_forecast f[MP__CACHE_FORECASTS];
            live l;

            random_state = draw;
            live_open(&l, policies[p], ENTRIES, MEMORY);
            run(&l, family, KEYS, COUNT);
            assert_true(mp__cache_forecasts(l.cache, f) > 5);
            for (unsigned at = 0; at < 5; at++) {
                double is;

                random_state = 99 + draw;
                is = truth(policies[p], f[at].entries, family, KEYS, COUNT / 2, COUNT / 2);
                if (f[at].entries == ENTRIES)
                    continue;
                errors[at] += fabs(f[at].hit_ratio - is);
                held += is >= f[at].low && is <= f[at].high;
                count++;
            }
            live_close(&l);
        }
    for (unsigned at = 0; at < 5; at++)
        error += errors[at];
    print_message("# mean error %.2f points, %.2f at four times; %u of %u intervals held\n",
                  100 * error / count, 100 * errors[4] / 24, held, count);
    assert_true(error / count <= 0.006);
    assert_true(errors[4] / 24 <= 0.01);
    assert_true(held >= count * 80 / 100 && held <= count * 98 / 100); /* few: coarse */
}

/* That of all keys in use it has more or fewer than its share, which makes it a cache of another
 * size. */
static void an_interval_of_w_tinylfu_spans_what_its_scatter_does_not_show(void **state)
{
    mp__prediction is[MP__CURVE_POINTS];
    size_t entries[MP__CURVE_POINTS];
    mp__curve *curve = NULL;

    (void)state;
    random_state = 7;
    assert_int_equal(mp__curve_new("w-tinylfu", 4000, &curve), 0);
    for (unsigned n = 0; n < 200000; n++)
        mp__curve_see(curve, (request(0, n, 60000) + 1) * 0x9e3779b97f4a7c15u, false, 1);
    for (size_t p = 0; p < MP__CURVE_POINTS; p++)
        mp__curve_point(curve, p, &entries[p], &is[p]);
    for (size_t p = 3; p < MP__CURVE_POINTS; p++) { /* of those beside each other */
        double apart = log((double)entries[4] / (double)entries[3]);
        double slope = fabs(is[4].hit_ratio - is[3].hit_ratio) / apart;
        double error = 1.65 * slope * sqrt((1 - is[p].sample) / (double)is[p].entries);

        assert_true(slope > 0.01 && error > 0.001);
        assert_true(is[p].high - is[p].hit_ratio > error);
        assert_true(is[p].hit_ratio - is[p].low > error);
    }
    curve = mp__curve_free(curve);
}

/* Half of the requests are new, half come back after about as many other keys as fit into twice the
 * size: chance has it whether they are a few too many for the sample. Of @samples, how many
 * intervals for twice the size hold. */
static unsigned held_of_late_returns(const char *policy, unsigned samples)
{
    enum { ENTRIES = 2000, COUNT = 60000, APART = 2550, ABOUT = 200 };
    static const mp__mini_shape shape = {.name = "lru", .kind = MP__MINI_LRU};
    unsigned held = 0;

    for (unsigned sample = 1; sample <= samples; sample++) {
        mp__curve *curve = NULL;
        mp__mini *cache = NULL, *twice = NULL;
        double hits = 0, all = 0;
        mp__prediction is;
        size_t entries;

        random_state = 17;
        assert_int_equal(mp__curve_new(policy, ENTRIES, &curve), 0);
        assert_int_equal(mp__mini_new(&shape, ENTRIES, false, false, &cache), 0);
        assert_int_equal(mp__mini_new(&shape, 2 * ENTRIES, false, false, &twice), 0);
        for (unsigned n = 0, newest = APART; n < COUNT; n++) {
            unsigned key = n % 2 ? newest++ : newest - APART + (unsigned)dice(ABOUT);
            uint64_t of_key = (uint64_t)sample << 32 | key, hash = mp_dice(&of_key, UINT64_MAX);

            mp__curve_see(curve, hash, mp__mini_access(cache, hash), 1);
            hits += mp__mini_access(twice, hash);
            if (++all >= 32.0 * ENTRIES) { /* as the curve does */
                all /= 2;
                hits /= 2;
            }
        }
        mp__curve_point(curve, 3, &entries, &is);
        assert_int_equal(entries, 2 * ENTRIES);
        held += hits / all >= is.low && hits / all <= is.high;
        curve = mp__curve_free(curve);
        cache = mp__mini_free(cache);
        twice = mp__mini_free(twice);
    }
    return held;
}

static void an_interval_holds_where_what_is_used_again_just_fits_or_just_does_not(void **state)
{
    enum { SAMPLES = 20 };
    unsigned held = held_of_late_returns("lru", SAMPLES);

    (void)state;
    print_message("# %u of %u intervals held\n", held, SAMPLES);
    assert_true(held >= SAMPLES * 85 / 100);
}

static void a_change_of_size_hits_what_was_said_before(void **state)
{
    mp__cache_forecast said;
    live l;
    double is;

    (void)state;
    random_state = 7;
    live_open(&l, "adaptive", 1000, MEMORY);
    run(&l, 1, 20000, 60000);
    assert_int_equal(mp__cache_predict(l.cache, NULL, 2000, &said), 0);
    assert_int_equal(said.entries, 2000);
    assert_int_equal(mp__cache_set_l1_entries(l.cache, 2000), 0);
    run(&l, 1, 20000, 20000);
    l.hits = l.requests = 0;
    run(&l, 1, 20000, 60000);
    is = (double)l.hits / (double)l.requests;
    assert_true(is > said.low - 0.03 && is < said.high + 0.03); /* one draw: nine of ten within */
    live_close(&l);
}

static void a_knob_tells_what_it_would_do(void **state)
{
    const mp__knob *size = mp__knob_find(&mp__cache_knobs, "cache.l1_size");
    const mp__knob *policy = mp__knob_find(&mp__cache_knobs, "cache.policy");
    const mp__knob *bytes = mp__knob_find(&mp__cache_knobs, "cache.l1_bytes");
    double low = -1, mean = -1, high = -1, now;
    live l;

    (void)state;
    random_state = 8;
    live_open(&l, "adaptive", 1000, MEMORY);
    assert_int_equal(
        size->predict(l.cache, 2000, MP__CACHE_METRIC_L1_HIT_RATIO, &low, &mean, &high),
        MP_EUNKNOWN); /* nothing was asked for yet */
    assert_true(mean == -1);
    run(&l, 1, 20000, 60000);
    assert_int_equal(size->predict(l.cache, 1000, MP__CACHE_METRIC_L1_HIT_RATIO, &low, &now, &high),
                     0);
    assert_int_equal(
        size->predict(l.cache, 3000, MP__CACHE_METRIC_L1_HIT_RATIO, &low, &mean, &high), 0);
    assert_true(low <= mean && mean <= high && mean > now + 0.02);
    assert_int_equal(
        size->predict(l.cache, 9000, MP__CACHE_METRIC_L1_HIT_RATIO, &low, &mean, &high),
        MP_EINVAL); /* beyond the curve */
    assert_int_equal(size->predict(l.cache, 2000, "another", &low, &mean, &high), MP_EUNKNOWN);
    for (size_t i = 0; policy->choices[i]; i++) {
        bool modelled =
            strcmp(policy->choices[i], "adaptive") == 0 || strcmp(policy->choices[i], "lru") == 0 ||
            strcmp(policy->choices[i], "s3-fifo") == 0 || strcmp(policy->choices[i], "lirs") == 0 ||
            strcmp(policy->choices[i], "w-tinylfu") == 0;

        assert_int_equal(
            policy->predict(l.cache, (double)i, MP__CACHE_METRIC_L1_HIT_RATIO, &low, &mean, &high),
            modelled ? 0 : MP_EUNKNOWN);
    }
    assert_null(bytes->predict);
    live_close(&l);
}

/* What the owner of a cache does each second. */
static void second_passes(live *l, uint32_t now_s)
{
    const mp__cache_turn turn = {.now_s = now_s};
    const mp__entry *entries[MP__CACHE_DUE];
    bool more;

    assert_int_equal(mp__cache_turn_go(l->cache, &turn, entries, &more), 0);
}

enum { HAS_ALL_ENTRIES = 1000, HAS_ALL_HOT = 300, HAS_ALL_SECONDS = 40 };

/* What is said of a quarter of the entries, for which there are too many keys. */
static mp__cache_forecast forecast_of_a_quarter(uint64_t draw)
{
    mp__cache_forecast f[MP__CACHE_FORECASTS], quarter = {0};
    size_t count;
    live l;

    random_state = draw;
    live_open(&l, "adaptive", HAS_ALL_ENTRIES, MEMORY);
    for (unsigned k = 0; k < 1500; k++) { /* written, and not asked for */
        char text[32];
        mp_str key = mp_str_new(text, (size_t)snprintf(text, sizeof(text), "e/n/%u", k));

        assert_int_equal(mp_cache_put(l.cache, key, key, 0), 0);
    }
    count = mp__cache_forecasts(l.cache, f);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(f[i].sampled_requests, 0);
    for (unsigned s = 1; s <= HAS_ALL_SECONDS; s++) {
        for (unsigned i = 0; i < 5000; i++)
            ask(&l, (unsigned)dice(HAS_ALL_HOT));
        second_passes(&l, s);
    }
    assert_true(l.hits + HAS_ALL_HOT >= l.requests);
    count = mp__cache_forecasts(l.cache, f);
    for (size_t i = 0; i < count; i++) {
        if (f[i].entries >= HAS_ALL_ENTRIES)
            assert_true(f[i].hit_ratio > 0.98);
        if (f[i].entries == HAS_ALL_ENTRIES / 4)
            quarter = f[i];
        assert_true(f[i].low <= f[i].hit_ratio && f[i].hit_ratio <= f[i].high);
    }
    live_close(&l);
    return quarter;
}

/* A quarter holds 250 of 300 keys that are asked for alike: it hits five of six. How many of them
 * are sampled is chance, by a tenth, and the forecast knows of it. */
static void a_cache_that_has_all_is_told_to_hit_all(void **state)
{
    enum { DRAWS = 8 };
    const double is = HAS_ALL_ENTRIES / 4.0 / HAS_ALL_HOT;
    double error = 0;
    unsigned held = 0;

    (void)state;
    for (uint64_t draw = 0; draw < DRAWS; draw++) {
        mp__cache_forecast f = forecast_of_a_quarter(5 + draw);

        print_message("# adaptive %zu: %.4f (%.4f to %.4f)\n", f.entries, f.hit_ratio, f.low,
                      f.high);
        held += is >= f.low && is <= f.high;
        error += fabs(f.hit_ratio - is) / DRAWS;
    }
    assert_true(held >= DRAWS - 1);
    assert_true(error < 0.02);
}

/* In a loop all come one after the other. Where all are hits so many are told a second. */
static void run_alike(live *l, bool loops, unsigned keys, unsigned count)
{
    enum { A_SECOND = 500 };

    for (unsigned i = 0; i < count; i++) {
        ask(l, loops ? (unsigned)l->requests % keys : (unsigned)dice(keys));
        if (l->requests % A_SECOND == 0)
            second_passes(l, (uint32_t)(l->requests / A_SECOND));
    }
}

typedef struct alike {
    unsigned held, count;
    double error, width;
} alike;

/* Forecasts from a half to four times ENTRIES, a quarter where @keys are not so many, against
 * caches of these sizes. */
static void foretell_alike(bool loops, unsigned keys, unsigned draws, alike *sum)
{
    enum { ENTRIES = 1000, COUNT = 40000 };
    double is[MP__CURVE_POINTS];

    for (size_t at = 0; at < MP__CURVE_POINTS; at++) {
        live l;

        random_state = 99;
        live_open(&l, "adaptive", (size_t)ENTRIES << at >> 2, (size_t)16 << 20);
        run_alike(&l, loops, keys, COUNT / 4);
        is[at] = -(double)l.hits;
        run_alike(&l, loops, keys, COUNT);
        is[at] = (is[at] + (double)l.hits) / COUNT;
        live_close(&l);
    }
    for (unsigned draw = 1; draw <= draws; draw++) {
        mp__cache_forecast f[MP__CACHE_FORECASTS];
        live l;

        random_state = draw;
        live_open(&l, "adaptive", ENTRIES, MEMORY);
        run_alike(&l, loops, keys, COUNT + COUNT / 4);
        assert_true(mp__cache_forecasts(l.cache, f) > MP__CURVE_POINTS);
        for (size_t at = 0; at < MP__CURVE_POINTS; at++) {
            assert_int_equal(f[at].entries, (size_t)ENTRIES << at >> 2);
            if (f[at].entries == ENTRIES || is[at] > 0.999)
                continue;
            print_message("# %s %u keys, %zu: %.4f (%.4f to %.4f), is %.4f\n",
                          loops ? "loop" : "uniform", keys, f[at].entries, f[at].hit_ratio,
                          f[at].low, f[at].high, is[at]);
            sum->held += is[at] >= f[at].low && is[at] <= f[at].high;
            sum->error += fabs(f[at].hit_ratio - is[at]);
            sum->width += f[at].high - f[at].low;
            sum->count++;
        }
        live_close(&l);
    }
}

static void forecasts_hold_where_all_keys_are_asked_for_alike(void **state)
{
    static const unsigned keys[] = {300, 700, 1500, 4000};
    enum { DRAWS = 5 };

    (void)state;
    for (unsigned loops = 0; loops < 2; loops++) {
        alike sum = {0};

        for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
            foretell_alike(loops, keys[i], DRAWS, &sum);
        print_message("# %s: %u of %u intervals held, mean error %.2f points, mean width %.2f\n",
                      loops ? "loop" : "uniform", sum.held, sum.count, 100 * sum.error / sum.count,
                      100 * sum.width / sum.count);
        assert_true(sum.held >= sum.count * 85 / 100);
        assert_true(sum.error / sum.count < 0.015);
    }
}

/* Of hits that come fast not all are told, and both are aged by themselves. */
static void a_forecast_does_not_hang_on_how_many_requests_were_counted_and_not_told(void **state)
{
    enum { ENTRIES = 1000, KEYS = 20000, COUNT = 100000 };
    static const mp__mini_shape shape = {.name = "lru", .kind = MP__MINI_LRU};
    static const char *const policies[] = {"adaptive", "lru"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        mp__curve *all = NULL, *few = NULL;
        mp__mini *cache = NULL;

        random_state = 3;
        assert_int_equal(mp__curve_new(policies[i], ENTRIES, &all), 0);
        assert_int_equal(mp__curve_new(policies[i], ENTRIES, &few), 0);
        assert_int_equal(mp__mini_new(&shape, ENTRIES, false, false, &cache), 0);
        for (unsigned n = 0; n < COUNT; n++) {
            uint64_t of_key = request(1, n, KEYS), hash = mp_dice(&of_key, UINT64_MAX);
            bool hit = mp__mini_access(cache, hash);

            mp__curve_sample(all, hash, hit, 1);
            mp__curve_count(all, hit, !hit);
            mp__curve_sample(few, hash, hit, 1);
            mp__curve_count(few, 1.7 * hit, 1.7 * !hit);
        }
        for (size_t p = 0; p < MP__CURVE_POINTS; p++) {
            mp__prediction of_all, of_few;
            size_t entries;

            mp__curve_point(all, p, &entries, &of_all);
            mp__curve_point(few, p, &entries, &of_few);
            assert_true(fabs(of_all.hit_ratio - of_few.hit_ratio) < 0.005);
        }
        all = mp__curve_free(all);
        few = mp__curve_free(few);
        cache = mp__mini_free(cache);
    }
}

/* Of hits that are used all the time few are told of, of misses all: a cache that evicts nothing
 * hits as much under each policy, and that is said from the first second on. */
static void what_each_policy_has_room_for_is_foretold_from_the_beginning(void **state)
{
    enum { ENTRIES = 2000, KEYS = ENTRIES, SECONDS = 3 };
    mp__cache_forecast f[MP__CACHE_FORECASTS];
    unsigned others = 0;
    live l;

    (void)state;
    random_state = 5;
    live_open(&l, "adaptive", ENTRIES, MEMORY);
    for (unsigned s = 1; s <= SECONDS; s++) {
        size_t count;
        double is;

        for (unsigned i = 0; i < 20000; i++)
            ask(&l, (unsigned)fmin(pow(((double)dice(1u << 30) + 1) / (1u << 30), -1 / 0.9), KEYS));
        second_passes(&l, s);
        is = (double)l.hits / (double)l.requests;
        count = mp__cache_forecasts(l.cache, f);
        for (size_t i = 0; i < count; i++) {
            if (strcmp(f[i].policy, "adaptive") == 0)
                continue;
            print_message("# %s after %u s: %.4f (%.4f to %.4f), is %.4f\n", f[i].policy, s,
                          f[i].hit_ratio, f[i].low, f[i].high, is);
            assert_true(is >= f[i].low && is <= f[i].high);
            assert_true(f[i].high - f[i].low < 0.01);
            others++;
        }
    }
    assert_true(others >= 4 * SECONDS);
    live_close(&l);
}

static void a_cache_too_small_for_it_keeps_no_curve(void **state)
{
    const mp__cache_options options = {
        .env = mp__env_real(), .l1_entries = 1000, .l1_bytes = (size_t)8 << 20};
    mp__cache_forecast f[MP__CACHE_FORECASTS];
    mp_cache *cache = NULL;
    mp__diag diag;

    (void)state;
    assert_int_equal(mp__cache_open(&options, &cache, &diag), 0);
    assert_int_equal(mp__cache_forecasts(cache, f), 0);
    assert_int_equal(mp__cache_predict(cache, NULL, 2000, f), MP_EUNKNOWN);
    assert_int_equal(mp__cache_set_l1_bytes(cache, (size_t)128 << 20), 0);
    assert_true(mp__cache_forecasts(cache, f) > 5);
    assert_int_equal(mp__cache_set_policy(cache, "lru"), 0);
    assert_true(mp__cache_forecasts(cache, f) > 5);
    assert_string_equal(f[0].policy, "lru");
    cache = mp_cache_free(cache);
}

static void it_takes_at_most_a_hundredth_of_the_standard_memory_with_the_panel(void **state)
{
    static const size_t entries[] = {1000, 5000, 100000};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        mp__curve *curve = NULL;

        assert_int_equal(mp__curve_new("adaptive", entries[i], &curve), 0);
        assert_true(mp__curve_bytes(curve) + 252UL * 1024 <= ((size_t)64 << 20) / 100);
        curve = mp__curve_free(curve);
    }
}

/* Else a cache of standard size under it would have no forecast. */
static void every_policy_has_a_curve_within_a_hundredth_of_the_standard_memory(void **state)
{
    const char *policy, *text;

    (void)state;
    for (size_t i = 0; (policy = mp__cache_policy_at(i, &text)) != NULL; i++)
        for (size_t entries = 1000; entries <= 100000; entries *= 10) {
            mp__curve *curve = NULL;

            assert_int_equal(mp__curve_new(policy, entries, &curve), 0);
            assert_true(mp__curve_bytes(curve) <= ((size_t)64 << 20) / 100);
            curve = mp__curve_free(curve);
        }
}

/* What comes back after about as many others as LIRS has room for newcomers is chance in a
 * miniature, which has five places for them. */
static void an_interval_of_lirs_holds_where_the_stay_of_newcomers_decides(void **state)
{
    enum { ENTRIES = 1000, PAIRS = 15000 }; /* not so many that the curve forgets */
    unsigned held = 0, count = 0;

    (void)state;
    for (unsigned apart = 6; apart <= 20; apart += 2) {
        const mp__mini_shape shape = {"", MP__MINI_LIRS, 0};
        mp__curve *curve = NULL;
        mp__mini *caches[2] = {NULL};
        double hits = 0;
        mp__prediction is;
        size_t entries;

        assert_int_equal(mp__curve_new("lirs", ENTRIES, &curve), 0);
        assert_int_equal(mp__mini_new(&shape, ENTRIES, false, false, &caches[0]), 0);
        assert_int_equal(mp__mini_new(&shape, 2 * ENTRIES, false, false, &caches[1]), 0);
        random_state = apart;
        for (unsigned i = 0; i < 2 * PAIRS; i++) {
            unsigned back = apart / 2 + (unsigned)dice(apart);
            unsigned key = i % 2 && i / 2 > back ? i / 2 - back : i / 2;
            uint64_t of_key = (uint64_t)apart << 32 | key, hash = mp_dice(&of_key, UINT64_MAX);

            mp__curve_see(curve, hash, mp__mini_access(caches[0], hash), 1);
            hits += mp__mini_access(caches[1], hash);
        }
        mp__curve_point(curve, 3, &entries, &is);
        assert_int_equal(entries, 2 * ENTRIES);
        hits /= 2 * PAIRS;
        held += hits >= is.low && hits <= is.high;
        count++;
        for (unsigned i = 0; i < 2; i++)
            caches[i] = mp__mini_free(caches[i]);
        curve = mp__curve_free(curve);
    }
    print_message("# %u of %u intervals held\n", held, count);
    assert_true(held >= count * 86 / 100 + 1);
}

static void without_memory_nothing_is_made_nor_lost(void **state)
{
    mp__curve *curve;
    int rc;

    (void)state;
    for (size_t n = 1;; n++) {
        curve = NULL;
        assert_true(n < 1000);
        mp_fail_begin(n);
        rc = mp__curve_new("adaptive", 1000, &curve);
        if (!mp_fail_end())
            break;
        assert_int_equal(rc, MP_ENOMEM);
        curve = mp__curve_free(curve);
    }
    assert_int_equal(rc, 0);
    curve = mp__curve_free(curve);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(sizes_from_a_quarter_to_four_times_are_foretold_within_a_point),
    MP_TEST(an_interval_of_w_tinylfu_spans_what_its_scatter_does_not_show),
    MP_TEST(an_interval_holds_where_what_is_used_again_just_fits_or_just_does_not),
    MP_TEST(a_change_of_size_hits_what_was_said_before),
    MP_TEST(a_knob_tells_what_it_would_do),
    MP_TEST(a_cache_that_has_all_is_told_to_hit_all),
    MP_TEST(forecasts_hold_where_all_keys_are_asked_for_alike),
    MP_TEST(a_forecast_does_not_hang_on_how_many_requests_were_counted_and_not_told),
    MP_TEST(what_each_policy_has_room_for_is_foretold_from_the_beginning),
    MP_TEST(a_cache_too_small_for_it_keeps_no_curve),
    MP_TEST(it_takes_at_most_a_hundredth_of_the_standard_memory_with_the_panel),
    MP_TEST(every_policy_has_a_curve_within_a_hundredth_of_the_standard_memory),
    MP_TEST(an_interval_of_lirs_holds_where_the_stay_of_newcomers_decides),
    MP_TEST(without_memory_nothing_is_made_nor_lost),
};

MP_TEST_MAIN(tests)
