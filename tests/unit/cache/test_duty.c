/* SPDX-License-Identifier: Apache-2.0 */
/* Learning beside a cache takes its share of the time and no more, and what is learned from a tenth
 * or a thirtieth of the requests is still right. The clock is one that the test moves, so nothing
 * here hangs on how busy the machine is. */
#include "mp_test.h"
#include "mp_dice.h"

#include <math.h>
#include <stdio.h>

#include "cache/duty.h"
#include "cache/l1_internal.h"
#include "cache/panel.h"
#include "cache/policy/policies.h"
#include "core/core.h"
#include "core/env_ops.h"

/* ---- a cache without one: costs are made up ---- */

typedef struct pace {
    uint64_t now_ns, clock_ns, others_ns;
} pace;

static uint64_t pace_now(void *context)
{
    pace *p = context;

    return p->now_ns += p->clock_ns;
}

/* The process has run all the time but for what others had. */
static uint64_t pace_cpu(void *context)
{
    const pace *p = context;

    return p->now_ns - p->others_ns;
}

/* One request after @gap_ns, for which one who learns takes @cost_ns. True: it was seen. */
static bool pass(mp__duty *d, pace *p, uint64_t gap_ns, uint64_t cost_ns)
{
    uint64_t began;

    p->now_ns += gap_ns;
    mp__duty_pass(d);
    if (d->state == MP__DUTY_OFF)
        return false;
    began = mp__duty_begin(d);
    p->now_ns += cost_ns;
    mp__duty_end(d, began);
    return true;
}

static size_t seen_of(mp__duty *d, pace *p, size_t requests, uint64_t gap_ns, uint64_t cost_ns)
{
    size_t seen = 0;

    for (size_t i = 0; i < requests; i++)
        seen += pass(d, p, gap_ns, cost_ns);
    return seen;
}

static const double START_NS = 20e6; /* what may be spent before it is earned */

static void what_is_spent_stays_below_the_share(void **state)
{
    static const struct {
        uint64_t gap_ns, cost_ns, clock_ns;
        size_t entries;
        double share;
    } cases[] = {
        {50, 200, 0, 1000, 0.02},  {100, 1000, 30, 1000, 0.02}, {300, 40, 30, 25000, 0.02},
        {100, 200, 40, 300, 0.01}, {40, 100, 0, 1000, 0.1},     {100, 3000, 30, 1000, 0.02},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        pace p = {.clock_ns = cases[i].clock_ns};
        double burst = (double)cases[i].entries * (MP__DUTY_WARM + MP__DUTY_JUDGE + 1) *
                       (double)cases[i].cost_ns;
        double spent, began;
        mp__duty d;

        mp__duty_init(&d, pace_now, pace_cpu, &p, cases[i].entries, cases[i].share);
        began = (double)p.now_ns;
        spent = (double)cases[i].cost_ns *
                (double)seen_of(&d, &p, 4000000, cases[i].gap_ns, cases[i].cost_ns);
        if (spent > cases[i].share * ((double)p.now_ns - began) + START_NS + burst)
            print_message("# case %zu: spent %.0f of %.0f\n", i, spent, (double)p.now_ns - began);
        assert_true(spent <= cases[i].share * ((double)p.now_ns - began) + START_NS + burst);
        /* nor is it idle: what it may spend it does */
        assert_true(spent >= 0.9 * cases[i].share * ((double)p.now_ns - began) - burst);
    }
}

static void a_slow_rate_pays_for_every_request(void **state)
{
    pace p = {.clock_ns = 30};
    mp__duty d;

    (void)state;
    mp__duty_init(&d, pace_now, pace_cpu, &p, 1000, 0.02);
    assert_int_equal(seen_of(&d, &p, 300000, 100000, 1000), 300000);
    assert_true(mp__duty_seen(&d) == 1);
}

