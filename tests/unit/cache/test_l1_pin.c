/* SPDX-License-Identifier: Apache-2.0 */
/* Pins: the set of patterns, and what it makes of an L1. */
#include "mp_test.h"

#include "mp_fail.h"

#include "cache/l1.h"
#include "cache/pins.h"
#include "core/core.h"

static const mp__hash_key key = {1, 2};
static char bytes[8192];

/* ---- the set ---- */

static void a_pin_is_exact_or_a_beginning(void **state)
{
    mp__pins *pins = NULL;
    bool added;

    (void)state;
    assert_int_equal(mp__pins_new(&pins), 0);
    assert_int_equal(mp__pins_add(pins, MP_STR("e/n/key"), &added, NULL), 0);
    assert_true(added);
    assert_int_equal(mp__pins_add(pins, MP_STR("e/n/key"), &added, NULL), 0);
    assert_false(added);
    assert_int_equal(mp__pins_add(pins, MP_STR("e~eu/n/be*"), NULL, NULL), 0);
    assert_int_equal(mp__pins_add(pins, MP_STR("e/m/*"), NULL, NULL), 0);
    assert_int_equal(mp__pins_count(pins), 3);
    assert_true(mp__pins_match(pins, MP_STR("e/n/key")));
    assert_false(mp__pins_match(pins, MP_STR("e/n/key2")));
    assert_false(mp__pins_match(pins, MP_STR("e/n/ke")));
    assert_true(mp__pins_match(pins, MP_STR("e~eu/n/begins")));
    assert_true(mp__pins_match(pins, MP_STR("e~eu/n/be")));
    assert_false(mp__pins_match(pins, MP_STR("e/n/begins")));
    assert_true(mp__pins_match(pins, MP_STR("e/m/x")));
    assert_true(mp__pins_remove(pins, MP_STR("e/m/*")));
    assert_false(mp__pins_remove(pins, MP_STR("e/m/*")));
    assert_false(mp__pins_match(pins, MP_STR("e/m/x")));
    pins = mp__pins_free(pins);
}

static void what_is_no_pin_is_refused(void **state)
{
    static const char *const bad[] = {"",    "e",    "e/n",     "e/n/",    "*",
                                      "e/*", "/n/k", "e e/n/k", "e/n/a\nb"};
    mp__pins *pins = NULL;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__pins_new(&pins), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mp__pins_add(pins, mp_str_of(bad[i]), NULL, &diag), MP_EINVAL);
        assert_non_null(strstr(diag.text, "is no pin; write environment/namespace/key"));
    }
    assert_int_equal(mp__pins_count(pins), 0);
    pins = mp__pins_free(pins);
}

static void many_pins_are_all_found_and_their_number_has_a_limit(void **state)
{
    mp__pins *pins = NULL;
    mp__diag diag = {0};
    char text[32];

    (void)state;
    assert_int_equal(mp__pins_new(&pins), 0);
    for (unsigned i = 0; i < MP__PINS_MAX; i++) {
        snprintf(text, sizeof(text), i % 16 ? "e/n/%u" : "e/n/%u*", i * 7919 % MP__PINS_MAX);
        assert_int_equal(mp__pins_add(pins, mp_str_of(text), NULL, NULL), 0);
    }
    assert_int_equal(mp__pins_add(pins, MP_STR("e/n/more"), NULL, &diag), MP_ELIMIT);
    assert_non_null(strstr(diag.text, "MP.UNPIN"));
    for (unsigned i = 0; i < MP__PINS_MAX; i++) {
        snprintf(text, sizeof(text), "e/n/%u", i * 7919 % MP__PINS_MAX);
        assert_true(mp__pins_match(pins, mp_str_of(text)));
    }
    assert_false(mp__pins_match(pins, MP_STR("e/n/none")));
    for (unsigned i = 0; i < MP__PINS_MAX; i++) {
        snprintf(text, sizeof(text), i % 16 ? "e/n/%u" : "e/n/%u*", i * 7919 % MP__PINS_MAX);
        assert_true(mp__pins_remove(pins, mp_str_of(text)));
    }
    assert_int_equal(mp__pins_count(pins), 0);
    pins = mp__pins_free(pins);
}

/* ---- in L1 ---- */

static mp__l1 *l1_of(size_t entries, size_t bytes_max, const char *policy)
{
    mp__l1 *l1 = NULL;

    memset(bytes, 'v', sizeof(bytes));
    assert_int_equal(
        mp__l1_new(mp__env_real(), entries, bytes_max, 10, mp__policy_find(policy), &l1), 0);
    return l1;
}

