/* SPDX-License-Identifier: Apache-2.0 */
/* memory.max: how it is divided, and what does not fit. */
#include "mp_test.h"

#include "core/option.h"
#include "manager/manager.h"

enum { MIB = 1 << 20 };

static mp__memory_plan plan_of(const char *yaml)
{
    mp__options *options = NULL;
    mp__memory_plan plan = {0};
    mp__diag diag = {0};

    assert_int_equal(mp__options_new(&options), 0);
    assert_int_equal(mp__options_parse(options, "f.yaml", mp_str_of(yaml), &diag), 0);
    assert_int_equal(mp__memory_plan_make(options, &plan, &diag), 0);
    if (plan.max) {
        assert_true(plan.sum <= plan.max);
        assert_int_equal(plan.l1_bytes + plan.l2_bytes + plan.write_back_bytes +
                             plan.l3_pending_bytes + plan.watch_bytes,
                         plan.sum);
    }
    options = mp__options_free(options);
    return plan;
}

static void assert_refused(const char *yaml, int line, int column, const char *text)
{
    mp__options *options = NULL, *copy = NULL;
    mp__diag diag = {0};

    assert_int_equal(mp__options_new(&options), 0);
    assert_int_equal(mp__options_parse(options, "f.yaml", mp_str_of(yaml), &diag), 0);
    assert_int_equal(mp__options_copy(options, &copy), 0); /* places are copied, too */
    assert_int_equal(mp__manager_check(copy, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, text));
    assert_int_equal(diag.line, line);
    assert_int_equal(diag.column, column);
    assert_string_equal(diag.file, "f.yaml");
    copy = mp__options_free(copy);
    options = mp__options_free(options);
}

static void assert_accepted(const char *yaml)
{
    mp__options *options = NULL;
    mp__diag diag = {0};

    assert_int_equal(mp__options_new(&options), 0);
    assert_int_equal(mp__options_parse(options, "f.yaml", mp_str_of(yaml), &diag), 0);
    assert_int_equal(mp__manager_check(options, &diag), 0);
    options = mp__options_free(options);
}

static void without_it_each_limit_is_its_own(void **state)
{
    mp__memory_plan p = plan_of("");

    (void)state;
    assert_int_equal(p.max, 0);
    assert_int_equal(p.l1_bytes, 64 * MIB);
    assert_int_equal(p.l2_bytes, 16 * MIB);
    assert_int_equal(p.l1_entries, 1000);
    assert_int_equal(p.l2_entries, 5000);
    assert_int_equal(p.write_back_bytes, 0);
    p = plan_of("cache: {l2_size: 0, write_mode: back}");
    assert_int_equal(p.l2_bytes, 0);
    assert_int_equal(p.write_back_bytes, 64 * MIB);
}

static void what_is_not_set_is_chosen_to_fit(void **state)
{
    mp__memory_plan p = plan_of("memory: {max: 256MiB}");

    (void)state;
    assert_int_equal(p.sum, 256 * MIB);
    assert_int_equal(p.watch_bytes, 16 * MIB);
    assert_int_equal(p.l3_pending_bytes, 16 * MIB);
    assert_int_equal(p.l2_bytes, 56 * MIB);
    assert_int_equal(p.l1_bytes, 168 * MIB);
    assert_int_equal(p.l1_entries, 168 * 1024);
    assert_int_equal(p.l2_entries, 56 * 4096);
    p = plan_of("memory: {max: 256MiB}\ncache: {write_modes: [a=through, b=back]}");
    assert_int_equal(p.write_back_bytes, 32 * MIB);
    assert_int_equal(p.sum, 256 * MIB);
    p = plan_of("memory: {max: 256MiB}\ncache: {l2_size: 0}");
    assert_int_equal(p.l2_bytes, 0);
    assert_int_equal(p.l1_bytes, 224 * MIB);
    p = plan_of("memory: {max: 16MiB}"); /* the least */
    assert_int_equal(p.sum, 16 * MIB);
    assert_int_equal(p.l2_bytes, 5 * MIB);
    assert_int_equal(p.l1_bytes, 9 * MIB);
}