static void where_the_clock_stands_still_every_request_is_seen(void **state)
{
    pace p = {0};
    mp__duty d;

    (void)state;
    mp__duty_init(&d, pace_now, pace_cpu, &p, 100, 0.02);
    assert_int_equal(seen_of(&d, &p, 3000000, 0, 0), 3000000);
}

static void a_share_of_nothing_sees_nothing_and_of_all_all(void **state)
{
    pace p = {.clock_ns = 30};
    mp__duty d;

    (void)state;
    mp__duty_init(&d, pace_now, pace_cpu, &p, 100, 0);
    assert_int_equal(seen_of(&d, &p, 100000, 100000, 100), 0);
    assert_true(mp__duty_seen(&d) == 0);
    mp__duty_set_share(&d, 1);
    assert_int_equal(seen_of(&d, &p, 100000, 10, 10000), 100000);
    mp__duty_set_share(&d, 0);
    assert_int_equal(seen_of(&d, &p, 100000, 100000, 100), 0);
}

/* Each burst: warmed first, then judged for longer than the longest horizon of a panel (16). */
static void a_burst_is_warmed_then_judged_without_a_gap(void **state)
{
    enum { ENTRIES = 500 };
    pace p = {.clock_ns = 30};
    size_t warmed = 0, judged = 0, bursts = 0;
    enum mp__duty_state before = MP__DUTY_OFF;
    mp__duty d;

    (void)state;
    mp__duty_init(&d, pace_now, pace_cpu, &p, ENTRIES, 0.02);
    while (pass(&d, &p, 100, 300)) /* what it may spend before it is earned */
        ;
    for (size_t i = 0; i < 10000000 && bursts < 3; i++) {
        (void)pass(&d, &p, 100, 300);
        if (before == MP__DUTY_ON && d.state == MP__DUTY_OFF) {
            assert_true(warmed >= (size_t)MP__DUTY_WARM * ENTRIES);
            assert_true(judged >= (size_t)16 * ENTRIES && judged >= 2 * warmed);
            bursts++;
            warmed = judged = 0;
        }
        assert_false(before == MP__DUTY_OFF && d.state == MP__DUTY_ON);
        warmed += d.state == MP__DUTY_WARMING;
        judged += d.state == MP__DUTY_ON;
        before = d.state;
    }
    assert_true(bursts >= 3);
}

/* The thread lost its processor in the middle of what was measured. */
static void another_threads_turn_is_not_taken_for_cost(void **state)
{
    pace p = {.clock_ns = 30};
    uint64_t began;
    mp__duty d;

    (void)state;
    mp__duty_init(&d, pace_now, pace_cpu, &p, 1000, 0.02);
    do
        (void)pass(&d, &p, 100, 100);
    while (!d.is_timed);
    began = mp__duty_begin(&d);
    p.now_ns += 400000000; /* at 61 times this it would be off for 20 minutes */
    mp__duty_end(&d, began);
    for (size_t i = 0; i < 30000000; i++)
        if (pass(&d, &p, 100, 100))
            return;
    fail_msg("nothing was seen within 3 s");
}

/* Requests by a process that has a processor for 4 ms of each @of_ms. */
static double share_of_cpu(unsigned of_ms, uint64_t gap_ns, uint64_t cost_ns)
{
    pace p = {.clock_ns = 30};
    double spent = 0;
    mp__duty d;

    mp__duty_init(&d, pace_now, pace_cpu, &p, 1000, 0.01);
    for (uint64_t turns = 0; turns < 5000; turns++) {
        uint64_t until = p.now_ns + 4000000;

        while (p.now_ns < until)
            spent += (double)cost_ns * pass(&d, &p, gap_ns, cost_ns);
        p.now_ns += (of_ms - 4) * 1000000UL;
        p.others_ns += (of_ms - 4) * 1000000UL;
    }
    return (spent - START_NS) / (double)pace_cpu(&p);
}