static mp__l1 *l1_new(size_t entries, size_t bytes_max)
{
    return l1_of(entries, bytes_max, "adaptive");
}

static mp_str address_of(char address[64], const char *space, unsigned number)
{
    return mp_str_new(address, (size_t)snprintf(address, 64, "e/%s/%u", space, number));
}

static int put(mp__l1 *l1, const char *space, unsigned number, size_t size, uint64_t revision)
{
    char address[64];
    mp__record record = {.address = address_of(address, space, number),
                         .value = mp_str_new(bytes, size),
                         .kind = MP__RECORD_VALUE,
                         .revision = revision};

    return mp__l1_put(l1, mp__hash_str(key, record.address), &record, false, 1, 1000, NULL);
}

static unsigned count(mp__l1 *l1, const char *space, unsigned of)
{
    char address[64];
    unsigned n = 0;

    for (unsigned i = 0; i < of; i++) {
        mp_str name = address_of(address, space, i);

        assert_int_equal(mp_read_begin(), 0);
        n += mp__l1_find(l1, name, mp__hash_str(key, name)) != NULL;
        mp_read_end();
    }
    return n;
}

static mp__cache_pins pins_of(mp__l1 *l1)
{
    mp__cache_pins pins;

    mp__l1_pins_read(l1, &pins);
    return pins;
}

static void a_pinned_entry_stays_whatever_comes(void **state)
{
    mp__l1 *l1 = l1_new(1000, 16u << 20);
    mp__l1_stats stats;

    (void)state;
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(put(l1, "early", i, 50, 1), 0);
    assert_int_equal(mp__l1_pin(l1, MP_STR("e/early/*"), NULL), 0); /* what is there */
    assert_int_equal(mp__l1_pin(l1, MP_STR("e/late/*"), NULL), 0);  /* what will come */
    assert_int_equal(mp__l1_pin(l1, MP_STR("e/late/*"), NULL), 0);  /* once is enough */
    for (unsigned i = 0; i < 200; i++)
        assert_int_equal(put(l1, "late", i, 50, 1), 0);
    assert_int_equal(pins_of(l1).entries, 400);
    for (unsigned i = 0; i < 20000; i++)
        assert_int_equal(put(l1, "flood", i, 20 + i % 3000, 1), 0);
    assert_int_equal(count(l1, "early", 200), 200);
    assert_int_equal(count(l1, "late", 200), 200);
    mp__l1_stats_read(l1, &stats);
    assert_int_equal(stats.entries, 1000);
    assert_true(stats.bytes <= stats.bytes_max);
    for (unsigned i = 0; i < 200; i++) /* a new value stays pinned, one that is deleted goes */
        assert_int_equal(put(l1, "late", i, 70, 2), 0);
    assert_int_equal(pins_of(l1).entries, 400);
    mp__l1_remove(l1, MP_STR("e/late/7"), mp__hash_str(key, MP_STR("e/late/7")));
    assert_int_equal(pins_of(l1).entries, 399);
    l1 = mp__l1_free(l1);
}

static void what_is_unpinned_can_be_evicted_again(void **state)
{
    mp__l1 *l1 = l1_of(1000, 16u << 20, "lru");

    (void)state;
    assert_int_equal(mp__l1_pin(l1, MP_STR("e/a/*"), NULL), 0);
    assert_int_equal(mp__l1_pin(l1, MP_STR("e/a/7"), NULL), 0);
    for (unsigned i = 0; i < 300; i++)
        assert_int_equal(put(l1, "a", i, 50, 1), 0);
    assert_int_equal(mp__l1_unpin(l1, MP_STR("e/b/*")), MP_EABSENT);
    assert_int_equal(mp__l1_unpin(l1, MP_STR("e/a/*")), 0);
    assert_int_equal(pins_of(l1).entries, 1); /* the other pin still fits it */
    assert_int_equal(count(l1, "a", 300), 300);
    for (unsigned i = 0; i < 20000; i++)
        assert_int_equal(put(l1, "flood", i, 50, 1), 0);
    assert_int_equal(count(l1, "a", 300), 1);
    assert_int_equal(mp__l1_pinned(l1, MP_STR("e/a/7"), mp__hash_str(key, MP_STR("e/a/7"))),
                     MP__PINNED);
    l1 = mp__l1_free(l1);
}

