/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "bench/bench.h"
#include "bench/l1_run.h"
#include "core/core.h"

static mp_str look(const mp__bare_table *table, mp_str key)
{
    return table->is_alike ? mp__bare_table_get_alike(table, key) : mp__bare_table_get(table, key);
}

static void bare_table_has_what_was_put(bool is_alike)
{
    static const mp__hash_key key = {1, 2};
    char value[MP__WORKLOAD_VALUE_BYTES];
    mp__bare_table table;
    mp__workload w;

    assert_int_equal(mp__workload_init(&w, 500, 64, 1), 0);
    assert_int_equal(mp__bare_table_init(&table, key, is_alike, 400,
                                         MP__WORKLOAD_KEY_BYTES + MP__WORKLOAD_VALUE_BYTES),
                     0);
    for (size_t i = 0; i < 400; i++)
        assert_int_equal(
            mp__bare_table_put(&table, mp__workload_key(&w, i), mp__workload_value(i, value)), 0);
    for (size_t i = 0; i < 400; i++)
        assert_true(
            mp_str_equal(look(&table, mp__workload_key(&w, i)), mp__workload_value(i, value)));
    for (size_t i = 400; i < 500; i++)
        assert_null(look(&table, mp__workload_key(&w, i)).data);
    mp__bare_table_done(&table);
    mp__workload_done(&w);
}

static void the_bare_table_has_what_was_put_and_nothing_else(void **state)
{
    (void)state;
    bare_table_has_what_was_put(false);
    bare_table_has_what_was_put(true);
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
    assert_true(one.ratio[MP__L1_BARE] == 1 && one.to_alike[MP__L1_ALIKE] == 1);
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

/* Print with the bench @name into @out, one round. */
static void run_bench(const char *name, bool json, mp__buf *out)
{
    mp__bench_options options = {.rounds = 1, .threads = 1, .json = json};
    mp__diag diag = {0};

    assert_int_equal(mp__bench_find(name)->run(&options, out, &diag), 0);
    assert_int_equal(mp__buf_add_char(out, '\0'), 0);
}

static size_t occurrences(const char *text, const char *word)
{
    size_t n = 0;

    for (const char *at = text; (at = strstr(at, word)); at++)
        n++;
    return n;
}

static void json_has_a_figure_for_each_size_beside_its_reference(void **state)
{
    mp__buf out = MP__BUF_INIT;

    (void)state;
    run_bench("l1-get", true, &out);
    assert_memory_equal(out.data, "{\"bench\":\"l1-get\",", 18);
    assert_int_equal(occurrences(out.data, "\"keys\":"), 2);
    assert_int_equal(occurrences(out.data, "\"reference_ns\":"), 2);
    assert_int_equal(occurrences(out.data, "{"), occurrences(out.data, "}"));
    assert_string_equal(out.data + out.size - 4, "]}\n");
    mp__buf_done(&out);
}

static void people_get_a_line_for_each_size_of_l1_mixed(void **state)
{
    mp__buf out = MP__BUF_INIT;

    (void)state;
    run_bench("l1-mixed", false, &out);
    assert_int_equal(occurrences(out.data, " writes/s: a get quiet "), 2);
    assert_non_null(strstr(out.data, "100000 keys, "));
    mp__buf_done(&out);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(the_bare_table_has_what_was_put_and_nothing_else),
    MP_TEST(requests_follow_zipfs_law),
    MP_TEST(a_run_measures_every_way_and_finds_everything),
    MP_TEST(a_value_that_is_missing_is_noticed),
    MP_TEST(a_median_is_the_middle),
    MP_TEST(every_bench_is_found_by_its_name),
    MP_TEST(json_has_a_figure_for_each_size_beside_its_reference),
    MP_TEST(people_get_a_line_for_each_size_of_l1_mixed),
};

MP_TEST_MAIN(tests)