static void time_that_others_had_the_processor_pays_for_little(void **state)
{
    static const unsigned of_ms[] = {4, 8, 12, 24};

    (void)state;
    for (size_t i = 0; i < sizeof(of_ms) / sizeof(*of_ms); i++) {
        double share = share_of_cpu(of_ms[i], 100, 300);

        print_message("# 4 of %u ms: %.4f of the CPU time\n", of_ms[i], share);
        assert_true(share > 0.008 && share < 0.018);
    }
}

/* As by a daemon that has something to do for a hundredth of the time. */
static void idling_pays_for_every_request_of_few(void **state)
{
    pace p = {.clock_ns = 30};
    size_t seen = 0;
    mp__duty d;

    (void)state;
    mp__duty_init(&d, pace_now, pace_cpu, &p, 1000, 0.01);
    for (size_t i = 0; i < 300000; i++) {
        p.others_ns += 990000; /* nobody ran */
        seen += pass(&d, &p, 1000000, 900);
    }
    assert_int_equal(seen, 300000);
}

static void idle_time_is_worth_no_more_than_the_start(void **state)
{
    pace p = {.clock_ns = 0};
    double spent;
    mp__duty d;

    (void)state;
    mp__duty_init(&d, pace_now, pace_cpu, &p, 100, 0.02);
    p.now_ns += (uint64_t)3600 * 1000000000; /* a night */
    spent = 1000.0 * (double)seen_of(&d, &p, 1000000, 10, 1000);
    assert_true(spent < 1.2 * START_NS + 0.02 * 1e9);
}

/* ---- a cache with one ---- */

/* An env whose clock the test moves: 100 ns a request, and what reading it takes, which is all that
 * learning seems to cost. */
typedef struct world {
    mp_env env;
    pace pace;
    mp__l1 *l1;
    uint64_t random;
    size_t requests, hits;
} world;

static mp__env_ops world_ops;
static const mp__hash_key key = {3, 4};

enum { ENTRIES = 200, GAP_NS = 100 };

static uint64_t world_now(mp_env *env)
{
    return pace_now(&((world *)env)->pace);
}

static void ask(world *w, unsigned k)
{
    char text[32];
    mp__record record = {.address =
                             mp_str_new(text, (size_t)snprintf(text, sizeof(text), "e/n/%u", k)),
                         .value = mp_str_of("1"),
                         .kind = MP__RECORD_VALUE,
                         .revision = 1};
    uint64_t hash = mp__hash_str(key, record.address);
    bool found;

    w->pace.now_ns += GAP_NS;
    assert_int_equal(mp_read_begin(), 0);
    found = mp__l1_find(w->l1, record.address, hash) != NULL;
    mp_read_end();
    w->requests++;
    w->hits += found;
    if (!found)
        assert_int_equal(mp__l1_put(w->l1, hash, &record, false, 1, 1, NULL), 0);
}

static unsigned hot(world *w, unsigned keys)
{
    return (unsigned)mp_dice_hot(&w->random, keys);
}

/* One in @inverse requests is seen (0: none), in the long run, and none of what may be learned at
 * the start for nothing. */
static void world_open(world *w, unsigned inverse, uint64_t seed)
{
    *w = (world){.env = {.ops = &world_ops}, .random = seed};
    world_ops = *mp__env_real()->ops;
    world_ops.now_ns = world_now;
    world_ops.cpu_ns = NULL; /* all of it */
    assert_int_equal(
        mp__l1_new(&w->env, ENTRIES, (size_t)64 << 20, 10, mp__policy_find("adaptive"), &w->l1), 0);
    assert_non_null(w->l1->curve);
    if (inverse == 0)
        mp__l1_set_panel_share(w->l1, 0);
    if (inverse <= 1)
        return;
    w->l1->duty.credit = 0;
    /* two who learn, one reading of the clock in each is measured */
    w->pace.clock_ns = (uint64_t)(w->l1->duty.share * GAP_NS * inverse / 2);
}