static void more_than_half_is_refused_and_changes_nothing(void **state)
{
    mp__l1 *l1 = l1_new(1000, 16u << 20);
    mp__diag diag = {0};

    (void)state;
    for (unsigned i = 0; i < 600; i++)
        assert_int_equal(put(l1, "a", i, 50, 1), 0);
    assert_int_equal(mp__l1_pin(l1, MP_STR("e/a/*"), &diag), MP_ELIMIT);
    assert_non_null(strstr(diag.text, "600 entries"));
    assert_non_null(strstr(diag.text, "raise cache.l1_bytes"));
    assert_int_equal(pins_of(l1).pins, 0);
    assert_int_equal(pins_of(l1).entries, 0);
    assert_int_equal(count(l1, "a", 600), 600);
    l1 = mp__l1_free(l1);
}

static void what_has_no_room_among_the_pinned_is_kept_as_any_other(void **state)
{
    mp__l1 *l1 = l1_new(100000, 24u << 20);
    unsigned i = 0;

    (void)state;
    assert_int_equal(mp__l1_pin(l1, MP_STR("e/a/*"), NULL), 0);
    while (pins_of(l1).left_out == 0 && i < 20000)
        assert_int_equal(put(l1, "a", i++, 4000, 1), 0);
    assert_true(pins_of(l1).left_out > 0);
    assert_true(pins_of(l1).bytes <= pins_of(l1).bytes_max);
    assert_true(pins_of(l1).bytes > pins_of(l1).bytes_max * 8 / 10);
    assert_int_equal(count(l1, "a", i), i); /* the last one, too */
    for (unsigned k = 0; k < 20000; k++)
        assert_int_equal(put(l1, "flood", k, 20 + k % 3000, 1), 0);
    assert_int_equal(count(l1, "a", i - 1), i - 1);
    assert_in_range(count(l1, "flood", 20000), 500, 20000); /* the other half */
    l1 = mp__l1_free(l1);
}

static void a_smaller_l1_keeps_half_of_itself_for_what_comes(void **state)
{
    mp__l1 *l1 = l1_new(1000, 16u << 20);
    mp__l1_stats stats;

    (void)state;
    assert_int_equal(mp__l1_pin(l1, MP_STR("e/a/*"), NULL), 0);
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(put(l1, "a", i, 4000, 1), 0);
    assert_int_equal(pins_of(l1).entries, 500);
    assert_int_equal(mp__l1_set_entries(l1, 200), 0);
    assert_int_equal(pins_of(l1).entries, 100);
    assert_int_equal(mp__l1_set_bytes(l1, 1536u << 10), 0);
    assert_true(pins_of(l1).bytes <= pins_of(l1).bytes_max);
    mp__l1_stats_read(l1, &stats);
    assert_true(stats.bytes <= stats.bytes_max);
    assert_int_equal(put(l1, "b", 1, 4000, 1), 0);
    assert_int_equal(mp__l1_set_policy(l1, mp__policy_find("lru")), 0);
    assert_true(pins_of(l1).entries > 0);
    l1 = mp__l1_free(l1);
}

static void without_memory_a_pin_is_an_error_and_the_cache_goes_on(void **state)
{
    (void)state;
    for (size_t n = 1;; n++) {
        mp__l1 *l1 = l1_new(100, 8u << 20);
        int rc;

        for (unsigned i = 0; i < 20; i++)
            assert_int_equal(put(l1, "a", i, 50, 1), 0);
        mp_fail_begin(n);
        rc = mp__l1_pin(l1, MP_STR("e/a/*"), NULL);
        if (!mp_fail_end()) {
            assert_int_equal(rc, 0);
            l1 = mp__l1_free(l1);
            break;
        }
        assert_true(rc == MP_ENOMEM || rc == 0);
        assert_int_equal(put(l1, "a", 0, 60, 2), 0);
        assert_int_equal(count(l1, "a", 1), 1); /* others may have left for want of memory */
        l1 = mp__l1_free(l1);
    }
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_pin_is_exact_or_a_beginning),
    MP_TEST(what_is_no_pin_is_refused),
    MP_TEST(many_pins_are_all_found_and_their_number_has_a_limit),
    MP_TEST(a_pinned_entry_stays_whatever_comes),
    MP_TEST(what_is_unpinned_can_be_evicted_again),
    MP_TEST(more_than_half_is_refused_and_changes_nothing),
    MP_TEST(what_has_no_room_among_the_pinned_is_kept_as_any_other),
    MP_TEST(a_smaller_l1_keeps_half_of_itself_for_what_comes),
    MP_TEST(without_memory_a_pin_is_an_error_and_the_cache_goes_on),
};

MP_TEST_MAIN(tests)
