/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "core/buf.h"
#include "core/key_rule.h"

static int read_number(mp_str what, int64_t *ret_value)
{
    uint64_t number;

    if (!mp__digits_u64(what, &number))
        return MP_EINVAL;
    *ret_value = (int64_t)number;
    return 0;
}

static const mp__key_rule_kind kind = {"a.list", "NAMESPACE/KEY=NUMBER", read_number};

static int make(const char *const *texts, size_t count, mp__key_rules **ret_rules, mp__diag *diag)
{
    mp_str rows[8];

    for (size_t i = 0; i < count; i++)
        rows[i] = mp_str_of(texts[i]);
    return mp__key_rules_new(&kind, rows, count, ret_rules, diag);
}

static void assert_found(const mp__key_rules *rules, const char *address, const char *pattern,
                         int64_t value)
{
    const mp__key_rule *rule = mp__key_rules_find(rules, mp_str_of(address));

    assert_non_null(rule);
    assert_true(mp_str_equal(rule->pattern, mp_str_of(pattern)));
    assert_int_equal(rule->value, value);
}

static void the_longest_that_fits_is_found_in_every_environment(void **state)
{
    static const char *const rows[] = {"*=1", "app/*=2", "app/flags/new=3", "app/flags/new*=4",
                                       "app/a=b=5"};
    mp__key_rules *rules;

    (void)state;
    assert_int_equal(make(rows, 5, &rules, NULL), 0);
    assert_int_equal(mp__key_rules_count(rules), 5);
    assert_int_equal(mp__key_rules_at(rules, 0)->value, 3);
    assert_found(rules, "production/other/k", "*", 1);
    assert_found(rules, "base~eu/app/x", "app/*", 2);
    assert_found(rules, "e/app/flags/new", "app/flags/new", 3);
    assert_found(rules, "e/app/flags/newer", "app/flags/new*", 4);
    assert_found(rules, "e/app/a=b", "app/a=b", 5);
    assert_null(mp__key_rules_find(rules, MP_STR("production")));
    assert_null(mp__key_rules_find(rules, MP_STR("")));
    rules = mp__key_rules_free(rules);
}

static void none_fits_where_there_are_none(void **state)
{
    mp__key_rules *rules;

    (void)state;
    assert_null(mp__key_rules_find(NULL, MP_STR("e/a/b")));
    assert_int_equal(mp__key_rules_count(NULL), 0);
    assert_int_equal(make(NULL, 0, &rules, NULL), 0);
    assert_null(mp__key_rules_find(rules, MP_STR("e/a/b")));
    rules = mp__key_rules_free(rules);
}

static void what_is_no_rule_is_refused_with_its_text(void **state)
{
    static const struct {
        const char *rows[2], *text;
    } bad[] = {
        {{"a/b"}, "a.list: 'a/b' is not NAMESPACE/KEY=NUMBER"},
        {{"a/b=x"}, "a.list: 'a/b=x' is not NAMESPACE/KEY=NUMBER"},
        {{"=1"}, "'=1' is not"},
        {{""}, "'' is not"},
        {{"a=1"}, "'a=1' is no pattern; write NAMESPACE/KEY"},
        {{"a*=1"}, "is no pattern"},
        {{"/a=1"}, "is no pattern"},
        {{"a/*b=1"}, "is no pattern"},
        {{"a/b*=1", "a/b*=2"}, "'a/b*' stands twice, as 1 and as 2"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        mp__key_rules *rules = NULL;
        mp__diag diag = {0};

        assert_int_equal(make(bad[i].rows, bad[i].rows[1] ? 2 : 1, &rules, &diag), MP_EINVAL);
        assert_null(rules);
        assert_non_null(strstr(diag.text, bad[i].text));
    }
}

static void too_many_are_refused(void **state)
{
    static mp_str rows[MP__KEY_RULES_MAX + 1];
    mp__key_rules *rules = NULL;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__key_rules_new(&kind, rows, MP__KEY_RULES_MAX + 1, &rules, &diag),
                     MP_ELIMIT);
    assert_string_equal(diag.text, "a.list: at most 256 patterns");
}

static const struct CMUnitTest tests[] = {
    MP_TEST(the_longest_that_fits_is_found_in_every_environment),
    MP_TEST(none_fits_where_there_are_none),
    MP_TEST(what_is_no_rule_is_refused_with_its_text),
    MP_TEST(too_many_are_refused),
};

MP_TEST_MAIN(tests)
