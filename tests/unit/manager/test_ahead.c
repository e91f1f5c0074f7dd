/* SPDX-License-Identifier: Apache-2.0 */
/* Refresh ahead: who waits, what is asked, and how much of it an ill origin is burdened with. */
#include "mp_test.h"

#include <inttypes.h>

#include "manager/internal.h"
#include "mp_world.h"
#include "mp_truth.h"

enum { TTL_S = 8, ANSWER_MS = 300 };

static mp_truth *truth;

static int set_up(void **state)
{
    (void)state;
    world_begin(5, 20);
    truth = mp_truth_new(sim);
    option("cache.default_ttl", "8s");
    option("cache.eventual_bound", "0"); /* past its time a value is asked for first */
    option("cache.hard_bound", "0");
    assert_int_equal(world_try_open("/data", false, mp_truth_origin(truth), NULL), 0);
    mp_sim_slow(sim, "net-answer", ANSWER_MS, ANSWER_MS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    world_close();
    truth = mp_truth_free(truth);
    world_end();
    return 0;
}

/* ---- reading ---- */

/* As the server reads: the hot path first. True: it was answered at once. */
static bool read_one(const char *address)
{
    bool done = false, at_once;
    mp__read read = {.loop = loop,
                     .address = mp_str_of(address),
                     .identity = &identity,
                     .level = MP__LEVEL_EVENTUAL,
                     .age_max_ms = -1,
                     .done = world_read_done,
                     .context = &done};

    read.hash = mp__cache_hash(mp__manager_hasher(manager), read.address);
    assert_int_equal(mp_read_begin(), 0);
    at_once = mp__read_now(manager, read.address, read.hash, read.level, 0) != NULL;
    mp_read_end();
    if (at_once)
        return true;
    at_once = mp__read_start(manager, &read);
    if (!at_once)
        world_wait(&done);
    assert_int_equal(read.status, 0);
    (void)mp__entry_unref(read.entry);
    return at_once;
}

/* Read it every 5 ms: how many had to wait. */
static unsigned waits_in(const char *address, uint64_t seconds)
{
    unsigned waits = 0;

    for (uint64_t i = 0; i < seconds * 200; i++) {
        waits += !read_one(address);
        mp_sim_run(sim, 5);
    }
    return waits;
}

static void nobody_waits_for_a_value_in_use(void **state)
{
    uint64_t before;

    (void)state;
    mp_truth_put(truth, "production/default/a", "1");
    mp_sim_run(sim, 1000);
    mp__ahead_learn(manager, (uint64_t)ANSWER_MS * 1000000, true, false);
    before = mp_truth_fetches(truth);
    assert_int_equal(waits_in("production/default/a", (uint64_t)10 * TTL_S), 0);
    /* about once a time to live, not once a read */
    assert_in_range(mp_truth_fetches(truth) - before, 8, 16);
}

static void without_it_somebody_waits_each_time(void **state)
{
    (void)state;
    option("cache.refresh_ahead", "0");
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    mp_truth_put(truth, "production/default/a", "1");
    (void)read_one("production/default/a");
    assert_in_range(waits_in("production/default/a", (uint64_t)10 * TTL_S), 8, 12);
}

static void what_nobody_reads_is_not_asked_for(void **state)
{
    uint64_t before;

    (void)state;
    mp_truth_put(truth, "production/default/a", "1");
    (void)read_one("production/default/a");
    before = mp_truth_fetches(truth);
    mp_sim_run(sim, 3600000);
    assert_int_equal(mp_truth_fetches(truth), before);
}

/* ---- an origin that is ill ---- */

enum { MANY = 200 };

static void fill_many(void)
{
    char address[64];

    mp_sim_slow(sim, "", 0, 0);
    for (int i = 0; i < MANY; i++) {
        snprintf(address, sizeof(address), "production/default/k%d", i);
        mp_truth_put(truth, address, "1");
        (void)read_one(address);
    }
    mp_sim_slow(sim, "net-answer", ANSWER_MS, ANSWER_MS);
    mp_truth_put(truth, "production/default/slow", "1"); /* now delta is known */
    for (int i = 0; i < 20; i++) {
        (void)read_one("production/default/slow");
        mp__cache_forget_l1(manager->cache, MP_STR("production/default/slow"),
                            mp__cache_hash(manager->hasher, MP_STR("production/default/slow")));
    }
}

/* Most questions at once while all of many entries are about to need one. */
static uint32_t most_under_way(void)
{
    uint32_t most = 0;
    char address[64];

    for (int round = 0; round < 2000; round++) {
        for (int i = 0; i < MANY; i += 7) {
            const mp__entry *entry = NULL;

            snprintf(address, sizeof(address), "production/default/k%d", (i + round) % MANY);
            assert_int_equal(
                mp__cache_load_nowait(manager->cache, mp_str_of(address),
                                      mp__cache_hash(manager->hasher, mp_str_of(address)), &entry),
                0);
            if (atomic_load(&entry->verify_by_s) > mp__manager_now_s(manager))
                mp__ahead_maybe(manager, entry,
                                mp__cache_hash(manager->hasher, mp_str_of(address)));
            (void)mp__entry_unref(entry);
        }
        mp_sim_run(sim, 5);
        if (atomic_load(&manager->flights_under_way) > most)
            most = atomic_load(&manager->flights_under_way);
    }
    return most;
}

static void a_hanging_origin_is_asked_for_few_at_once(void **state)
{
    (void)state;
    fill_many();
    mp_truth_stop(truth, 0, true);
    assert_in_range(most_under_way(), 1, 64);
    mp_truth_stop(truth, 0, false);
    mp_sim_run(sim, 10000);
    /* its answers took longer than half the time-out: it is asked more gently from now on */
    assert_in_range(atomic_load(&manager->ahead_limit), 1, 4);
    assert_int_equal(atomic_load(&manager->ahead_under_way), 0);
}

static void failures_halve_what_is_asked_at_once_and_answers_raise_it_by_one(void **state)
{
    uint32_t limit = atomic_load(&manager->ahead_limit);

    (void)state;
    mp__ahead_learn(manager, 1000000, false, false);
    assert_int_equal(atomic_load(&manager->ahead_limit), limit / 2);
    mp__ahead_learn(manager, 1000000, true, false);
    assert_int_equal(atomic_load(&manager->ahead_limit), limit / 2 + 1);
    for (int i = 0; i < 20; i++)
        mp__ahead_learn(manager, 1000000, false, false);
    assert_int_equal(atomic_load(&manager->ahead_limit), 1);
    for (int i = 0; i < 200; i++)
        mp__ahead_learn(manager, 1000000, true, false);
    assert_int_equal(atomic_load(&manager->ahead_limit), 64);
}

static void an_origin_that_is_down_is_not_asked(void **state)
{
    (void)state;
    fill_many();
    mp_truth_cut(truth, 0, true);
    mp_sim_run(sim, 2000);
    assert_int_equal(most_under_way(), 0);
}

/* ---- the timers ---- */

static bool is_in_l1(const char *address)
{
    mp_str name = mp_str_of(address);

    return mp__cache_where(manager->cache, name, mp__cache_hash(manager->hasher, name)) &
           1u << MP__TIER_L1;
}

static void long_ttl(const char *ttl)
{
    option("cache.default_ttl", ttl);
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
}

static void a_value_in_use_is_verified_though_nobody_reads_it_just_then(void **state)
{
    uint64_t before;

    (void)state;
    long_ttl("1000s");
    mp_truth_put(truth, "production/default/a", "1");
    mp_truth_put(truth, "production/default/b", "1");
    mp_sim_run(sim, 1000);
    (void)read_one("production/default/a");
    assert_true(is_in_l1("production/default/b"));
    mp_sim_run(sim, 500000);
    assert_true(read_one("production/default/a")); /* b is used by nobody */
    before = mp_truth_fetches(truth);
    mp_sim_run(sim, 700000); /* until after its time, whatever chance added to it */
    assert_int_equal(mp_truth_fetches(truth) - before, 1);
    assert_true(read_one("production/default/a"));
    assert_false(read_one("production/default/b"));
}

static void what_is_absent_leaves_memory_when_nobody_asks_for_it(void **state)
{
    const char *address = "production/default/none";
    bool done = false;
    mp__read read = {.loop = loop,
                     .address = mp_str_of(address),
                     .identity = &identity,
                     .age_max_ms = -1,
                     .done = world_read_done,
                     .context = &done};

    (void)state;
    read.hash = mp__cache_hash(mp__manager_hasher(manager), read.address);
    assert_false(mp__read_start(manager, &read));
    world_wait(&done);
    assert_int_equal(read.status, MP_EABSENT);
    (void)mp__entry_unref(read.entry);
    assert_true(is_in_l1(address));
    mp_sim_run(sim, 40000);
    assert_true(is_in_l1(address));
    mp_truth_cut(truth, 0, true); /* nobody can be asked: what is known stays known */
    mp_sim_run(sim, 600000);
    assert_true(is_in_l1(address));
    mp_truth_cut(truth, 0, false);
    mp_sim_run(sim, 400000);
    assert_false(is_in_l1(address));
}

/* ---- what came together ---- */

enum { PRELOADED = 100000, SLICES = 100 };

/* No slice of a hundredth of the time in which they all come has more than three hundredths. */
static void assert_spread(const uint32_t *times, size_t count, uint32_t low, uint32_t high)
{
    size_t in_slice[SLICES] = {0};

    for (size_t i = 0; i < count; i++) {
        assert_in_range(times[i], low, high);
        in_slice[(uint64_t)(times[i] - low) * SLICES / (high - low + 1)]++;
    }
    for (size_t i = 0; i < SLICES; i++)
        assert_in_range(in_slice[i], 1, count * 3 / 100);
}

static void a_hundred_thousand_that_came_together_are_not_verified_together(void **state)
{
    uint32_t *times = calloc(PRELOADED, sizeof(*times)), now = mp__manager_now_s(manager);
    char address[64];

    (void)state;
    assert_non_null(times);
    long_ttl("1h");
    for (size_t i = 0; i < PRELOADED; i++) {
        int n = snprintf(address, sizeof(address), "production/default/k%zu", i);

        mp_str name = mp_str_new(address, (size_t)n);

        times[i] =
            mp__verify_by(manager, MP__RECORD_VALUE, name, mp__cache_hash(manager->hasher, name));
    }
    assert_spread(times, PRELOADED, now + 3600 - 360, now + 3600 + 360);
    option("cache.ttl_jitter", "0");
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    assert_int_equal(mp__verify_by(manager, MP__RECORD_VALUE, MP_STR("e/n/k"), 17), now + 3600);
    free(times);
}

static void what_is_preloaded_is_spread_too(void **state)
{
    enum { SOME = 200 };
    const mp_str pattern = MP_STR("production/default/p*");
    uint32_t least = UINT32_MAX, most = 0;
    char address[64];

    (void)state;
    long_ttl("1h");
    for (int i = 0; i < SOME; i++) {
        snprintf(address, sizeof(address), "production/default/p%d", i);
        mp_truth_put(truth, address, "1");
    }
    mp_sim_run(sim, 1000);
    assert_int_equal(mp__manager_reload(manager, options, NULL), 0);
    assert_int_equal(mp__preload_start(manager, &identity, &pattern, 1, 0, NULL), 0);
    mp_sim_run(sim, 60000);
    assert_int_equal(mp_read_begin(), 0);
    for (int i = 0; i < SOME; i++) {
        const mp__entry *entry;
        uint32_t by;

        mp_read_end();
        assert_int_equal(mp_read_begin(), 0);
        snprintf(address, sizeof(address), "production/default/p%d", i);
        entry = mp__cache_peek(manager->cache, mp_str_of(address),
                               mp__cache_hash(manager->hasher, mp_str_of(address)));
        assert_non_null(entry);
        by = atomic_load(&entry->verify_by_s);
        least = by < least ? by : least;
        most = by > most ? by : most;
    }
    mp_read_end();
    assert_in_range(most - least, 600, 720 + 60);
}

#define FRESH(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static const struct CMUnitTest tests[] = {
    FRESH(nobody_waits_for_a_value_in_use),
    FRESH(without_it_somebody_waits_each_time),
    FRESH(what_nobody_reads_is_not_asked_for),
    FRESH(a_hanging_origin_is_asked_for_few_at_once),
    FRESH(failures_halve_what_is_asked_at_once_and_answers_raise_it_by_one),
    FRESH(an_origin_that_is_down_is_not_asked),
    FRESH(a_value_in_use_is_verified_though_nobody_reads_it_just_then),
    FRESH(what_is_absent_leaves_memory_when_nobody_asks_for_it),
    FRESH(a_hundred_thousand_that_came_together_are_not_verified_together),
    FRESH(what_is_preloaded_is_spread_too),
};
MP_TEST_MAIN(tests)
