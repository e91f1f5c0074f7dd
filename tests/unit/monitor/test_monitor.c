/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <pthread.h>

#include "monitor/internal.h"

static void a_quantile_is_at_most_three_percent_off(void **state)
{
    (void)state;
    for (uint64_t ns = 1; ns < 60000000000u; ns = ns * 5 / 4 + 1) {
        double middle = (double)mp__histogram_value(mp__histogram_step(ns));

        assert_true(middle >= 0.968 * (double)ns && middle <= 1.032 * (double)ns + 0.5);
    }
    assert_int_equal(mp__histogram_step(UINT64_MAX), MP__HISTOGRAM_STEPS - 1);
}

static void *record_many(void *monitor)
{
    for (int i = 0; i < 10000; i++) {
        mp__monitor_record(monitor, MP__OP_GET, 1, 1000 + (uint64_t)i, 1);
        mp__monitor_count(monitor, MP__EVENT_ABSENT, 2);
    }
    return NULL;
}

static void threads_lose_no_counts_also_after_their_end(void **state)
{
    mp__monitor *monitor = NULL;
    mp__latency latency;

    (void)state;
    assert_int_equal(mp__monitor_new(&monitor), 0);
    for (int round = 0; round < 3; round++) {
        pthread_t threads[4];

        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, record_many, monitor);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    assert_int_equal(mp__monitor_operations(monitor, MP__OP_GET, -1), 120000);
    assert_int_equal(mp__monitor_events(monitor, MP__EVENT_ABSENT), 240000);
    mp__monitor_latency(monitor, MP__OP_GET, 1, &latency);
    assert_int_equal(latency.count, 120000);
    assert_true(latency.p50_ns > 5800 && latency.p50_ns < 6200);
    assert_true(latency.max_ns > 10600 && latency.max_ns < 11400);
    monitor = mp__monitor_free(monitor);
}

static double seven(void *context, size_t index)
{
    (void)context;
    return 7 + (double)index;
}

static void the_exposition_holds_every_metric_once(void **state)
{
    static const mp__metric metrics[] = {{"test_things", "", "Things.", MP__METRIC_GAUGE, ""}};
    mp__monitor *monitor = NULL;
    mp__buf out = MP__BUF_INIT;

    (void)state;
    assert_int_equal(mp__monitor_new(&monitor), 0);
    assert_int_equal(mp__monitor_add(monitor, metrics, 1, seven, &seven), 0);
    mp__monitor_record(monitor, MP__OP_FETCH, MP__MONITOR_TIERS - 1, 2000000, 3);
    assert_int_equal(mp__monitor_expose(monitor, &out), 0);
    (void)mp__buf_add_char(&out, '\0');
    assert_non_null(strstr(out.data, "\nmarketprism_test_things 7\n"));
    assert_non_null(
        strstr(out.data, "marketprism_operations_total{operation=\"fetch\",tier=\"origin\"} 3\n"));
    assert_non_null(strstr(out.data, "tier=\"origin\",le=\"0.0025\"} 3\n"));
    assert_non_null(strstr(out.data, "tier=\"origin\",le=\"0.001\"} 0\n"));
    for (size_t i = 0; i < mp__monitor_metric_count; i++) {
        char type[128];
        char *first;

        snprintf(type, sizeof(type), "# TYPE marketprism_%s ", mp__monitor_metrics[i].name);
        first = strstr(out.data, type);
        assert_non_null(first);
        assert_null(strstr(first + 1, type));
    }
    mp__monitor_remove(monitor, &seven);
    mp__buf_done(&out);
    monitor = mp__monitor_free(monitor);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_quantile_is_at_most_three_percent_off),
    MP_TEST(threads_lose_no_counts_also_after_their_end),
    MP_TEST(the_exposition_holds_every_metric_once),
};

MP_TEST_MAIN(tests)
