/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "bench/bench.h"
#include "bench/l1_run.h"
#include "core/core.h"

static void the_bare_table_has_what_was_put_and_nothing_else(void **state)
{
    static const mp__hash_key key = {1, 2};
    char value[MP__WORKLOAD_VALUE_BYTES];
    mp__bare_table table;
    mp__workload w;

    (void)state;
    assert_int_equal(mp__workload_init(&w, 500, 64, 1), 0);
    assert_int_equal(
        mp__bare_table_init(&table, key, 400, MP__WORKLOAD_KEY_BYTES + MP__WORKLOAD_VALUE_BYTES),
        0);
    for (size_t i = 0; i < 400; i++)
        assert_int_equal(
            mp__bare_table_put(&table, mp__workload_key(&w, i), mp__workload_value(i, value)), 0);
    for (size_t i = 0; i < 400; i++)
        assert_true(mp_str_equal(mp__bare_table_get(&table, mp__workload_key(&w, i)),
                                 mp__workload_value(i, value)));
    for (size_t i = 400; i < 500; i++)
        assert_null(mp__bare_table_get(&table, mp__workload_key(&w, i)).data);
    mp__bare_table_done(&table);
    mp__workload_done(&w);
}

static void requests_follow_zipfs_law(void **state)
{
    enum { KEYS = 1000, REQUESTS = 1 << 18 };
    static size_t counts[KEYS];
    size_t most = 0, distinct = 0;
    mp__workload w;

    (void)state;
    assert_int_equal(mp__workload_init(&w, KEYS, REQUESTS, 42), 0);
    for (size_t i = 0; i < REQUESTS; i++)
        counts[w.sequence[i]]++;
    for (size_t i = 0; i < KEYS; i++) {
        most = counts[i] > most ? counts[i] : most;
        distinct += counts[i] > 0;
    }
    /* the first of 1,000 gets 1 / H(1000) = 0.1336 of all */
    assert_true((double)most > REQUESTS * 0.13 && (double)most < REQUESTS * 0.137);
    assert_int_equal(distinct, KEYS);
    mp__workload_done(&w);
}

static void a_run_measures_every_way_and_finds_everything(void **state)
{
    mp__l1_run run = {.rounds = 1, .threads = 2};
    mp__l1_figures one, many;

    (void)state;
    assert_int_equal(mp__l1_run_init(&run, 100), 0);
    assert_int_equal(mp__l1_run_rounds(&run, &one, &many), 0);
    mp__l1_run_done(&run);
    assert_false(run.wrong);
    for (int way = 0; way < MP__L1_WAYS; way++) {
        assert_true(one.ns[way] > 0 && one.ratio[way] > 0);
        assert_true(many.ns[way] > 0 && many.to_one_thread[way] > 0);
    }
    assert_true(one.ratio[MP__L1_BARE] == 1);
}

static void a_value_that_is_missing_is_noticed(void **state)
{
    mp__l1_run run = {.rounds = 1, .threads = 1};
    mp__l1_figures one, many;

    (void)state;
    assert_int_equal(mp__l1_run_init(&run, 100), 0);
    assert_int_equal(mp_cache_delete(run.cache, mp__workload_key(&run.workload, 7)), 0);
    assert_int_equal(mp__l1_run_rounds(&run, &one, &many), 0);
    mp__l1_run_done(&run);
    assert_true(run.wrong);
}

static void a_median_is_the_middle(void **state)
{
    double values[] = {5, 1, 4, 2, 3};

    (void)state;
    assert_true(mp__l1_run_median(values, 5) == 3);
}

static void every_bench_is_found_by_its_name(void **state)
{
    (void)state;
    for (const mp__bench *b = mp__benches; b->name; b++)
        assert_ptr_equal(mp__bench_find(b->name), b);
    assert_non_null(mp__bench_find("l1-get"));
    assert_null(mp__bench_find("no such"));
}

static const struct CMUnitTest tests[] = {
    MP_TEST(the_bare_table_has_what_was_put_and_nothing_else),
    MP_TEST(requests_follow_zipfs_law),
    MP_TEST(a_run_measures_every_way_and_finds_everything),
    MP_TEST(a_value_that_is_missing_is_noticed),
    MP_TEST(a_median_is_the_middle),
    MP_TEST(every_bench_is_found_by_its_name),
};

MP_TEST_MAIN(tests)
