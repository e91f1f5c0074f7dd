/* SPDX-License-Identifier: Apache-2.0 */
/* The classes of an L1: nobody loses what it owns, and nothing that is idle stays so. */
#include "mp_test.h"

#include <math.h>

#include "mp_fail.h"

#include "cache/l1.h"
#include "cache/priority.h"
#include "core/core.h"

enum { CRITICAL, HIGH, NORMAL, LOW };

static const mp__hash_key key = {1, 2};
static const char *const spaces[] = {"crit", "high", "norm", "low"};
static char bytes[32768];

/* Four classes with the standard shares: 40, 30, 20 and 10 of 100. */
static mp__priorities *four(void)
{
    mp_str rows[3] = {MP_STR("crit/*=critical"), MP_STR("high/*=high"), MP_STR("low/*=low")};
    mp__priorities *p = NULL;

    assert_int_equal(mp__priorities_new(rows, 3, NULL, 0, &p, NULL), 0);
    return p;
}

static mp__l1 *l1_new(size_t entries, size_t bytes_max, const char *policy, const mp__priorities *p)
{
    mp__l1 *l1 = NULL;

    memset(bytes, 'v', sizeof(bytes));
    assert_int_equal(
        mp__l1_new(mp__env_real(), entries, bytes_max, 10, mp__policy_find(policy), &l1), 0);
    mp__l1_set_panel_share(l1, 1); /* so that what it learns does not hang on the clock */
    assert_int_equal(mp__l1_divide(l1, p), 0);
    return l1;
}

static mp_str address_of(char address[64], int class, unsigned number)
{
    return mp_str_new(address, (size_t)snprintf(address, 64, "e/%s/%u", spaces[class], number));
}

static int put(mp__l1 *l1, int class, unsigned number, size_t size)
{
    char address[64];
    mp__record record = {.address = address_of(address, class, number),
                         .value = mp_str_new(bytes, size),
                         .kind = MP__RECORD_VALUE,
                         .revision = 1};

    return mp__l1_put(l1, mp__hash_str(key, record.address), &record, false, 1, 1, NULL);
}

static bool has(mp__l1 *l1, int class, unsigned number)
{
    char address[64];
    mp_str name = address_of(address, class, number);
    bool found;

    assert_int_equal(mp_read_begin(), 0);
    found = mp__l1_find(l1, name, mp__hash_str(key, name)) != NULL;
    mp_read_end();
    return found;
}

static unsigned count(mp__l1 *l1, int class, unsigned of)
{
    unsigned n = 0;

    for (unsigned i = 0; i < of; i++)
        n += has(l1, class, i);
    return n;
}

static mp__cache_class stats_of(mp__l1 *l1, int class)
{
    mp__cache_class stats[MP__PRIORITIES];

    mp__l1_classes_read(l1, stats);
    return stats[class];
}

/* Sizes that differ, so that pages of many kinds are wanted. */
static size_t size_of(unsigned i)
{
    return 20 + i * 2654435761u % 3000;
}

static void a_flood_of_low_takes_no_entry_of_what_others_own(void **state)
{
    static const char *const policies[] = {"adaptive", "lru", "s3-fifo", "w-tinylfu"};

    (void)state;
    for (size_t p = 0; p < 4; p++) {
        mp__priorities *classes = four();
        mp__l1 *l1 = l1_new(1000, 64u << 20, policies[p], classes);

        for (unsigned i = 0; i < 400; i++)
            assert_int_equal(put(l1, CRITICAL, i, 50), 0);
        for (unsigned i = 0; i < 300; i++)
            assert_int_equal(put(l1, HIGH, i, 50), 0);
        for (unsigned i = 0; i < 50000; i++)
            assert_int_equal(put(l1, LOW, i, 50), 0);
        assert_int_equal(count(l1, CRITICAL, 400), 400);
        assert_int_equal(count(l1, HIGH, 300), 300);
        assert_int_equal(stats_of(l1, LOW).entries, 300); /* what normal leaves idle, too */
        l1 = mp__l1_free(l1);
        classes = mp__priorities_free(classes);
    }
}

static void a_flood_of_low_takes_no_page_of_what_others_own(void **state)
{
    mp__priorities *classes = four();
    mp__l1 *l1 = l1_new(100000, 16u << 20, "adaptive", classes);
    unsigned kept = 0, all;
    mp__l1_stats stats;

    (void)state;
    while (stats_of(l1, CRITICAL).bytes + (64u << 10) < stats_of(l1, CRITICAL).bytes_owned) {
        assert_int_equal(put(l1, CRITICAL, kept, size_of(kept)), 0);
        kept++;
    }
    all = count(l1, CRITICAL, kept);
    assert_int_equal(all, kept);
    for (unsigned i = 0; i < 200000; i++) {
        assert_int_equal(put(l1, LOW, i, size_of(i * 31)), 0);
        if (i % 1000 == 0) {
            mp__l1_stats_read(l1, &stats);
            assert_true(stats.bytes <= stats.bytes_max);
        }
    }
    assert_int_equal(count(l1, CRITICAL, kept), all);
    assert_true(stats_of(l1, LOW).bytes > stats_of(l1, LOW).bytes_owned * 4); /* of idle pages */
    l1 = mp__l1_free(l1);
    classes = mp__priorities_free(classes);
}

