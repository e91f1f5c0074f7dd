/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "cache/priority.h"

static mp__priorities *made(const char *const *rows, size_t count)
{
    mp_str texts[8];
    mp__priorities *p = NULL;

    for (size_t i = 0; i < count; i++)
        texts[i] = mp_str_of(rows[i]);
    assert_int_equal(mp__priorities_new(texts, count, NULL, 0, &p, NULL), 0);
    return p;
}

static enum mp__priority of(const mp__priorities *p, const char *address)
{
    return mp__priority_of(p, mp_str_of(address));
}

static void the_longest_pattern_that_fits_decides_whatever_the_order(void **state)
{
    static const char *const rows[] = {"pay/*=high", "pay/card.key=critical", "pay/card.*=low",
                                       "pay/card.key*=normal"};
    mp__priorities *p = made(rows, 4);

    (void)state;
    assert_int_equal(of(p, "production/pay/other"), MP__PRIORITY_HIGH);
    assert_int_equal(of(p, "production/pay/card.key"), MP__PRIORITY_CRITICAL);
    assert_int_equal(of(p, "staging~eu~web-1/pay/card.key"), MP__PRIORITY_CRITICAL);
    assert_int_equal(of(p, "production/pay/card.key2"), MP__PRIORITY_NORMAL);
    assert_int_equal(of(p, "production/pay/card.x"), MP__PRIORITY_LOW);
    assert_int_equal(of(p, "production/pa/card.x"), MP__PRIORITY_NORMAL);
    assert_int_equal(of(p, "production/pay"), MP__PRIORITY_NORMAL);
    assert_int_equal(of(p, "production"), MP__PRIORITY_NORMAL);
    assert_int_equal(of(p, ""), MP__PRIORITY_NORMAL);
    p = mp__priorities_free(p);
}

static void without_patterns_all_is_normal_and_normal_owns_all(void **state)
{
    static const char *const all_low[] = {"*=low"};
    mp__priorities *p;

    (void)state;
    assert_int_equal(of(NULL, "production/a/b"), MP__PRIORITY_NORMAL);
    assert_int_equal(mp__priority_share(NULL, MP__PRIORITY_NORMAL), 1000);
    assert_int_equal(mp__priority_share(NULL, MP__PRIORITY_CRITICAL), 0);
    assert_true(mp__priority_is_used(NULL, MP__PRIORITY_NORMAL));
    assert_false(mp__priority_is_used(NULL, MP__PRIORITY_LOW));
    p = made(all_low, 1);
    assert_int_equal(of(p, "production/a/b"), MP__PRIORITY_LOW);
    assert_true(mp__priority_is_used(p, MP__PRIORITY_LOW));
    p = mp__priorities_free(p);
}

static void the_classes_in_use_own_all_of_the_budget(void **state)
{
    static const char *const two[] = {"a/*=critical"}, *const four[] = {"a/*=critical", "b/*=high",
                                                                        "c/*=low"};
    mp__priorities *p = made(two, 1);

    (void)state;
    assert_int_equal(mp__priority_share(p, MP__PRIORITY_CRITICAL), 666);
    assert_int_equal(mp__priority_share(p, MP__PRIORITY_NORMAL), 334);
    assert_int_equal(mp__priority_share(p, MP__PRIORITY_HIGH), 0);
    p = mp__priorities_free(p);
    p = made(four, 3);
    assert_int_equal(mp__priority_share(p, MP__PRIORITY_CRITICAL), 400);
    assert_int_equal(mp__priority_share(p, MP__PRIORITY_HIGH), 300);
    assert_int_equal(mp__priority_share(p, MP__PRIORITY_NORMAL), 200);
    assert_int_equal(mp__priority_share(p, MP__PRIORITY_LOW), 100);
    p = mp__priorities_free(p);
}

static void assert_refused(const char *row, const char *share, const char *text)
{
    mp_str rows[1] = {mp_str_of(row ? row : "")}, shares[1] = {mp_str_of(share ? share : "")};
    mp__priorities *p = NULL;
    mp__diag diag = {0};

    assert_int_equal(mp__priorities_new(rows, row != NULL, shares, share != NULL, &p, &diag),
                     MP_EINVAL);
    assert_null(p);
    assert_non_null(strstr(diag.text, text));
}

static void what_is_no_pattern_no_class_or_no_share_is_refused_with_its_text(void **state)
{
    (void)state;
    assert_refused("pay/*", NULL, "'pay/*' is not NAMESPACE/KEY=critical");
    assert_refused("pay/*=urgent", NULL, "'pay/*=urgent' is not");
    assert_refused("=low", NULL, "is not NAMESPACE/KEY");
    assert_refused("pay=low", NULL, "'pay=low' is no pattern");
    assert_refused("pay*=low", NULL, "is no pattern");
    assert_refused("/a=low", NULL, "is no pattern");
    assert_refused("*/a=low", NULL, "is no pattern");
    assert_refused(NULL, "critical", "is not CLASS=PERCENT");
    assert_refused(NULL, "low=0", "low must have 1 to 97 percent, not '0'");
    assert_refused(NULL, "low=", "low must have");
    assert_refused(NULL, "low=98", "low must have");
    assert_refused(NULL, "low=1x", "low must have");
    assert_refused(NULL, "low=99999999999999999999", "low must have");
    assert_refused(NULL, "low=20", "110 percent together and must be 100");
}

static void the_same_pattern_twice_is_refused(void **state)
{
    mp_str rows[2] = {MP_STR("a/b*=low"), MP_STR("a/b*=high")};
    mp__priorities *p = NULL;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__priorities_new(rows, 2, NULL, 0, &p, &diag), MP_EINVAL);
    assert_non_null(strstr(diag.text, "stands twice, as low and as high"));
}

static void shares_can_be_chosen(void **state)
{
    mp_str rows[1] = {MP_STR("a/b=low")};
    mp_str shares[4] = {MP_STR("critical=10"), MP_STR("high=10"), MP_STR("normal=60"),
                        MP_STR("low=20")};
    mp__priorities *p = NULL;

    (void)state;
    assert_int_equal(mp__priorities_new(rows, 1, shares, 4, &p, NULL), 0);
    assert_int_equal(mp__priority_share(p, MP__PRIORITY_NORMAL), 750);
    assert_int_equal(mp__priority_share(p, MP__PRIORITY_LOW), 250);
    p = mp__priorities_free(p);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(the_longest_pattern_that_fits_decides_whatever_the_order),
    MP_TEST(without_patterns_all_is_normal_and_normal_owns_all),
    MP_TEST(the_classes_in_use_own_all_of_the_budget),
    MP_TEST(what_is_no_pattern_no_class_or_no_share_is_refused_with_its_text),
    MP_TEST(the_same_pattern_twice_is_refused),
    MP_TEST(shares_can_be_chosen),
};

MP_TEST_MAIN(tests)
