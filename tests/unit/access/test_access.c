/* SPDX-License-Identifier: Apache-2.0 */
#include "mp_test.h"

#include "access/access.h"

#include "mp_fail.h"

static void whoever_reaches_loopback_may_do_everything(void **state)
{
    mp__identity somebody = {"default"};
    mp__access *access = NULL;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__access_new(&access), 0);
    assert_true(mp__access_is_open(access));
    assert_int_equal(
        mp__access_check(access, &somebody, MP__RIGHT_WRITE, MP_STR("production/a/b"), &diag), 0);
    access = mp__access_free(access);
    assert_null(access);
}

static void addresses_that_others_reach_are_refused_with_the_remedy(void **state)
{
    static const char *const own[] = {"127.0.0.1", "127.8.9.1", "::1", "localhost"};
    static const char *const others[] = {"0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "*"};
    mp__access *access = NULL;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__access_new(&access), 0);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        assert_int_equal(mp__access_listen_check(access, own[i], &diag), 0);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(mp__access_listen_check(access, others[i], &diag), MP_EDENIED);
        assert_non_null(strstr(diag.text, "listen on 127.0.0.1"));
    }
    access = mp__access_free(access);
}

static void without_passwords_only_the_default_user_logs_in_by_name(void **state)
{
    mp__identity identity = {"untouched"};
    mp__access *access = NULL;
    mp__diag diag = {0};

    (void)state;
    assert_int_equal(mp__access_new(&access), 0);
    assert_int_equal(mp__access_login(access, MP_STR(""), MP_STR("x"), &identity, &diag),
                     MP_EINVAL);
    assert_non_null(strstr(diag.text, "without any password configured"));
    assert_int_equal(mp__access_login(access, MP_STR("nobody"), MP_STR("x"), &identity, &diag),
                     MP_EDENIED);
    assert_non_null(strstr(diag.text, "invalid username-password pair"));
    assert_string_equal(identity.name, "untouched");
    assert_int_equal(mp__access_login(access, MP_STR("default"), MP_STR("x"), &identity, &diag), 0);
    assert_string_equal(identity.name, "default");
    access = mp__access_free(access);
}

static void without_memory_there_is_none(void **state)
{
    mp__access *access = NULL;

    (void)state;
    mp_fail_begin(1);
    assert_int_equal(mp__access_new(&access), MP_ENOMEM);
    assert_true(mp_fail_end());
    assert_null(access);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(whoever_reaches_loopback_may_do_everything),
    MP_TEST(addresses_that_others_reach_are_refused_with_the_remedy),
    MP_TEST(without_passwords_only_the_default_user_logs_in_by_name),
    MP_TEST(without_memory_there_is_none),
};

MP_TEST_MAIN(tests)