static void critical_cannot_starve_low_below_what_it_owns(void **state)
{
    mp__priorities *classes = four();
    mp__l1 *l1 = l1_new(20000, 16u << 20, "adaptive", classes);
    mp__cache_class low;

    (void)state;
    for (unsigned i = 0; i < 20000; i++)
        assert_int_equal(put(l1, LOW, i, size_of(i)), 0);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(put(l1, CRITICAL, i, size_of(i * 7)), 0);
    low = stats_of(l1, LOW);
    print_message("# low holds %.3f of what it owns, %zu entries\n",
                  (double)low.bytes / (double)low.bytes_owned, (size_t)low.entries);
    assert_true(low.bytes + (128u << 10) > low.bytes_owned);
    assert_true(low.entries > 200);
    /* and it gets it back where critical had all of it */
    for (unsigned i = 0; i < 5000; i++) {
        assert_int_equal(put(l1, LOW, 100000 + i, size_of(i)), 0);
        assert_true(has(l1, LOW, 100000 + i));
    }
    l1 = mp__l1_free(l1);
    classes = mp__priorities_free(classes);
}

static void what_is_idle_is_used_and_the_lower_class_gives_it_back_first(void **state)
{
    mp__priorities *classes = four();
    mp__l1 *l1 = l1_new(1000, 64u << 20, "lru", classes);

    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(put(l1, NORMAL, i, 50), 0);
    assert_int_equal(stats_of(l1, NORMAL).entries, 1000); /* all of it, five times what it owns */
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(put(l1, LOW, i, 50), 0);
    assert_int_equal(stats_of(l1, LOW).entries, 100); /* its own, and none that normal borrowed */
    assert_int_equal(stats_of(l1, NORMAL).entries, 900);
    for (unsigned i = 0; i < 650; i++)
        assert_int_equal(put(l1, CRITICAL, i, 50), 0);
    /* critical owns 400 and borrows what high leaves idle after low and normal gave theirs back */
    assert_int_equal(stats_of(l1, LOW).entries, 100);
    assert_int_equal(stats_of(l1, NORMAL).entries, 250);
    assert_int_equal(stats_of(l1, CRITICAL).entries, 650);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(put(l1, HIGH, i, 50), 0);
    assert_int_equal(stats_of(l1, HIGH).entries, 300);
    assert_int_equal(stats_of(l1, NORMAL).entries, 200);
    assert_int_equal(stats_of(l1, CRITICAL).entries, 400); /* then critical, and no further */
    l1 = mp__l1_free(l1);
    classes = mp__priorities_free(classes);
}

static void what_is_larger_than_its_class_owns_pushes_nothing_out_that_others_own(void **state)
{
    mp__priorities *classes = four();
    mp__l1 *l1 = l1_new(200, 2u << 20, "lru", classes);
    static char large[512 << 10];
    char address[64];
    mp__record record = {.address = address_of(address, LOW, 1),
                         .value = mp_str_new(large, sizeof(large)),
                         .kind = MP__RECORD_VALUE,
                         .revision = 1};

    (void)state;
    for (int class = CRITICAL; class <= NORMAL; class ++)
        for (unsigned i = 0; i < 60; i++)
            (void)put(l1, class, i, 20000);
    assert_int_equal(mp__l1_put(l1, mp__hash_str(key, record.address), &record, false, 1, 1, NULL),
                     MP_ENOMEM);
    for (int class = CRITICAL; class <= NORMAL; class ++)
        assert_true(stats_of(l1, class).bytes + (64u << 10) > stats_of(l1, class).bytes_owned);
    l1 = mp__l1_free(l1);
    classes = mp__priorities_free(classes);
}

/* ---- what it costs ---- */

static uint64_t random_state;

/* xorshift64 (Marsaglia, "Xorshift RNGs", 2003). */
static double random_share(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) / 9007199254740992.0; /* 2^53 */
}

/* A skewed load of one class with scans. */
static double hit_ratio(mp__l1 *l1, int class)
{
    enum { REQUESTS = 200000 };
    unsigned hits = 0, scan = 0;

    random_state = 88172645463325252u;
    for (unsigned i = 0; i < REQUESTS; i++) {
        unsigned number = i % 5 == 0 ? 100000 + scan++ : (unsigned)(pow(random_share(), 4) * 20000);

        if (has(l1, class, number))
            hits++;
        else
            assert_int_equal(put(l1, class, number, 50), 0);
    }
    return (double)hits / REQUESTS;
}