static void world_close(world *w)
{
    w->l1 = mp__l1_free(w->l1);
}

/* Phases that no policy alone is good at, each long against a burst and the pause behind it. */
enum { PHASE = 700000, PHASES = 3 };

static void request(world *w, unsigned phase, unsigned i)
{
    switch (phase) {
    case 0: /* a hot set with scans */
        ask(w, i % 1500 < 300 ? 100000 + i : hot(w, 600));
        return;
    case 1: /* a loop larger than the cache */
        ask(w, 2000 + i % 270);
        return;
    default: /* recency alone */
        ask(w, 10000 + (i % 2 ? i : i - 101));
        return;
    }
}

static double seen_share(const world *w)
{
    return mp__duty_seen(&w->l1->duty);
}

/* In the last two thirds of each phase. */
static void run_phases(world *w, double ret_ratios[PHASES])
{
    for (unsigned phase = 0; phase < PHASES; phase++) {
        for (unsigned i = 0; i < PHASE; i++) {
            if (i == PHASE / 3)
                w->requests = w->hits = 0;
            request(w, phase, i);
        }
        ret_ratios[phase] = (double)w->hits / (double)w->requests;
    }
}

static void phases_are_followed_of_which_a_tenth_or_a_thirtieth_is_seen(void **state)
{
    static const unsigned inverses[] = {1, 10, 30, 0};
    double ratios[4][PHASES];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        world w;

        world_open(&w, inverses[i], 5);
        run_phases(&w, ratios[i]);
        print_message("# of one in %u (%.3f): %.4f %.4f %.4f\n", inverses[i], seen_share(&w),
                      ratios[i][0], ratios[i][1], ratios[i][2]);
        if (inverses[i]) {
            assert_true(seen_share(&w) < 1.4 / inverses[i]);
            assert_true(seen_share(&w) > 0.6 / inverses[i]);
            for (unsigned phase = 0; phase < PHASES; phase++)
                assert_true(ratios[i][phase] > ratios[0][phase] - 0.015);
        } else { /* there is something to follow: with the first leader for ever it is worse */
            assert_true(ratios[i][2] < ratios[0][2] - 0.1);
        }
        world_close(&w);
    }
}

/* Where nothing changes, bursts must not look like a change. */
static void bursts_do_not_make_it_change_its_mind(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 2; seed++) {
        mp__panel_view settled, after;
        world w;

        world_open(&w, 30, seed);
        for (unsigned i = 0; i < 600000; i++)
            ask(&w, hot(&w, 700));
        assert_true(mp__l1_panel_look(w.l1, &settled));
        for (unsigned i = 0; i < 2000000; i++)
            ask(&w, hot(&w, 700));
        assert_true(mp__l1_panel_look(w.l1, &after));
        print_message("# seed %u: %lu changes, then %lu\n", seed, settled.switches,
                      after.switches - settled.switches);
        assert_true(after.switches - settled.switches <= 1);
        world_close(&w);
    }
}

/* The mean of what is said at several times, since at each it stands on few requests. */
static size_t forecasts_of(unsigned inverse, double ret_ratios[MP__CACHE_FORECASTS])
{
    enum { REQUESTS = 1500000, READ_EACH = 100000, READ_FROM = 300000 };
    mp__cache_forecast said[MP__CACHE_FORECASTS];
    size_t count = 0, readings = 0;
    world w;

    memset(ret_ratios, 0, MP__CACHE_FORECASTS * sizeof(double));
    world_open(&w, inverse, 9);
    for (unsigned i = 0; i < REQUESTS; i++) {
        ask(&w, i % 10 == 0 ? 100000 + i : hot(&w, 1500));
        if (i < READ_FROM || i % READ_EACH != 0)
            continue;
        count = mp__l1_forecasts(w.l1, said);
        readings++;
        for (size_t f = 0; f < count; f++) {
            assert_true(said[f].sampled_requests > 0);
            ret_ratios[f] += said[f].hit_ratio;
        }
    }
    for (size_t f = 0; f < count; f++)
        ret_ratios[f] /= (double)readings;
    world_close(&w);
    return count;
}