static void what_is_set_by_hand_stays_and_the_other_gets_the_rest(void **state)
{
    mp__memory_plan p = plan_of("memory: {max: 256MiB}\ncache: {l1_bytes: 200MiB}");

    (void)state;
    assert_int_equal(p.l1_bytes, 200 * MIB);
    assert_int_equal(p.l2_bytes, 24 * MIB);
    p = plan_of("memory: {max: 256MiB}\ncache: {l2_bytes: 100MiB, l1_size: 7}");
    assert_int_equal(p.l2_bytes, 100 * MIB);
    assert_int_equal(p.l1_bytes, 124 * MIB);
    assert_int_equal(p.l1_entries, 7);
    p = plan_of("memory: {max: 256MiB}\ncache: {l1_bytes: 64MiB, l2_bytes: 16MiB}");
    assert_int_equal(p.l1_bytes, 64 * MIB);
    assert_int_equal(p.l2_bytes, 16 * MIB);
}

static void a_contradiction_is_refused_at_its_place(void **state)
{
    (void)state;
    assert_refused("memory:\n  max: 15MiB\n", 2, 8, "too few; at least 16MiB");
    assert_refused("memory:\n  max: 64MiB\ncache:\n  l1_bytes: 64MiB\n", 4, 13,
                   "no room for the queues");
    assert_refused("memory:\n  max: 64MiB\ncache:\n  l2_bytes: 60MiB\n", 4, 13,
                   "no room for the queues");
    assert_refused("memory:\n  max: 64MiB\ncache:\n  l1_bytes: 32MiB\n  l2_bytes: 30MiB\n", 5, 13,
                   "with cache.l1_bytes and the queues it is too much");
    assert_refused("memory:\n  max: 64MiB\ncache:\n  l1_bytes: 53MiB\n", 4, 13,
                   "cache.l2_size: 0 does without");
    assert_refused("memory:\n  max: 64MiB\ncache:\n  write_mode: back\n"
                   "  write_back_bytes: 60MiB\n",
                   5, 21, "less than 2 MiB for L1");
    assert_refused("cache:\n  priorities: [a=b]\n", 2, 16, "'a=b' is not NAMESPACE/KEY");
    assert_refused("cache:\n  priorities:\n    - x/*=low\n    - a=b\n", 4, 7,
                   "'a=b' is not NAMESPACE/KEY");
    assert_refused("cache:\n  priority_shares: [high=20]\n", 2, 20, "must be 100");
    assert_refused("cache:\n  priority_shares:\n    - low=99\n", 3, 7, "1 to 97 percent");
}

static void what_is_too_little_for_its_entries_is_refused_at_its_place(void **state)
{
    (void)state;
    assert_refused("cache:\n  l1_size: 2000\n  l1_bytes: 1MiB\n", 3, 13,
                   "cache.l1_bytes: 1.00 MiB are too few for 2000 entries (cache.l1_size)");
    assert_refused("cache:\n  l1_size: 1000000000\n", 2, 12, "lower that");
    assert_refused("cache:\n  l2_size: 1000000\n", 2, 12, "cache.l2_bytes: 16.00 MiB are too few");
    assert_refused("cache:\n  l2_bytes: 4MiB\n", 2, 13, "at least 4.1");
    assert_refused("memory:\n  max: 64MiB\ncache:\n  l1_size: 100000000\n", 4, 12,
                   "too few for 100000000 entries");
    /* each class has a policy of its own */
    assert_accepted("cache: {l1_bytes: 1400000, l1_size: 2000}");
    assert_refused("cache:\n  l1_bytes: 1400000\n  l1_size: 2000\n"
                   "  priorities: [a/*=low, b/*=critical, c/*=high]\n",
                   2, 13, "raise it");
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_is_too_little_for_its_entries_is_refused_at_its_place),
    MP_TEST(without_it_each_limit_is_its_own),
    MP_TEST(what_is_not_set_is_chosen_to_fit),
    MP_TEST(what_is_set_by_hand_stays_and_the_other_gets_the_rest),
    MP_TEST(a_contradiction_is_refused_at_its_place),
};

MP_TEST_MAIN(tests)