static void one_class_alone_hits_as_if_there_were_no_classes(void **state)
{
    static const char *const policies[] = {"adaptive", "lru", "w-tinylfu"};

    (void)state;
    for (size_t p = 0; p < 3; p++) {
        mp__priorities *classes = four();
        mp__l1 *whole = l1_new(1000, 64u << 20, policies[p], NULL);
        mp__l1 *divided = l1_new(1000, 64u << 20, policies[p], classes);
        double is = hit_ratio(whole, NORMAL), low = hit_ratio(divided, LOW);

        print_message("# %s: %.4f, as the lowest of four classes %.4f\n", policies[p], is, low);
        assert_true(low > is - 0.01);
        whole = mp__l1_free(whole);
        divided = mp__l1_free(divided);
        classes = mp__priorities_free(classes);
    }
}

static void patterns_that_name_only_normal_divide_nothing(void **state)
{
    mp_str rows[1] = {MP_STR("a/*=normal")};
    mp__priorities *p = NULL;
    mp__l1 *plain, *named;

    (void)state;
    assert_int_equal(mp__priorities_new(rows, 1, NULL, 0, &p, NULL), 0);
    plain = l1_new(1000, 64u << 20, "adaptive", NULL);
    named = l1_new(1000, 64u << 20, "adaptive", p);
    assert_true(hit_ratio(plain, NORMAL) == hit_ratio(named, NORMAL));
    plain = mp__l1_free(plain);
    named = mp__l1_free(named);
    p = mp__priorities_free(p);
}

/* ---- turning, and without memory ---- */

static void size_bytes_and_policy_change_while_the_classes_keep_what_they_own(void **state)
{
    mp__priorities *classes = four();
    mp__l1 *l1 = l1_new(1000, 16u << 20, "adaptive", classes);
    mp__l1_stats stats;

    (void)state;
    for (int class = 0; class < 4; class ++)
        for (unsigned i = 0; i < 1000; i++)
            assert_int_equal(put(l1, class, i, 100), 0);
    assert_int_equal(mp__l1_set_policy(l1, mp__policy_find("lru")), 0);
    assert_int_equal(stats_of(l1, CRITICAL).entries, 400);
    assert_int_equal(stats_of(l1, LOW).entries, 100);
    assert_int_equal(mp__l1_set_entries(l1, 500), 0);
    assert_int_equal(stats_of(l1, CRITICAL).entries, 200);
    assert_int_equal(stats_of(l1, LOW).entries, 50);
    assert_int_equal(mp__l1_set_entries(l1, 20000), 0);
    for (int class = 0; class < 4; class ++)
        for (unsigned i = 0; i < 8000; i++)
            assert_int_equal(put(l1, class, i, 500), 0);
    assert_int_equal(mp__l1_set_bytes(l1, 6u << 20), 0);
    mp__l1_stats_read(l1, &stats);
    assert_true(stats.bytes <= 6u << 20);
    for (int class = 0; class < 4; class ++)
        assert_true(stats_of(l1, class).bytes + (192u << 10) > stats_of(l1, class).bytes_owned);
    l1 = mp__l1_free(l1);
    classes = mp__priorities_free(classes);
}

static int everything(const mp__priorities *classes, mp__l1 **ret_l1)
{
    int rc = mp__l1_new(mp__env_real(), 100, 8u << 20, 10, mp__policy_find("lru"), ret_l1);

    if (rc == 0)
        rc = mp__l1_divide(*ret_l1, classes);
    for (unsigned i = 0; i < 400 && rc == 0; i++)
        rc = put(*ret_l1, i % 4 ? LOW : CRITICAL, i, 50);
    if (rc == 0)
        rc = mp__l1_set_policy(*ret_l1, mp__policy_find("fifo"));
    if (rc == 0)
        rc = mp__l1_set_entries(*ret_l1, 50);
    return rc;
}

static void every_failing_allocation_is_reported(void **state)
{
    mp__priorities *classes = four();
    size_t n;
    int rc;

    (void)state;
    assert_int_equal(mp_read_begin(), 0); /* the thread's record is there */
    mp_read_end();
    for (n = 1;; n++) {
        mp__l1 *l1 = NULL;

        mp_fail_begin(n);
        rc = everything(classes, &l1);
        l1 = mp__l1_free(l1);
        if (!mp_fail_end())
            break;
        assert_true(rc == MP_ENOMEM || rc == 0); /* 0: a policy stays as large as it was */
        assert_true(n < 300);
    }
    assert_int_equal(rc, 0);
    assert_true(n > 10);
    classes = mp__priorities_free(classes);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_flood_of_low_takes_no_entry_of_what_others_own),
    MP_TEST(a_flood_of_low_takes_no_page_of_what_others_own),
    MP_TEST(critical_cannot_starve_low_below_what_it_owns),
    MP_TEST(what_is_idle_is_used_and_the_lower_class_gives_it_back_first),
    MP_TEST(what_is_larger_than_its_class_owns_pushes_nothing_out_that_others_own),
    MP_TEST(one_class_alone_hits_as_if_there_were_no_classes),
    MP_TEST(patterns_that_name_only_normal_divide_nothing),
    MP_TEST(size_bytes_and_policy_change_while_the_classes_keep_what_they_own),
    MP_TEST(every_failing_allocation_is_reported),
};

MP_TEST_MAIN(tests)