static void forecasts_of_a_part_of_the_requests_are_those_of_all(void **state)
{
    static const unsigned inverses[] = {10, 30};
    double all[MP__CACHE_FORECASTS], part[MP__CACHE_FORECASTS];
    size_t count = forecasts_of(1, all);

    (void)state;
    assert_true(count > 5);
    for (size_t i = 0; i < 2; i++) {
        double error = 0;

        assert_int_equal(forecasts_of(inverses[i], part), count);
        for (size_t f = 0; f < count; f++)
            error += fabs(part[f] - all[f]) / (double)count;
        print_message("# of one in %u: mean difference %.2f points\n", inverses[i], 100 * error);
        assert_true(error < 0.01);
    }
}

/* The bar, in a way that cannot hang on the machine: a cache that is asked as fast as it can answer
 * and whose learning takes a microsecond a request lets at most the share of the time go to it. */
static void a_busy_cache_learns_of_as_many_requests_as_its_share_pays_for(void **state)
{
    world w;

    (void)state;
    enum { REQUESTS = 3000000, BURST = (MP__DUTY_WARM + MP__DUTY_JUDGE + 1) * ENTRIES };

    world_open(&w, 1, 3);
    w.l1->duty.credit = 0;
    w.pace.clock_ns = 500; /* twice a request: the panel and the curve */
    for (unsigned i = 0; i < REQUESTS; i++)
        ask(&w, hot(&w, 600));
    assert_true(1000 * seen_share(&w) * REQUESTS <= 0.03 * GAP_NS * REQUESTS + 1000.0 * BURST);
    world_close(&w);
}

static void a_new_size_and_a_new_policy_are_learned_of_at_once(void **state)
{
    world w;

    (void)state;
    world_open(&w, 30, 3);
    while (w.l1->duty.state != MP__DUTY_OFF)
        ask(&w, hot(&w, 1200));
    assert_int_equal(mp__l1_set_entries(w.l1, 2 * (size_t)ENTRIES), 0);
    assert_int_not_equal(w.l1->duty.state, MP__DUTY_OFF);
    while (w.l1->duty.state != MP__DUTY_OFF)
        ask(&w, hot(&w, 1200));
    assert_int_equal(mp__l1_set_policy(w.l1, mp__policy_find("lru")), 0);
    assert_int_equal(mp__l1_set_policy(w.l1, mp__policy_find("adaptive")), 0);
    assert_int_not_equal(w.l1->duty.state, MP__DUTY_OFF);
    for (unsigned i = 0; i < 100000; i++)
        ask(&w, hot(&w, 1200));
    world_close(&w);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_is_spent_stays_below_the_share),
    MP_TEST(a_slow_rate_pays_for_every_request),
    MP_TEST(where_the_clock_stands_still_every_request_is_seen),
    MP_TEST(a_share_of_nothing_sees_nothing_and_of_all_all),
    MP_TEST(a_burst_is_warmed_then_judged_without_a_gap),
    MP_TEST(another_threads_turn_is_not_taken_for_cost),
    MP_TEST(time_that_others_had_the_processor_pays_for_little),
    MP_TEST(idling_pays_for_every_request_of_few),
    MP_TEST(idle_time_is_worth_no_more_than_the_start),
    MP_TEST(phases_are_followed_of_which_a_tenth_or_a_thirtieth_is_seen),
    MP_TEST(bursts_do_not_make_it_change_its_mind),
    MP_TEST(forecasts_of_a_part_of_the_requests_are_those_of_all),
    MP_TEST(a_busy_cache_learns_of_as_many_requests_as_its_share_pays_for),
    MP_TEST(a_new_size_and_a_new_policy_are_learned_of_at_once),
};

MP_TEST_MAIN(tests)
