/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include <stdlib.h>

#include "bench/bench.h"
#include "core/core.h"
#include "mp_fail.h"

/* The number behind @name in @json. */
static double figure(const char *json, const char *name)
{
    const char *at = strstr(json, name);

    assert_non_null(at);
    return strtod(at + strlen(name), NULL);
}

static void l3_get_has_its_reference_beside_it_and_seldom_waits(void **state)
{
    mp__bench_options options = {.rounds = 1, .json = true};
    mp__buf out = MP__BUF_INIT;
    mp__diag diag = {0};
    int rc = mp__bench_find("l3-get")->run(&options, &out, &diag);
    double ours, bare;

    (void)state;
    if (rc == MP_EAGAIN)
        skip(); /* a file system that cannot tell what it has in memory */
    if (rc)
        fail_msg("%s %s", mp_error_name(rc), diag.text);
    assert_int_equal(mp__buf_add_char(&out, '\0'), 0);
    ours = figure(out.data, "\"get_ns\":");
    bare = figure(out.data, "\"reference_ns\":");
    assert_true(ours > 0 && bare > 0);
    assert_true(figure(out.data, "\"ratio\":") > ours / bare * 0.99);
    assert_true(figure(out.data, "\"ratio\":") < ours / bare * 1.01);
    assert_true(figure(out.data, "\"would_wait\":") < 0.5);
    mp__buf_done(&out);
}

static void without_memory_l3_get_is_an_error_and_prints_nothing(void **state)
{
    mp__bench_options options = {.rounds = 1};

    (void)state;
    for (size_t n = 1; n <= 3; n++) {
        mp__buf out = MP__BUF_INIT;
        mp__diag diag = {0};
        int rc;

        mp_fail_begin(n);
        rc = mp__bench_find("l3-get")->run(&options, &out, &diag);
        assert_true(mp_fail_end());
        assert_int_equal(rc, MP_ENOMEM);
        assert_int_equal(out.size, 0);
        mp__buf_done(&out);
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(l3_get_has_its_reference_beside_it_and_seldom_waits),
    MP_TEST(without_memory_l3_get_is_an_error_and_prints_nothing),
};

MP_TEST_MAIN(tests)
