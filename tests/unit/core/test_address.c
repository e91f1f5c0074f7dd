/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "core/address.h"

static char address[MP__ADDRESS_MAX];
static char much[2 * MP__ADDRESS_MAX];

static int much_make(void **state)
{
    (void)state;
    memset(much, 'a', sizeof(much));
    return 0;
}

static void an_environment_has_a_plain_name(void **state)
{
    static const char *const good[] = {"production", "eu-1", "a.b", "_x", "9"};
    static const char *const bad[] = {"", ".a", "-a", "a/b", "a b", "\xc3\xa4"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(mp__environment_check(mp_str_of(good[i]), NULL), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(mp__environment_check(mp_str_of(bad[i]), NULL), MP_EINVAL);
}

static void each_part_may_be_as_long_as_its_limit_and_no_longer(void **state)
{
    mp_str one = MP_STR("a");
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__environment_check(mp_str_new(much, MP__ENVIRONMENT_MAX), NULL), 0);
    assert_int_equal(mp__environment_check(mp_str_new(much, MP__ENVIRONMENT_MAX + 1), &diag),
                     MP_ELIMIT);
    assert_non_null(strstr(diag.text, "64 bytes"));
    assert_int_equal(mp__address_join(mp_str_new(much, MP__SCOPE_MAX),
                                      mp_str_new(much, MP__NAMESPACE_MAX),
                                      mp_str_new(much, MP__KEY_MAX), address, NULL),
                     MP__ADDRESS_MAX);
    assert_int_equal(mp__address_join(mp_str_new(much, MP__SCOPE_MAX + 1), one, one, address, NULL),
                     MP_ELIMIT);
    assert_int_equal(
        mp__address_join(one, mp_str_new(much, MP__NAMESPACE_MAX + 1), one, address, NULL),
        MP_ELIMIT);
    assert_int_equal(mp__address_join(one, one, mp_str_new(much, MP__KEY_MAX + 1), address, NULL),
                     MP_ELIMIT);
}

static void a_scope_is_one_to_three_plain_names(void **state)
{
    static const char *const good[] = {"base", "production~tokyo", "production~tokyo~md-1"};
    static const char *const bad[] = {"", "~", "a~", "~a", "a~~b", "a~b~c~d", "a~-b", "a~b/c"};
    char scope[MP__SCOPE_MAX];
    mp__diag diag = {0};
    int size;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(mp__scope_check(mp_str_of(good[i]), NULL), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(mp__scope_check(mp_str_of(bad[i]), NULL), MP_EINVAL);
    size = mp__scope_build(mp_str_new(much, MP__ENVIRONMENT_MAX),
                           mp_str_new(much, MP__ENVIRONMENT_MAX),
                           mp_str_new(much, MP__ENVIRONMENT_MAX), scope, NULL);
    assert_int_equal(size, MP__SCOPE_MAX);
    assert_int_equal(mp__scope_check(mp_str_new(scope, (size_t)size), NULL), 0);
    assert_int_equal(mp__scope_build(MP_STR("a"), mp_str_new(much, MP__ENVIRONMENT_MAX + 1),
                                     MP_STR(""), scope, &diag),
                     MP_ELIMIT);
    assert_int_equal(mp__scope_build(MP_STR("a"), MP_STR("b~c"), MP_STR(""), scope, &diag),
                     MP_EINVAL);
    size = mp__scope_build(MP_STR("a"), MP_STR("b"), MP_STR(""), scope, NULL);
    assert_true(mp_str_equal(mp_str_new(scope, (size_t)size), MP_STR("a~b")));
    assert_int_equal(mp__scope_build(MP_STR("a"), MP_STR(""), MP_STR("c"), scope, &diag),
                     MP_EINVAL);
    assert_non_null(strstr(diag.text, "region"));
}

static void every_scope_falls_back_to_its_environment_and_to_base(void **state)
{
    mp_str scope = MP_STR("production~tokyo~md-1"), base = MP_STR("base"), none = MP_STR("");

    (void)state;
    scope = mp__scope_up(scope, base);
    assert_true(mp_str_equal(scope, MP_STR("production~tokyo")));
    scope = mp__scope_up(scope, base);
    assert_true(mp_str_equal(scope, MP_STR("production")));
    assert_int_equal(mp__scope_up(scope, none).size, 0);
    scope = mp__scope_up(scope, base);
    assert_true(mp_str_equal(scope, base));
    assert_int_equal(mp__scope_up(scope, base).size, 0);
}

static void an_address_without_three_parts_cannot_be_split(void **state)
{
    static const char *const bad[] = {"", "a", "a/b", "/b/c", "a//c", "a/b/"};
    mp_str environment = {0}, namespace_ = {0}, key = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(mp__address_split(mp_str_of(bad[i]), &environment, &namespace_, &key),
                         MP_EINVAL);
        mp_assert_str(mp__address_name(mp_str_of(bad[i])), bad[i]);
    }
    assert_int_equal(mp__address_split(MP_STR("a/b/c/d"), &environment, &namespace_, &key), 0);
    mp_assert_str(key, "c/d");
}

static void a_key_with_a_slash_in_default_keeps_its_namespace(void **state)
{
    (void)state;
    mp_assert_str(mp__address_name(MP_STR("e/default/a")), "a");
    mp_assert_str(mp__address_name(MP_STR("e/default/a/b")), "default/a/b");
    mp_assert_str(mp__address_name(MP_STR("e/n/a")), "n/a");
}

static void what_two_addresses_have_in_common_is_what_both_begin_with(void **state)
{
    (void)state;
    assert_int_equal(mp__common_size(MP_STR("e/n/ab"), MP_STR("e/n/ac")), 5);
    assert_int_equal(mp__common_size(MP_STR("e/n/a"), MP_STR("e/n/a.b")), 5);
    assert_int_equal(mp__common_size(MP_STR("e/n/a.b"), MP_STR("e/n/a")), 5);
    assert_int_equal(mp__common_size(MP_STR("e/n/a"), MP_STR("e/n/a")), 5);
    assert_int_equal(mp__common_size(MP_STR("e"), MP_STR("f")), 0);
    assert_int_equal(mp__common_size(MP_STR("e"), mp_str_new(NULL, 0)), 0);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(an_environment_has_a_plain_name),
    MP_TEST(each_part_may_be_as_long_as_its_limit_and_no_longer),
    MP_TEST(a_scope_is_one_to_three_plain_names),
    MP_TEST(every_scope_falls_back_to_its_environment_and_to_base),
    MP_TEST(an_address_without_three_parts_cannot_be_split),
    MP_TEST(a_key_with_a_slash_in_default_keeps_its_namespace),
    MP_TEST(what_two_addresses_have_in_common_is_what_both_begin_with),
};

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, much_make, NULL);
}
